"""What callers may take."""

import attrs


@attrs.frozen
class HttpLimits:
    """What one connection and one worker may take. Bytes and seconds."""

    request_line_bytes: int = 8192
    header_bytes: int = 16384
    header_count: int = 100
    body_bytes: int = 4096
    header_seconds: int = 10
    body_seconds: int = 10
    idle_seconds: int = 75
    requests_per_connection: int = 1_000_000
    connections: int = 10_000
    drain_seconds: int = 30

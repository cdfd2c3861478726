"""What callers may take."""

import attrs


@attrs.frozen
class HttpLimits:
    """What one connection and one worker may take."""

    request_line_bytes: int = 8192
    """Of a request's target, that is path and query, at most; else 414."""

    header_bytes: int = 16384
    """Of all header fields together, as they are sent; else 431."""

    header_count: int = 100
    """Header fields at most; else 431."""

    body_bytes: int = 4096
    """Of a body at most; else 413."""

    header_seconds: int = 10
    """From the first byte of a request to the end of its header; else 408."""

    body_seconds: int = 10
    """From there to the end of its body; else 408."""

    idle_seconds: int = 75
    """How long a connection is kept open between two requests."""

    requests_per_connection: int = 1_000_000
    """How many a connection may ask before it is closed."""

    connections: int = 10_000
    """Of a worker at the same time; more get 503."""

    exchanges: int = 256
    """Bodies, of a worker, that are taken and answered piece by piece at the same time, as
    those of ``/v1/batch`` are; more get 503."""

    drain_seconds: int = 30
    """How long open requests have to finish when the process is stopped."""

"""What one connection can make us keep, besides what the kernel buffers for it."""

from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.streaming import MOST_KEPT_BYTES

# uvloop reads into 250 KiB at a time, asyncio into 256; a transport that was told to
# pause may bring one read more.
_READ_BYTES = 2 << 18
# Measured: a parsed field takes 170 bytes besides its own, a connection 6 KB.
_FIELD_BYTES, _CONNECTION_BYTES = 200, 10_000
# A portion's answers; 31 of them are look-ups of up to 1 KB, one may be any route's.
_ANSWER_BYTES = 1 << 16


def most_kept_bytes(limits: HttpLimits, in_exchange: bool = False) -> int:
    """How much memory one connection can take at most, in bytes.

    :param in_exchange: while the body of an exchange comes in, or is answered.
    """
    message = limits.request_line_bytes + limits.header_bytes + limits.body_bytes
    fields = limits.header_count * _FIELD_BYTES
    # The message stands there as it came in, parsed, and as the request it became.
    kept = _READ_BYTES + 3 * (message + fields) + _ANSWER_BYTES + _CONNECTION_BYTES
    return kept + (MOST_KEPT_BYTES if in_exchange else 0)

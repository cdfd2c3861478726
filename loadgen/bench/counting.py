"""What counting costs: the daemon as it is, beside one that counts nothing on the fast way.

Rows of one kind of request are compared with the uncounted one of that kind, in the same rounds.
"""

from collections.abc import Iterable, Sequence

from loadgen.bench import requests
from loadgen.bench.beside import Compared
from loadgen.bench.requests import Addresses, Write
from loadgen.peers.servers import IPQUERY, UNCOUNTED

MOST_CPU = 1.03
"""At most this ratio of processor time for a request, counted to not."""


def never_alike(ips: Addresses) -> Iterable[bytes]:
    """GET with a field whose name differs each time: no request is like the one before."""
    return (requests.get(ip, b"X-%d: 1\r\n" % place) for place, ip in enumerate(ips.v4))


_KINDS: Sequence[tuple[str, Write, bool]] = (
    ("GET, one header", requests.plain, False),
    ("GET, X-Request-Id that differs", requests.request_ids, False),
    ("GET, never like the one before", never_alike, False),
    ("GET, once", requests.plain, True),
)

ROWS: Sequence[Compared] = tuple(
    row
    for kind, write, anew in _KINDS
    for row in (
        Compared(f"counting: none, {kind}", write, UNCOUNTED, anew),
        Compared(f"counting: {kind}", write, IPQUERY, anew, f"counting: none, {kind}", MOST_CPU),
    )
)

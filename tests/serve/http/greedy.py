"""Clients that make a server keep as much as they can, and how much that is."""

import gc
import sys
import types
from typing import Any

from tests.serve.http.connection import Connection, get, post
from tests.serve.http.requests import QUERY

ROOT = b"GET /nothing HTTP/1.1\r\nHost:\r\n\r\n"
READ = 1 << 18
"""What one read brings at most, in bytes."""

_SHARED = (
    type, types.FunctionType, types.ModuleType, types.BuiltinFunctionType, types.CodeType,
)  # fmt: skip


def kept_bytes(connection: Connection) -> int:
    """Bytes of everything that is there only for this connection, but for the client's end."""
    site = connection.server.site
    seen = {
        id(site),
        id(site.fast_way),
        id(site.plain),
        id(site.turns),
        id(site.connections),
        id(connection.transport),
    }
    seen |= {id(site.limits), id(connection.server), id(connection)}
    begin: Any = site.begin_exchange
    seen |= {id(begin.__self__), id(site.exchanging)}
    total, pending = 0, [connection.channel.__dict__]
    while pending:
        one: Any = pending.pop()
        if id(one) in seen or isinstance(one, _SHARED):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        pending += gc.get_referents(one)
    return total


GREEDY = {
    "empty lines": b"\r\n" * (READ // 2),
    "a header that is padded": get("/healthz", "X:" + " " * READ)[:READ],
    "fields by the thousand": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * (READ // 4),
    "long fields": b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"a: " + b"x" * 160 + b"\r\n") * 90,
    "a long target": b"GET /" + b"x" * READ,
    "requests by the thousand": ROOT * (READ // len(ROOT)),
    "look-ups by the thousand": QUERY * (READ // len(QUERY)),
    "a body in chunks": get("/api/ip_query", "Transfer-Encoding: chunked", method="POST")
    + b"1\r\nx\r\n" * (READ // 6),
    "trailers": get("/api/ip_query", "Transfer-Encoding: chunked", method="POST")
    + b"0\r\n"
    + b"a:\r\n" * (READ // 4),
    "a body": post(b" " * 4096, *[f"a{n}: {'x' * 150}" for n in range(90)]),
}

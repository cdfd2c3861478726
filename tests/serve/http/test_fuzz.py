"""Mutated streams against two servers that live on, with the express lane and without it.

Whatever comes in, both send the same bytes and are in the same state, nothing is
raised, no connection is left, and none keeps more memory than is stated.
"""

import random
import time

import pytest

from ipquery.serve.http.bounds import most_kept_bytes
from ipquery.serve.http.limits import HttpLimits
from tests.logs import no_faults
from tests.serve.http.connection import Connection, Server, get, post
from tests.serve.http.greedy import GREEDY, kept_bytes
from tests.serve.http.requests import SMUGGLED

BODY = b'{"ip":"1.2.3.4"}'
CHUNKED = "Transfer-Encoding: chunked"
SEEDS = [
    get("/api/ip_query?ip=1.2.3.4"),
    get("/api/ip_query?ip=9.9.9.9", "User-Agent: x", "Accept: */*"),
    get("/api/ip_query?ip=2001:db8::1", "Connection: keep-alive"),
    get("/api/ip_query?ip=1.2.3.4", "Connection: close"),
    get("/api/ip_query?ip=1.2.3.4", version="1.0"),
    get("/api/ip_query?ip=1.2.3.4", "Connection: keep-alive", version="1.0"),
    get("/api/ip_query?x=1&ip=1.2.3.4"),
    get("/api/ip_query?ip=1.2.3.4", method="HEAD"),
    get("/api/ip_query?ip=1.2.3.4", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
    get("http://x/api/ip_query?ip=1.2.3.4"),
    get("*", method="OPTIONS"),
    get("x:80", method="CONNECT"),
    get("/healthz"),
    get("/readyz", "X-Request-Id: 17"),
    get("/nowhere"),
    post(BODY),
    post(b'{"ip": "9.9.9.9"}', "Content-Type: application/json"),
    post(BODY, "Expect: 100-continue"),
    post(b'{"x":[1],"ip":"1.2.3.4"}'),
    get("/api/ip_query", CHUNKED, method="POST") + b"10\r\n" + BODY + b"\r\n0\r\n\r\n",
    get("/api/ip_query", CHUNKED, method="POST")
    + b'5;x=y\r\n{"ip"\r\nb\r\n:"1.2.3.4"}\r\n0\r\nX: y\r\n\r\n',
    b"\r\n",
    *SMUGGLED.values(),
]
SPLICES = [
    b"\r\n", b"\r", b"\n", b"\r\n\r\n", b" ", b"\t", b":", b"\0", b"\xff", b"0\r\n\r\n",
    b"Host: y\r\n",
    b"Content-Length: 16\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: upgrade\r\n",
    b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"HTTP/1.0", b"HTTP/1.1", b"RTSP/1.0",
    b"ICE/1.0",
    b"//", b"%2f", b"%", b"?", b"&ip=1.2.3.4", b"..", b"ip=", b"GET ", b"POST ", b"HEAD ",
    b"CONNECT ",
    b"::ffff:", b'"', b"\\u0031", b"{", b"}", b"1.2.3.4",
]  # fmt: skip


def mutated(chance: random.Random, request: bytes) -> bytes:
    """A request with a few bytes changed, moved, doubled, or spliced in."""
    for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
        begin = chance.randrange(len(request) + 1)
        end = min(len(request), begin + chance.choice((0, 1, 2, 8, 40)))
        new = chance.choice(
            (
                chance.choice(SPLICES),
                chance.randbytes(1),
                request[begin:end] * 2,
                b"",
                chance.choice(SEEDS)[chance.randrange(40) :][: chance.randrange(40)],
            )
        )
        request = request[:begin] + new + request[end:]
    return request


def stream(chance: random.Random) -> list[bytes]:
    """What one client sends: several requests, some more than once, cut anywhere."""
    pieces = []
    for _ in range(chance.randrange(1, 6)):
        request = mutated(chance, chance.choice(SEEDS))
        times = chance.choice((1, 1, 1, 2, 3, 50))
        pieces += [request * times] if chance.random() < 0.5 else [request] * times
    if chance.random() < 0.01:
        pieces.insert(chance.randrange(len(pieces) + 1), chance.choice(list(GREEDY.values())))
    if chance.random() < 0.5:
        return pieces
    whole = b"".join(pieces)
    cuts = sorted(chance.randrange(len(whole) + 1) for _ in range(chance.randrange(1, 12)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True) if a < b]


class Pair:
    """The same connection to both servers."""

    def __init__(self, servers: tuple[Server, Server]) -> None:
        self.ends = [server.connect() for server in servers]

    def send(self, piece: bytes) -> None:
        for end in self.ends:
            end.send(piece)

    def leave(self, how: str) -> None:
        """Close it from the client's side."""
        for end in self.ends:
            if end.transport.closed:
                continue
            if how == "half":
                end.finish_sending()
                end.server.run()
            elif how == "reset":
                end.transport.abortConnection()

    def state(self, end: Connection) -> object:
        transport = end.transport
        return (transport.sent, transport.closed, transport.write_closed, transport.paused)

    def verify(self, seed: int) -> None:
        one, other = (self.state(end) for end in self.ends)
        assert one == other, seed


LIMITS = HttpLimits(requests_per_connection=120)
MOST = most_kept_bytes(LIMITS)


def fuzz(servers: tuple[Server, Server], seed: int) -> None:
    """One client's life, from a seed that repeats it."""
    chance = random.Random(seed)
    pair = Pair(servers)
    for piece in stream(chance):
        pair.send(piece)
        pair.verify(seed)
        if chance.random() < 0.02:
            assert all(kept_bytes(end) <= MOST for end in pair.ends), seed
        if chance.random() < 0.05:
            seconds = chance.choice((1, 11))
            for server in servers:
                server.advance(seconds)
            pair.verify(seed)
    pair.leave(chance.choice(("half", "reset", "wait")))
    pair.verify(seed)


def close_all(servers: tuple[Server, Server]) -> None:
    for server in servers:
        server.advance(90)
        assert server.site.connections == set()


def test_both_ways_are_the_same_whatever_comes_in() -> None:
    servers = Server(LIMITS), Server(LIMITS, express=False)
    with no_faults():
        for seed in range(6_000):
            fuzz(servers, seed)
            if seed % 500 == 0:
                close_all(servers)
        close_all(servers)


@pytest.mark.soak
def test_both_ways_are_the_same_for_two_minutes() -> None:
    first = seed = time.time_ns() % 10**12
    ends = time.monotonic() + 120
    servers = Server(LIMITS), Server(LIMITS, express=False)
    with no_faults():
        while time.monotonic() < ends:
            fuzz(servers, seed)
            seed += 1
            if seed % 500 == 0:
                close_all(servers)
        close_all(servers)
    print(f"\n{seed - first} streams from seed {first} on")

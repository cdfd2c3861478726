"""ipquery beside nginx with its GeoIP2 module, for every shape of request that callers send.

Both do the same work in each row: the same requests, on as many connections, closed by the
same side, logged or encrypted alike. Where nginx can't do quite the same, it is given what
is easier for it, and the row's comment says so.

wrk sends what it can, bare sockets (:mod:`loadgen.tools.bare`) what it can't: HEAD, whose
answers wrk can't read, and connections that the caller closes. Of connections used once,
both make as many: 13,900 and 14,100 a second to nginx on one and the same core. Over TLS wrk
resumes its sessions; full handshakes are made by ``openssl s_time``.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import attrs

from loadgen.bench import requests
from loadgen.bench.bare import ask_bare
from loadgen.bench.requests import Addresses, Write
from loadgen.bench.rounds import Contender, Row, cpu_ratio, ratio
from loadgen.peers.cores import LOAD_CORE
from loadgen.peers.servers import (
    GEOIP2,
    GEOIP2_LOGGED,
    GEOIP2_MISSES,
    GEOIP2_TLS,
    IPQUERY,
    LOGGED,
    TLS,
    Server,
)
from loadgen.report.tables import Table
from loadgen.report.tally import Tally
from loadgen.tools.bare import read_requests
from loadgen.tools.s_time import run_s_time
from loadgen.tools.wrk import replay_with_wrk

Send = Callable[[Server, Path, int, float], Tally]
"""Sends the requests of a file to a server, on so many connections, for so many seconds."""


def _wrk(server: Server, file: Path, connections: int, seconds: float) -> Tally:
    return replay_with_wrk(server.port, file, connections, seconds, LOAD_CORE, server.tls)


def _bare(server: Server, file: Path, connections: int, seconds: float) -> Tally:
    return ask_bare(server, file, connections, seconds)


def _anew(server: Server, file: Path, connections: int, seconds: float) -> Tally:
    return ask_bare(server, file, connections, seconds, anew=True)


def _s_time(server: Server, file: Path, connections: int, seconds: float) -> Tally:
    target = read_requests(file)[0].split()[1].decode()
    processes = min(connections, _MOST_PROCESSES)
    return run_s_time(server.port, target, processes, seconds, LOAD_CORE)


@attrs.frozen
class Shape:
    """A kind of request, and what is aimed at for it."""

    name: str
    write: Write
    aim: float = 1.0
    """At least this ratio of rates, ipquery to nginx."""
    most_cpu: float | None = None
    """At most this ratio of processor time for a request."""
    send: Send = _wrk
    ours: Server = IPQUERY
    peer: Server = GEOIP2
    peer_write: Write | None = None
    """What nginx is sent, if it isn't the same."""


_ONE_SHOT = 1.2
# Of `openssl s_time`: more are only longer to start.
_MOST_PROCESSES = 16

SHAPES: Sequence[Shape] = (
    Shape("GET, one header", requests.plain, 1.15),
    Shape("GET, ten headers that repeat", requests.ten_headers),
    Shape("GET, X-Request-Id that differs", requests.request_ids),
    Shape("GET, traceparent that differs", requests.traces),
    Shape("GET, IPv6 in plain text", requests.ipv6),
    # nginx decodes nothing, so it is asked in plain text.
    Shape("GET, IPv6 escaped (2400%3A…)", requests.ipv6_escaped, peer_write=requests.ipv6),
    Shape("GET, one more parameter", requests.one_more_parameter),
    Shape("HEAD", requests.head, send=_bare),
    # nginx reads the body, and takes the address from the query: it parses no JSON.
    Shape("POST", requests.posts, peer_write=requests.posts_with_query),
    Shape("GET, no record", requests.misses, peer=GEOIP2_MISSES),
    Shape("GET, 16 pipelined", requests.pipelined),
    Shape("HTTP/1.0 kept alive (ab -k)", requests.ab_kept),
    Shape("access log on", requests.plain, ours=LOGGED, peer=GEOIP2_LOGGED),
    Shape("one-shot: Connection: close", requests.closing, 1.0, _ONE_SHOT),
    Shape("one-shot: the caller closes", requests.plain, 1.0, _ONE_SHOT, send=_anew),
    Shape("one-shot: HTTP/1.0 (ab)", requests.ab, 1.0, _ONE_SHOT),
    Shape("TLS, kept alive", requests.plain, 0.8, ours=TLS, peer=GEOIP2_TLS),
    Shape("TLS, one-shot, resumed sessions", requests.closing, 0.9, ours=TLS, peer=GEOIP2_TLS),
    # The generator takes twice as long for a handshake as nginx, so only the processor time
    # tells: as much more as the aim allows.
    Shape(
        "TLS, one-shot, full handshakes",
        requests.ab,
        0.9,
        1 / 0.9,
        send=_s_time,
        ours=TLS,
        peer=GEOIP2_TLS,
    ),
)


def contenders(
    shapes: Sequence[Shape], addresses: Addresses, folder: Path, connections: int
) -> Iterator[Contender]:
    """For each shape ipquery and nginx, one after the other.

    :param folder: where the files of requests are written.
    """
    files: dict[Write, Path] = {}

    def file_of(write: Write) -> Path:
        if write not in files:
            files[write] = folder / f"requests-{len(files)}"
            requests.write(files[write], write(addresses))
        return files[write]

    for shape in shapes:
        for who, server, write in (
            ("ipquery", shape.ours, shape.write),
            ("nginx", shape.peer, shape.peer_write or shape.write),
        ):
            ask = partial(_ask, shape.send, file_of(write), connections)
            yield Contender(f"{shape.name}, {who}", server, ask)


def _ask(send: Send, file: Path, connections: int, server: Server, seconds: float) -> Tally:
    return send(server, file, connections, seconds)


@attrs.frozen
class Pair:
    """What was found of a shape."""

    shape: Shape
    ours: Row
    peer: Row

    @property
    def ratio(self) -> float:
        """Of rates."""
        return ratio(self.ours, self.peer)

    @property
    def cpu_ratio(self) -> float:
        """Of processor time for a request."""
        return cpu_ratio(self.ours, self.peer)

    @property
    def errors(self) -> int:
        """Of both, in all rounds; a refusal is one where every address has a record."""
        rows = (self.ours, self.peer)
        refused = sum(result.refused for row in rows for result in row.results)
        expected = self.shape.write is requests.misses
        return sum(row.errors for row in rows) + (0 if expected else refused)


def pairs(shapes: Sequence[Shape], rows: Sequence[Row]) -> list[Pair]:
    """The rows of :func:`contenders`, by shape."""
    return [Pair(*both) for both in zip(shapes, rows[::2], rows[1::2], strict=True)]


_HEADINGS = (
    "shape",
    "ipquery req/s",
    "nginx req/s",
    "ratio",
    "aim",
    "ipquery CPU µs",
    "nginx CPU µs",
    "CPU ratio",
    "at most",
    "ipquery p99 ms",
    "nginx p99 ms",
    "load busy",
    "errors",
)


def table(found: Sequence[Pair]) -> Table:
    """A row for each shape."""
    return [_HEADINGS, *map(_cells, found)]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}" if seconds else "-"


def _cells(pair: Pair) -> tuple[str, ...]:
    rows = (pair.ours, pair.peer)
    most = pair.shape.most_cpu
    busy = max(row.median(lambda one: one.busy) for row in rows)
    return (
        pair.shape.name,
        *(f"{row.median(lambda one: one.rate):,.0f}" for row in rows),
        f"{pair.ratio:.2f}",
        f"{pair.shape.aim:.2f}",
        *(f"{row.cpu_microseconds:.1f}" for row in rows),
        f"{pair.cpu_ratio:.2f}",
        "" if most is None else f"{most:.2f}",
        *(_milliseconds(row.median(lambda one: one.p99)) for row in rows),
        f"{busy:.0%}",
        str(pair.errors),
    )


def summary(pair: Pair) -> dict[str, object]:
    """A shape, for JSON."""
    return {
        "shape": pair.shape.name,
        "ratio": pair.ratio,
        "aim": pair.shape.aim,
        "cpu_ratio": pair.cpu_ratio,
        "most_cpu_ratio": pair.shape.most_cpu,
        "ipquery": pair.ours.summary(),
        "nginx": pair.peer.summary(),
    }

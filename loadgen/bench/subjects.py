"""ipquery beside nginx and other ways to build it, all asked for the same."""

from collections.abc import Callable, Sequence
from functools import partial

from loadgen.bench.rounds import Contender, Row, ratio
from loadgen.peers.cores import LOAD_CORE
from loadgen.peers.servers import (
    CONSTANT,
    FASTAPI,
    GEOIP2,
    GRANIAN,
    IPQUERY,
    KLEIN,
    OLD,
    ROUTES,
    Server,
)
from loadgen.report.tables import Table
from loadgen.report.tally import Tally
from loadgen.tools.wrk import run_wrk

_KINDS = {"get": "", "post": ", POST", "browser": ", ten browser headers"}

# Each server, and the kind of request that wrk sends it.
_SUBJECTS: Sequence[tuple[Server, str]] = (
    (IPQUERY, "get"),
    (IPQUERY, "post"),
    (IPQUERY, "browser"),
    (ROUTES, "get"),
    (KLEIN, "get"),
    (OLD, "get"),
    (FASTAPI, "get"),
    (GRANIAN, "get"),
    (GEOIP2, "get"),
    (CONSTANT, "get"),
)

# What the project promises, as ratios of rates: of, to, at least.
_AIMS = (
    (IPQUERY.name, GEOIP2.name, 1.15),
    (IPQUERY.name, CONSTANT.name, 0.70),
    (IPQUERY.name, KLEIN.name, 12),
    (IPQUERY.name, OLD.name, 25),
    (f"{IPQUERY.name}, POST", IPQUERY.name, 0.9),
    (f"{IPQUERY.name}, ten browser headers", IPQUERY.name, 0.75),
)


def _ask(kind: str, connections: int, server: Server, seconds: float) -> Tally:
    return run_wrk(server.port, connections, seconds, kind, LOAD_CORE)


def contender(server: Server, connections: int, kind: str = "get") -> Contender:
    """A server that wrk asks for random addresses."""
    return Contender(server.name + _KINDS[kind], server, partial(_ask, kind, connections))


def contenders(connections: int, wanted: Callable[[str], bool]) -> list[Contender]:
    """The subjects whose name is wanted."""
    made = (contender(server, connections, kind) for server, kind in _SUBJECTS)
    return [one for one in made if wanted(one.name)]


def ratios(rows: Sequence[Row]) -> list[tuple[str, float, float]]:
    """Title, ratio and aim, of what was measured."""
    by_name = {row.contender.name: row for row in rows}
    return [
        (f"{over} / {under}", ratio(by_name[over], by_name[under]), aim)
        for over, under, aim in _AIMS
        if over in by_name and under in by_name
    ]


_HEADINGS = (
    "server",
    "req/s",
    "spread",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "CPU µs",
    "PSS MB",
    "errors",
)


def table(rows: Sequence[Row]) -> Table:
    """The figures of each server."""
    return [_HEADINGS, *map(_cells, rows)]


def _cells(row: Row) -> tuple[str, ...]:
    found = row.summary()
    return (
        found["name"],
        f"{found['requests_per_second']:,.0f}",
        f"{found['lowest']:,.0f}-{found['highest']:,.0f}",
        f"{found['p50_seconds'] * 1e3:.2f}",
        f"{found['p99_seconds'] * 1e3:.2f}",
        f"{found['p999_seconds'] * 1e3:.2f}",
        f"{found['cpu_microseconds']:.1f}",
        f"{found['pss_bytes'] / 1e6:.0f}",
        str(found["errors"]),
    )


def ratio_table(found: Sequence[tuple[str, float, float]]) -> Table:
    """Ratios beside their aims."""
    rows = ((title, f"{ratio:.2f}", f"{aim:.2f}") for title, ratio, aim in found)
    return [("ratio", "median", "aim"), *rows]

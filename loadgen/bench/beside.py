"""Rows that are each compared with another one of the same run: what something costs.

Both are asked in the same rounds, on connections of the same kind.
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
from loadgen.peers.servers import Server
from loadgen.report.tables import Table
from loadgen.report.tally import Tally
from loadgen.tools.wrk import replay_with_wrk


@attrs.frozen
class Compared:
    """Requests of a kind to a server; or those that another row is compared with."""

    name: str
    write: Write
    server: Server
    anew: bool = False
    """Whether each has a connection of its own, which the caller closes."""
    beside: str | None = None
    """The row that this is compared with."""
    most_cpu: float | None = None


def with_what_they_are_beside(
    rows: Sequence[Compared], wanted: Callable[[str], bool]
) -> list[Compared]:
    """The rows that are wanted, and those that they are compared with."""
    names = {one.name for one in rows if wanted(one.name)}
    names |= {one.beside for one in rows if one.name in names and one.beside is not None}
    return [one for one in rows if one.name in names]


def contenders(
    rows: Sequence[Compared], addresses: Addresses, folder: Path, connections: int
) -> Iterator[Contender]:
    """Those who are asked, one after the other.

    :param folder: where the files of requests are written.
    """
    for place, one in enumerate(rows):
        file = folder / f"{one.name.partition(':')[0]}-{place}"
        requests.write(file, one.write(addresses))
        yield Contender(one.name, one.server, partial(_ask, one.anew, file, connections))


def _ask(anew: bool, file: Path, connections: int, server: Server, seconds: float) -> Tally:
    if anew:
        return ask_bare(server, file, connections, seconds, anew=True)
    return replay_with_wrk(server.port, file, connections, seconds, LOAD_CORE)


_HEADINGS = ("row", "req/s", "ratio", "CPU µs", "CPU ratio", "at most", "p99 ms", "errors")


def table(chosen: Sequence[Compared], rows: Sequence[Row]) -> Table:
    """What was found of :func:`contenders`."""
    by_name = {row.contender.name: row for row in rows}
    return [
        _HEADINGS,
        *(
            (
                one.name,
                f"{row.median(lambda tally: tally.rate):,.0f}",
                f"{ratio(row, by_name[one.beside or one.name]):.2f}",
                f"{row.cpu_microseconds:.1f}",
                f"{cpu_ratio(row, by_name[one.beside or one.name]):.2f}",
                "" if one.most_cpu is None else f"{one.most_cpu:.2f}",
                f"{row.median(lambda tally: tally.p99) * 1e3:.2f}",
                # Whoever is refused was not let pass.
                str(row.errors + sum(tally.refused for tally in row.results)),
            )
            for one, row in zip(chosen, rows, strict=True)
        ),
    ]

"""What guards cost: requests that pass one, beside the same kind of request where there is none.

A key is checked, or a token taken, for each request on the fast way. Rows of one kind of
connection are compared with the first of that kind, in the same rounds.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import attrs

from loadgen.bench import requests
from loadgen.bench.bare import ask_bare
from loadgen.bench.requests import Addresses, Write
from loadgen.bench.rounds import Contender, Row, cpu_ratio, ratio
from loadgen.peers.cores import LOAD_CORE
from loadgen.peers.servers import BENCH_KEYS, IPQUERY, KEYED, LIMITED, Server
from loadgen.report.tables import Table
from loadgen.report.tally import Tally
from loadgen.tools.wrk import replay_with_wrk

MOST_CPU = 1.1
"""At most this ratio of processor time for a request, guarded to not."""


def _bearer(ips: Addresses) -> Iterable[bytes]:
    return requests.with_fields(b"Authorization: Bearer %s\r\n" % BENCH_KEYS[0])(ips)


def _api_key(ips: Addresses) -> Iterable[bytes]:
    return requests.with_fields(b"X-Api-Key: %s\r\n" % BENCH_KEYS[0])(ips)


def _many_keys(ips: Addresses) -> Iterable[bytes]:
    chance = random.Random(3)  # noqa: S311 # the same again is what is wanted
    return (requests.get(ip, b"X-Api-Key: %s\r\n" % chance.choice(BENCH_KEYS)) for ip in ips.v4)


@attrs.frozen
class Guarded:
    """Requests that pass a guard; or that meet none, to compare with."""

    name: str
    write: Write
    server: Server
    anew: bool = False
    """Whether each has a connection of its own, which the caller closes."""
    beside: str | None = None
    """The row that this is compared with."""
    most_cpu: float | None = None


_PLAIN = "guard: none"
_FIELD = f"{_PLAIN}, X-Api-Key that differs"
_ONE_SHOT = f"{_PLAIN}, once"

ROWS: Sequence[Guarded] = (
    Guarded(_PLAIN, requests.plain, IPQUERY),
    Guarded("guard: key, Authorization", _bearer, KEYED, False, _PLAIN, MOST_CPU),
    Guarded("guard: key, X-Api-Key", _api_key, KEYED, False, _PLAIN, MOST_CPU),
    Guarded("guard: token bucket", requests.plain, LIMITED, False, _PLAIN, MOST_CPU),
    # As a proxy sends them that keeps its connections, whoever it asks for.
    Guarded(_FIELD, _many_keys, IPQUERY),
    Guarded("guard: keys that differ", _many_keys, KEYED, False, _FIELD, MOST_CPU),
    Guarded(_ONE_SHOT, requests.plain, IPQUERY, True),
    Guarded("guard: key, once", _api_key, KEYED, True, _ONE_SHOT, MOST_CPU),
    Guarded("guard: keys that differ, once", _many_keys, KEYED, True, _ONE_SHOT, MOST_CPU),
    Guarded("guard: token bucket, once", requests.plain, LIMITED, True, _ONE_SHOT, MOST_CPU),
)


def with_what_they_are_beside(wanted: Callable[[str], bool]) -> list[Guarded]:
    """The rows that are wanted, and those that they are compared with."""
    names = {one.name for one in ROWS if wanted(one.name)}
    names |= {one.beside for one in ROWS if one.name in names and one.beside is not None}
    return [one for one in ROWS if one.name in names]


def contenders(
    rows: Sequence[Guarded], addresses: Addresses, folder: Path, connections: int
) -> Iterator[Contender]:
    """Those who are asked, one after the other.

    :param folder: where the files of requests are written.
    """
    for place, one in enumerate(rows):
        file = folder / f"guards-{place}"
        requests.write(file, one.write(addresses))
        yield Contender(one.name, one.server, partial(_ask, one.anew, file, connections))


def _ask(anew: bool, file: Path, connections: int, server: Server, seconds: float) -> Tally:
    if anew:
        return ask_bare(server, file, connections, seconds, anew=True)
    return replay_with_wrk(server.port, file, connections, seconds, LOAD_CORE)


_HEADINGS = ("guard", "req/s", "ratio", "CPU µs", "CPU ratio", "at most", "p99 ms", "errors")


def table(chosen: Sequence[Guarded], rows: Sequence[Row]) -> Table:
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

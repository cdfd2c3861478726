"""Objects of ``/v1`` beside the contract's array, on the fast way: the same addresses.

Most rows ask for the same 65,536 addresses again and again, most of which a worker keeps. The last
two ask for so many that none of them is still kept when it comes again.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import attrs

from loadgen.bench import requests
from loadgen.bench.requests import Addresses, Write
from loadgen.bench.rounds import Contender, Row, cpu_ratio, ratio
from loadgen.peers.cores import LOAD_CORE
from loadgen.peers.servers import IPQUERY, Server
from loadgen.report.tables import Table
from loadgen.report.tally import Tally
from loadgen.tools.wrk import replay_with_wrk


@attrs.frozen
class Variant:
    """What is asked for."""

    name: str
    write: Write
    aim: float | None
    """At least this ratio of rates to the array's, if any is promised."""
    ever_new: bool = False
    """Whether it is asked for addresses that don't come again soon."""


_ARRAY = Variant("the array", requests.plain, 1)
_ARRAY_EVER_NEW = Variant("the array, ever new addresses", requests.plain, 1, True)

EVER_NEW_COUNT = 400_000
"""Addresses that take longer to come round than any of them is kept."""

VARIANTS: Sequence[Variant] = (
    Variant("v1", requests.look_up_v1(b""), 0.9),
    Variant("v1, two fields", requests.look_up_v1(b"fields=country_code,city"), 0.5),
    Variant("v1, fields with network", requests.look_up_v1(b"fields=ip,network,country_code"), 0.5),
    Variant("v1, lang=en", requests.look_up_v1(b"lang=en"), 0.5),
    Variant("v1, lang=zh", requests.look_up_v1(b"lang=zh"), 0.5),
    Variant("v1, ever new addresses", requests.look_up_v1(b""), None, True),
)


def measured(variants: Sequence[Variant]) -> Sequence[Variant]:
    """Variants, each kind of addresses behind the array that is asked for them."""
    known = [one for one in variants if not one.ever_new]
    new = [one for one in variants if one.ever_new]
    return [
        *([_ARRAY, *known] if known else ()),
        *([_ARRAY_EVER_NEW, *new] if new else ()),
    ]


def contenders(
    chosen: Sequence[Variant],
    addresses: Addresses,
    ever_new: Addresses,
    folder: Path,
    connections: int,
) -> Iterator[Contender]:
    """What :func:`measured` says.

    :param folder: where the files of requests are written.
    """
    for place, variant in enumerate(chosen):
        file = folder / f"objects-{place}"
        requests.write(file, variant.write(ever_new if variant.ever_new else addresses))
        ask = _GoingOn(file, connections) if variant.ever_new else partial(_ask, file, connections)
        yield Contender(variant.name, IPQUERY, ask)


def _ask(file: Path, connections: int, server: Server, seconds: float) -> Tally:
    return replay_with_wrk(server.port, file, connections, seconds, LOAD_CORE)


@attrs.define
class _GoingOn:
    """Asks from where the turn before ended: wrk would begin with the same addresses again."""

    file: Path
    connections: int
    _place: int = attrs.field(default=0, init=False)

    def __call__(self, server: Server, seconds: float) -> Tally:
        port, place = server.port, self._place % EVER_NEW_COUNT
        found = replay_with_wrk(port, self.file, self.connections, seconds, LOAD_CORE, place=place)
        self._place += found.requests
        return found


_HEADINGS = ("asked", "req/s", "ratio", "aim", "CPU µs", "CPU ratio", "p99 ms", "errors")


def table(chosen: Sequence[Variant], rows: Sequence[Row]) -> Table:
    """What was found of :func:`contenders`."""
    arrays = {
        variant.ever_new: row
        for variant, row in zip(chosen, rows, strict=True)
        if variant in (_ARRAY, _ARRAY_EVER_NEW)
    }
    return [
        _HEADINGS,
        *(
            (
                variant.name,
                f"{row.median(lambda one: one.rate):,.0f}",
                f"{ratio(row, arrays[variant.ever_new]):.2f}",
                "" if variant.aim is None else f"{variant.aim:.2f}",
                f"{row.cpu_microseconds:.1f}",
                f"{cpu_ratio(row, arrays[variant.ever_new]):.2f}",
                f"{row.median(lambda one: one.p99) * 1e3:.2f}",
                str(row.errors),
            )
            for variant, row in zip(chosen, rows, strict=True)
        ),
    ]

"""Objects of ``/v1`` beside the contract's array, on the fast way: the same addresses."""

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
    aim: float
    """At least this ratio of rates to the array's."""


_ARRAY = Variant("the array", requests.plain, 1)

VARIANTS: Sequence[Variant] = (
    Variant("v1", requests.look_up_v1(b""), 0.9),
    Variant("v1, two fields", requests.look_up_v1(b"fields=country_code,city"), 0.5),
    Variant("v1, fields with network", requests.look_up_v1(b"fields=ip,network,country_code"), 0.5),
    Variant("v1, lang=en", requests.look_up_v1(b"lang=en"), 0.5),
    Variant("v1, lang=zh", requests.look_up_v1(b"lang=zh"), 0.5),
)


def contenders(
    variants: Sequence[Variant], addresses: Addresses, folder: Path, connections: int
) -> Iterator[Contender]:
    """The array, and then each variant.

    :param folder: where the files of requests are written.
    """
    for place, variant in enumerate([_ARRAY, *variants]):
        file = folder / f"objects-{place}"
        requests.write(file, variant.write(addresses))
        yield Contender(variant.name, IPQUERY, partial(_ask, file, connections))


def _ask(file: Path, connections: int, server: Server, seconds: float) -> Tally:
    return replay_with_wrk(server.port, file, connections, seconds, LOAD_CORE)


_HEADINGS = ("asked", "req/s", "ratio", "aim", "CPU µs", "CPU ratio", "p99 ms", "errors")


def table(variants: Sequence[Variant], rows: Sequence[Row]) -> Table:
    """What was found of :func:`contenders`."""
    array = rows[0]
    return [
        _HEADINGS,
        *(
            (
                variant.name,
                f"{row.median(lambda one: one.rate):,.0f}",
                f"{ratio(row, array):.2f}",
                f"{variant.aim:.2f}",
                f"{row.cpu_microseconds:.1f}",
                f"{cpu_ratio(row, array):.2f}",
                f"{row.median(lambda one: one.p99) * 1e3:.2f}",
                str(row.errors),
            )
            for variant, row in zip([_ARRAY, *variants], rows, strict=True)
        ),
    ]

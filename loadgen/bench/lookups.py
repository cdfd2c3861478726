"""What a look-up takes inside a process: find and finder, kept and not kept, IPv4 and IPv6.

    python -m loadgen.bench.lookups [DB]

Nothing is asserted: it is for comparing layouts and databases, one after the other on the
same machine. Processor time counts, and of all rounds the best, as whatever disturbs makes
them slower only.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from ipquery import Snapshot
from loadgen.bench.requests import draw_addresses
from loadgen.cli.parameters import snapshot_of
from loadgen.report.tables import columns
from loadgen.send.addresses import ZIPF_POPULATION, random_of, zipf

_COUNT = 50_000
_HOT = 1000


@attrs.frozen
class Traffic:
    """Addresses that have a record, in the order in which they are asked for."""

    name: str
    addresses: Sequence[bytes]


@attrs.frozen
class Row:
    """The best of all rounds, in nanoseconds of processor time for a look-up."""

    traffic: str
    look_up: str
    first: float
    """Nothing is kept when the round begins."""
    again: float
    """The same addresses a second time."""


def traffic(path: Path) -> Iterator[Traffic]:
    """What is asked for; the same for the same database."""
    chance = random_of(1)
    with Snapshot(path) as snapshot:
        known = draw_addresses(snapshot, ZIPF_POPULATION)
        for version, population in (("IPv4", known.v4), ("IPv6", known.v6)):
            if not population:
                continue
            hot = chance.integers(0, _HOT, _COUNT).tolist()
            yield Traffic(f"{version}, {_HOT} of them", [population[k] for k in hot])
            yield Traffic(f"{version}, Zipf", zipf(chance, 1.0, population)(_COUNT))
            yield Traffic(f"{version}, uniform", population[:_COUNT])


def _nanoseconds(look_up: Callable[[Any], Any], addresses: Sequence[Any]) -> float:
    begun = time.thread_time_ns()
    for address in addresses:
        look_up(address)
    return (time.thread_time_ns() - begun) / len(addresses)


def measure(path: Path, rounds: int) -> list[Row]:
    """Measure everything.

    :param path: a snapshot.
    """
    best: dict[tuple[str, str], tuple[float, float]] = {}
    asked = list(traffic(path))
    for _ in range(rounds):
        for one in asked:
            texts = [address.decode() for address in one.addresses]
            # Open anew: nothing is kept.
            with Snapshot(path, verify=False) as snapshot:
                for name, look_up, addresses in (
                    ("find", snapshot.find, texts),
                    ("finder", snapshot.finder(lambda answer: answer), one.addresses),
                ):
                    first = _nanoseconds(look_up, addresses)
                    again = _nanoseconds(look_up, addresses)
                    known = best.get((one.name, name), (first, again))
                    best[one.name, name] = min(first, known[0]), min(again, known[1])
    return [Row(*key, *figures) for key, figures in best.items()]


@click.command()
@click.option("--rounds", default=9, show_default=True, help="Turns that each gets.")
@click.argument("db", default="default")
def main(rounds: int, db: str) -> None:
    """Measure look-ups in DB, a snapshot or SOURCE."""
    path = snapshot_of(db)
    assert path is not None
    table = [["ns a look-up", "", "first", "again"]]
    for row in measure(Path(path), rounds):
        table.append([row.traffic, row.look_up, f"{row.first:,.0f}", f"{row.again:,.0f}"])
    click.echo(columns(table))


if __name__ == "__main__":
    main()

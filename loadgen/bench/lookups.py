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
from ipquery.address import to_text
from loadgen.cli.parameters import snapshot_of
from loadgen.report.tables import columns
from loadgen.send.addresses import ZIPF_POPULATION, Random, random_of, uniform_v4, zipf

_COUNT = 50_000
_HOT = 1000
# One in so many of the IPv6 ranges is enough to draw from.
_EVERY = 37


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


def _known_v4(snapshot: Snapshot, chance: Random, count: int) -> list[bytes]:
    draw = uniform_v4(chance)
    known: list[bytes] = []
    while len(known) < count:
        known += [ip for ip in draw(count) if snapshot.find(ip.decode())]
    return known[:count]


def _known_v6(snapshot: Snapshot, chance: Random, count: int) -> list[bytes]:
    """Most of the space is nobody's, so each range is as likely as the other."""
    ranges = [
        (first, last)
        for place, (first, last, number) in enumerate(snapshot.ranges(6))
        if number and place % _EVERY == 0
    ]
    if not ranges:
        return []
    chosen = chance.integers(0, len(ranges), count).tolist()
    offsets = chance.random(count).tolist()
    return [
        to_text(6, first + int(offset * (last - first))).encode()
        for (first, last), offset in zip((ranges[k] for k in chosen), offsets, strict=True)
    ]


def traffic(path: Path) -> Iterator[Traffic]:
    """What is asked for; the same for the same database."""
    chance = random_of(1)
    with Snapshot(path) as snapshot:
        for version, known in (("IPv4", _known_v4), ("IPv6", _known_v6)):
            population = known(snapshot, chance, ZIPF_POPULATION)
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
                    ("finder", snapshot.finder(carrying), one.addresses),
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

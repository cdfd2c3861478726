"""``ipquery diff``."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from ipquery.cli.group import load_config, snapshot_of, with_config
from ipquery.cli.text import padded, printable, rows, wrapped
from ipquery.data.record import DataError

if TYPE_CHECKING:
    from ipquery.data.snapshot.diff import Change, Diff, Example, VersionDiff

_COUNTRIES = 10
_OF_COUNTRIES = ("country", "province", "city", "coordinates", "isp", "asn")
"""The levels that are told of each country."""

# Widths of tables: 79 columns with six numbers.
_LEVELS_WIDTHS = (13, 11)
_COUNTRIES_WIDTHS = (7, 12)


@click.command("diff")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@with_config
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
def diff_command(as_json: bool, config_path: Path | None, old: str, new: str) -> None:
    """Tell what changes when a database takes the place of another.

    OLD and NEW are snapshots, or SOURCEs. Shares are of the addresses for which OLD knows
    a level; of IPv6 only those of 2000:: to 2cff:: count, as the rest is nobody's. Names
    are compared by their codes: another spelling is a change of the answer only.
    """
    # Here, so that numpy is loaded by those who need it: it takes as long as a look-up.
    from ipquery.data.snapshot.diff import diff

    config = load_config(config_path)
    paths = [snapshot_of(config, [database]) for database in (old, new)]
    try:
        found = diff(*paths)
    except OSError as error:
        raise DataError(f"{error.filename}: can't read this snapshot: {error.strerror}") from None
    if as_json:
        click.echo(json.dumps(attrs.asdict(found), ensure_ascii=False))
        return
    for line in _lines(found, old, new):
        click.echo(line)


def _lines(found: "Diff", old: str, new: str) -> Iterator[str]:
    for label, name, identity in (("old", old, found.old), ("new", new, found.new)):
        yield f"{label}  {printable(name)} ({identity[:16]})"
    for version, space in (("IPv4", found.ipv4), ("IPv6", found.ipv6)):
        yield ""
        answer = space.levels["answer"]
        if not (answer.changed.ranges or answer.lost.ranges or answer.gained.ranges):
            yield f"{version}: nothing changes"
            continue
        yield from _levels(version, space)
        yield from _countries(version, space)
        yield from _examples(version, space)


def _row(label: str, cells: Sequence[str], widths: tuple[int, int]) -> str:
    first, others = widths
    return padded(wrapped(label, first)[0], first) + "".join(cell.rjust(others) for cell in cells)


def _share(addresses: int, change: "Change") -> str:
    if not change.known_before:
        return "new" if addresses else "-"
    share = addresses / change.known_before
    # What is more than nothing doesn't look like nothing.
    return "< 0.01 %" if 0 < share < 0.00005 else f"{share:.2%}".replace("%", " %")


def _levels(version: str, space: "VersionDiff") -> Iterator[str]:
    titles = ["changed", "ranges", "lost", "ranges", "gained", "ranges"]
    yield _row(version, titles, _LEVELS_WIDTHS)
    for level, change in space.levels.items():
        amounts = (change.changed, change.lost, change.gained)
        cells = [(_share(one.addresses, change), f"{one.ranges:,}") for one in amounts]
        yield _row(level, [text for pair in cells for text in pair], _LEVELS_WIDTHS)


def _countries(version: str, space: "VersionDiff") -> Iterator[str]:
    """Those in which most addresses change; "?" is where no country is known."""
    moved = {
        country: sum(_moved(changes[level]) for level in _OF_COUNTRIES)
        for country, changes in space.countries.items()
    }
    most = [country for country in sorted(moved, key=lambda c: -moved[c]) if moved[country]]
    if not most:
        return
    yield ""
    yield f"{version}, changed or lost in the countries where most addresses are"
    yield _row("", _OF_COUNTRIES, _COUNTRIES_WIDTHS)
    for country in most[:_COUNTRIES]:
        changes = space.countries[country]
        shares = [_share(_moved(changes[level]), changes[level]) for level in _OF_COUNTRIES]
        yield _row(printable(country) or "?", shares, _COUNTRIES_WIDTHS)


def _moved(change: "Change") -> int:
    return change.changed.addresses + change.lost.addresses


def _examples(version: str, space: "VersionDiff") -> Iterator[str]:
    if not any(space.examples.values()):
        return
    yield ""
    yield f"{version}, the changes that most addresses share"
    for level, examples in space.examples.items():
        if examples:
            yield f"  {level}"
        seen: set[tuple[bool, bool]] = set()
        for example in examples:
            kind = example.old is None, example.new is None
            # Of what is lost or gained one is enough here.
            if kind not in seen or not any(kind):
                yield from _example(example)
            seen.add(kind)


def _example(example: "Example") -> Iterator[str]:
    old, new = (
        "unknown" if text is None else printable(text) for text in (example.old, example.new)
    )
    ranges = f"{example.amount.ranges:,} range{'s' if example.amount.ranges > 1 else ''}"
    where = f"{ranges}; {example.first} - {example.last}"
    for line in rows((f"{old} -> {new}", where), (34, 40)):
        yield f"    {line}"

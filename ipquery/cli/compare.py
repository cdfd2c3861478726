"""``ipquery compare``."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from ipquery.cli.compare_page import page
from ipquery.cli.group import load_config, sources_of, with_config
from ipquery.cli.shares import (
    FIELD_NAMES,
    LEVELS,
    base_of,
    chosen_countries,
    distance,
    letter,
    pair_name,
    percent,
)
from ipquery.cli.text import padded, printable, wrapped
from ipquery.data import build
from ipquery.data.record import DataError
from ipquery.data.sources import Source
from ipquery.progress import reporter

_WIDTH = 80
_LABEL, _NUMBER = 24, 13
# Of each pair and level; --json and --html have more.
_DISAGREEMENTS = 3

_VERSIONS = {"ipv4": "IPv4", "ipv6": "IPv6"}


@click.command("compare")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option(
    "--html",
    "html",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a page with plots, which needs nothing else and fits a phone.",
)
@click.option(
    "--country",
    "countries",
    metavar="CODE",
    multiple=True,
    help="Tell the coverage of this country, ISO 3166-1; may be given several times. "
    "Without it, of those with most addresses.",
)
@with_config
@click.argument("sources", metavar="SOURCE...", nargs=-1)
def compare_command(
    as_json: bool,
    html: Path | None,
    countries: Sequence[str],
    config_path: Path | None,
    sources: Sequence[str],
) -> None:
    """Tell what databases know, where they agree, and where not.

    Each SOURCE by itself; one may be a snapshot. Without any, those of the configuration,
    or of the default database. Counted are all public addresses; agreement is by meaning,
    so that China and 中国 are the same.
    """
    config = load_config(config_path)
    named = named_apart(sources_of(config, sources))
    found = build.compare(named, reporter(sys.stderr), config.build_limits)
    wanted = [code.upper() for code in countries]
    if html is not None:
        try:
            html.write_text(page(found, wanted), "utf-8")
        except OSError as error:
            raise DataError(f"{html}: can't write this page: {error.strerror}") from None
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    elif html is None:
        for line in _lines(found, wanted):
            click.echo(line)


def named_apart(sources: Sequence[Source]) -> list[Source]:
    """Editions of one database are told apart by date, two files of one name by path."""
    named = list(sources)
    for tell in (lambda source: source.date, lambda source: source.path):
        names = [source.name for source in named]
        named = [
            attrs.evolve(source, name=f"{source.name} ({tell(source)})")
            if names.count(source.name) > 1 and tell(source)
            else source
            for source in named
        ]
    return named


def _lines(found: Mapping[str, Any], countries: Sequence[str]) -> Iterator[str]:
    for number, source in enumerate(found["sources"]):
        facts = (source["format"], source["date"] or "date unknown")
        yield from _beside(letter(number), f"{printable(source['name'])} ({', '.join(facts)})")
        yield from _beside("", printable(source["attribution"] or "attribution not stated"))
    for version, shown in _VERSIONS.items():
        space = found[version]
        if not space["known"]:
            continue
        yield ""
        yield _head(version, shown, space)
        yield ""
        yield from _coverage(version, space)
        yield from _countries(space, countries)
        yield from _agreement(space)
        yield from _disagreements(version, space)


def _head(version: str, shown: str, space: Mapping[str, Any]) -> str:
    if version == "ipv4":
        return f"{shown}: shares are of all {space['public']:,} public addresses"
    return f"{shown}: shares are of the public addresses that at least one knows"


def _beside(label: str, text: str) -> Iterator[str]:
    for number, line in enumerate(wrapped(text, _WIDTH - 3)):
        yield f"{padded('' if number else label, 3)}{line}"


def _row(label: str, cells: Sequence[str]) -> str:
    first = wrapped(label, _LABEL - 1)[0]
    return (padded(first, _LABEL) + "".join(cell.rjust(_NUMBER) for cell in cells)).rstrip()


def _coverage(version: str, space: Mapping[str, Any]) -> Iterator[str]:
    sources, base = space["coverage"], base_of(version, space)
    yield _row("known", [letter(number) for number in range(len(sources))])
    for field, name in FIELD_NAMES.items():
        counts = [source["whole"]["known"][field] for source in sources]
        if any(count["addresses"] for count in counts):
            yield _row(name, [percent(count["addresses"], base) for count in counts])
    yield _row("ranges", [f"{source['whole']['all']['ranges']:,}" for source in sources])


_OF_COUNTRIES = ("province", "city", "coordinates", "owner")


def _countries(space: Mapping[str, Any], wanted: Sequence[str]) -> Iterator[str]:
    codes = chosen_countries(space, wanted)
    if not codes:
        return
    yield ""
    yield _row(
        "known, by country", [FIELD_NAMES[field].rsplit(" ", 1)[-1] for field in _OF_COUNTRIES]
    )
    for code in codes:
        for number, source in enumerate(space["coverage"]):
            place = source["countries"].get(code)
            if place is None:
                continue
            count = place["all"]["addresses"]
            shares = [percent(place["known"][f]["addresses"], count) for f in _OF_COUNTRIES]
            yield _row(f"{printable(code)} by {letter(number)}", shares)


def _agreement(space: Mapping[str, Any]) -> Iterator[str]:
    pairs = [pair for pair in space["pairs"] if pair["levels"]["country"]["both"]]
    if not pairs:
        return
    yield ""
    yield _row("agree, where both know", [*LEVELS, "median", "p90"])
    for pair in pairs:
        levels = [pair["levels"][level] for level in LEVELS]
        shares = [percent(level["same"], level["told"]) for level in levels]
        apart = [distance(pair["distance"][name]) for name in ("median", "p90")]
        yield _row(pair_name(pair), [*shares, *apart])


def _disagreements(version: str, space: Mapping[str, Any]) -> Iterator[str]:
    base = base_of(version, space)
    for pair in space["pairs"]:
        for level in LEVELS:
            largest = pair["levels"][level]["disagreements"][:_DISAGREEMENTS]
            if largest:
                yield ""
                yield f"{pair_name(pair)} disagree on the {level}"
            for one in largest:
                example = one["examples"][0]
                said = f"{printable(one['left'])} | {printable(one['right'])}"
                where = f"{example['first']} - {example['last']}"
                lines = wrapped(f"{said}; {where}", _WIDTH - _NUMBER)
                for number, line in enumerate(lines):
                    share = "" if number else percent(one["addresses"], base)
                    yield f"{share.rjust(_NUMBER - 2)}  {line}"

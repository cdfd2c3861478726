"""``ipquery info``."""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ipquery.cli.group import load_config, open_databases, with_config
from ipquery.data.update.age import dated, outdated


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@with_config
@click.argument("db", metavar="[DB]", required=False)
def info(as_json: bool, config_path: Path | None, db: str | None) -> None:
    """Tell what a database holds: sources, dates, licences, counts, coverage.

    Without DB, and without databases in the configuration, the default one.
    """
    today = datetime.datetime.now(datetime.UTC).date()
    with open_databases(load_config(config_path), [db] if db else []) as snapshot:
        about = {"identity": snapshot.identity, **snapshot.about}
    if as_json:
        click.echo(json.dumps(about, ensure_ascii=False, indent=2))
    else:
        for line in _describe(about, today):
            click.echo(line)
    for line in outdated(about["sources"], today):
        click.echo(f"Warning: {line}", err=True)


def _describe(about: dict[str, Any], today: datetime.date) -> Iterator[str]:
    for label, value in _facts(about, today):
        yield f"{label:<15}{value}" if label else ""


def _facts(about: dict[str, Any], today: datetime.date) -> Iterator[tuple[str, str]]:
    yield "snapshot", about["identity"]
    for source in about["sources"]:
        yield "", ""
        yield "source", f"{source['name']} ({source['format']}, {source['bytes']:,} bytes)"
        yield "date", dated(source["date"], today)
        yield "licence", source["licence"] or "not stated"
        yield "attribution", source["attribution"] or "not stated"
        yield "ranges", _pair(source["ranges"])
        yield "records", f"{source['records']:,}"
    yield "", ""
    yield (
        "answers",
        f"{about['answers']:,} different ones, of {about['places']:,} places and "
        f"{about['owners']:,} owners",
    )
    yield "ranges", _pair(about["ranges"])
    for version, bits in (("ipv4", 32), ("ipv6", 128)):
        yield "coverage", f"{about['addresses'][version] / 2**bits:.2%} of {_VERSIONS[version]}"
    for field, share in about["codes"].items():
        where = "" if field == "country" else " in China"
        named = share["named"]
        part = f"{share['coded'] / named:.2%}" if named else "none"
        yield (
            f"{field} code",
            f"{part} of the {named:,} ranges that name one, of {share['ranges']:,}{where}",
        )


_VERSIONS = {"ipv4": "IPv4", "ipv6": "IPv6"}


def _pair(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {_VERSIONS[version]}" for version, count in counts.items())

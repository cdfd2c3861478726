"""``ipquery explain``."""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ipquery.address import parse
from ipquery.cli.group import load_config, sources_of, with_config
from ipquery.cli.text import printable, rows
from ipquery.data import build
from ipquery.data.record import DataError
from ipquery.progress import reporter

# Narrower, a word wouldn't fit its column; wider, the eye loses the line.
_NARROWEST, _WIDEST = 60, 120
_INDENT = "  "
_LEVEL, _SOURCE, _GAP = 8, 16, 2


@click.command("explain")
@click.option(
    "--db",
    "databases",
    metavar="DB",
    multiple=True,
    help="A SOURCE; may be given several times. Not a snapshot.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of text.")
@with_config
@click.argument("addresses", metavar="IP...", nargs=-1, required=True)
def explain_command(
    databases: Sequence[str], as_json: bool, config_path: Path | None, addresses: Sequence[str]
) -> None:
    """Explain answers: what each source says, what was chosen, and why.

    By level: country, province, city with all that is finer, org, ISP, AS. The databases
    are read for it, as in a build.
    """
    for address in addresses:
        try:
            parse(address)
        except ValueError as error:
            raise DataError(str(error)) from None
    config = load_config(config_path)
    found = build.explain(
        sources_of(config, databases),
        addresses,
        reporter(sys.stderr),
        config.codes,
        config.build_limits,
        config.blend,
    )
    width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
    for number, document in enumerate(found):
        if as_json:
            click.echo(json.dumps(document, ensure_ascii=False))
            continue
        for line in _lines(document, width, number > 0):
            click.echo(line)


def _lines(document: Mapping[str, Any], width: int, gap: bool) -> Iterator[str]:
    if gap:
        yield ""
    yield document["ip"]
    for level, decision in document["levels"].items():
        answer = _fields(decision["answer"]) or "not known"
        source = decision["from"]
        said = answer if source is None else f"{answer}, from {printable(source)}"
        yield ""
        yield from rows((level, said), (_LEVEL, width - _LEVEL - _GAP))
        if any(one["says"] for one in decision["said"]):
            yield from _table(decision["said"], width)


def _table(said: Sequence[Mapping[str, Any]], width: int) -> Iterator[str]:
    free = width - len(_INDENT) - _SOURCE - 2 * _GAP
    words = free * 3 // 5
    for one in said:
        cells = (printable(one["source"]), _fields(one["says"]) or "-", one["outcome"])
        for line in rows(cells, (_SOURCE, words, free - words)):
            yield _INDENT + line


def _fields(fields: Mapping[str, Any]) -> str:
    """Values that need no label, and those that do with it."""
    return ", ".join(
        f"{_LABELS.get(name, '')}{printable(str(value))}{_UNITS.get(name, '')}"
        for name, value in fields.items()
    )


_LABELS = {"postal_code": "postal code ", "asn": "AS"}
_UNITS = {"accuracy_radius": " km"}

"""``ipquery report``."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from ipquery.cli.group import load_config, open_databases, with_config, with_databases
from ipquery.cli.report_page import TABLES, country_name, page, rest, summary
from ipquery.cli.rows import open_inputs, showing, with_processes, with_rows_format
from ipquery.cli.shares import percent
from ipquery.cli.text import padded, printable, wrapped

_WIDTH = 80
_COUNT, _SHARE = 15, 11
_NAME = _WIDTH - _COUNT - _SHARE

_LEVELS = "▁▂▃▄▅▆▇█"
_COLUMNS = 56


@click.command("report")
@with_databases
@with_config
@with_rows_format
@click.option(
    "--time",
    "time_column",
    metavar="NAME",
    help="Where the time is, likewise: seconds since 1970, ISO 8601, or as in access logs, which "
    "have it without being told.",
)
@click.option(
    "--top",
    metavar="N",
    type=click.IntRange(1, 100_000),
    default=10,
    show_default=True,
    help="How many countries, provinces and so on to name.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option(
    "--html",
    "html",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Write a page with plots, which needs nothing else and fits a phone.",
)
@with_processes
@click.argument("files", metavar="FILE...", nargs=-1, type=click.Path(path_type=Path))
def report_command(
    databases: Sequence[str],
    config_path: Path | None,
    format_: str | None,
    column: str | None,
    time_column: str | None,
    log_format: str | None,
    no_header: bool,
    top: int,
    as_json: bool,
    html: Path | None,
    processes: int,
    files: Sequence[Path],
) -> None:
    """Tell where the requests of a log or a table come from, and when.

    FILEs, or standard input, are read as `enrich` reads them. Each row with an address is a
    request: counted are those of countries, provinces, cities, providers, networks (AS numbers)
    and kinds of addresses, and over time, which is UTC.
    """
    # Here, so that numpy is loaded by those who need it: it takes as long as a look-up.
    from ipquery.data.enrich.options import options_for
    from ipquery.data.enrich.output import opened
    from ipquery.data.traffic.job import count

    options = options_for(format_, column, log_format, header=not no_header)
    options = attrs.evolve(options, fields=())
    with contextlib.ExitStack() as stack:
        output = None if html is None else stack.enter_context(opened(html, 0, replace=True))
        inputs = stack.enter_context(open_inputs(files))
        snapshot = stack.enter_context(open_databases(load_config(config_path), databases))
        with showing(inputs) as show:
            found = count(snapshot, inputs, options, time_column, top, show, processes)
        if output is not None:
            output.write(page(found).encode())
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    elif html is None:
        for line in _lines(found):
            click.echo(line)


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for fact in summary(found):
        yield from wrapped(fact, _WIDTH)
    if found["time"] is not None and found["time"]["starts"]:
        yield from _over_time(found["time"])
    yield from _rankings(found)
    yield ""
    for source in found["sources"]:
        text = source["attribution"] or "attribution not stated"
        yield from wrapped(f"{printable(source['name'])}: {printable(text)}", _WIDTH)


def _rankings(found: Mapping[str, Any]) -> Iterator[str]:
    whole = found["addresses"]
    for key, title, name_of in TABLES:
        ranking = found[key]
        if not ranking["top"]:
            continue
        yield ""
        yield _row(title, "requests", "share")
        for one in ranking["top"]:
            yield _row(name_of(one), f"{one['requests']:,}", percent(one["requests"], whole))
        for name, requests in rest(ranking):
            yield _row(name, f"{requests:,}", percent(requests, whole))
    if found["kinds"]:
        yield ""
        yield _row("kind of address", "requests", "share")
        for one in found["kinds"]:
            yield _row(one["kind"], f"{one['requests']:,}", percent(one["requests"], whole))


def _row(name: str, count: str, share: str) -> str:
    first, *more = wrapped(printable(name), _NAME - 2)
    text = padded(f"{first}…" if more else first, _NAME)
    return f"{text}{count.rjust(_COUNT)}{share.rjust(_SHARE)}"


def _over_time(time: Mapping[str, Any]) -> Iterator[str]:
    """A line of bars for all requests, and for each country; each has its own scale."""
    yield ""
    yield f"from {time['first']} to {time['last']}"
    series = [("all", time["requests"])]
    series += ((country_name(one), one["requests"]) for one in time["countries"])
    for name, requests in series:
        first = wrapped(printable(name), _WIDTH - _COLUMNS - 2)[0]
        yield f"{padded(first, _WIDTH - _COLUMNS)}{_bars(requests)}".rstrip()


def _bars(counts: Sequence[int]) -> str:
    together = -(-len(counts) // _COLUMNS)
    sums = [sum(counts[at : at + together]) for at in range(0, len(counts), together)]
    most = max(sums)
    return "".join(_LEVELS[-(-one * 8 // most) - 1] if one else " " for one in sums)

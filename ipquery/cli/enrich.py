"""``ipquery enrich``."""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ipquery.cli.group import load_config, snapshot_of, with_config
from ipquery.cli.rate import position_of, shown
from ipquery.data.record import DataError
from ipquery.data.snapshot import Snapshot

FORMATS = ("csv", "tsv", "combined", "json", "parquet")
"""As :data:`ipquery.data.enrich.options.FORMATS`, which isn't loaded for the others' sake."""

_SOME_ARE_BAD = 3
_STANDARD_OUTPUT = 1


@click.command("enrich")
@click.option(
    "--db",
    "databases",
    metavar="DB",
    multiple=True,
    help="A snapshot, or a SOURCE; may be given several times.",
)
@with_config
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="Without it, what the content looks like. combined is an access log, json an object a "
    "line.",
)
@click.option(
    "--column",
    metavar="NAME",
    help="Where the address is: a column (ip), a path in JSON (client.ip; ip), or a variable of a "
    "log format (remote_addr).",
)
@click.option(
    "--log-format", metavar="STRING", help="What log lines are made of, as nginx's log_format."
)
@click.option("--no-header", is_flag=True, help="The first line of a csv or tsv is no header.")
@click.option(
    "--fields",
    metavar="FIELD,...",
    default="",
    help="The fields to add, by the names that `lookup --json` has. Without it country_code, "
    "province, city, isp and asn.",
)
@click.option("--prefix", help="What their names begin with: ip_ without it.")
@click.option("--nested", metavar="NAME", help="In JSON, add them as members of this object.")
@click.option(
    "--anonymise",
    is_flag=True,
    help="Put the prefix in the place of the address: /24 of IPv4, /48 of IPv6.",
)
@click.option(
    "-o",
    "out",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="The file to write instead of standard output; it appears when all is well.",
)
@click.option("--replace", is_flag=True, help="Replace OUT if there is one.")
@click.option(
    "-j",
    "processes",
    metavar="N",
    type=click.IntRange(1, 1024),
    help="Processes that work on it; as many as there are cores without it.",
)
@click.argument("files", metavar="FILE...", nargs=-1, type=click.Path(path_type=Path))
def enrich_command(
    databases: Sequence[str],
    config_path: Path | None,
    format_: str | None,
    column: str | None,
    log_format: str | None,
    no_header: bool,
    fields: str,
    prefix: str | None,
    nested: str | None,
    anonymise: bool,
    out: Path | None,
    replace: bool,
    processes: int | None,
    files: Sequence[Path],
) -> None:
    """Add what is known about addresses to logs and tables.

    FILEs, or standard input, plain or compressed (gzip, bzip2, xz, zstd), come out in their
    order, with fields added to each row, and behind them ok, unknown (no record) or bad
    (no address). The exit status is 0 if all were addresses, 3 if some weren't or rows had another
    form, and 1 if it couldn't be done.
    """
    # Here, so that numpy is loaded by those who need it: it takes as long as a look-up.
    from ipquery.data.enrich.inputs import Input
    from ipquery.data.enrich.job import run
    from ipquery.data.enrich.options import options_for
    from ipquery.data.enrich.output import opened

    named = [name.strip() for name in fields.split(",") if name.strip()]
    options = options_for(
        format_, column, log_format, named, prefix, nested, not no_header, anonymise
    )
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(opened(out, _STANDARD_OUTPUT, replace))
        inputs = [
            stack.enter_context(Input(None if path == Path("-") else path))
            for path in files or [Path("-")]
        ]
        path = _verified(snapshot_of(load_config(config_path), databases))
        show = stack.enter_context(
            shown(
                sys.stderr,
                lambda: position_of([one.size for one in inputs], [one.position for one in inputs]),
            )
        )
        totals = run(
            path, inputs, options, output, processes or _cores(), lambda so_far: show(so_far.rows)
        )
    if totals.bad or totals.odd:
        parts = [f"{totals.bad:,} without an address"] if totals.bad else []
        parts += [f"{totals.odd:,} of another form"] if totals.odd else []
        click.echo(f"Note: of {totals.rows:,} rows, {' and '.join(parts)}", err=True)
        raise SystemExit(_SOME_ARE_BAD)


def _verified(path: Path) -> Path:
    """A snapshot of which those who work needn't look at the checksum.

    :raises DataError: it can't be used.
    """
    try:
        Snapshot(path).close()
    except OSError as error:
        raise DataError(f"{path}: can't read this snapshot: {error.strerror}") from None
    return path


def _cores() -> int:
    return len(os.sched_getaffinity(0))

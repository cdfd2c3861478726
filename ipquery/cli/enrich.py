"""``ipquery enrich``."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import click

from ipquery.cli.group import load_config, open_databases, with_config, with_databases
from ipquery.cli.rows import open_inputs, showing, with_processes, with_rows_format

_SOME_ARE_BAD = 3
_STANDARD_OUTPUT = 1


@click.command("enrich")
@with_databases
@with_config
@with_rows_format
@click.option(
    "--fields",
    metavar="FIELD,...",
    default="",
    help="The fields to add, by the names that lookup prints, of which network, first and last "
    "can be added, too. Without it country_code, province, city, isp and asn.",
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
@with_processes
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
    processes: int,
    files: Sequence[Path],
) -> None:
    """Add what is known about addresses to logs and tables.

    FILEs, or standard input, plain or compressed (gzip, bzip2, xz, zstd), come out in their
    order, with fields added to each row, and behind them ok, unknown (no record) or bad
    (no address). The exit status is 0 if all were addresses, 3 if some weren't or rows had another
    form, and 1 if it couldn't be done.
    """
    # Here, so that numpy is loaded by those who need it: it takes as long as a look-up.
    from ipquery.data.enrich.job import run
    from ipquery.data.enrich.options import options_for
    from ipquery.data.enrich.output import opened

    named = [name.strip() for name in fields.split(",") if name.strip()]
    options = options_for(
        format_, column, log_format, named, prefix, nested, not no_header, anonymise
    )
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(opened(out, _STANDARD_OUTPUT, replace))
        inputs = stack.enter_context(open_inputs(files))
        # Verified here: those who work needn't look at its checksum.
        with open_databases(load_config(config_path), databases) as snapshot:
            path = snapshot.path
        show = stack.enter_context(showing(inputs))
        totals = run(path, inputs, options, output, processes, lambda so_far: show(so_far.rows))
    if totals.bad or totals.odd:
        parts = [f"{totals.bad:,} without an address"] if totals.bad else []
        parts += [f"{totals.odd:,} of another form"] if totals.odd else []
        click.echo(f"Note: of {totals.rows:,} rows, {' and '.join(parts)}", err=True)
        raise SystemExit(_SOME_ARE_BAD)

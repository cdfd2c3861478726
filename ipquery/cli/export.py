"""``ipquery export``."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ipquery.cli.group import load_config, snapshot_of, with_config
from ipquery.data.export.mmdb_shapes import SHAPES
from ipquery.data.export.options import FORMATS, options_for
from ipquery.progress import reporter


@click.command("export")
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    required=True,
    help="mmdb for all that reads GeoIP2, csv, parquet (ipquery[bulk]), a file to include for "
    "nginx, a map for HAProxy's map_ip, or a dictionary for ClickHouse.",
)
@click.option(
    "-o",
    "out",
    metavar="OUT",
    required=True,
    type=click.Path(path_type=Path),
    help="The file to write; it appears when all is well.",
)
@click.option("--replace", is_flag=True, help="Replace OUT if there is one.")
@click.option(
    "--fields",
    metavar="FIELD,...",
    default="",
    help="The fields to tell, by the names that `lookup --json` has. Without it all that the "
    "format has a place for; nginx and haproxy hold one, country_code.",
)
@click.option(
    "--shape",
    type=click.Choice(SHAPES),
    help="What records of an mmdb look like: GeoIP2's (the default), or fields by their names.",
)
@click.option(
    "--database-type",
    metavar="TYPE",
    help="What an mmdb calls itself, ipquery-City or ipquery; some libraries want GeoIP2-City.",
)
@click.option("--prefixes", is_flag=True, help="In csv: prefixes instead of ranges.")
@with_config
@click.argument("sources", metavar="SOURCE...", nargs=-1)
def export_command(
    format_: str,
    out: Path,
    replace: bool,
    fields: str,
    shape: str | None,
    database_type: str | None,
    prefixes: bool,
    config_path: Path | None,
    sources: Sequence[str],
) -> None:
    """Write databases in a format that others read.

    SOURCEs are blended, as by `build`; one may be a snapshot. Without any, the
    configuration's, or the default database. For ClickHouse, prints the statement that makes
    a dictionary of the file.
    """
    # Here, so that numpy is loaded by those who need it: it takes as long as a look-up.
    from ipquery.data.export.clickhouse import statement
    from ipquery.data.export.job import opened

    named = [name.strip() for name in fields.split(",") if name.strip()]
    options = options_for(format_, named, shape, database_type, prefixes)
    config = load_config(config_path)
    with opened(out, format_, options, replace) as target:
        size = target.fill(snapshot_of(config, sources), reporter(sys.stderr))
    click.echo(f"{out}: {size:,} bytes", err=True)
    if format_ == "clickhouse":
        for line in statement(out, options):
            click.echo(line)

"""``ipquery check``."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipquery.cli.group import load_config, with_config
from ipquery.cli.text import printable
from ipquery.config import Config, ConfigError
from ipquery.fleet.start import warnings
from ipquery.progress import reporter

if TYPE_CHECKING:
    from ipquery.check import Findings


@click.command("check")
@click.option(
    "--quick",
    is_flag=True,
    help="Only recognise database files, don't read them: damage deep inside isn't seen.",
)
@with_config
def check_command(config_path: Path | None, quick: bool) -> None:
    """Say what a start or reload would refuse, without starting.

    A line for each problem, and exit status 1; "ok" and what would be served if there is
    none. The snapshot is built, as by a start, and kept in the cache folder, where the start
    finds it. Run it as the service's user, with the service's environment.
    """
    # Here, so that names of countries are loaded by those who need them.
    from ipquery.check import check

    try:
        config = load_config(config_path)
    except ConfigError as error:
        click.echo(printable(str(error)))
        raise SystemExit(1) from None
    found = check(config, reporter(sys.stderr), quick)
    for note in (*warnings(config, time.time()), *found.notes):
        click.echo(f"Note: {printable(note)}", err=True)
    for problem in found.problems:
        click.echo(printable(problem))
    if found.problems:
        raise SystemExit(1)
    click.echo(_summary(config, found))


def _summary(config: Config, found: "Findings") -> str:
    binds = ", ".join(map(str, config.binds))
    sources = ", ".join(
        f"{source.name} ({known})"
        for source, known in zip(config.databases, found.formats, strict=True)
    )
    read = "recognised, not read" if found.snapshot is None else found.snapshot.name
    return printable(f"ok: {binds}; workers = {config.workers}; {sources}; {read}")

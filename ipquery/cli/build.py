"""``ipquery build``."""

import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import click

from ipquery.cli.group import load_config, with_config
from ipquery.data import build
from ipquery.data.blend.policy import METHODS
from ipquery.data.record import DataError
from ipquery.data.sources import parse_sources
from ipquery.progress import reporter


@click.command("build")
@click.option(
    "-o",
    "out",
    metavar="OUT.ipq",
    required=True,
    type=click.Path(path_type=Path),
    help="The snapshot to write; an existing one is replaced only when all is well.",
)
@click.option(
    "--policy",
    "method",
    type=click.Choice(METHODS),
    help="How several SOURCEs are blended: the first with a record answers whole, each level "
    "is filled from the first that knows (the default), or country and province by vote.",
)
@with_config
@click.argument("sources", metavar="SOURCE...", nargs=-1)
def build_command(
    out: Path, method: str | None, config_path: Path | None, sources: Sequence[str]
) -> None:
    """Compile databases into a snapshot.

    SOURCEs in order of precedence. Without any, the configuration's.
    """
    config = load_config(config_path)
    policy = attrs.evolve(config.blend, method=method) if method else config.blend
    databases = parse_sources(sources) or config.databases
    if not databases:
        raise DataError("no database given; name a SOURCE, or a --config that does")
    built = build.build(
        databases, out, reporter(sys.stderr), config.codes, config.build_limits, policy
    )
    click.echo(
        f"{out}: built in {built.seconds:.1f} s with {built.peak_memory >> 20} MB of memory",
        err=True,
    )

"""``ipquery rollback``."""

from pathlib import Path

import click

from ipquery.cli.group import load_config, with_config
from ipquery.data import build


@click.command("rollback")
@with_config
def rollback_command(config_path: Path | None) -> None:
    """Go back to the snapshot that was served before.

    The present one is rejected, until the databases, the configuration or a new version of
    ipquery make another one of it; `accept` takes that back. Run it as the service's user, with
    the service's environment.
    """
    config = load_config(config_path)
    one = build.roll_back(config.cache_dir, config.line if config.named else None)
    click.echo(f"{one.name}: rejected; {one.instead} takes its place")
    click.echo("`systemctl reload ipquery` (HUP) has the daemon go back")

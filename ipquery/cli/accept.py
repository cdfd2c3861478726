"""``ipquery accept``."""

from pathlib import Path

import click

from ipquery.cli.group import load_config, with_config
from ipquery.cli.text import printable
from ipquery.data import build


@click.command("accept")
@with_config
def accept_command(config_path: Path | None) -> None:
    """Let the snapshot through that was refused last.

    It is the one that the guard refused, or that `rollback` has rejected. The daemon takes it at
    its next reload or update. Run it as the service's user, with the service's environment.
    """
    config = load_config(config_path)
    one = build.accept(config.cache_dir, config.line if config.named else None)
    click.echo(printable(f"{one.name}: accepted; it was withheld: {one.why}"))
    click.echo("`systemctl reload ipquery` (HUP) has the daemon take it")

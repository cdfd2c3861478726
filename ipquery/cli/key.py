"""``ipquery key``."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ipquery.config import keys_path
from ipquery.rfc3339 import timestamp
from ipquery.serve.guard.key_file import add_key, list_keys, revoke_key

_RELOAD = "the daemon goes by it after a reload (HUP)"


def _on_a_file(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name the file."""
    for option in (
        click.option(
            "--config",
            "config_path",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Configuration file whose [guard] names the file of keys.",
        ),
        click.option(
            "--file",
            "path",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="The file of keys itself.",
        ),
    ):
        command = option(command)
    return command


def _file(path: Path | None, config_path: Path | None) -> Path:
    if (path is None) == (config_path is None):
        raise click.UsageError("name the file of keys by --file FILE or --config FILE")
    if path is not None:
        return path
    assert config_path is not None
    return keys_path(config_path)


@click.group("key")
def key_command() -> None:
    """API keys: make them, list them, revoke them.

    Name the file by --file FILE, or by --config FILE the configuration that names it under
    [guard]. It has names and hashes; a key itself is shown once, when it is made. Run it as the
    daemon's user, who has to read the file.
    """


@key_command.command("new")
@click.argument("name")
@_on_a_file
def new_command(name: str, path: Path | None, config_path: Path | None) -> None:
    """Make a key, and print it: it can't be shown again."""
    where = _file(path, config_path)
    click.echo(add_key(where, name, timestamp(time.time())))
    click.echo(f"{name} is in {where}; {_RELOAD}.", err=True)


@key_command.command("list")
@_on_a_file
def list_command(path: Path | None, config_path: Path | None) -> None:
    """Print the names of all keys, and when they were made."""
    for key in list_keys(_file(path, config_path)):
        click.echo(f"{key.created}  {key.name}")


@key_command.command("revoke")
@click.argument("name")
@_on_a_file
def revoke_command(name: str, path: Path | None, config_path: Path | None) -> None:
    """Take a key back."""
    where = _file(path, config_path)
    revoke_key(where, name)
    click.echo(f"{name} isn't in {where} any more; {_RELOAD}.", err=True)

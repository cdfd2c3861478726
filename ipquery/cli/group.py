"""What all commands share: the group, errors in one line, ``--config``, databases."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ipquery.config import Config, ConfigError, load
from ipquery.data import build
from ipquery.data.record import DataError
from ipquery.data.snapshot import Snapshot
from ipquery.data.sources import Source, default_sources, parse_sources
from ipquery.progress import reporter


class _Group(click.Group):
    """Turns the errors a user can mend into one line and exit status 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (ConfigError, DataError) as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            # `ipquery lookup - | head`: the rest is not wanted. The descriptor
            # is replaced so that the interpreter's last flush doesn't complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None


@click.group(cls=_Group)
@click.version_option(package_name="ipquery")
def main() -> None:
    """Where an IP address is, and whose it is.

    SOURCE is a database file, [FORMAT:]PATH, the name of a recipe that `fetch` got,
    or `default`. The daemon is started with `twistd ipquery`.
    """


def with_config(command: Callable[..., None]) -> Callable[..., None]:
    """The option that names a configuration file."""
    return click.option(
        "--config",
        "config_path",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Configuration file with databases, lists of codes and limits.",
    )(command)


def with_databases(command: Callable[..., None]) -> Callable[..., None]:
    """The option that names databases to look addresses up in."""
    return click.option(
        "--db",
        "databases",
        metavar="DB",
        multiple=True,
        help="A snapshot, or a SOURCE; may be given several times.",
    )(command)


def load_config(path: Path | None) -> Config:
    """The configuration that was named, or the one that everybody has."""
    return load(path) if path else Config()


def sources_of(config: Config, databases: Sequence[str]) -> Sequence[Source]:
    """These SOURCEs, else the configuration's, else the default's.

    What is to be said of a source goes to standard error.

    :raises DataError: one isn't installed or fetched, or its format is unknown.
    """
    sources = parse_sources(databases) or config.databases or default_sources()
    for source in sources:
        if source.notice:
            click.echo(f"Note: {source.notice}", err=True)
    return sources


def snapshot_of(config: Config, databases: Sequence[str]) -> Path:
    """The snapshot of these SOURCEs, or of the configuration's; built if need be.

    :raises DataError: there is none, or it can't be built.
    """
    return build.ensure_snapshot(
        sources_of(config, databases),
        config.cache_dir,
        reporter(sys.stderr),
        config.codes,
        config.build_limits,
        config.blend,
    )


def open_databases(config: Config, databases: Sequence[str]) -> Snapshot:
    """That snapshot, opened.

    :raises DataError: there is none, or it can't be built or read.
    """
    path = snapshot_of(config, databases)
    try:
        return Snapshot(path)
    except OSError as error:
        raise DataError(f"{path}: can't read this snapshot: {error.strerror}") from None

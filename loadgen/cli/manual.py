"""``ipquery-load manual``: man pages, made of what ``--help`` says."""

from pathlib import Path

import click

from ipquery.cli.manual import manual, write_pages


@click.command("manual")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.pass_context
def manual_command(context: click.Context, folder: Path) -> None:
    """Write the man pages of all commands into a folder.

    The folder is made if there is none. Prints the pages' names.
    """
    write_pages(folder, manual(context.find_root().command, "ipquery-load"))

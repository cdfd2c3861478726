"""What commands have in common that go through rows: options, inputs, and how far they are."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipquery.cli.rate import position_of, shown

if TYPE_CHECKING:
    # Loaded when rows are read: other commands start without it.
    from ipquery.data.enrich.inputs import Input

FORMATS = ("csv", "tsv", "combined", "json", "parquet")
"""As :data:`ipquery.data.enrich.options.FORMATS`, which isn't loaded for the others' sake."""


def with_rows_format(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what rows are, and where their addresses stand: ``format_``,
    ``column``, ``log_format`` and ``no_header``."""
    for option in (
        click.option(
            "--no-header", is_flag=True, help="The first line of a csv or tsv is no header."
        ),
        click.option(
            "--log-format",
            metavar="STRING",
            help="What log lines are made of, as nginx's log_format.",
        ),
        click.option(
            "--column",
            metavar="NAME",
            help="Where the address is: a column (ip), a path in JSON (client.ip; ip), or a "
            "variable of a log format (remote_addr).",
        ),
        click.option(
            "--format",
            "format_",
            type=click.Choice(FORMATS),
            help="Without it, what the content looks like. combined is an access log, json an "
            "object a line.",
        ),
    ):
        command = option(command)
    return command


def with_processes(command: Callable[..., None]) -> Callable[..., None]:
    """The option ``processes``."""
    return click.option(
        "-j",
        "processes",
        metavar="N",
        type=click.IntRange(1, 1024),
        default=lambda: len(os.sched_getaffinity(0)),
        help="Processes that work on it; as many as there are cores without it.",
    )(command)


@contextlib.contextmanager
def open_inputs(files: Sequence[Path]) -> Iterator[Sequence["Input"]]:
    """What is read: these files, of which ``-`` is standard input, or that alone.

    :raises DataError: one can't be read.
    """
    from ipquery.data.enrich.inputs import Input

    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Input(None if path == Path("-") else path))
            for path in files or [Path("-")]
        ]


def showing(
    inputs: Sequence["Input"],
) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    """What to call with the number of rows, to have a user see how far it is."""
    return shown(
        sys.stderr,
        lambda: position_of([one.size for one in inputs], [one.position for one in inputs]),
    )

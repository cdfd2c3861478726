"""``ipquery lookup``."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import click

from ipquery.address import parse
from ipquery.cli.group import load_config, open_databases, with_config, with_databases
from ipquery.data.snapshot import Describer, Snapshot

_READ_BYTES = 1 << 16


@click.command()
@with_databases
@with_config
@click.argument("addresses", metavar="IP...|-", nargs=-1, required=True)
def lookup(databases: Sequence[str], config_path: Path | None, addresses: Sequence[str]) -> None:
    """Look addresses up: one JSON object a line, in the order given.

    Without --db, and without databases in the configuration, the default one is asked.
    On a terminal, those whose data it is are named at the end.
    "-" reads addresses from standard input, one a line. What isn't an address
    is named on standard error, and the exit status is 1.
    """
    with open_databases(load_config(config_path), databases) as snapshot:
        lines = _Lines(snapshot)
        for batch in _batches(addresses, sys.stdin.buffer):
            click.echo(b"".join(lines.of(batch)), nl=False)
        # Publishers ask to be named where people see results; a program reads only these.
        if sys.stdout.isatty():
            for source in snapshot.about["sources"]:
                if source["attribution"]:
                    click.echo(f"{source['name']}: {source['attribution']}", err=True)
    if lines.rejected:
        raise SystemExit(1)


def _batches(addresses: Sequence[str], stdin: BinaryIO) -> Iterator[Iterable[str]]:
    for address in addresses:
        if address == "-":
            yield from _read_batches(stdin)
        else:
            yield [address]


def _read_batches(stdin: BinaryIO) -> Iterator[list[str]]:
    """Whole lines as they come in, so that a pipe that never ends is answered in time."""
    rest = b""
    while chunk := os.read(stdin.fileno(), _READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        yield [line.decode(errors="replace").strip() for line in lines if line.strip()]
    if rest.strip():
        yield [rest.decode(errors="replace").strip()]


class _Lines:
    """Output lines, as UTF-8."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._describe = Describer(snapshot).describe
        self.rejected = 0

    def of(self, addresses: Iterable[str]) -> Iterator[bytes]:
        for address in addresses:
            try:
                version, number = parse(address)
            except ValueError as error:
                self.rejected += 1
                click.echo(str(error), err=True)
                continue
            known = self._describe(version, number) or b'"found":false'
            # An address holds no character that JSON would escape.
            yield b'{"ip":"%b",%b}\n' % (address.encode(), known)

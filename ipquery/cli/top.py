"""``ipquery top``."""

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipquery.cli.text import printable

if TYPE_CHECKING:
    from rich.table import Table

    from ipquery.cli.top_node import Watch
    from ipquery.cli.top_view import Node

# What a column of figures takes, and one of a node.
_LABELS, _COLUMN = 28, 26


@click.command("top")
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(min=0.5, max=3600),
    default=2.0,
    show_default=True,
    help="Time between two looks; workers tell what they counted once a second.",
)
@click.option(
    "--key-file",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Has the API key that nodes with [guard] keys need, as ipquery key new told it; - for "
    "standard input. Or give it in IPQUERY_KEY.",
)
@click.option("--once", is_flag=True, help="One table as plain text, after one interval.")
def top_command(urls: tuple[str, ...], interval: float, key_file: Path | None, once: bool) -> None:
    """Show how nodes are doing, live, from their /metrics.

    URL is http://HOST:PORT of a node itself, not of what stands before several;
    http://127.0.0.1:8080 if none is given. q or Ctrl-C ends it. Where standard output
    is no terminal, --once is meant: exit status 1 if a node is down.
    """
    # Here, so that no other command loads HTTP and TLS for it.
    from ipquery.cli.top_node import Target, Watch, ask

    ask_with_key = partial(ask, key=_key(key_file))
    watches = []
    for url in urls or ("http://127.0.0.1:8080",):
        try:
            watches.append(Watch(Target.parse(url), ask_with_key))
        except ValueError as error:
            raise click.ClickException(printable(str(error))) from None
    try:
        if once or not sys.stdout.isatty():
            _once(watches, interval)
        else:
            _live(watches, interval)
    except KeyboardInterrupt:
        return


def _key(file: Path | None) -> str | None:
    """The API key. It is no argument, as everybody on a machine sees those."""
    from ipquery.cli.top_node import parse_key

    whence = "IPQUERY_KEY" if file is None else str(file)
    try:
        if file is not None:
            return parse_key(sys.stdin.read() if str(file) == "-" else file.read_text("ascii"))
        given = os.environ.get(whence)
        return parse_key(given) if given else None
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "no API key: not ASCII"
    except ValueError as error:
        reason = str(error)
    raise click.ClickException(printable(f"{whence}: {reason}"))


def _look(watches: "Sequence[Watch]") -> "list[Node]":
    """Ask all at once."""
    from ipquery.cli.top_node import SECONDS

    for watch in watches:
        watch.begin()
    ends = time.monotonic() + SECONDS
    for watch in watches:
        watch.wait(max(0.0, ends - time.monotonic()))
    return [watch.node for watch in watches]


def _once(watches: "Sequence[Watch]", interval: float) -> None:
    from ipquery.cli.top_view import plain

    begun = time.monotonic()
    _look(watches)
    time.sleep(max(0.0, begun + interval - time.monotonic()))
    nodes = _look(watches)
    for line in plain(nodes, time.time()):
        click.echo(encodable(line, sys.stdout.encoding))
    if any(node.is_down for node in nodes):
        raise SystemExit(1)


def _live(watches: "Sequence[Watch]", interval: float) -> None:
    try:
        from rich.console import Console, Group
        from rich.live import Live
    except ImportError:
        raise click.ClickException(
            "a live screen needs rich: pip install 'ipquery[top]'; --once doesn't"
        ) from None
    # Ended by another, too, the terminal is left as it was found.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            begun = time.monotonic()
            nodes = _look(watches)
            live.update(Group(*_tables(nodes, console.width, console.encoding)), refresh=True)
            if _is_ended(begun + interval):
                return


def _tables(nodes: "Sequence[Node]", columns: int, encoding: str) -> "Iterator[Table]":
    """The nodes side by side, as many as there is room for, and the others below."""
    from rich.table import Table
    from rich.text import Text

    from ipquery.cli.top_view import fitted, table

    def text(what: str, style: str = "") -> Text:
        # A Text, not a str: what a node says in brackets is no markup.
        return Text(encodable(what, encoding), style, no_wrap=True, overflow="ellipsis")

    room = max(1, (columns - _LABELS) // _COLUMN)
    for first in range(0, len(nodes), room):
        some = nodes[first : first + room]
        shown = Table(box=None, header_style="bold", pad_edge=False)
        shown.add_column(time.strftime("%H:%M:%S") if not first else "", no_wrap=True)
        for node in some:
            shown.add_column(text(fitted(node.name)), no_wrap=True)
        for label, cells in table(some, time.time()):
            # In words and red: not everybody sees the colour.
            told = [
                text(cell.text, "bold red" if cell.is_bad else "") if cell else "" for cell in cells
            ]
            shown.add_row(text(label, "dim"), *told)
        yield shown


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Keys come at once and aren't shown, where there is a keyboard."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _is_ended(until: float) -> bool:
    """Wait until then, or for a q."""
    if not sys.stdin.isatty():
        time.sleep(max(0.0, until - time.monotonic()))
        return False
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([sys.stdin], [], [], left)
        # Past Python's buffer, of which select knows nothing. b"": the terminal is gone.
        if ready and os.read(sys.stdin.fileno(), 1) in (b"q", b"Q", b""):
            return True
    return False


def encodable(text: str, encoding: str) -> str:
    """The text with what the terminal's encoding hasn't got as escapes."""
    return text.encode(encoding, "backslashreplace").decode(encoding)

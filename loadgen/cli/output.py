"""What commands do with a reactor, and where they show and write what they found."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import attrs
import click
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ipquery.net import reactor as loop_reactor
from loadgen.measure.run import Progress
from loadgen.send.plan import PlanError


def run_in_reactor(work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Do something with a reactor, to its end."""
    reactor = loop_reactor.install()
    ended: list[Any] = []

    def end(result: Any) -> None:
        ended.append(result)
        reactor.stop()

    async def begin() -> Any:
        return await work(reactor)

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(begin()).addBoth(end))
    reactor.run()
    if not ended:
        raise SystemExit(130)  # interrupted
    if isinstance(ended[0], Failure):
        ended[0].raiseException()
    return ended[0]


class Live:
    """A line on a terminal that shows how far a run is; nothing elsewhere."""

    def __init__(self, terminal: TextIO, total: float) -> None:
        self._terminal = terminal if terminal.isatty() else None
        self._total = total

    def show(self, progress: Progress) -> None:
        """An interval is over."""
        self._write(
            f"{progress.seconds:6.1f} of {self._total:g} s  "
            f"{progress.answered / progress.length:>9,.0f} requests/s  "
            f"{progress.total:>12,} answered  {progress.failed:,} failed"
        )

    def clear(self) -> None:
        """The run is over."""
        self._write("")

    def _write(self, text: str) -> None:
        if self._terminal is not None:
            self._terminal.write(f"\r\x1b[K{text}")
            self._terminal.flush()


@attrs.frozen
class Outputs:
    """Where a result goes beside standard output."""

    json_to: str | None
    html_to: Path | None

    def write(self, text: str, content: Mapping[str, Any], html: str) -> None:
        """Write it everywhere it is wanted.

        :raises PlanError: a file can't be written.
        """
        encoded = json.dumps(content, ensure_ascii=False, indent=2)
        click.echo(encoded if self.json_to == "-" else text)
        if self.json_to not in (None, "-"):
            _write(Path(str(self.json_to)), encoded + "\n")
        if self.html_to is not None:
            _write(self.html_to, html)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise PlanError(f"{path}: can't write this file: {error.strerror}") from None


def note(text: str) -> None:
    click.echo(text, err=True)

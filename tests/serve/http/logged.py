"""An access log in memory."""

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from ipquery.serve.http.access_log import AccessLog, LogFile
from ipquery.serve.http.log_formats import LOG_FORMATS


class MemoryFile(LogFile):
    """Keeps lines; loses them while it is told why."""

    def __init__(self) -> None:
        super().__init__(None)
        self.kept = b""
        self.why_not = ""

    def write(self, lines: bytes) -> tuple[int, str]:
        if self.why_not:
            return lines.count(b"\n"), self.why_not
        self.kept += lines
        return 0, ""

    @property
    def lines(self) -> list[str]:
        assert not self.kept or self.kept.endswith(b"\n")
        return self.kept.decode("ascii").splitlines()


class Elsewhere:
    """Runs what blocks: at once, or when it is told to."""

    def __init__(self) -> None:
        self.is_slow = False
        self._waiting: list[Any] = []

    def run(self, function: Any, *arguments: Any) -> "Deferred[Any]":
        if not self.is_slow:
            return maybeDeferred(function, *arguments)
        done: Deferred[Any] = Deferred()
        done.addCallback(lambda _: function(*arguments))
        self._waiting.append(done)
        return done

    def go_on(self) -> None:
        """Do what has waited."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)


def memory_log(file: MemoryFile, name: str = "combined", sample: int = 1) -> AccessLog:
    """A log whose lines are there as soon as a second has gone by."""
    return AccessLog(file, LOG_FORMATS[name], Elsewhere().run, Clock(), sample)

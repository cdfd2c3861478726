"""What is logged while a test looks."""

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer


@implementer(ILogObserver)
@attrs.define(eq=False)
class Log:
    """The lines that were logged meanwhile."""

    lines: list[str] = attrs.field(factory=list)

    def __enter__(self) -> "Log":
        globalLogPublisher.addObserver(self)
        return self

    def __exit__(self, *exception: object) -> None:
        globalLogPublisher.removeObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """A line is logged."""
        text = formatEvent(event)
        failure = event.get("log_failure")
        self.lines.append(text if failure is None else f"{text}\n{failure.getTraceback()}")

    def count(self, text: str) -> int:
        """How many lines hold a text."""
        return sum(text in line for line in self.lines)


@contextmanager
def no_faults() -> Iterator[None]:
    """Nothing may be logged as a failure meanwhile."""
    seen: list[str] = []

    @implementer(ILogObserver)
    def observe(event: dict[str, object]) -> None:
        if "log_failure" in event:
            seen.append(str(event["log_failure"]))

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    assert seen == []

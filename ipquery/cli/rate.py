"""How far a run through files is: rows, rows a second and what is left, on a terminal."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

_EVERY = 0.25
_ERASE = "\r\x1b[K"

Position = tuple[int, int | None]
"""Bytes that have been read, and how many there are, if that is known."""


def line(rows: int, seconds: float, position: Position) -> str:
    """
    :param seconds: since it began.
    """
    text = f"{rows:,} rows, {rows / max(seconds, 1e-9):,.0f} a second"
    done, whole = position
    if not whole or not done:
        return text
    left = seconds * max(whole - done, 0) / done
    return f"{text}, {min(done / whole, 1):.0%}, {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def shown(
    stream: TextIO, position: Callable[[], Position], clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int], None]]:
    """What to call with the number of rows, so that a user sees it; nothing is shown elsewhere
    than on a terminal."""
    if not stream.isatty():
        yield lambda rows: None
        return
    begun = shown_at = clock()

    def show(rows: int) -> None:
        nonlocal shown_at
        now = clock()
        if now - shown_at >= _EVERY:
            shown_at = now
            stream.write(_ERASE + line(rows, now - begun, position()))
            stream.flush()

    try:
        yield show
    finally:
        stream.write(_ERASE)
        stream.flush()


def position_of(sizes: Sequence[int], positions: Sequence[int]) -> Position:
    """
    :param sizes: of all files, as they are stored; 0 of what has none, as a pipe.
    """
    return sum(positions), sum(sizes) if all(sizes) else None

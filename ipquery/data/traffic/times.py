"""Times of rows, as logs and tables write them, in whole seconds since the epoch."""

import datetime
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ipquery.data.columns.texts import Texts
from ipquery.data.ranges import Column

NO_TIME = -1
"""Instead of a time where there is none."""

_AFTER = 253_402_300_800
"""The year 10000. What is said to be later is milliseconds, if it is a time at all."""

_KEPT = 1 << 16

# Apache's %t and nginx's $time_local: 29/Nov/2026:10:00:00 +0000.
_LOCAL = re.compile(
    r"\[?([0-9]{2})/([A-Z][a-z]{2})/([0-9]{4}):([0-9]{2}):([0-9]{2}):([0-9]{2}) "
    r"([+-])([0-9]{2})([0-9]{2})\]?"
)
_LOCAL_LENGTH, _SECOND = 26, slice(18, 20)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?")


def seconds_of(value: bytes | str | float | None) -> int:
    """A time in seconds since the epoch, :data:`NO_TIME` if it is none between 1970 and 9999.

    :param value: seconds since the epoch, as a number or a text; ISO 8601, in UTC if it doesn't
        say otherwise; or as access logs have it.
    """
    try:
        seconds = _seconds(value)
    except (ValueError, OverflowError):
        return NO_TIME
    return math.floor(seconds) if 0 <= seconds < _AFTER else NO_TIME


def _seconds(value: bytes | str | float | None) -> float:
    """
    :raises ValueError: it is no time.
    :raises OverflowError: likewise.
    """
    if value is None:
        return NO_TIME
    if isinstance(value, int | float):
        return value
    text = (value.decode() if isinstance(value, bytes) else value).strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    local = _LOCAL.fullmatch(text)
    if local is None:
        at = datetime.datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()
    day, month, year, hour, minute, second, sign, hours, minutes = local.groups()
    east = datetime.timedelta(hours=int(hours), minutes=int(minutes))
    zone = datetime.timezone(-east if sign == "-" else east)
    number = _MONTHS.index(month) + 1
    return datetime.datetime(
        int(year), number, int(day), int(hour), int(minute), int(second), tzinfo=zone
    ).timestamp()


class Times(dict[Any, int]):
    """Times by how they are written. Those that came before are kept: rows that are near each
    other often have the same."""

    def __missing__(self, value: Any) -> int:
        if len(self) >= _KEPT:
            self.clear()
        seconds = self[value] = seconds_of(value)
        return seconds

    def of(self, values: Sequence[Any]) -> Column:
        """Seconds since the epoch of all of them, as ``int64``."""
        return np.fromiter(map(self.__getitem__, values), np.int64, len(values))

    def of_texts(self, texts: Texts) -> Column:
        """The same of texts in a block; a length below 0 is no text.

        As access logs have it, most times are a minute that stands in the line before, too, and
        seconds: these are read by arithmetic.
        """
        seconds = np.full(len(texts.start), NO_TIME, np.int64)
        long = np.flatnonzero(texts.length == _LOCAL_LENGTH)
        rows = _rows(texts.data, texts.start[long])
        tens, units = rows[:, _SECOND].T - np.uint8(ord("0"))
        local = (tens < 6) & (units < 10) & (rows[:, 2] == ord("/"))
        minutes = rows[local]
        minutes[:, _SECOND] = ord("0")
        differ = (minutes[1:] != minutes[:-1]).any(axis=1)
        begin = np.flatnonzero(np.append(np.ones(min(len(minutes), 1), bool), differ))
        begun = self.of([minute.tobytes() for minute in minutes[begin]])
        begun = np.repeat(begun, np.diff(begin, append=len(minutes)))
        after = tens[local].astype(np.int64) * 10 + units[local]
        seconds[long[local]] = np.where(begun == NO_TIME, NO_TIME, begun + after)
        others = np.ones(len(seconds), bool)
        others[long[local]] = False
        others &= texts.length >= 0
        data = texts.data.tobytes() if others.any() else b""
        ends = (texts.start + texts.length)[others].tolist()
        spans = zip(texts.start[others].tolist(), ends, strict=True)
        seconds[others] = self.of([data[first:end] for first, end in spans])
        return seconds


def _rows(data: Column, start: Column) -> Column:
    """The characters from some places on, as many as times in access logs have."""
    if not len(start):
        return np.empty((0, _LOCAL_LENGTH), np.uint8)
    count = len(data) - _LOCAL_LENGTH + 1
    windows: Column = np.ndarray(count, f"V{_LOCAL_LENGTH}", data, strides=(1,))
    return windows[start].view(np.uint8).reshape(-1, _LOCAL_LENGTH)


def of_numbers(numbers: Column) -> Column:
    """The same of numbers in a column."""
    if numbers.dtype.kind == "f":
        numbers = np.where(np.isfinite(numbers), np.floor(numbers), NO_TIME)
        numbers = np.clip(numbers, NO_TIME, _AFTER)
    elif numbers.dtype == np.uint64:
        numbers = np.minimum(numbers, np.uint64(_AFTER))
    seconds = numbers.astype(np.int64)
    return np.where((seconds >= 0) & (seconds < _AFTER), seconds, NO_TIME)

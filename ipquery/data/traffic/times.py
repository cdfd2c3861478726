"""Times of rows, as logs and tables write them, in whole seconds since the epoch."""

import datetime
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

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
        if isinstance(value, bytes) and len(value) == _LOCAL_LENGTH:
            seconds = self._of_local(value)
        else:
            seconds = seconds_of(value)
        self[value] = seconds
        return seconds

    def _of_local(self, value: bytes) -> int:
        """Of what is as long as in access logs. Most are a minute that came before, and seconds:
        to add these takes less time than to read it all."""
        second = value[_SECOND]
        is_local = value[2:3] == b"/" and second.isdigit() and b"00" < second < b"60"
        if not is_local:
            return seconds_of(value)
        begin = self[value[: _SECOND.start] + b"00" + value[_SECOND.stop :]]
        return NO_TIME if begin == NO_TIME else begin + int(second)

    def of(self, values: Sequence[Any]) -> Column:
        """Seconds since the epoch of all of them, as ``int64``."""
        return np.fromiter(map(self.__getitem__, values), np.int64, len(values))


def of_numbers(numbers: Column) -> Column:
    """The same of numbers in a column."""
    if numbers.dtype.kind == "f":
        numbers = np.where(np.isfinite(numbers), np.floor(numbers), NO_TIME)
        numbers = np.clip(numbers, NO_TIME, _AFTER)
    elif numbers.dtype == np.uint64:
        numbers = np.minimum(numbers, np.uint64(_AFTER))
    seconds = numbers.astype(np.int64)
    return np.where((seconds >= 0) & (seconds < _AFTER), seconds, NO_TIME)

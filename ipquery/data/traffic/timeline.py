"""Timeline: how many there were when, in few enough intervals to be drawn and kept."""

import numpy as np

from ipquery.data.ranges import Column

INTERVALS = 200
"""There are this many at most."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_WEEK = 7 * _DAY

# Each is made of several of the one before, so that intervals can be joined.
WIDTHS = (
    *(1, 5, 10, 30),
    *(_MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    _DAY,
    *(_WEEK, 4 * _WEEK, 52 * _WEEK, 520 * _WEEK, 2600 * _WEEK),
)
"""How long intervals may be, in seconds. The longest makes few enough of all years to 9999."""

_MONDAY = -3 * _DAY
"""The Monday before the epoch, at which intervals of all widths begin."""


class Timeline:
    """Counts of some groups by time. Intervals are as short as the time between the first and the
    last allows, so that they get longer as more of it is seen."""

    def __init__(self, groups: int) -> None:
        self._which = 0
        self._begin = 0
        self._counts = np.zeros((0, groups), np.int64)

    @property
    def width(self) -> int:
        """Seconds of an interval."""
        return WIDTHS[self._which]

    @property
    def starts(self) -> list[int]:
        """When each begins, in seconds since the epoch."""
        first = _MONDAY + self._begin * self.width
        return [first + number * self.width for number in range(len(self._counts))]

    @property
    def counts(self) -> Column:
        """A row for each interval, with the count of each group."""
        return self._counts

    def add(self, seconds: Column, groups: Column) -> None:
        """
        :param seconds: times since the epoch, in any order.
        :param groups: the number of each one's group.
        """
        if not len(seconds):
            return
        since = seconds - _MONDAY
        self._make_room(int(since.min()), int(since.max()))
        np.add.at(self._counts, (since // self.width - self._begin, groups), 1)

    def _make_room(self, first: int, last: int) -> None:
        """Have intervals from one time to another, and for what there is."""
        if len(self._counts):
            first = min(first, self._begin * self.width)
            last = max(last, (self._begin + len(self._counts)) * self.width - 1)
        before = self.width
        while last // self.width - first // self.width >= INTERVALS:
            self._which += 1
        begin, count = first // self.width, last // self.width - first // self.width + 1
        if (before, begin, count) == (self.width, self._begin, len(self._counts)):
            return
        wider = np.zeros((count, self._counts.shape[1]), np.int64)
        places = (self._begin + np.arange(len(self._counts))) * before // self.width - begin
        np.add.at(wider, places, self._counts)
        self._begin, self._counts = begin, wider

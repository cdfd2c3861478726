"""IPv6 addresses by the million: a bisection of all of them at once."""

import numpy as np

from ipquery.data.columns.numbers import NO_RECORD
from ipquery.data.ranges import Column


class V6Index:
    """Finds answer numbers, :data:`~ipquery.data.columns.numbers.NO_RECORD` where there is none."""

    def __init__(self, high: Column, low: Column, answer: Column) -> None:
        """
        :param high: the upper half of the first address of each step,
        :param low: and the lower one.
        :param answer: number of its answer, one more in front.
        :raises ValueError: the steps contradict each other.
        """
        rises = (high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] > low[:-1]))
        if high[0] or low[0] or not rises.all():
            raise ValueError("steps that aren't in order")
        self._high, self._low, self._answer = high, low, answer

    def find(self, high: Column, low: Column) -> Column:
        """Numbers of the answers of addresses, as ``int32``.

        :param high: the upper halves, ``uint64``,
        :param low: and the lower ones.
        """
        # In order, each bisection begins where the one before has just read: 150 ns instead of
        # 550 among 3.2 million steps, the sorting counted.
        order = np.argsort(high)
        found = np.empty(len(order), np.int32)
        found[order] = self._find_in_order(high[order], low[order])
        return found

    def _find_in_order(self, high: Column, low: Column) -> Column:
        place = np.searchsorted(self._high, high, side="right")
        # Steps with the same upper half are told apart by the lower one.
        same = np.flatnonzero(self._high.take(place - 1) == high)
        if len(same):
            begin = np.searchsorted(self._high, high[same], side="left")
            place[same] = self._among(low[same], begin, place[same])
        found: Column = self._answer.take(place).astype(np.int32)
        found[found == 0] = NO_RECORD
        return found

    def _among(self, low: Column, begin: Column, end: Column) -> Column:
        """How many steps begin up to each address, of those before ``end``; those from ``begin``
        on have its upper half."""
        while (begin < end).any():
            middle = begin + end >> 1
            # Where the search has ended, whatever is compared changes nothing.
            open_ = begin < end
            up_to = self._low.take(np.where(open_, middle, 0)) <= low
            begin = np.where(open_ & up_to, middle + 1, begin)
            end = np.where(open_ & ~up_to, middle, end)
        return begin

"""Kinds of addresses, as :func:`ipquery.special.kind_of` tells them, of many at once."""

import numpy as np

from ipquery.data.columns.batch import Batch
from ipquery.data.columns.v6 import V6Index
from ipquery.data.ranges import Column
from ipquery.special import kind_steps

_HALF = 2**64 - 1


class Kinds:
    """Tells kinds of addresses. Counts are by kind, in the order of ``names``."""

    def __init__(self) -> None:
        v4_starts, v4_kinds = kind_steps(4)
        v6_starts, v6_kinds = kind_steps(6)
        self.names = sorted({*v4_kinds, *v6_kinds})
        self._v4_starts = np.array(v4_starts, np.uint32)
        self._v4 = np.array([self.names.index(kind) for kind in v4_kinds])
        # Numbers there begin with 1: 0 is no answer.
        self._v6 = V6Index(
            np.array([start >> 64 for start in v6_starts], np.uint64),
            np.array([start & _HALF for start in v6_starts], np.uint64),
            np.array([0, *(self.names.index(kind) + 1 for kind in v6_kinds)], np.int32),
        )

    @property
    def none(self) -> Column:
        """The counts of no addresses."""
        return np.zeros(len(self.names), np.int64)

    def of(self, batch: Batch) -> Column:
        """The counts of a batch."""
        counts = self._counted(
            self._v4[np.searchsorted(self._v4_starts, batch.v4, side="right") - 1]
        )
        if len(batch.v6_at):
            counts += self._counted(self._v6.find(batch.high, batch.low) - 1)
        return counts

    def _counted(self, numbers: Column) -> Column:
        return np.bincount(numbers, minlength=len(self.names))

    def ranked(self, counts: Column) -> list[tuple[str, int]]:
        """Those that occurred, most frequent first."""
        found = zip(self.names, counts.tolist(), strict=True)
        return sorted(((name, count) for name, count in found if count), key=_order)


def _order(one: tuple[str, int]) -> tuple[int, str]:
    name, count = one
    return -count, name

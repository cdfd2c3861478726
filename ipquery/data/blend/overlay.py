"""Several tables as one: whole address spaces, cut where the answer changes."""

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data.ranges import KEY, Column, Ranges, successors, to_halves, to_key, to_numbers

NO_RECORD = 0
"""The answer number that means: no source has a record here."""


@attrs.frozen(eq=False)
class Steps:
    """A whole address space, cut where the answer changes.

    ``start[0]`` is the first address of the space; an answer holds up to the
    next start. Gaps are explicit: answer :data:`NO_RECORD`.
    """

    version: int
    start: Column
    answer: NDArray[np.uint32]

    def halves(self) -> tuple[Column, Column]:
        """The upper and lower 64 bits of IPv6 starts."""
        pairs = to_halves(self.start)
        return pairs[:, 0], pairs[:, 1]

    def covered(self) -> int:
        """How many addresses have a record."""
        known = self.answer != NO_RECORD
        if self.version == 4:
            return int(np.diff(np.append(self.start, np.uint64(2**32)))[known].sum())
        # Python integers: 2**128 addresses don't fit any numpy type.
        starts = [*to_numbers(self.start), 2**128]
        return sum(starts[k + 1] - starts[k] for k in np.flatnonzero(known).tolist())


def overlay(version: int, layers: Sequence[tuple[Ranges, NDArray[np.uint32]]]) -> Steps:
    """Several tables as one: the first that has a record for an address answers it.

    :param layers: ranges in order of precedence, each with the answer number of
        each of its records, :data:`NO_RECORD` where a record says nothing.
    """
    bounds = [np.array([to_key(version, 0)], KEY[version])]
    for ranges, _ in layers:
        bounds += [ranges.first, successors(ranges.last)]
    start = np.unique(np.concatenate(bounds))
    answer = np.full(len(start), NO_RECORD, np.uint32)
    for ranges, numbers in reversed(layers):
        if not len(ranges):
            continue
        holder = np.searchsorted(ranges.first, start, side="right") - 1
        inside = (holder >= 0) & (start <= ranges.last[holder])
        found = numbers[ranges.record[holder[inside]]]
        answer[inside] = np.where(found == NO_RECORD, answer[inside], found)
    changes = np.append(True, answer[1:] != answer[:-1])
    return Steps(version, start[changes], answer[changes])

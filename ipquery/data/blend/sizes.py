"""How many addresses steps hold, exactly: IPv6 has more than a float can count."""

from collections.abc import Callable
from typing import Any, Self

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data.ranges import Column, to_halves

Mask = NDArray[np.bool_]

_LIMB = 32
_LOW = np.uint64(2**_LIMB - 1)


@attrs.frozen(eq=False)
class Sizes:
    """Numbers of addresses, in limbs of 32 bits, a row each, the highest first.

    A sum of four billion limbs fits 64 bits, so sums are made limb by limb and joined as
    Python integers.
    """

    limbs: NDArray[np.uint64]

    @classmethod
    def between(cls, first: Column, last: Column) -> Self:
        """The sizes of inclusive ranges, none of which is a whole IPv6 space."""
        if first.dtype == np.uint64:
            size = last - first + np.uint64(1)
            return cls(np.array([size >> np.uint64(_LIMB), size & _LOW]))
        (high, low), (last_high, last_low) = to_halves(first), to_halves(last)
        less = last_low - low
        more = last_high - high - (last_low < low).astype(np.uint64)
        # One more address than the difference.
        less += np.uint64(1)
        more += (less == 0).astype(np.uint64)
        halves = (more, less)
        return cls(
            np.array([limb for half in halves for limb in (half >> np.uint64(_LIMB), half & _LOW)])
        )

    def __getitem__(self, chosen: Any) -> Self:
        """Those that a mask or numbers choose."""
        return type(self)(self.limbs[:, chosen])

    def total(self) -> int:
        return _joined(self.limbs.sum(axis=1))

    def totals(self, groups: NDArray[Any], count: int) -> list[int]:
        """The sum of each group, by number.

        :param groups: the number of each one's group, below ``count``.
        """
        sums = np.zeros((len(self.limbs), count), np.uint64)
        for row, limb in zip(sums, self.limbs, strict=True):
            np.add.at(row, groups, limb)
        return [_joined(column) for column in sums.T]

    def approximate(self) -> NDArray[np.float64]:
        """As floats, to sort by."""
        numbers = np.zeros(self.limbs.shape[1])
        for limb in self.limbs:
            numbers = numbers * 2.0**_LIMB + limb
        return numbers

    def running(self) -> Callable[[int], int]:
        """What tells the sum of the first ones, how many so ever."""
        sums = np.cumsum(self.limbs, axis=1, dtype=np.uint64)
        return lambda count: _joined(sums[:, count - 1]) if count else 0


def _joined(limbs: NDArray[np.uint64]) -> int:
    number = 0
    for limb in limbs.tolist():
        number = (number << _LIMB) + limb
    return number

"""How many addresses ranges hold, exactly: IPv6 has more than a float can count.

Build time only: numpy stays out of the processes that serve.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.address import V4_LAST, V6_LAST
from ipquery.data.ranges import KEY, Column, predecessors, to_halves, to_key

Mask = NDArray[np.bool_]

_DIGIT = 24
_DIGITS = {4: 2, 6: 6}


@attrs.frozen(eq=False)
class Sizes:
    """Numbers of addresses, in digits of 24 bits, the lowest first, a column each.

    A float holds whole numbers up to 2**53: sums of half a billion digits are exact, and
    numpy sums floats by group at once.
    """

    digits: Sequence[NDArray[np.float64]]

    @classmethod
    def between(cls, first: Column, last: Column) -> Self:
        """The sizes of inclusive ranges, up to a whole space."""
        if first.dtype == KEY[4]:
            return cls.of_halves(None, first, None, last)
        (high, low), (last_high, last_low) = to_halves(first), to_halves(last)
        return cls.of_halves(high, low, last_high, last_low)

    @classmethod
    def of_steps(cls, version: int, start: Column) -> Self:
        """The sizes of steps, each of which ends before the next and the last with the space."""
        end = np.array([to_key(version, V4_LAST if version == 4 else V6_LAST)], KEY[version])
        return cls.between(start, np.append(predecessors(start[1:]), end))

    @classmethod
    def of_halves(
        cls, high: Column | None, low: Column, last_high: Column | None, last_low: Column
    ) -> Self:
        """The sizes of inclusive ranges.

        :param high: upper 64 bits of first addresses, ``None`` of IPv4; ``low`` the others.
        """
        halves = [last_low - low]
        if high is not None and last_high is not None:
            halves.append(last_high - high - (last_low < low))
        digits = [_digit(halves, place) for place in range(_DIGITS[6 if len(halves) > 1 else 4])]
        # One more address than the difference; a digit has room for it.
        digits[0] += 1
        return cls(digits)

    def __getitem__(self, chosen: Any) -> Self:
        """Those that a mask or numbers choose."""
        return type(self)([digit[chosen] for digit in self.digits])

    def where(self, mask: Mask) -> Self:
        """The same, and nothing where the mask is false."""
        return type(self)([digit * mask for digit in self.digits])

    def total(self, among: Mask | None = None) -> int:
        """The sum of all, or of those that a mask chooses."""
        if among is None:
            return _joined([digit.sum() for digit in self.digits])
        chosen = among.astype(float)
        return _joined([digit @ chosen for digit in self.digits])

    def summed(self, groups: NDArray[Any], count: int) -> Self:
        """The sum of each group, by number.

        :param groups: the number of each one's group, below ``count``.
        """
        return type(self)(
            [np.bincount(groups, digit, count).astype(float, copy=False) for digit in self.digits]
        )

    def totals(self, groups: NDArray[Any], count: int) -> list[int]:
        """Likewise, as Python integers."""
        return self.summed(groups, count).numbers()

    def numbers(self) -> list[int]:
        return [_joined(digits) for digits in zip(*self.digits, strict=True)]

    def approximate(self) -> NDArray[np.float64]:
        """As floats, to sort by."""
        numbers = np.zeros(len(self.digits[0]))
        for digit in reversed(self.digits):
            numbers = numbers * 2.0**_DIGIT + digit
        return numbers

    def running(self) -> Callable[[int], int]:
        """What tells the sum of the first ones, how many so ever."""
        sums = [np.cumsum(digit) for digit in self.digits]
        return lambda count: _joined([digit[count - 1] for digit in sums]) if count else 0


def _digit(halves: Sequence[Column], place: int) -> NDArray[np.float64]:
    """A digit of numbers of 64 bits each, of which the lower comes first."""
    half, bit = divmod(place * _DIGIT, 64)
    digit = halves[half] >> np.uint64(bit)
    if bit > 64 - _DIGIT and half + 1 < len(halves):
        digit |= halves[half + 1] << np.uint64(64 - bit)
    return (digit & np.uint64(2**_DIGIT - 1)).astype(float)


def _joined(digits: Sequence[float]) -> int:
    return sum(int(digit) << _DIGIT * place for place, digit in enumerate(digits))

"""Arithmetic with 128-bit addresses, kept as two columns of 64 bits.

IPv4 addresses are numbers below 2**32 here, with an upper half of zero.
"""

from typing import Any

import attrs
import numpy as np

from ipquery.data.ranges import Column

BITS = 128

_LOW_32 = np.uint64(2**32 - 1)
# 2**k by k, in halves; 2**128 is one past the last address, and comes to 0.
_POWER_HIGH = np.array([1 << k - 64 if 64 <= k < BITS else 0 for k in range(BITS + 1)], np.uint64)
_POWER_LOW = np.array([1 << k if k < 64 else 0 for k in range(BITS + 1)], np.uint64)


@attrs.frozen(eq=False)
class Addresses:
    """A column of addresses: the upper and the lower 64 bits of each."""

    high: Column
    low: Column

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, chosen: Any) -> "Addresses":
        """Those that a mask, a slice or numbers choose."""
        return Addresses(self.high[chosen], self.low[chosen])

    def __xor__(self, other: "Addresses") -> "Addresses":
        return Addresses(self.high ^ other.high, self.low ^ other.low)

    @classmethod
    def of(cls, *numbers: int) -> "Addresses":
        """A column of these numbers; 2**128 becomes 0."""
        return cls(
            np.array([number >> 64 & 2**64 - 1 for number in numbers], np.uint64),
            np.array([number & 2**64 - 1 for number in numbers], np.uint64),
        )

    def then(self, *others: "Addresses") -> "Addresses":
        """This column, and those behind it."""
        columns = (self, *others)
        return Addresses(
            np.concatenate([column.high for column in columns]),
            np.concatenate([column.low for column in columns]),
        )

    def count_below(self, number: int) -> int:
        """How many are below a number up to 2**128; the column is in order."""
        if number >> BITS:
            return len(self)
        half, rest = np.uint64(number >> 64), np.uint64(number & 2**64 - 1)
        begin = int(np.searchsorted(self.high, half))
        end = int(np.searchsorted(self.high, half, "right"))
        return begin + int(np.searchsorted(self.low[begin:end], rest))

    def predecessors(self) -> "Addresses":
        """The address before each one; that before 0 is the last of all."""
        return Addresses(self.high - (self.low == 0), self.low - np.uint64(1))

    def plus_power(self, exponent: Column) -> "Addresses":
        """Each one and 2**exponent, modulo 2**128."""
        low = self.low + _POWER_LOW[exponent]
        return Addresses(self.high + _POWER_HIGH[exponent] + (low < self.low), low)

    def equals(self, other: "Addresses") -> Column:
        """Whether each is the same as its counterpart."""
        same: Column = (self.high == other.high) & (self.low == other.low)
        return same

    def bit(self, number: Column) -> Column:
        """A bit of each, counted from the uppermost, which is 0."""
        half = np.where(number < 64, self.high, self.low)
        bit: Column = half >> (63 - (number & 63)).astype(np.uint64) & np.uint64(1)
        return bit.astype(bool)

    def bit_length(self) -> Column:
        """As :meth:`int.bit_length` tells it."""
        upper: Column = _bit_length(self.high)
        return np.where(upper > 0, upper + 64, _bit_length(self.low)).astype(np.int16)

    def trailing_zeros(self) -> Column:
        """How many of the lowest bits are zero: 128 of 0."""
        low, high = (half & (~half + np.uint64(1)) for half in (self.low, self.high))
        upper = np.where(high > 0, 63 + _bit_length(high), BITS)
        return np.where(low > 0, _bit_length(low) - 1, upper).astype(np.int16)

    def packed(self) -> bytes:
        """All of them, in 16 bytes each, big-endian."""
        return np.stack((self.high, self.low), axis=1).astype(">u8").tobytes()


def _bit_length(half: Column) -> Column:
    # By halves again: a float holds no more than 53 bits exactly.
    upper, lower = half >> np.uint64(32), half & _LOW_32
    exponents = [np.frexp(part.astype(float))[1] for part in (upper, lower)]
    length: Column = np.where(upper > 0, exponents[0] + 32, exponents[1])
    return length

"""Steps: a whole address space cut where what is said of addresses changes."""

import itertools
from collections.abc import Iterator

import attrs
import numpy as np

from ipquery.address import V4_LAST, V6_LAST
from ipquery.data.export.halves import Addresses
from ipquery.data.ranges import Column


@attrs.frozen(eq=False)
class Steps:
    """The first of ``start`` is address 0; what ``value`` says holds up to the next start."""

    version: int
    start: Addresses
    value: Column

    @property
    def end(self) -> int:
        """One past the last address of the space."""
        return (V4_LAST if self.version == 4 else V6_LAST) + 1

    def __len__(self) -> int:
        return len(self.value)

    def merged(self) -> "Steps":
        """Without those that say what the one before says."""
        begins = np.append(True, self.value[1:] != self.value[:-1])
        return attrs.evolve(self, start=self.start[begins], value=self.value[begins])

    def with_values(self, values: Column) -> "Steps":
        """With what a table has at each one's value; equal neighbours become one."""
        return attrs.evolve(self, value=values[self.value]).merged()

    def between(self, first: int, after: int) -> slice:
        """Those that hold addresses from ``first`` up to the one before ``after``."""
        return slice(self.start.count_below(first + 1) - 1, self.start.count_below(after))

    def overlaid(self, first: int, after: int, value: int) -> "Steps":
        """With another value from ``first`` up to the address before ``after``."""
        begin, end = self.start.count_below(first), self.start.count_below(after)
        start, values = [self.start[:begin], Addresses.of(first)], [self.value[:begin], [value]]
        if after < self.end:
            if self.start.count_below(after + 1) == end:  # none begins there
                start.append(Addresses.of(after))
                values.append(self.value[end - 1 : end])
            start.append(self.start[end:])
            values.append(self.value[end:])
        joined = np.concatenate([np.asarray(part, self.value.dtype) for part in values])
        return attrs.evolve(self, start=start[0].then(*start[1:]), value=joined).merged()

    def known(self) -> "Known":
        """The ranges with a value other than 0."""
        after = self.start[1:].then(Addresses.of(self.end))
        known = self.value != 0
        return Known(self.version, self.start[known], after[known], self.value[known])


@attrs.frozen(eq=False)
class Known:
    """Ranges of addresses in order, each with one value: the first, and the one past the last."""

    version: int
    first: Addresses
    after: Addresses
    value: Column

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, part: slice) -> "Known":
        return Known(self.version, self.first[part], self.after[part], self.value[part])

    def prefixes(self) -> "Prefixes":
        """The fewest prefixes that make them up, in order."""
        bits = 32 if self.version == 4 else 128
        number, first, after = np.arange(len(self)), self.first, self.after
        found = []
        while len(number):
            # The largest block that begins there and goes no further: its size is bounded by
            # the zeros at the end of the first address, and by the uppermost bit in which that
            # differs from the one past the last.
            differs = (first ^ after).bit_length() - 1
            differs[(after.high == 0) & (after.low == 0)] = 128
            free = np.minimum(first.trailing_zeros(), differs)
            found.append((number, first, free))
            first = first.plus_power(free)
            left = ~first.equals(after)
            number, first, after = number[left], first[left], after[left]
        if not found:
            return Prefixes(self.version, self.first, np.empty(0, np.int64), self.value)
        range_of = np.concatenate([one[0] for one in found])
        order = np.argsort(range_of, kind="stable")
        start = found[0][1].then(*(one[1] for one in found[1:]))[order]
        length = bits - np.concatenate([one[2] for one in found])[order].astype(np.int64)
        return Prefixes(self.version, start, length, self.value[range_of[order]])


@attrs.frozen(eq=False)
class Prefixes:
    """Prefixes in order, each with one value."""

    version: int
    first: Addresses
    length: Column
    value: Column

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, part: slice) -> "Prefixes":
        return Prefixes(self.version, self.first[part], self.length[part], self.value[part])


def chunks(count: int, size: int = 100_000) -> Iterator[slice]:
    """Slices of a column, one after the other."""
    bounds = [*range(0, count, size), count]
    return itertools.starmap(slice, itertools.pairwise(bounds))

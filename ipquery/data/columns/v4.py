"""IPv4 addresses by the million: a table by the first 24 bits, and the rest behind it.

That is DIR-24-8 (Gupta, Lin and McKeown, "Routing Lookups in Hardware at Memory Access Speeds",
1998): one read of memory tells what most addresses have, where a bisection takes some twenty. What
is behind the table are bits here instead of another table of 256: one for each address of a block
at which a step begins. Counted up to an address (as Asai and Ohara's Poptrie does, 2015) they
tell its step. A block takes 48 bytes instead of 1,024: the 375,428 blocks of the default blend that
have several answers take 18 MB instead of 384.
"""

import numpy as np

from ipquery.data.columns.numbers import NO_RECORD
from ipquery.data.ranges import Column

_BLOCKS = 1 << 24
_WORDS = 4
"""Of 64 addresses each: a block of 256."""

# In the table, smaller numbers are those of blocks with several answers.
_SEVERAL = NO_RECORD - 1

# By the place of an address in its word, the bits up to it.
_UP_TO = np.array([(2 << place) - 1 for place in range(64)], np.uint64)


class V4Index:
    """Finds answer numbers, :data:`~ipquery.data.columns.numbers.NO_RECORD` where there is none."""

    def __init__(self, first: Column, answer: Column) -> None:
        """
        :param first: first address of each step.
        :param answer: number of its answer, one more in front.
        :raises ValueError: the steps contradict each other.
        """
        if first[0] != 0 or not (first[1:] > first[:-1]).all():
            raise ValueError("steps that aren't in order")
        self._answer = answer
        first = first.astype(np.int64)
        known = answer[1:].astype(np.int32)
        known[known == 0] = NO_RECORD
        # What the first address of each block has.
        sizes = np.diff(first + 255 >> 8, append=_BLOCKS)
        self._table = np.repeat(known, sizes)
        inside = np.flatnonzero(first & 255)
        block = first[inside] >> 8
        begins = _begins(block)
        several = block[begins]
        self._table[several] = _SEVERAL - np.arange(len(several), dtype=np.int32)
        count = np.diff(begins, append=len(block))
        word = np.repeat(np.arange(len(several)) * _WORDS, count) + (first[inside] >> 6 & 3)
        self._bits = np.zeros(len(several) * _WORDS, np.uint64)
        bit = np.uint64(1) << (first[inside] & 63).astype(np.uint64)
        runs = _begins(word)
        if len(runs):
            # Different bits: their sum is what they are together.
            self._bits[word[runs]] = np.add.reduceat(bit, runs)
        counted = np.bitwise_count(self._bits).reshape(-1, _WORDS).astype(np.uint32)
        earlier = np.cumsum(counted, axis=1, dtype=np.uint32) - counted
        # The place of the step that holds a word's first address, or the one before.
        self._before = (earlier + inside[begins][:, np.newaxis].astype(np.uint32)).reshape(-1)

    def find(self, numbers: Column) -> Column:
        """Numbers of the answers of addresses, as ``int32``.

        :param numbers: ``uint32``; some ten thousand at a time, so that what is in between stays
            in the processor's caches.
        """
        found: Column = self._table.take(numbers >> 8)
        inside = np.flatnonzero(found <= _SEVERAL)
        if len(inside):
            found[inside] = self._find_inside(found[inside], numbers[inside])
        return found

    def _find_inside(self, block: Column, numbers: Column) -> Column:
        word = (_SEVERAL - block) * _WORDS + (numbers >> 6 & 3).astype(np.int32)
        bits = self._bits.take(word) & _UP_TO.take(numbers & 63)
        place = self._before.take(word) + np.bitwise_count(bits)
        found: Column = self._answer.take(place).astype(np.int32)
        found[found == 0] = NO_RECORD
        return found


def _begins(column: Column) -> Column:
    """Where the value changes in a column in order."""
    if not len(column):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.append(True, column[1:] != column[:-1]))

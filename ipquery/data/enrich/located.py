"""Located: where in a block of lines the addresses are, and where what is said of them goes."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
import numpy as np

from ipquery.data.columns.texts import WIDTH
from ipquery.data.ranges import Column

_NEWLINE, _RETURN = ord("\n"), ord("\r")


@attrs.frozen(eq=False)
class Block:
    """Whole lines: as bytes, and as a column of these with zeros behind."""

    data: bytes
    column: Column

    @classmethod
    def of(cls, data: bytes) -> "Block":
        padded = np.zeros(len(data) + WIDTH, np.uint8)
        padded[: len(data)] = np.frombuffer(data, np.uint8)
        return cls(data, padded)

    def places(self, character: int) -> Column:
        """Where a character is."""
        return np.flatnonzero(self.column[: len(self.data)] == character)

    def newlines(self) -> Column:
        """Where lines end."""
        return self.places(_NEWLINE)


Change = Callable[[bytes], bytes]


@attrs.frozen(eq=False)
class Located:
    """Rows: the lines that have something added, in order; others stay as they are.

    ``insert`` is where that goes, ``start`` and ``length`` are where the address is: a length
    below 0 says nowhere. Where the addresses aren't written in plain text there, ``addresses``
    has them: what ``find_many`` takes.
    """

    insert: Column
    start: Column
    length: Column
    addresses: Any = None
    changes: Mapping[int, Change] = attrs.field(factory=dict)
    """By row, what changes that which is added."""
    rewritten: Mapping[int, bytes] = attrs.field(factory=dict)
    """By row, what stands there instead of the address if these are taken away; else its prefix."""
    odd: int = 0
    """How many lines aren't like the others, so that the user should know."""


class Format(Protocol):
    """How the lines of a format are read and added to. It is sent to other processes."""

    def record_end(self, data: bytes) -> int:
        """Where the last row ends that ends in what has been read, 0 if none does."""
        ...

    def locate(self, block: Block) -> Located:
        """Where the addresses of a block are."""
        ...

    def piece(self, number: int, value: Any) -> bytes:
        """What is added for one of the fields, or for the status, which is the last.

        :param number: of the field, from 0.
        :param value: ``None`` is unknown.
        """
        ...

    def addition(self, pieces: bytes) -> bytes:
        """What is added to a row, of all its pieces."""
        ...


def lines_of(block: Block, newlines: Column) -> tuple[Column, Column]:
    """Where lines begin and where what is in them ends, without those that are empty.

    :param newlines: where they end; the last does so where the block does.
    """
    begin = np.zeros_like(newlines)
    begin[1:] = newlines[:-1] + 1
    end = newlines - ((newlines > begin) & (block.column[newlines - 1] == _RETURN))
    filled = end > begin
    if filled.all():
        return begin, end
    return begin[filled], end[filled]


def last_line_end(data: bytes) -> int:
    """Where the last line ends, 0 if none does."""
    return data.rfind(b"\n") + 1

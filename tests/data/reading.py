"""What tests of readers share: looking into a table, and files gone wrong."""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

from ipquery.data.ranges import RangeTable, to_numbers
from ipquery.data.record import UNKNOWN, DataError, Record

Find = Callable[[int, int], Record | None]
"""From IP version and address number to what the table says, ``None`` for no range."""


def finder(table: RangeTable) -> Find:
    """Looks addresses up in a table, after checking that its ranges are what they must be."""
    columns = {}
    for version, ranges in ((4, table.v4), (6, table.v6)):
        ranges.check("the table")
        columns[version] = to_numbers(ranges.first), to_numbers(ranges.last), ranges.record

    def find(version: int, number: int) -> Record | None:
        first, last, record = columns[version]
        place = bisect_right(first, number) - 1
        if place < 0 or number > last[place]:
            return None
        found: Record = table.records[record[place]]
        return found

    return find


class Found:
    """One IP version of a table, to be asked many times."""

    def __init__(self, table: RangeTable, version: int) -> None:
        self._find, self._version = finder(table), version

    def __getitem__(self, number: int) -> Record | None:
        """The record of an address; ``None`` where none is, or one that says nothing."""
        record = self._find(self._version, number)
        return None if record == UNKNOWN else record


def mutations(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """The same file damaged in ways that files are, reproducibly."""
    chance = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 1, 1, 2, 5, 20))):
            at = chance.randrange(len(damaged)) if damaged else 0
            kind = chance.randrange(7)
            if kind < 3:
                damaged[at : at + 1] = bytes([chance.randrange(256)])
            elif kind == 3:
                damaged[at : at + 4] = chance.choice((b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"))
            elif kind == 4:
                del damaged[at : at + chance.choice((1, 4, 100))]
            elif kind == 5:
                source = chance.randrange(len(damaged)) if damaged else 0
                piece = damaged[source : source + chance.choice((1, 8, 64))]
                damaged[at:at] = piece
            else:
                del damaged[at:]
        yield bytes(damaged)


def outcome(read: Callable[[Path], RangeTable], path: Path, content: bytes) -> RangeTable | str:
    """The table of a file with this content, or the one line that refuses it."""
    path.write_bytes(content)
    try:
        return read(path)
    except DataError as error:
        complaint = str(error)
        assert complaint.startswith(str(path))
        assert "\n" not in complaint
        assert complaint.isprintable()
        assert len(complaint) < 500
        return complaint

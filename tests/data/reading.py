"""What a table that was read answers for one address."""

import bisect

from ipquery.data.ranges import Ranges, RangeTable, to_numbers
from ipquery.data.record import UNKNOWN, Record


class Found:
    """The ranges of one IP version as Python numbers, to be asked many times."""

    def __init__(self, table: RangeTable, version: int) -> None:
        ranges: Ranges = table.v4 if version == 4 else table.v6
        ranges.check("table")
        self._first, self._last = to_numbers(ranges.first), to_numbers(ranges.last)
        self._record = ranges.record.tolist()
        self._records = table.records

    def __getitem__(self, number: int) -> Record | None:
        """The record of an address; ``None`` where none is, or one that says nothing."""
        at = bisect.bisect_right(self._first, number) - 1
        if at < 0 or number > self._last[at]:
            return None
        record = self._records[self._record[at]]
        return None if record == UNKNOWN else record

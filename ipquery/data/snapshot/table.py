"""A whole snapshot as a table of ranges, to compare it with databases.

Not for processes that serve: numpy.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ipquery.address import V4_LAST, V6_LAST
from ipquery.data.ranges import KEY, Column, Ranges, RangeTable, predecessors, to_key
from ipquery.data.record import DataError
from ipquery.data.snapshot.reader import Snapshot

Columns = Mapping[str, Column]


def read_table(path: Path) -> tuple[RangeTable, Mapping[str, Any]]:
    """The records and ranges of a snapshot, and what it says about itself.

    :raises DataError: it is damaged, of another layout, or no snapshot.
    :raises OSError: it can't be read.
    """
    with Snapshot(path) as snapshot:
        # Copies: what looks into the file must be gone before it is closed.
        columns = {name: np.array(snapshot.column(name)) for name in _COLUMNS}
        about = snapshot.about
        records = [snapshot.record(number) for number in range(1, len(columns["pair.place"]))]
    try:
        table = RangeTable(
            records,
            _ranges(4, columns["v4.first"].astype(np.uint64), columns["v4.answer"], len(records)),
            _ranges(6, _v6_starts(columns), columns["v6.answer"], len(records)),
        )
    except (IndexError, ValueError):
        raise DataError(f"{path}: the snapshot contradicts itself; build it again") from None
    for ranges in (table.v4, table.v6):
        ranges.check(str(path))
    return table, about


_COLUMNS = (
    "pair.place",
    "v4.first",
    "v4.answer",
    "v6.first.high",
    "v6.first.low",
    "v6.answer",
)


def _ranges(version: int, start: Column, answer: Column, records: int) -> Ranges:
    """
    :param answer: by number of the step, one more in front.
    :raises ValueError: an answer that there isn't.
    """
    last = np.array([to_key(version, V4_LAST if version == 4 else V6_LAST)], KEY[version])
    end = np.append(predecessors(start[1:]), last)
    number = answer[1:].astype(np.int64)
    if number.max(initial=0) > records:
        raise ValueError("an answer that there isn't")
    known = number != 0
    return Ranges(version, start[known], end[known], number[known] - 1)


def _v6_starts(columns: Columns) -> Column:
    halves = np.stack([columns["v6.first.high"], columns["v6.first.low"]], axis=1)
    return np.ascontiguousarray(halves.astype(">u8")).view("S16").reshape(-1)

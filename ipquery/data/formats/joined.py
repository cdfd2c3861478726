"""Tables of several files as one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ipquery.data.ranges import Column, Ranges, RangeTable
from ipquery.data.record import DataError, Record


def join(paths: Sequence[Path], tables: Sequence[RangeTable]) -> RangeTable:
    """Tables that are about different addresses as one.

    :param paths: where each was read from.
    :raises DataError: two have addresses in common.
    """
    if len(tables) == 1:
        return tables[0]
    records: dict[Record, int] = {}
    numbers = [
        np.array([records.setdefault(one, len(records)) for one in table.records], np.int64)
        for table in tables
    ]
    v4 = _joined(paths, [table.v4 for table in tables], numbers)
    v6 = _joined(paths, [table.v6 for table in tables], numbers)
    dates = [table.date for table in tables if table.date is not None]
    terms = {table.terms for table in tables}
    return RangeTable(
        list(records), v4, v6, min(dates, default=None), terms.pop() if len(terms) == 1 else None
    )


def _joined(paths: Sequence[Path], parts: Sequence[Ranges], numbers: Sequence[Column]) -> Ranges:
    """Ranges of one IP version.

    :param numbers: for each part the number that each of its records has now.
    """
    version = parts[0].version
    first, last = (
        np.concatenate([getattr(part, end) for part in parts]) for end in ("first", "last")
    )
    record = np.concatenate([new[part.record] for part, new in zip(parts, numbers, strict=True)])
    file = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    order = np.argsort(first, kind="stable")
    first, last, record, file = first[order], last[order], record[order], file[order]
    overlaps = np.flatnonzero(first[1:] <= last[:-1])
    if len(overlaps):
        one, other = (paths[number] for number in sorted(file[overlaps[0] : overlaps[0] + 2]))
        raise DataError(
            f"{one}: has IPv{version} addresses in common with {other}; name them as two sources, "
            "or leave one out"
        )
    return Ranges(version, first, last, record).merged()

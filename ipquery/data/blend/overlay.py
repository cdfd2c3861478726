"""Several tables laid over each other: an address space, cut where any of them changes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ipquery.data.ranges import KEY, Column, Ranges, sorted_unique, successors, to_halves, to_key

NO_RECORD = 0
"""Where a table has no record."""


def overlay(version: int, tables: Sequence[Ranges]) -> tuple[Column, list[NDArray[np.int32]]]:
    """Cut an address space at the boundaries of all tables.

    :returns: the first address of each step, in order, and for each table the number of
        its record that holds the step, counted from 1, or :data:`NO_RECORD`.
    """
    bounds = [np.array([to_key(version, 0)], KEY[version])]
    for ranges in tables:
        bounds += [ranges.first, successors(ranges.last)]
    sizes = [len(column) for column in bounds]
    together = np.concatenate(bounds)
    keys = together if version == 4 else _ranks(together)
    order = sorted_unique(keys)
    places = np.split(np.searchsorted(order, keys), np.cumsum(sizes)[:-1])
    start = np.empty(len(order), KEY[version])
    start[np.concatenate(places)] = together
    found = [
        _spread(len(order), first, after, ranges.record)
        for ranges, first, after in zip(tables, places[1::2], places[2::2], strict=True)
    ]
    return start, found


def _ranks(column: Column) -> NDArray[np.uint64]:
    """Numbers of 64 bits that are in the same order as IPv6 addresses, and equal where they are.

    Halves are replaced by their rank among all of their kind; there are far fewer than
    2**32 of each.
    """
    high, low = to_halves(column)
    lows = sorted_unique(low)
    ranks = np.searchsorted(sorted_unique(high), high) * len(lows) + np.searchsorted(lows, low)
    return ranks.astype(np.uint64)


def _spread(
    steps: int, first: NDArray[np.intp], after: NDArray[np.intp], record: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The record of each step, from the steps at which ranges begin and those after their end."""
    latest = np.zeros(steps, np.int32)
    latest[after] = after
    latest[first] = first
    np.maximum.accumulate(latest, out=latest)
    number = np.full(steps, NO_RECORD, np.int32)
    number[first] = record + 1
    return number[latest]

"""What is added to rows, as Arrow columns."""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ipquery.data.columns.batch import Batch
from ipquery.data.columns.found import Found
from ipquery.data.columns.numbers import NOT_AN_ADDRESS
from ipquery.data.enrich.options import BAD, OK, UNKNOWN
from ipquery.data.enrich.places import PLACES, keys_of, place_of
from ipquery.data.ranges import Column
from ipquery.data.snapshot.reader import Snapshot

_KEPT = 1 << 19
"""Addresses whose networks are kept."""


class ArrowColumns:
    """Makes them; the networks of addresses that came before are kept."""

    def __init__(self, arrow: Any, snapshot: Snapshot, fields: Sequence[str]) -> None:
        """
        :param arrow: pyarrow.
        """
        self._arrow, self._fields = arrow, fields
        self._index = snapshot.index()
        self._place_of = lru_cache(_KEPT)(partial(place_of, snapshot))

    def of(self, given: Sequence[Batch], numbers: Column) -> list[Any]:
        """A ``pyarrow.Array`` for each of the fields, and behind them one with the status.

        :param numbers: of the answers to the addresses.
        :raises DataError: the snapshot contradicts itself.
        """
        which = np.minimum(numbers, 0) - NOT_AN_ADDRESS
        statuses = self._arrow.array((BAD, UNKNOWN, OK)).take(self._arrow.array(which))
        return [*self._said(given, numbers), statuses]

    def _said(self, given: Sequence[Batch], numbers: Column) -> Iterator[Any]:
        fields = [name for name in self._fields if name not in PLACES]
        said = Found(numbers, self._index).table(fields).columns if fields else []
        columns = dict(zip(fields, said, strict=True))
        places: list[dict[str, str]] = []
        if len(fields) < len(self._fields):
            places = [self._place_of(key) for batch in given for key in keys_of(batch)]
        for name in self._fields:
            if name in PLACES:
                values = [place.get(name) for place in places]
                yield self._arrow.array(values, self._arrow.string())
            else:
                # Each value by itself: whoever takes these would write a dictionary whole for each
                # row group, or, as Spark, doesn't read any.
                yield columns[name].cast(columns[name].type.value_type).combine_chunks()

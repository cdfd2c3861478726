"""What a snapshot says in chosen fields, in columns by answer number.

Not for processes that serve: numpy.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ipquery.data.ranges import Column
from ipquery.data.snapshot.reader import POOLS, Snapshot, members_values

STEP_COLUMNS = (
    "v4.first",
    "v4.answer",
    "v6.first.high",
    "v6.first.low",
    "v6.answer",
)
"""Sections of a snapshot that say where answers change, and to which; see
:mod:`ipquery.data.snapshot.layout`."""


def read_values(
    snapshot: Snapshot, fields: Sequence[str]
) -> tuple[dict[str, Sequence[Any]], dict[str, Column]]:
    """The values that occur in each of the fields, ``None`` first, and for each answer the number
    of its value among them. Answer 0, which is none, says nothing.

    :param fields: names of fields of :class:`~ipquery.data.record.Record`.
    :raises ValueError: the snapshot contradicts itself; so do an ``IndexError``, a ``TypeError``
        and an ``AttributeError``.
    """
    values: dict[str, Sequence[Any]] = {}
    by_answer: dict[str, Column] = {}
    parts = _parts(snapshot)
    for pool, names in POOLS.items():
        wanted = [name for name in names if name in fields]
        if not wanted:
            continue
        at = parts[pool.partition(".")[0]]
        rows = _rows(snapshot, pool, int(at.max()) + 1, len(names))
        for name in wanted:
            place_in_row = names.index(name)
            values[name], numbers = _numbered([row[place_in_row] for row in rows])
            _check(name, values[name][1:])
            by_answer[name] = numbers[at]
    if any(column[0] for column in by_answer.values()):
        raise ValueError("an answer that says something where there is none")
    return values, by_answer


def _parts(snapshot: Snapshot) -> dict[str, Column]:
    # Copies: what looks into the file must be gone before it is closed.
    place, owner, region, city = (
        np.array(snapshot.column(name))
        for name in ("pair.place", "pair.owner", "place.region", "place.city")
    )
    return {"region": region[place], "city": city[place], "place": place, "owner": owner}


def _rows(snapshot: Snapshot, pool: str, count: int, width: int) -> list[tuple[Any, ...]]:
    text = snapshot.pool_text(pool)
    rows = [members_values(bytes(text(number))) for number in range(count)]
    if any(len(row) != width for row in rows):
        raise ValueError("another number of fields")
    return rows


def _numbered(given: Sequence[Any]) -> tuple[Sequence[Any], Column]:
    """The different values, ``None`` first, and for each one given its number among them."""
    numbers: dict[Any, int] = {None: 0}
    column = np.array([numbers.setdefault(value, len(numbers)) for value in given], np.int64)
    return list(numbers), column


def _check(field: str, values: Sequence[Any]) -> None:
    """
    :raises ValueError: one isn't what a snapshot has in that field.
    """
    if field in _DEGREES:
        sound = all(type(value) in (int, float) and math.isfinite(value) for value in values)
    elif field in _MOST:
        sound = all(type(value) is int and 0 <= value <= _MOST[field] for value in values)
    else:
        # A half of a pair of surrogates can't be encoded.
        sound = all(value.encode() for value in values)
    if not sound:
        raise ValueError(f"another kind of {field}")


_DEGREES = ("latitude", "longitude")
_MOST = {"accuracy_radius": 2**16 - 1, "asn": 2**32 - 1}

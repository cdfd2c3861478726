"""What a snapshot says, in columns by answer number, for :mod:`ipquery.data.snapshot.diff`.

Not for processes that serve: numpy.
"""

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data.ranges import Column
from ipquery.data.record import DataError
from ipquery.data.snapshot.mapped import MappedFile, Pool
from ipquery.data.snapshot.reader import members_values

Words = dict[Hashable, int]
"""Numbers for what is said, the same for both snapshots. ``None`` is 0."""


def _numbers(words: Words, values: Iterable[Hashable | None]) -> NDArray[np.int64]:
    return np.array([words.setdefault(value, len(words)) for value in values], np.int64)


@attrs.frozen(eq=False)
class Said:
    """What is said at a level, by answer number: code, name, and the words to show it in."""

    code: Column
    name: Column
    words: Column

    def known(self) -> Column:
        known: Column = (self.code != 0) | (self.name != 0)
        return known


@attrs.frozen(eq=False)
class Side:
    """One of the snapshots.

    ``starts`` are the upper and lower halves of the first address of each step, and
    ``answers`` the numbers of their answers, by version. ``parts`` number the texts that an
    answer is made of, ``label`` is the country that it counts for; ``place`` is latitude
    and longitude, in degrees.
    """

    identity: str
    starts: Mapping[int, tuple[Column, Column]]
    answers: Mapping[int, Column]
    parts: Sequence[Column]
    said: Mapping[str, Said]
    label: Column
    place: tuple[Column, Column]


def read_side(path: Path, words: Words) -> Side:
    """
    :param words: the numbers given so far; more are added.
    :raises DataError: the file is damaged, of another layout, or no snapshot.
    :raises OSError: it can't be read.
    """
    file = MappedFile(path, verify=True)
    try:
        # Copies: what looks into the file must be gone before it is closed.
        columns = {name: np.array(column) for name, column in file.columns.items()}
        texts = {name: _texts(file.pools[name]) for name in _POOLS}
    finally:
        file.close()
    try:
        return _read(file.identity, columns, texts, words)
    except (IndexError, ValueError, TypeError):
        raise DataError(f"{path}: the snapshot contradicts itself; build it again") from None


_POOLS = (
    "region.names",
    "region.details",
    "city.names",
    "city.details",
    "place.details",
    "owner.names",
    "owner.details",
)


def _texts(pool: Pool) -> list[bytes]:
    whole = bytes(pool.whole)
    ends = pool.end.tolist()
    return [whole[begin:end] for begin, end in itertools.pairwise(ends)]


def _read(
    identity: str,
    columns: Mapping[str, Column],
    texts: Mapping[str, Sequence[bytes]],
    words: Words,
) -> Side:
    place, owner = columns["pair.place"], columns["pair.owner"]
    region, city = columns["place.region"][place], columns["place.city"][place]
    both = {
        level: [b"%b,%b" % pair for pair in zip(*pools, strict=True)]
        for level, pools in (
            ("region", (texts["region.names"], texts["region.details"])),
            ("city", (texts["city.names"], texts["city.details"])),
            ("owner", (texts["owner.names"], texts["owner.details"])),
        )
    }
    regions, cities, owners = ([members_values(text) for text in both[k]] for k in both)
    # Postal code, latitude, longitude, radius. One of the two without the other is no place.
    points = [
        row[1:3] if None not in row[1:3] else None
        for row in map(members_values, texts["place.details"])
    ]

    def said(
        at: Column, codes: Iterable[Any] | None, names: Iterable[Any], shown: Iterable[Any] = ()
    ) -> Said:
        name = _numbers(words, names)
        code = np.zeros_like(name) if codes is None else _numbers(words, codes)
        own = _numbers(words, shown)
        return Said(code[at], name[at], own[at] if len(own) else name[at])

    return Side(
        identity,
        {4: _v4_starts(columns), 6: _v6_starts(columns)},
        {version: columns[f"v{version}.answer"][1:] for version in (4, 6)},
        [
            _numbers(words, parts)[at]
            for parts, at in (
                (both["region"], region),
                (both["city"], city),
                (texts["place.details"], place),
                (both["owner"], owner),
            )
        ],
        {
            "country": said(
                region,
                (row[_CODE] for row in regions),
                (row[_COUNTRY] for row in regions),
                (row[_COUNTRY] or row[_CODE] for row in regions),
            ),
            "province": said(
                region,
                (row[_SUBDIVISION] for row in regions),
                (row[_PROVINCE] or row[_PROVINCE_CODE] for row in regions),
                map(_show_province, regions),
            ),
            "city": said(
                city,
                (row[1] for row in cities),
                (row[0] for row in cities),
                (row[0] or row[1] for row in cities),
            ),
            "coordinates": said(place, None, points),
            "org": said(owner, None, (row[0] for row in owners)),
            "isp": said(owner, None, (row[1] for row in owners)),
            "asn": said(
                owner,
                (row[2] for row in owners),
                (row[3] for row in owners),
                map(_show_system, owners),
            ),
        },
        _numbers(words, (row[_CODE] or row[_COUNTRY] for row in regions))[region],
        tuple(np.array([point or _NOWHERE for point in points], float)[place].T),
    )


# Where the fields of a region stand.
_COUNTRY, _CODE, _PROVINCE, _PROVINCE_CODE, _, _SUBDIVISION = range(6)
_NOWHERE = (math.nan, math.nan)


def _show_province(row: Sequence[str | None]) -> str | None:
    province, country = row[_PROVINCE] or row[_SUBDIVISION], row[_COUNTRY] or row[_CODE]
    return f"{province}, {country}" if province and country else province


def _show_system(row: Sequence[Any]) -> str | None:
    asn, organisation = row[2:4]
    return organisation if asn is None else f"AS{asn} {organisation or ''}".rstrip()


def show(words: Any) -> str | None:
    """What is to be read of what was said."""
    if isinstance(words, tuple):
        return ", ".join(map(str, words))
    return None if words is None else str(words)


def _v4_starts(columns: Mapping[str, Column]) -> tuple[Column, Column]:
    start = columns["v4.first"].astype(np.uint64)
    return _in_order(np.zeros(len(start), np.uint64), start)


def _v6_starts(columns: Mapping[str, Column]) -> tuple[Column, Column]:
    return _in_order(columns["v6.first.high"], columns["v6.first.low"])


def _in_order(high: Column, low: Column) -> tuple[Column, Column]:
    rises = (high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] > low[:-1]))
    if high[0] or low[0] or not rises.all():
        raise ValueError("steps that aren't in order")
    return high, low

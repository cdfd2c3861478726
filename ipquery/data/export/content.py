"""Content: what a snapshot says in chosen fields, in columns.

Places and owners are taken apart once; what addresses say is put together from numbers, so that
6.5 million ranges with 583,000 different answers are a matter of seconds.
"""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ipquery.data.export.halves import Addresses
from ipquery.data.export.steps import Steps
from ipquery.data.ranges import Column
from ipquery.data.record import DataError
from ipquery.data.snapshot.layout import LANGUAGES
from ipquery.data.snapshot.reader import Snapshot
from ipquery.data.snapshot.values import STEP_COLUMNS, read_values

_MAPPED = 0xFFFF << 32, 0x10000 << 32
"""IPv4-mapped addresses (RFC 4291 section 2.5.5.2), up to the one before."""

Values = tuple[Any, ...]


@attrs.frozen(eq=False)
class Content:
    """What is said of addresses.

    Records are numbered; record 0 says nothing. ``values`` has what occurs in each of the
    fields, ``None`` first, and ``codes`` the number among these for each record. ``steps`` have
    numbers of records as their values. Nothing is said of IPv4-mapped addresses: they are IPv4
    wherever ipquery is asked.
    """

    fields: tuple[str, ...]
    values: Mapping[str, Sequence[Any]]
    codes: Mapping[str, Column]
    v4: Steps
    v6: Steps
    sources: tuple[str, ...]
    """A line for each source: its name and date, and the terms on which it is used."""
    date: datetime.date | None
    """The day of the newest source."""
    names: Mapping[str, Mapping[str, str]]
    """By language, names of codes of countries (ISO 3166-1), subdivisions (ISO 3166-2) and Chinese
    divisions (GB/T 2260)."""

    @property
    def count(self) -> int:
        """Of records, record 0 among them."""
        return len(self.codes[self.fields[0]])

    def combinations(self, fields: Sequence[str]) -> tuple[Column, Iterator[Values]]:
        """What records say in some fields: for each record the number of a combination of values,
        and these. Fields that the content doesn't have are ``None``."""
        key = np.zeros(self.count, np.int64)
        for field in (one for one in fields if one in self.codes):
            key = _joined(key, self.codes[field], len(self.values[field]))
        _, begins, number = np.unique(key, return_index=True, return_inverse=True)
        columns = [
            [self.values[field][code] for code in self.codes[field][begins].tolist()]
            if field in self.codes
            else [None] * len(begins)
            for field in fields
        ]
        return number, zip(*columns, strict=True)


def read_content(path: Path, fields: Sequence[str]) -> Content:
    """What a snapshot says in these fields.

    :param fields: names of fields of :class:`~ipquery.data.record.Record`, at least one.
    :raises DataError: it is damaged, of another layout, or no snapshot.
    :raises OSError: it can't be read.
    """
    with Snapshot(path) as snapshot:
        # Copies: what looks into the file must be gone before it is closed.
        columns = {name: np.array(snapshot.column(name)) for name in STEP_COLUMNS}
        try:
            values, codes, answers = _records(snapshot, fields)
            v4, v6 = (_steps(version, columns, answers) for version in (4, 6))
            sources, date = _sources(snapshot.about)
            names = {language: _names(snapshot.names(language)) for language in LANGUAGES}
        except (IndexError, KeyError, ValueError, TypeError, AttributeError):
            raise DataError(f"{path}: the snapshot contradicts itself; build it again") from None
    return Content(tuple(fields), values, codes, v4, v6, sources, date, names)


def _records(
    snapshot: Snapshot, fields: Sequence[str]
) -> tuple[dict[str, Sequence[Any]], dict[str, Column], Column]:
    """The values of fields, their numbers by record, and the record of each answer."""
    values, by_answer = read_values(snapshot, fields)
    key = np.zeros(len(by_answer[fields[0]]), np.int64)
    for name in fields:
        key = _joined(key, by_answer[name], len(values[name]))
    # The first of all answers is none: it has number 0 in each field, the smallest there is.
    _, begins, record = np.unique(key, return_index=True, return_inverse=True)
    return values, {name: by_answer[name][begins] for name in fields}, record


def _sources(about: Mapping[str, Any]) -> tuple[tuple[str, ...], datetime.date | None]:
    lines, dates = [], []
    for source in about["sources"]:
        facts = (source.get(name) for name in ("name", "date", "licence", "attribution"))
        line = "; ".join(str(fact) for fact in facts if fact)
        # In a comment, what isn't printed might end it.
        lines.append("".join(one if one.isprintable() else " " for one in line))
        if source.get("date"):
            dates.append(datetime.date.fromisoformat(source["date"]))
    return tuple(lines), max(dates, default=None)


def _names(names: Mapping[str, str]) -> Mapping[str, str]:
    """
    :raises ValueError: one can't be encoded.
    :raises AttributeError: one is no text.
    """
    for name in names.values():
        name.encode()
    return names


def _joined(key: Column, codes: Column, count: int) -> Column:
    """Numbers that tell pairs apart, in the order of pairs, and no larger than they need be."""
    joined: Column = np.unique(key * count + codes, return_inverse=True)[1]
    return joined


def _steps(version: int, columns: Mapping[str, Column], answers: Column) -> Steps:
    low = columns["v4.first" if version == 4 else "v6.first.low"].astype(np.uint64)
    high = columns["v6.first.high"] if version == 6 else np.zeros(len(low), np.uint64)
    start = Addresses(high, low)
    rises = (high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] > low[:-1]))
    if high[0] or low[0] or not rises.all():
        raise ValueError("steps that aren't in order")
    steps = Steps(version, start, answers[columns[f"v{version}.answer"][1:]]).merged()
    return steps if version == 4 else steps.overlaid(*_MAPPED, 0)

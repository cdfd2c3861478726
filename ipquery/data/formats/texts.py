"""Records kept as one text with a separator: what ipip-dat and xdb share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipquery.address import shorten
from ipquery.data.ranges import Column
from ipquery.data.record import FIELDS, DataError, Record

SKIP = ""
"""Name of a column that is left out."""

COLUMN_NAMES = frozenset({*FIELDS, SKIP})
"""What a column may be called."""


def read_texts(
    path: Path, data: bytes, offset: Column, length: Column, separator: str
) -> tuple[list[tuple[str, ...]], Column]:
    """Decode the texts that (offset, length) pairs point at, each one once.

    :param offset: positions in ``data``, bytes.
    :param length: bytes, below 65536.
    :returns: the distinct texts split at ``separator``, and for each pair the
        number of its text.
    :raises DataError: a text lies outside the file or isn't UTF-8.
    """
    pointer = offset.astype(np.uint64) << np.uint64(16) | length.astype(np.uint64)
    distinct, number = np.unique(pointer, return_inverse=True)
    rows: list[tuple[str, ...]] = []
    for value in distinct.tolist():
        begin, size = value >> 16, value & 0xFFFF
        if begin + size > len(data):
            raise DataError(
                f"{path}: a text of {size} bytes at {begin} lies beyond the end of the file "
                f"({len(data)} bytes): the file is cut short; get it again"
            )
        try:
            text = data[begin : begin + size].decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: the text at byte {begin + error.start} is not UTF-8: "
                "the file is damaged; get it again"
            ) from None
        rows.append(tuple(text.split(separator)))
    return rows, number.astype(np.int64)


def make_record(
    path: Path, row: Sequence[str], columns: Sequence[str], fewest: int, unknown: str = ""
) -> Record:
    """The record of one split text.

    :param fewest: columns that every text must have.
    :param unknown: what stands in a column that isn't known.
    :raises DataError: ``row`` has too few or too many columns.
    """
    if not fewest <= len(row) <= len(columns):
        wanted = str(fewest) if fewest == len(columns) else f"{fewest} to {len(columns)}"
        raise DataError(
            f"{path}: a record has {len(row)} columns instead of {wanted}: the file is damaged, "
            "or of another edition; name its columns in the configuration (`columns`)"
        )
    named = zip(columns, row, strict=False)
    return to_record(path, {name: text for name, text in named if name != SKIP and text != unknown})


def to_record(path: Path, texts: Mapping[str, str]) -> Record:
    """A record from the texts of its fields, by name.

    Numbers are decimal; an AS number may stand with or without its ``AS``.

    :raises DataError: a text isn't the number that its field holds.
    """
    values: dict[str, Any] = dict(texts)
    for name in NUMBER_FIELDS & texts.keys():
        values[name] = to_number(path, name, texts[name]) if texts[name] else None
    return Record(**values)


def to_number(path: Path, name: str, given: str | float) -> float:
    """The value of a field that holds a number, from its text or from the number itself.

    :raises DataError: it is none, or out of the field's bounds.
    """
    if name == "asn" and isinstance(given, str):
        given = given.removeprefix("AS")
    try:
        number = _NUMBERS[name](given)
    except (ValueError, OverflowError):
        raise DataError(
            f"{path}: {shorten(str(given))} is no {name.replace('_', ' ')}: the file is damaged, "
            "or its columns are others; name them in the configuration (`columns`)"
        ) from None
    low, high = _BOUNDS[name]
    if not low <= number <= high:
        raise DataError(
            f"{path}: {name} {number} is out of bounds: the file is damaged; get it again"
        )
    return number


def iso_3166_2(code: str, country: str | None) -> str:
    """An ISO 3166-2 code in full; most files leave out the country that it begins with.

    Without a country it can't be told, and is left out: ``""``.
    """
    if not country or not code:
        return ""
    return code if code.startswith(f"{country}-") else f"{country}-{code}"


_NUMBERS: dict[str, Callable[[str | float], float]] = {
    "latitude": float,
    "longitude": float,
    "accuracy_radius": int,
    "asn": int,
}
NUMBER_FIELDS = frozenset(_NUMBERS)
"""Fields of a record that are numbers."""

_BOUNDS = {
    "latitude": (-90, 90),
    "longitude": (-180, 180),
    "accuracy_radius": (0, 20_038),  # half of the equator
    "asn": (0, 2**32 - 1),  # RFC 6793
}

"""Records kept as one text with a separator: what ipip-dat and xdb share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

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
    return Record(**{name: text for name, text in named if name != SKIP and text != unknown})

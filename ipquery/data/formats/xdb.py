"""ip2region ``.xdb``, versions 2 (IPv4) and 3 (IPv4 or IPv6).

Layout from the vendor's reader (py-ip2region), all little-endian::

    0    header, 256 bytes: u16 version, u16 cache policy, u32 created (Unix time),
         u32 position of the first entry, u32 position of the last one;
         version 3: u16 IP version, u16 bytes of a pointer
    256  vector index: 256 x 256 rows by the first two bytes of the address,
         u32 position of the first entry, u32 one past the last; 0, 0 = no data
    ...  texts
    ...  entries: first, last (IPv4 little-endian, IPv6 big-endian), u16 length
         and u32 position of the text; split at the first two bytes

The vendor's reader goes through the vector index, so an entry that the index
doesn't lead to has no answer there: such a file is refused as damaged.
"""

import datetime
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.texts import make_record, read_texts
from ipquery.data.ranges import Column, Ranges, RangeTable
from ipquery.data.record import UNKNOWN, DataError

NAME = "xdb"
COLUMNS = ("country", "", "province", "city", "isp")
"""The layout up to 2025; the second column is a region of the world, never filled."""

COLUMNS_WITH_CODE = ("country", "province", "city", "isp", "country_code")
"""The layout since: the last column is ISO 3166-1 alpha-2."""

_VECTOR_AT = 256
_ENTRIES_FROM = _VECTOR_AT + 256 * 256 * 8
_ENTRY: dict[int, np.dtype[Any]] = {
    4: np.dtype([("first", "<u4"), ("last", "<u4"), ("length", "<u2"), ("text", "<u4")]),
    6: np.dtype([("first", "S16"), ("last", "S16"), ("length", "<u2"), ("text", "<u4")]),
}
_UNKNOWN_TEXT = "0"
_ALPHA_2 = re.compile("[A-Z]{2}")


@attrs.frozen
class _Header:
    version: int
    created: int
    first_entry: int
    last_entry: int
    ip_version: int


def _parse_header(head: bytes) -> _Header | None:
    """The header, or ``None`` if it isn't one."""
    if len(head) < _VECTOR_AT:
        return None
    version, _, created, first, last, ip, pointer = struct.unpack_from("<HHIIIHH", head)
    if version == 2:
        ip, pointer = 4, 4
    if version not in (2, 3) or ip not in _ENTRY or pointer != 4:
        return None
    if not _ENTRIES_FROM <= first <= last or (last - first) % _ENTRY[ip].itemsize:
        return None
    return _Header(version, created, first, last, ip)


def sniff(head: bytes, tail: bytes, size: int) -> bool:
    """A known version, and entries behind the vector index at whole steps."""
    return _parse_header(head) is not None


def read(path: Path, options: ReadOptions = ReadOptions()) -> RangeTable:
    """Read an ``.xdb`` file.

    :raises DataError: the file is damaged or not of this format.
    :raises OSError: it can't be read.
    """
    data = path.read_bytes()
    header = _parse_header(data)
    if header is None:
        raise DataError(
            f"{path}: not an {NAME} file of version 2 or 3; get it again, or name its true format"
        )
    layout = _ENTRY[header.ip_version]
    missing = header.last_entry + layout.itemsize - len(data)
    if missing > 0:
        raise DataError(
            f"{path}: {missing} bytes are missing at the end: the file is cut short; get it again"
        )
    count = (header.last_entry - header.first_entry) // layout.itemsize + 1
    entries = np.frombuffer(data, layout, count, header.first_entry)
    _check_vector_index(path, data, header, entries)

    rows, record = read_texts(path, data, entries["text"], entries["length"], "|")
    names = options.columns or _columns(rows)
    # An entry without text is the vendor's "no data", as a gap is.
    holds = entries["length"] > 0
    key = np.uint64 if header.ip_version == 4 else "S16"
    ranges = Ranges(
        header.ip_version,
        entries["first"][holds].astype(key),
        entries["last"][holds].astype(key),
        record[holds],
    )
    ranges.check(str(path))
    return RangeTable(
        records=[
            UNKNOWN
            if row == ("",)
            else make_record(path, row, names, len(names), unknown=_UNKNOWN_TEXT)
            for row in rows
        ],
        v4=ranges if header.ip_version == 4 else Ranges.empty(4),
        v6=ranges if header.ip_version == 6 else Ranges.empty(6),
        date=datetime.datetime.fromtimestamp(header.created, datetime.UTC).date(),
    )


def _columns(rows: Sequence[Sequence[str]]) -> Sequence[str]:
    """Which of the two layouts a file has: by its last column, as nothing else tells."""
    last = {row[-1] for row in rows if len(row) == len(COLUMNS)}
    codes = last - {"", _UNKNOWN_TEXT}
    if codes and all(_ALPHA_2.fullmatch(text) for text in codes):
        return COLUMNS_WITH_CODE
    return COLUMNS


def _row_of(column: Column) -> Column:
    """The vector index row of addresses: their first two bytes."""
    if column.dtype == np.dtype("<u4"):
        return (column >> 16).astype(np.int64)
    pairs = np.ascontiguousarray(column).view("u1").reshape(-1, 16)
    row: Column = pairs[:, 0].astype(np.int64) << 8 | pairs[:, 1]
    return row


def _check_vector_index(path: Path, data: bytes, header: _Header, entries: Column) -> None:
    """The index must lead to every entry, as the vendor's reader goes through it."""
    row, last_row = _row_of(entries["first"]), _row_of(entries["last"])
    size = entries.dtype.itemsize
    if (row != last_row).any() or (row[1:] < row[:-1]).any():
        raise DataError(
            f"{path}: the entries are not in order or not split at the first two bytes: "
            "the file is damaged; get it again"
        )
    vector = np.frombuffer(data, "<u4", 2 * 65536, _VECTOR_AT).reshape(-1, 2).astype(np.int64)
    numbers = np.arange(65536)
    begin = header.first_entry + size * np.searchsorted(row, numbers)
    end = header.first_entry + size * np.searchsorted(row, numbers, side="right")
    none = (begin == end) & (vector == 0).all(axis=1)
    # Early files give the last entry's own position as the end; the vendor's
    # search finds the same with either.
    right_end = (vector[:, 1] == end) | (vector[:, 1] == end - size)
    right = (begin < end) & (vector[:, 0] == begin) & right_end
    wrong = np.flatnonzero(~(none | right))
    if len(wrong):
        raise DataError(
            f"{path}: the index is wrong for addresses that begin with the bytes "
            f"{wrong[0] >> 8:02x} {wrong[0] & 255:02x}: the file is damaged; get it again"
        )

"""IP2Location BIN, every product from DB1 to DB26: IPv4, IPv6 or both.

Layout from the vendor's readers (IP2Location for Python, ip2location-nodejs), all
little-endian, positions of tables counted from 1, those of texts from 0::

    0   u8 product (DB1 to DB26), u8 columns, u8 year (2000 on), month, day
    5   u32 IPv4 rows, u32 their position, u32 IPv6 rows, u32 their position
    21  u32 position of the IPv4 index, u32 of the IPv6 index; readers can do without
    29  u8 product code: 1, or 0 in files from before 2021; u8 licence, u32 file size
    row   first address (4 or 16 bytes), then u32 a column: the position of a text,
          or for latitude and longitude the number itself (IEEE 754, 32 bits)
    text  u8 length, then its bytes; behind a country's two letters, 3 bytes on, its name

A row holds up to the next one's first address. The last one only ends the table,
if it begins with the last address of all; the vendor's readers look one row
further than there are, and find whatever stands there.

The texts are UTF-8, in old files also Latin-1. The vendor's Python reader takes all
of them for Latin-1; here only what isn't UTF-8 is.

In IPv6 tables the vendor's readers never look up ::ffff:0:0/96, 2002::/16 and
2001::/32: for addresses there they ask the IPv4 table for the IPv4 address
inside. What the IPv6 table has for them is left out here.
"""

import datetime
import struct
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.texts import to_record
from ipquery.data.ranges import Column, Ranges, RangeTable
from ipquery.data.record import UNKNOWN, DataError, Record

NAME = "ip2location"

# Column of each field by product, DB1 first, counted from 1; the address is column 1.
_POSITIONS: dict[str, tuple[int, ...]] = {
    "country": (2,) * 26,
    "province": (0, 0, *(3,) * 24),
    "city": (0, 0, *(4,) * 24),
    "latitude": (0, 0, 0, 0, 5, 5, 0, *(5,) * 19),
    "longitude": (0, 0, 0, 0, 6, 6, 0, *(6,) * 19),
    "postal_code": (*(0,) * 8, 7, 7, 7, 7, 0, 7, 7, 7, 0, 7, 0, 7, 7, 7, 0, 7, 7, 7),
    "isp": (0, 3, 0, 5, 0, 7, 5, 7, 0, 8, 0, 9, 0, 9, 0, 9, 0, 9, 7, 9, 0, 9, 7, 9, 9, 9),
    "org": (*(0,) * 6, 6, 8, 0, 9, 0, 10, 0, 10, 0, 10, 0, 10, 8, 10, 0, 10, 8, 10, 10, 10),
    "district": (*(0,) * 25, 23),
    "asn": (*(0,) * 25, 24),
    "as_org": (*(0,) * 25, 25),
}
"""``org`` is the vendor's "domain": the owner, named by its Internet domain. Left out: the
time zone (an offset such as +08:00, while ours is a name), and what a record has no field
for (net speed, area codes, weather station, mobile network, elevation, usage and address
type, category)."""

_COLUMNS = (2, 3, 4, 5, 6, 7, 6, 8, 7, 9, 8, 10, 8, 11, 10, 13, 10, 15, 11, 18, 11, 19, 12, 20, 22)
"""How many columns a row of DB1 to DB25 has. DB26 began with 25 and has grown to 28."""

_DB26_COLUMNS = range(25, 65)
_NUMBERS = ("latitude", "longitude")
_HEADER = struct.Struct("<5B6I2BI")
_UNKNOWN_TEXTS = ("-", "")
_NAME_AFTER_CODE = 3

_NOT_IPV6 = (
    (0xFFFF << 32, (0x10000 << 32) - 1),
    (0x20010000 << 96, (0x20010001 << 96) - 1),
    (0x2002 << 112, (0x2003 << 112) - 1),
)
"""IPv4-mapped addresses (RFC 4291), Teredo (RFC 4380) and 6to4 (RFC 3056)."""


@attrs.frozen
class _Header:
    """The header, checked; positions count from 0."""

    product: int
    columns: int
    date: datetime.date
    rows: dict[int, int]
    at: dict[int, int]

    def row_bytes(self, version: int) -> int:
        return 4 * self.columns + (12 if version == 6 else 0)


def _parse_header(head: bytes, size: int) -> _Header | None:
    """The header, or ``None`` if it isn't one, or its tables lie outside the file."""
    if len(head) < _HEADER.size:
        return None
    product, columns, *day, v4_rows, v4_at, v6_rows, v6_at = _HEADER.unpack_from(head)[:9]
    code, _, told_size = _HEADER.unpack_from(head)[11:]
    if not 1 <= product <= 26 or code > 1 or (code == 1 and told_size > size):
        return None
    if columns not in (_DB26_COLUMNS if product == 26 else (_COLUMNS[product - 1],)):
        return None
    try:
        date = datetime.date(2000 + day[0], *day[1:])
    except ValueError:
        return None
    header = _Header(product, columns, date, {4: v4_rows, 6: v6_rows}, {4: v4_at - 1, 6: v6_at - 1})
    for version, rows in header.rows.items():
        at = header.at[version]
        if rows and not _HEADER.size <= at <= size - rows * header.row_bytes(version):
            return None
    return header if v4_rows or v6_rows else None


def sniff(head: bytes, tail: bytes, size: int) -> bool:
    """A product with as many columns as it has, a date, and tables inside the file."""
    return _parse_header(head, size) is not None


def read(path: Path, options: ReadOptions = ReadOptions()) -> RangeTable:
    """Read a BIN file. Its columns are known by its product: ``columns`` don't apply.

    :raises DataError: the file is damaged or not of this format.
    :raises OSError: it can't be read.
    """
    if options.columns:
        raise DataError(f"{path}: `columns` don't apply to {NAME}: its product tells them")
    data = path.read_bytes()
    header = _parse_header(data, len(data))
    if header is None:
        raise DataError(
            f"{path}: not an {NAME} file: its header doesn't fit its {len(data)} bytes "
            "(damaged, cut short, still zipped, or IP2Proxy); get it again"
        )
    v4, v6 = (_read_table(path, data, header, version) for version in (4, 6))
    columns = [np.concatenate(pair) for pair in zip(v4.columns, v6.columns, strict=True)]
    number, where = _distinct(columns)
    records = _records(path, data, [column[where] for column in columns], _fields(header))
    return RangeTable(
        records,
        Ranges(4, v4.first, v4.last, number[: len(v4.first)]),
        _without_ipv4(Ranges(6, v6.first, v6.last, number[len(v4.first) :])),
        header.date,
    )


def _fields(header: _Header) -> dict[str, int]:
    """The column of each field that the product has, the first behind the address being 0."""
    at = {name: positions[header.product - 1] for name, positions in _POSITIONS.items()}
    return {name: position - 2 for name, position in at.items() if position}


@attrs.frozen(eq=False)
class _Table:
    """The rows of one IP version: addresses as in :class:`Ranges`, and ``columns`` of u32."""

    first: Column
    last: Column
    columns: Sequence[Column]


def _read_table(path: Path, data: bytes, header: _Header, version: int) -> _Table:
    """The rows of a table, without the one that only ends it.

    :raises DataError: their addresses don't rise.
    """
    rows, size = header.rows[version], header.row_bytes(version)
    raw = np.frombuffer(data, "u1", rows * size, header.at[version] if rows else 0)
    raw = raw.reshape(rows, size)
    used = 4 * header.columns - 4
    columns = np.ascontiguousarray(raw[:, size - used :]).view("<u4").astype(np.uint32)
    address = np.ascontiguousarray(raw[:, : size - used])
    words = address.view("<u4").astype(np.uint64) if version == 4 else address.view("<u8")[:, ::-1]
    high, low = (words[:, 0], words[:, -1]) if rows else (np.zeros(0, np.uint64),) * 2
    rises = (high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] > low[:-1]))
    if not rises.all():
        raise DataError(
            f"{path}: row {int(np.argmin(rises)) + 2} of {rows} for IPv{version} doesn't begin "
            "after the one before: the file is damaged; get it again"
        )
    top = np.uint64(2**32 - 1 if version == 4 else 2**64 - 1)
    # The highest address ends the last range, whether a row says so or not.
    count = rows - 1 if rows and high[-1] == top and low[-1] == top else rows
    end_high = np.append(high[1:] - (low[1:] == 0), top)[:count]
    end_low = np.append(low[1:] - np.uint64(1), top)[:count]
    if count < rows:
        end_high[-1:], end_low[-1:] = top, top
    if version == 4:
        first, last = low[:count], end_low
    else:
        first, last = _address(high[:count], low[:count]), _address(end_high, end_low)
    return _Table(first, last, [columns[:count, at] for at in sorted(_fields(header).values())])


def _address(high: Column, low: Column) -> Column:
    """An IPv6 address column from its halves."""
    return np.column_stack((high, low)).astype(">u8").view("S16").reshape(-1)


def _distinct(columns: Sequence[Column]) -> tuple[Column, Column]:
    """Numbers equal rows alike: the number of each row, and a row for each number."""
    where, number = np.unique(columns[0], return_index=True, return_inverse=True)[1:]
    for column in columns[1:]:
        values, inverse = np.unique(column, return_inverse=True)
        # Below 2**58: a file of 4 GiB has at most 2**29 rows.
        both = number.astype(np.int64) * len(values) + inverse
        where, number = np.unique(both, return_index=True, return_inverse=True)[1:]
    return number.astype(np.int64), where


def _records(
    path: Path, data: bytes, columns: Sequence[Column], fields: dict[str, int]
) -> Sequence[Record]:
    """The records of distinct rows."""
    names = sorted(fields, key=lambda name: fields[name])
    texts: dict[int, str] = {}

    def text(at: int) -> str:
        if at not in texts:
            texts[at] = _text(path, data, at)
        return texts[at]

    records = []
    plain = [
        column.view("<f4").tolist() if name in _NUMBERS else column.tolist()
        for name, column in zip(names, columns, strict=True)
    ]
    for row in zip(*plain, strict=True):
        values = {
            name: f"{value:.6f}" if name in _NUMBERS else text(value)
            for name, value in zip(names, row, strict=True)
        }
        known = {name: value for name, value in values.items() if value not in _UNKNOWN_TEXTS}
        if "country" not in known:
            # (0, 0) stands where nothing is known.
            known.pop("latitude", None)
            known.pop("longitude", None)
        else:
            known["country_code"] = known.pop("country")
            name = text(row[0] + _NAME_AFTER_CODE)
            if name not in _UNKNOWN_TEXTS:
                known["country"] = name
        records.append(to_record(path, known) if known else UNKNOWN)
    return records


def _text(path: Path, data: bytes, at: int) -> str:
    if at >= len(data) or at + 1 + data[at] > len(data):
        raise DataError(
            f"{path}: a text at byte {at} lies beyond the end of the file ({len(data)} bytes): "
            "the file is damaged; get it again"
        )
    text = data[at + 1 : at + 1 + data[at]]
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _without_ipv4(ranges: Ranges) -> Ranges:
    """IPv6 ranges without those that IPv4 answers for."""
    for low, high in _NOT_IPV6:
        below, begin, end, above = (
            np.array([number.to_bytes(16, "big")], "S16")
            for number in (low - 1, low, high, high + 1)
        )
        left, right = ranges.first < begin, ranges.last > end
        # What lies before, and what lies behind; a range may reach over both.
        before = np.where(ranges.last < below, ranges.last, below)[left]
        behind = np.where(ranges.first > above, ranges.first, above)[right]
        first = np.concatenate((ranges.first[left], behind))
        last = np.concatenate((before, ranges.last[right]))
        record = np.concatenate((ranges.record[left], ranges.record[right]))
        order = np.argsort(first, kind="stable")
        ranges = Ranges(6, first[order], last[order], record[order])
    return ranges

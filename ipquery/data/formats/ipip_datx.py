"""IPIP ``.datx``: IPv4, the successor of ``.dat``.

Layout from the vendor's readers (ipip-datx, datx-go)::

    0       u32 BE       H: the records end and the texts begin at H - 262144
    4       65536 u32 LE number of the first record of each /16; readers search without it
    262148  city edition, 9 bytes a record: end address (4 BE), text offset (3 LE),
            length (2 BE); it covers from one past the end before it to its own end
            district and base station editions, 13 bytes: first and last address
            (4 BE each), text offset (4 LE), length (1); gaps have no record

The texts are UTF-8 with tabs. Which of the two layouts a file has is nowhere
said: only one of them fits.

A well-known reader is wrong here: it reads one byte of the length, so that
texts longer than 255 bytes are cut.
"""

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ipquery.data.formats.ipip_columns import ipip_record, version_date
from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.texts import make_record, read_texts
from ipquery.data.ranges import Column, Ranges, RangeTable
from ipquery.data.record import DataError, Record

NAME = "ipip-datx"
COLUMNS = (
    "country_name",
    "region_name",
    "city_name",
    "owner_domain",
    "isp_domain",
    "latitude",
    "longitude",
    "timezone",
    "utc_offset",
    "china_admin_code",
    "idd_code",
    "country_code",
    "continent_code",
    "idc",
    "base_station",
    "country_code3",
    "european_union",
    "currency_code",
    "currency_name",
    "anycast",
)
"""The vendor's names of the 20 columns of the largest edition; smaller ones have the
first 5, 13 or 17 of them."""

DISTRICT_COLUMNS = (
    "country_name",
    "region_name",
    "city_name",
    "district_name",
    "china_admin_code",
    "covering_radius",
    "",
    "",
)
"""Of the district edition, in the order of the vendor's reader for ``.ipdb``. The last two
are coordinates; no file was at hand to tell which comes first, so they are left out."""

STATION_COLUMNS = (*COLUMNS[:5], "base_station")
"""Of the base station edition."""

_FEWEST_COLUMNS = 5
_INDEX_ROWS = 65536
_RECORDS_AT = 4 + 4 * _INDEX_ROWS
_CITY = np.dtype([("end", ">u4"), ("offset", "u1", (3,)), ("length", ">u2")])
_DISTRICT = np.dtype([("first", ">u4"), ("last", ">u4"), ("offset", "<u4"), ("length", "u1")])
_LAST = 2**32 - 1
_CHINA_ADMIN_CODE = re.compile("[1-8][0-9]{5}")


def _texts_at(head: bytes) -> int:
    """Where records end and texts begin."""
    return int(struct.unpack_from(">I", head)[0]) - 4 * _INDEX_ROWS


def sniff(head: bytes, tail: bytes, size: int) -> bool:
    """Whole records between the index and the texts, and an index that never falls."""
    if len(head) < 1024:
        return False
    texts_at = _texts_at(head)
    records = texts_at - _RECORDS_AT
    whole = [records // row.itemsize for row in (_CITY, _DISTRICT) if records % row.itemsize == 0]
    if records <= 0 or not whole or texts_at > size:
        return False
    rows = min(_INDEX_ROWS, (len(head) - 4) // 4)
    index = np.frombuffer(head, "<u4", rows, 4)
    return bool(index[0] == 0 and (index[1:] >= index[:-1]).all() and index[-1] <= max(whole))


def read(path: Path, options: ReadOptions = ReadOptions()) -> RangeTable:
    """Read a ``.datx`` file.

    :raises DataError: the file is damaged or not of this format.
    :raises OSError: it can't be read.
    """
    data = path.read_bytes()
    if not sniff(data[: 1 << 17], b"", len(data)):
        raise DataError(
            f"{path}: not an {NAME} file: its header doesn't fit its {len(data)} bytes; "
            "get it again, or name its true format"
        )
    texts_at = _texts_at(data)
    records = data[_RECORDS_AT:texts_at]
    ends = _city_ends(records)
    if ends is not None:
        first = np.append(np.uint64(0), ends[:-1] + np.uint64(1))
        entries = np.frombuffer(records, _CITY)
        low, middle, high = entries["offset"].astype(np.int64).T
        offset = low + (middle << 8) + (high << 16)
        last = ends
    else:
        first, last, entries = _district_entries(path, records)
        offset = entries["offset"].astype(np.int64)
    rows, record = read_texts(path, data, texts_at + offset, entries["length"], "\t")
    ranges = Ranges(4, first, last, record)
    ranges.check(str(path))
    names: Sequence[str]
    if ends is not None:
        names, date = COLUMNS, version_date(rows[int(record[-1])])
    else:
        names, date = DISTRICT_COLUMNS if _has_districts(rows) else STATION_COLUMNS, None
    return RangeTable(_records(path, rows, names, options), ranges, date=date)


def _city_ends(records: bytes) -> Column | None:
    """The end addresses of the city edition's records; ``None`` if it is another."""
    if len(records) % _CITY.itemsize:
        return None
    ends: Column = np.frombuffer(records, _CITY)["end"].astype(np.uint64)
    return ends if ends[-1] == _LAST and (ends[1:] > ends[:-1]).all() else None


def _district_entries(path: Path, records: bytes) -> tuple[Column, Column, Column]:
    """First and last addresses and entries of the other editions' records.

    :raises DataError: the records fit neither layout.
    """
    if len(records) % _DISTRICT.itemsize == 0:
        entries = np.frombuffer(records, _DISTRICT)
        first, last = entries["first"].astype(np.uint64), entries["last"].astype(np.uint64)
        if (first <= last).all() and (first[1:] > last[:-1]).all():
            return first, last, entries
    raise DataError(
        f"{path}: the end addresses of its records neither rise up to 255.255.255.255 (city "
        "edition) nor make ranges in order (district and base station editions): the file is "
        "damaged; get it again"
    )


def _records(
    path: Path, rows: Sequence[tuple[str, ...]], names: Sequence[str], options: ReadOptions
) -> Sequence[Record]:
    """The records of split texts, by the operator's columns or the edition's."""
    if options.columns:
        return [make_record(path, row, options.columns, len(options.columns)) for row in rows]
    for row in rows:
        if not _FEWEST_COLUMNS <= len(row) <= len(names):
            raise DataError(
                f"{path}: a record has {len(row)} columns instead of {_FEWEST_COLUMNS} to "
                f"{len(names)}: the file is damaged, or of another edition; name its columns in "
                "the configuration (`columns`)"
            )
    return [ipip_record(path, dict(zip(names, row, strict=False))) for row in rows]


def _has_districts(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the fifth column is a GB/T 2260 code in every text: no provider looks like one."""
    fifth = {row[4] for row in rows if len(row) > 4} - {""}
    return bool(fifth) and all(_CHINA_ADMIN_CODE.fullmatch(text) for text in fifth)

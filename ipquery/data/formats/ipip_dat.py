"""17mon/IPIP ``.dat``: IPv4, a record for every address.

Layout from the vendor's readers, checked against files of 2014 and 2015::

    0     u32 BE     H: the records end and the texts begin at H - 1024
    4     256 u32 LE number of the first record whose end is >= k.0.0.0
    1028  8 bytes a record: end address (4 BE), text offset (3 LE), length (1)

A record covers from one past the end before it to its own end. The texts are
UTF-8 with tabs. Two well-known readers are wrong here: they search up to H,
which takes 128 pieces of text for records, or read offset 0 as "no data".
"""

import struct
from pathlib import Path

import numpy as np

from ipquery.data.formats.ipip_columns import version_date
from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.texts import make_record, read_texts
from ipquery.data.ranges import Column, Ranges, RangeTable
from ipquery.data.record import DataError

NAME = "ipip-dat"
COLUMNS = ("country", "province", "city", "org", "isp")
"""The paid edition's five. The free one has four (2015 on) or three (2014)."""

_FEWEST_COLUMNS = 3
_RECORDS_AT = 1028
_ENTRY = np.dtype([("end", ">u4"), ("offset", "u1", (3,)), ("length", "u1")])
_LAST = 2**32 - 1


def _texts_at(head: bytes) -> int:
    """Where records end and texts begin."""
    return int(struct.unpack_from(">I", head)[0]) - 1024


def sniff(head: bytes, tail: bytes, size: int) -> bool:
    """A header that fits, and records that rise where a ``.datx`` still has its index."""
    if not _fits(head, size):
        return False
    count = (min(_texts_at(head), len(head)) - _RECORDS_AT) // _ENTRY.itemsize
    end = np.frombuffer(head, _ENTRY, count, _RECORDS_AT)["end"]
    return bool((end[1:] > end[:-1]).all())


def _fits(head: bytes, size: int) -> bool:
    """Whole records between the index and the texts, and an index that never falls."""
    if len(head) < _RECORDS_AT + _ENTRY.itemsize:
        return False
    texts_at = _texts_at(head)
    count, rest = divmod(texts_at - _RECORDS_AT, _ENTRY.itemsize)
    if rest or count < 1 or texts_at > size:
        return False
    index = np.frombuffer(head, "<u4", 256, 4)
    return bool(index[0] == 0 and (index[1:] >= index[:-1]).all() and index[-1] < count)


def read(path: Path, options: ReadOptions = ReadOptions()) -> RangeTable:
    """Read a ``.dat`` file.

    :raises DataError: the file is damaged or not of this format.
    :raises OSError: it can't be read.
    """
    data = path.read_bytes()
    if not _fits(data[:65536], len(data)):
        raise DataError(
            f"{path}: not an {NAME} file: its header doesn't fit its {len(data)} bytes; "
            "get it again, or name its true format"
        )
    texts_at = _texts_at(data)
    entries = np.frombuffer(data[_RECORDS_AT:texts_at], _ENTRY)
    end = entries["end"].astype(np.uint64)
    _check_ends(path, end, np.frombuffer(data, "<u4", 256, 4))

    low, middle, high = entries["offset"].astype(np.int64).T
    offset = texts_at + low + (middle << 8) + (high << 16)
    rows, record = read_texts(path, data, offset, entries["length"], "\t")
    names = options.columns or COLUMNS
    fewest = len(options.columns) if options.columns else _FEWEST_COLUMNS
    return RangeTable(
        records=[make_record(path, row, names, fewest) for row in rows],
        v4=Ranges(4, np.append(np.uint64(0), end[:-1] + np.uint64(1)), end, record),
        date=version_date(rows[int(record[-1])]),
    )


def _check_ends(path: Path, end: Column, index: Column) -> None:
    """The records must cover the whole space in order, and agree with the index."""
    falls = np.flatnonzero(end[1:] <= end[:-1])
    if len(falls):
        raise DataError(
            f"{path}: record {falls[0] + 2} of {len(end)} doesn't end after the one before: "
            "the file is damaged; get it again"
        )
    if end[-1] != _LAST:
        raise DataError(
            f"{path}: the last record doesn't end at 255.255.255.255: "
            "the file is damaged; get it again"
        )
    expected = np.searchsorted(end, np.arange(256, dtype=np.uint64) << np.uint64(24))
    wrong = np.flatnonzero(index != expected)
    if len(wrong):
        raise DataError(
            f"{path}: the index points at the wrong record for {wrong[0]}.0.0.0/8: "
            "the file is damaged; get it again"
        )

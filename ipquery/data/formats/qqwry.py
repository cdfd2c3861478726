"""CZ88's ``qqwry.dat``: IPv4, free text in Chinese.

Layout from well-known readers (qqwry-py3, lib-qqwry), checked against the file
of 2024-01-17, all little-endian::

    0      u32  position of the first index entry
    4      u32  position of the last one, inclusive
    ...    records: u32 last address, then the place and the owner:
           1, position (3)         both stand there, again in one of the ways below
           2, position (3), owner  the place stands there
           place, owner            ending with 0 each
           and the owner is either text, or 1 or 2 and a position (3); 0 is "unknown"
    index  7 bytes an entry: u32 first address, position (3) of its record

The texts are GB 18030. People type them, so one that is broken is shown with
U+FFFD in place of what can't be read instead of costing the whole file.
255.255.255.0/24 holds the edition's date.

Where readers are wrong they aren't followed: qqwry-py3 reads an owner's position 0
as one in the file, doesn't know the owner's way 1, and has " CZ88.NET", which
stands for "unknown", as a text.
"""

import datetime
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ipquery.data.formats.free_text import owner, place
from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.texts import make_record, to_record
from ipquery.data.ranges import Column, Ranges, RangeTable
from ipquery.data.record import UNKNOWN, DataError, Record

NAME = "qqwry"

_INDEX = np.dtype([("first", "<u4"), ("record", "u1", (3,))])
_HEADER = 8
_TEXT_LIMIT = 512
"""Bytes of a text with its end; the longest of 2024 has 116. Without a bound a file
without zero bytes would be searched through for each of its records."""

_BOTH, _PLACE = 1, 2
_NOTHING = "CZ88.NET"
_DATE = re.compile("([0-9]{4})年([0-9]{1,2})月([0-9]{1,2})日")


def _positions(column: Column) -> Column:
    """Numbers of three bytes each."""
    low, middle, high = column.astype(np.int64).T
    numbers: Column = low + (middle << 8) + (high << 16)
    return numbers


def _index_at(head: bytes, size: int) -> tuple[int, int] | None:
    """Where the index begins, and how many entries it has."""
    if len(head) < _HEADER:
        return None
    begin, last = struct.unpack_from("<II", head)
    steps, rest = divmod(last - begin, _INDEX.itemsize)
    if begin < _HEADER or steps < 0 or rest or last + _INDEX.itemsize > size:
        return None
    return begin, steps + 1


def sniff(head: bytes, tail: bytes, size: int) -> bool:
    """An index of whole entries whose addresses rise, behind the records they point at."""
    found = _index_at(head, size)
    if found is None:
        return False
    begin, count = found
    # The first whole entry that the tail holds, and how many follow.
    skipped = max(-(-(size - len(tail) - begin) // _INDEX.itemsize), 0)
    if skipped >= count:
        return False
    at = begin + skipped * _INDEX.itemsize - (size - len(tail))
    entries = np.frombuffer(tail, _INDEX, count - skipped, at)
    first, record = entries["first"], _positions(entries["record"])
    return bool(
        (first[1:] > first[:-1]).all()
        and (record >= _HEADER).all()
        and (record < begin).all()
        and (skipped > 0 or first[0] == 0)
    )


def read(path: Path, options: ReadOptions = ReadOptions()) -> RangeTable:
    """Read a ``qqwry.dat`` file. ``columns`` name its two texts, which then stay whole.

    :raises DataError: the file is damaged or not of this format.
    :raises OSError: it can't be read.
    """
    data = path.read_bytes()
    found = _index_at(data, len(data))
    if found is None:
        raise DataError(
            f"{path}: not a {NAME} file: its header doesn't fit its {len(data)} bytes; "
            "get it again, or name its true format"
        )
    begin, count = found
    entries = np.frombuffer(data, _INDEX, count, begin)
    record = _positions(entries["record"])
    beyond = np.flatnonzero(record + 4 > len(data))
    if len(beyond):
        raise _beyond(path, int(record[beyond[0]]), len(data))
    last = np.zeros(count, np.uint64)
    content = np.frombuffer(data, np.uint8)
    for byte in range(4):
        last |= content[record + byte].astype(np.uint64) << np.uint64(8 * byte)

    texts = _Texts(path, data)
    pairs: dict[tuple[str, str], int] = {}
    numbers = [
        pairs.setdefault(texts.pair(position), len(pairs)) for position in (record + 4).tolist()
    ]
    ranges = Ranges(4, entries["first"].astype(np.uint64), last, np.array(numbers, np.int64))
    ranges.check(str(path))
    return RangeTable(
        records=_records(path, list(pairs), options),
        v4=ranges,
        date=_date(texts.pair(int(record[-1]) + 4)),
    )


def _beyond(path: Path, at: int, size: int) -> DataError:
    return DataError(
        f"{path}: something at byte {at} lies beyond the end of the file ({size} bytes): "
        "the file is cut short; get it again"
    )


class _Texts:
    """The texts of a file, each one decoded once."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path = path
        self._data = data
        self._known: dict[int, tuple[str, int]] = {}

    def pair(self, at: int) -> tuple[str, str]:
        """The place and the owner of the record whose content begins at a position.

        :raises DataError: it leads beyond the end of the file, or more than once elsewhere.
        """
        if self._byte(at) == _BOTH:
            at = self._position(at + 1)
        if self._byte(at) == _PLACE:
            place_text, _ = self._text(self._position(at + 1))
            owner_at = at + 4
        else:
            place_text, owner_at = self._text(at)
        if self._byte(owner_at) in (_BOTH, _PLACE):
            owner_at = self._position(owner_at + 1)
            # Position 0, where the header is, means that nobody is known.
            return place_text, self._text(owner_at)[0] if owner_at else ""
        return place_text, self._text(owner_at)[0]

    def _byte(self, at: int) -> int:
        if at >= len(self._data):
            raise _beyond(self._path, at, len(self._data))
        return self._data[at]

    def _position(self, at: int) -> int:
        if at + 3 > len(self._data):
            raise _beyond(self._path, at, len(self._data))
        return int.from_bytes(self._data[at : at + 3], "little")

    def _text(self, at: int) -> tuple[str, int]:
        """The text at a position, and where what follows it begins."""
        known = self._known.get(at)
        if known is None:
            end = self._data.find(b"\0", at, at + _TEXT_LIMIT)
            if end < 0:
                raise DataError(
                    f"{self._path}: no text ends within {_TEXT_LIMIT} bytes from byte {at} on: "
                    "the file is damaged; get it again"
                )
            if self._data[at] in (_BOTH, _PLACE):
                raise DataError(
                    f"{self._path}: the text at byte {at} is elsewhere a second time: "
                    "the file is damaged; get it again"
                )
            text = self._data[at:end].decode("gb18030", "replace").strip()
            known = self._known[at] = ("" if text == _NOTHING else text, end + 1)
        return known


def _records(
    path: Path, pairs: Sequence[tuple[str, str]], options: ReadOptions
) -> Sequence[Record]:
    """The records of pairs of texts."""
    if options.columns:
        return [make_record(path, pair, options.columns, len(options.columns)) for pair in pairs]
    places = {text: place(text) for text in {pair[0] for pair in pairs}}
    owners = {text: owner(text) for text in {pair[1] for pair in pairs}}
    return [_record(path, places[one], owners[other]) for one, other in pairs]


def _record(path: Path, there: Mapping[str, str], whose: Mapping[str, str]) -> Record:
    """A place and its owner. Who stands in the place's text is the wider of two owners."""
    values = {**there, **whose}
    if there.get("org") and whose.get("org"):
        values["org"] = f"{there['org']} {whose['org']}"
    return to_record(path, values) if values else UNKNOWN


def _date(version: Sequence[str]) -> datetime.date | None:
    """The date in the version record, ``2024年01月17日IP数据``."""
    found = _DATE.match(version[1])
    if found is None:
        return None
    try:
        return datetime.date(*map(int, found.groups()))
    except ValueError:
        return None

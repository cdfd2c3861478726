"""CSV: a line for each range or prefix, with columns as :mod:`csv_layouts` tells them.

Text as RFC 4180 has it, in UTF-8: separated by commas, semicolons or tabs, with or
without quotes, a header, a byte order mark; lines may end in any way. Addresses are texts
(IPv4 and IPv6 in any order) or numbers: of IPv4 if none in the file is beyond 2**32 - 1,
else of IPv6. IPv4-mapped addresses are IPv4 (IP2Location's IPv6 files hold them).

Lines may stand in any order, but no two should be about the same address: none of the
publishers says what that would mean. It happens all the same: ip-location-db's ASN file of
2026-06 has one line among 411,961 that reaches into the next. There the later line holds
from where it begins, which is what readers answer that search for the last beginning. A
line inside another is refused, and so are more than one in a thousand.

A line is cut behind its range, and the rest, of which DB-IP City Lite has 425,000
different ones in 8 million lines, is taken apart once.
"""

import csv
import io
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton
from typing import TextIO

import attrs
import numpy as np

from ipquery.address import shorten
from ipquery.data.formats.csv_layouts import (
    FIRST,
    LAST,
    NETWORK,
    PLACE,
    Layout,
    by_header,
    by_looks,
)
from ipquery.data.formats.joined import join
from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.texts import SKIP, iso_3166_2, to_record
from ipquery.data.ranges import Column, Ranges, RangeTable, to_key, to_numbers
from ipquery.data.record import DataError, Record
from ipquery.data.sources import RANGE_COLUMNS

NAME = "csv"

_SEPARATORS = ",;\t"
_SAMPLE_LINES = 1000
_LONGEST_LINE = 1 << 17
_LINES_TO_AN_OVERLAP = 1000

_V4_TOP, _MAPPED_FIRST, _MAPPED_LAST = (
    number.to_bytes(16, "big") for number in (2**32 - 1, 0xFFFF << 32, (0x10000 << 32) - 1)
)


def sniff(head: bytes, tail: bytes, size: int) -> bool:
    """Lines of text that begin with an address, or a header that names a column of them."""
    if b"\0" in head:
        return False
    # The last character, and the last line, may be cut.
    text = head.decode("utf-8-sig", errors="ignore")
    lines = io.StringIO(text if size <= len(head) else text[: text.rfind("\n") + 1], newline=None)
    try:
        rows = list(islice(_rows(lines, _separator(text)), 10))
    except csv.Error:
        return False
    if not rows:
        return False
    if by_header(rows[0]) is not None:
        return True
    return all(map(_is_about_addresses, rows[1:] or rows))


def read(path: Path, options: ReadOptions = ReadOptions()) -> RangeTable:
    """Read a CSV file.

    :raises DataError: the file is damaged, or of a layout that isn't known.
    :raises OSError: it can't be read.
    """
    return read_all([path], options)


def read_all(paths: Sequence[Path], options: ReadOptions = ReadOptions()) -> RangeTable:
    """Read files that belong together: ranges, and the places that MaxMind's refer to.

    :raises DataError: one is damaged or of a layout that isn't known, files of
        ranges have addresses in common, or a file of places is missing.
    :raises OSError: one can't be read.
    """
    files = [_File.open(path, options) for path in paths]
    blocks = [file for file in files if file.layout.range_columns()]
    places = _read_places([file for file in files if file not in blocks], options.language)
    if not blocks:
        raise DataError(
            f"{paths[0]}: holds places without addresses; name the file of blocks, too: "
            "BLOCKS+LOCATIONS"
        )
    tables = [_read_blocks(file, places) for file in blocks]
    return join([file.path for file in blocks], tables)


@attrs.frozen
class _File:
    """A file and how it is laid out."""

    path: Path
    separator: str
    layout: Layout

    @classmethod
    def open(cls, path: Path, options: ReadOptions) -> "_File":
        """Look at the first lines of a file.

        :raises DataError: the layout isn't known.
        """
        with _text(path) as file:
            try:
                sample = list(islice(file, _SAMPLE_LINES))
            except UnicodeDecodeError as error:
                raise _not_utf8(path, error) from None
        separator = _separator("".join(sample))
        try:
            rows = list(_rows(iter(sample), separator))
        except csv.Error as error:
            raise DataError(f"{path}: not a {NAME} file: {error}; get it again") from None
        if len(sample) == _SAMPLE_LINES:
            rows.pop()  # it may go on
        if not rows:
            raise DataError(f"{path}: holds no lines: the file is empty; get it again")
        return cls(path, separator, _layout(path, rows, options.columns))

    def split(self) -> Iterator[tuple[int, list[str], str]]:
        """Lines, cut behind the range: number of the line, range as texts, the rest.

        :raises DataError: a line has no range, or isn't UTF-8.
        """
        count = len(self.layout.range_columns())
        leads = {*self.layout.columns[:count]} <= {*RANGE_COLUMNS}
        with _text(self.path) as file:
            numbered = enumerate(file, 1)
            try:
                for _ in range(self.layout.header_lines):
                    next(numbered, None)
                yield from self._cut(numbered, count) if leads else self._rearranged(numbered)
            except UnicodeDecodeError as error:
                raise _not_utf8(self.path, error) from None

    def _cut(
        self, numbered: Iterator[tuple[int, str]], count: int
    ) -> Iterator[tuple[int, list[str], str]]:
        separator = self.separator
        for number, line in numbered:
            *texts, rest = line.split(separator, count)
            if len(texts) < count:
                if line.strip():
                    raise self.wrong(number, f"has fewer than {count + 1} columns")
                continue
            # A field with a line break in it goes on in the next line.
            while '"' in rest and rest.count('"') % 2:
                more = next(numbered, (0, ""))[1]
                rest += more
                if not more or len(rest) > _LONGEST_LINE:
                    raise self.wrong(number, "has a quote that nothing closes")
            if count and '"' in texts[0]:
                texts = [text.strip('"') for text in texts]
            yield number, texts, rest

    def _rearranged(
        self, numbered: Iterator[tuple[int, str]]
    ) -> Iterator[tuple[int, list[str], str]]:
        """The same where columns of the range stand elsewhere."""
        columns = self.layout.columns
        places = [place for place, name in enumerate(columns) if name in RANGE_COLUMNS]
        started = self.layout.header_lines
        reader = csv.reader((line for _, line in numbered), delimiter=self.separator, strict=True)
        try:
            for row in reader:
                number = reader.line_num + started
                if not row:
                    continue
                if len(row) < len(columns):
                    raise self.wrong(number, f"has {len(row)} columns instead of {len(columns)}")
                rest = io.StringIO()
                kept = [text for place, text in enumerate(row) if place not in places]
                csv.writer(rest, delimiter=self.separator).writerow(kept)
                yield number, [row[place] for place in places], rest.getvalue()
        except csv.Error as error:
            raise self.wrong(reader.line_num + started, f"isn't {NAME}: {error}") from None

    def fields(self, number: int, rest: str) -> list[str]:
        """The fields behind the range.

        :raises DataError: there are more or fewer than the layout has.
        """
        # Splitlines would take a line break inside quotes for the end.
        try:
            (row,) = csv.reader(
                io.StringIO(rest, newline=""), delimiter=self.separator, strict=True
            )
        except (csv.Error, ValueError):
            # ValueError: nothing, or more than one row.
            row = []
        expected = len(self.layout.columns) - len(self.layout.range_columns())
        if len(row) != expected:
            if not row and expected == 1 and not rest.strip("\r\n"):
                return [""]
            raise self.wrong(
                number,
                f"has {len(row)} columns behind the range instead of {expected}",
            )
        return row

    def wrong(self, number: int, what: str) -> DataError:
        return DataError(
            f"{self.path}: line {number} {what}: the file is damaged, or its columns are others; "
            "get it again, or name them in the configuration (`columns`)"
        )


def _text(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", newline=None)


def _not_utf8(path: Path, error: UnicodeDecodeError) -> DataError:
    bad = shorten(repr(error.object[error.start : error.end]))
    return DataError(
        f"{path}: holds bytes that are not UTF-8 ({bad}): the file is damaged, or in another "
        "encoding; convert it"
    )


def _separator(text: str) -> str:
    """Which separator the first line has most of."""
    line = re.sub(r'"[^"]*"', "", text[:_LONGEST_LINE]).lstrip("\n").split("\n", 1)[0]
    return max(_SEPARATORS, key=line.count)


def _rows(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    return filter(None, csv.reader(lines, delimiter=separator))


def _is_about_addresses(row: Sequence[str]) -> bool:
    """Whether a line can be one of a file without a header that is known."""
    numbers = [int(text) for text in row[:2] if _is_number(text)]
    if len(numbers) == 2:
        return len(row) > 2 and numbers[0] <= numbers[1]
    return len(row) > 1 and any(map(_is_address, row))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 40


def _is_address(text: str) -> bool:
    """An address or a prefix, as a text."""
    text = text.strip().partition("/")[0]
    try:
        inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


def _layout(path: Path, rows: Sequence[Sequence[str]], columns: tuple[str, ...] | None) -> Layout:
    """What the columns hold: what the operator says, else the header, else the looks."""
    header = not any(_is_address(text) or _is_number(text) for text in rows[0])
    if columns is not None:
        ranges = [name for name in columns if name in RANGE_COLUMNS]
        if sorted(ranges) not in ([FIRST, LAST], [NETWORK]):
            raise DataError(
                f"{path}: `columns` must name the columns of the range: once `first` and `last`, "
                "or once `network`"
            )
        return Layout(columns, header_lines=int(header))
    if header:
        named = by_header(rows[0])
        known = named is not None and {*named.columns} - {*RANGE_COLUMNS, SKIP}
        if named is None or not known or _is_half_a_range(named):
            raise DataError(
                f"{path}: its header names no columns that ipquery knows "
                f"({shorten(','.join(rows[0]))}); name them in the configuration (`columns`)"
            )
        return named
    found = by_looks(rows)
    if found is None:
        raise DataError(
            f"{path}: its {len(rows[0])} columns are of no layout that ipquery knows; name them "
            "in the configuration (`columns`)"
        )
    return found


def _is_half_a_range(layout: Layout) -> bool:
    return (FIRST in layout.columns) != (LAST in layout.columns)


# Places


_Places = Mapping[str, Mapping[str, str]]


def _read_places(files: Sequence[_File], language: str | None) -> _Places:
    """The fields of each place by its number, in the language asked for.

    What has no name in it is named in English, or in whatever language is there.
    """
    wanted = language or "en"

    def rank(locale: str) -> int:
        if locale == wanted or locale.startswith(f"{wanted}-"):
            return 0
        return 1 if locale == "en" else 2

    read = [_read_locations(file) for file in files]
    places: dict[str, dict[str, str]] = {}
    for _, found in sorted(read, key=lambda pair: rank(pair[0])):
        for number, fields in found.items():
            places[number] = fields | places.get(number, {})
    return places


def _read_locations(file: _File) -> tuple[str, dict[str, dict[str, str]]]:
    """The language of a file of places, and the fields it gives each by its number."""
    found: dict[str, dict[str, str]] = {}
    locale = ""
    for number, _, rest in file.split():
        named = zip(file.layout.columns, file.fields(number, rest), strict=True)
        fields = {name: text for name, text in named if name != SKIP and text}
        locale = fields.pop("locale_code", "")
        found[fields.pop(PLACE, "")] = fields
    return locale, found


# Ranges


def _read_blocks(file: _File, places: _Places) -> RangeTable:
    columns = [name for name in file.layout.columns if name not in RANGE_COLUMNS]
    if PLACE in columns and not places:
        raise DataError(
            f"{file.path}: names places by number only; name the file of places, too: "
            "BLOCKS+LOCATIONS"
        )
    by_rest: dict[str, int] = {}
    records: dict[Record, int] = {}
    parser = _Parser(file)
    for number, texts, rest in file.split():
        record = by_rest.get(rest)
        if record is None:
            made = _make_record(file, columns, number, rest, places)
            record = by_rest[rest] = records.setdefault(made, len(records))
        parser.add(number, texts, record)
    v4, v6 = parser.finish()
    return RangeTable(list(records), v4, v6)


def _make_record(
    file: _File, columns: Sequence[str], number: int, rest: str, places: _Places
) -> Record:
    named = zip(columns, file.fields(number, rest), strict=True)
    unknown = file.layout.unknown
    fields = {name: text for name, text in named if name != SKIP and text and text != unknown}
    place = fields.pop(PLACE, None)
    if place is not None:
        if place not in places:
            raise file.wrong(number, f"names place {shorten(place)}, which no file of places has")
        fields = {**places[place], **fields}
    if "subdivision_code" in fields:
        fields["subdivision_code"] = iso_3166_2(
            fields["subdivision_code"], fields.get("country_code")
        )
    try:
        return to_record(file.path, fields)
    except DataError as error:
        told = str(error).removeprefix(f"{file.path}: ")
        raise DataError(f"{file.path}: line {number}: {told}") from None


class _Gathered:
    """The lines of one IP version, as they come."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.first, self.last = bytearray(), bytearray()
        self.record, self.line = array("I"), array("I")

    def columns(self) -> tuple[Column, Column, Column, Column]:
        """First and last addresses, records and numbers of lines."""
        kind = np.dtype(">u4" if self.version == 4 else "S16")
        first, last = (np.frombuffer(ends, kind) for ends in (self.first, self.last))
        if self.version == 4:
            first, last = first.astype(np.uint64), last.astype(np.uint64)
        return first, last, np.array(self.record), np.array(self.line)


class _Parser:
    """Turns the addresses of lines into ranges."""

    def __init__(self, file: _File) -> None:
        self._file = file
        self._v4, self._v6 = _Gathered(4), _Gathered(6)
        # What IP version numbers are of, only all together tell.
        self._numeric = _Gathered(6)
        columns = file.layout.range_columns()
        self._parse = _parse_prefix if NETWORK in columns else _parse_range
        self._turned = columns == (LAST, FIRST)

    def add(self, line: int, texts: list[str], record: int) -> None:
        """:raises DataError: the texts aren't a range."""
        if self._turned:
            texts.reverse()
        try:
            first, last, numeric = self._parse(texts)
        except (OSError, ValueError, OverflowError):
            raise self._file.wrong(
                line, f"names no addresses ({shorten(' '.join(texts))})"
            ) from None
        into = self._numeric if numeric else self._v4 if len(first) == 4 else self._v6
        into.first += first
        into.last += last
        into.record.append(record)
        into.line.append(line)

    def finish(self) -> tuple[Ranges, Ranges]:
        """:raises DataError: a range is impossible, or two have an address in common."""
        v4, v6 = [self._v4.columns()], [self._v6.columns()]
        numeric = self._numeric.columns()
        beyond = numeric[1] > _V4_TOP
        if not beyond.any():
            v4.append(_last_32_bits(numeric))
        elif not beyond.all():
            line = numeric[3][int(np.argmin(beyond))]
            raise self._file.wrong(line, "has numbers of IPv4 among others of IPv6")
        else:
            v6.append(numeric)
        all_v6 = _joined(v6)
        mapped = (all_v6[0] >= _MAPPED_FIRST) & (all_v6[1] <= _MAPPED_LAST)
        if mapped.any():
            v4.append(_last_32_bits(_taken(all_v6, mapped)))
            all_v6 = _taken(all_v6, ~mapped)
        return self._ranges(4, _joined(v4)), self._ranges(6, all_v6)

    def _ranges(self, version: int, columns: "_Columns") -> Ranges:
        first, last, record, line = columns
        if (first > last).any():
            raise self._file.wrong(int(line[np.argmax(first > last)]), "ends before it begins")
        if (first[1:] < first[:-1]).any():
            order = np.argsort(first, kind="stable")
            first, last, record, line = _taken(columns, order)
        overlaps = np.flatnonzero(first[1:] <= last[:-1]).tolist()
        last = last.copy() if overlaps else last
        for place in overlaps:
            nested = first[place] == first[place + 1] or last[place] >= last[place + 1]
            if nested or len(overlaps) * _LINES_TO_AN_OVERLAP > len(first):
                one, other = sorted(int(number) for number in line[place : place + 2])
                raise self._file.wrong(other, f"has addresses in common with line {one}")
            (beginning,) = to_numbers(first[place + 1 : place + 2])
            last[place] = to_key(version, beginning - 1)
        return Ranges(version, first, last, record.astype(np.int64)).merged()


_Columns = tuple[Column, Column, Column, Column]


def _joined(parts: Sequence[_Columns]) -> _Columns:
    filled = [part for part in parts if len(part[0])] or parts[:1]
    if len(filled) == 1:
        return filled[0]
    first, last, record, line = (np.concatenate(part) for part in zip(*filled, strict=True))
    return first, last, record, line


def _taken(columns: _Columns, which: Column) -> _Columns:
    first, last, record, line = (column[which] for column in columns)
    return first, last, record, line


def _last_32_bits(columns: _Columns) -> _Columns:
    """IPv6 addresses as the IPv4 addresses that are their last four bytes."""
    first, last = (
        np.ascontiguousarray(column).view(">u4").reshape(-1, 4)[:, 3].astype(np.uint64)
        for column in columns[:2]
    )
    return first, last, columns[2], columns[3]


def _parse_range(texts: Sequence[str]) -> tuple[bytes, bytes, bool]:
    """First and last address, and whether they were numbers.

    :raises ValueError: they are none, or of different kinds.
    :raises OSError: the same, from ``inet_pton``.
    :raises OverflowError: a number is beyond 128 bits.
    """
    one, other = texts
    if ":" in one:
        return inet_pton(AF_INET6, one), inet_pton(AF_INET6, other), False
    if "." in one:
        return inet_pton(AF_INET, one), inet_pton(AF_INET, other), False
    if not (_is_number(one) and _is_number(other)):
        raise ValueError
    return int(one).to_bytes(16, "big"), int(other).to_bytes(16, "big"), True


def _parse_prefix(texts: Sequence[str]) -> tuple[bytes, bytes, bool]:
    """First and last address of a prefix, or of a single address.

    :raises ValueError: it is none, or has bits beyond its length.
    :raises OSError: the same, from ``inet_pton``.
    """
    address, slash, length = texts[0].partition("/")
    first = inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    if not slash:
        return first, first, False
    if not (length.isascii() and length.isdigit()):
        raise ValueError
    bits = 8 * len(first)
    free = (1 << bits - int(length[:4])) - 1
    number = int.from_bytes(first, "big")
    if number & free:
        raise ValueError
    return first, (number | free).to_bytes(len(first), "big"), False

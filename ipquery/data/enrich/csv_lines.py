"""CSV and TSV (RFC 4180, with commas or tabs), whose quoted fields may hold line ends."""

import csv
import io
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
import numpy as np

from ipquery.address import shorten
from ipquery.data.enrich.located import Block, Located, lines_of
from ipquery.data.enrich.options import Options
from ipquery.data.ranges import Column
from ipquery.data.record import DataError

_QUOTE, _NEWLINE = ord('"'), ord("\n")
_BOM = b"\xef\xbb\xbf"

# A quote begins a field only where a field begins; elsewhere it is a character like others. One
# that doesn't end goes on to the end of the block.
_QUOTED = {
    mark: re.compile(rb'(?<![^\n%b])"[^"]*(?:""[^"]*)*(?:"(?!")|\Z)' % mark.encode())
    for mark in ",\t"
}


@attrs.frozen
class CsvFormat:
    """``mark`` is what stands between fields, ``column`` the number of the address's, from 0, of
    ``count``."""

    mark: str
    column: int
    count: int

    def locate(self, block: Block) -> Located:
        quotes = self._quotes(block)
        begin, end = lines_of(block, _outside(block.newlines(), quotes))
        marks = _outside(block.places(ord(self.mark)), quotes)
        found = self._regular(begin, end, marks) or self._irregular(begin, end, marks)
        if quotes is None or not len(begin):
            return found
        return _without_quotes(block, found)

    def record_end(self, data: bytes) -> int:
        """Where the last record ends that ends in a block, 0 if none does."""
        if b'"' not in data:
            return data.rfind(b"\n") + 1
        block = Block.of(data)
        newlines = _outside(block.newlines(), self._quotes(block))
        return int(newlines[-1]) + 1 if len(newlines) else 0

    def first_end(self, data: bytes) -> int:
        """Likewise the first record."""
        block = Block.of(data)
        newlines = _outside(block.newlines(), self._quotes(block))
        return int(newlines[0]) + 1 if len(newlines) else 0

    def piece(self, number: int, value: Any) -> bytes:
        return self.joined([value])

    def addition(self, pieces: bytes) -> bytes:
        return pieces

    def joined(self, values: Sequence[Any]) -> bytes:
        """Values as more fields of a record."""
        line = io.StringIO()
        csv.writer(line, delimiter=self.mark, lineterminator="").writerow(["", *values])
        return line.getvalue().encode()

    def _regular(self, begin: Column, end: Column, marks: Column) -> Located | None:
        """Where all records have as many fields as the header; ``None`` if one hasn't."""
        if self.count == 1:
            return Located(end, begin, end - begin) if not len(marks) else None
        if not len(begin) or len(marks) != len(begin) * (self.count - 1):
            return None
        rows = marks.reshape(-1, self.count - 1)
        if (rows[:, 0] < begin).any() or (rows[:, -1] >= end).any():
            return None
        start = begin if self.column == 0 else rows[:, self.column - 1] + 1
        after = end if self.column == self.count - 1 else rows[:, self.column]
        return Located(end, start, after - start)

    def _irregular(self, begin: Column, end: Column, marks: Column) -> Located:
        first = np.searchsorted(marks, begin)
        count = np.searchsorted(marks, end) - first
        # Numbers of marks that there aren't lead to one more in front, and behind.
        padded = np.concatenate(([-1], marks, [-1]))
        start = begin if self.column == 0 else padded[first + np.minimum(self.column, count)] + 1
        has_next = count > self.column
        after = np.where(has_next, padded[first + np.minimum(self.column, count) + 1], end)
        length = np.where(count >= self.column, after - start, -1)
        odd = np.flatnonzero(count != self.count - 1)
        fill = {
            row: partial(bytes.__add__, self.mark.encode() * missing)
            for row, missing in zip(
                odd.tolist(), (self.count - 1 - count[odd]).tolist(), strict=True
            )
            if missing > 0
        }
        return Located(end, start, length, changes=fill, odd=len(odd))

    def _quotes(self, block: Block) -> Column | None:
        """Where quoted fields begin and end, in turn; what is between one that begins and one that
        ends is inside. ``None`` if there are no quotes."""
        if b'"' not in block.data:
            return None
        places = block.places(_QUOTE)
        if self._are_in_pairs(block, places):
            return places
        spans = [found.span() for found in _QUOTED[self.mark].finditer(block.data)]
        return np.array([place for first, after in spans for place in (first, after - 1)], np.int64)

    def _are_in_pairs(self, block: Block, places: Column) -> bool:
        """Whether every quote begins or ends a field, or stands beside another one. The last may
        be without its end."""
        around = np.zeros(256, bool)
        around[[ord(self.mark), _NEWLINE, _QUOTE]] = True
        before, after = block.column[places[::2] - 1], block.column[places[1::2] + 1]
        if places[0] == 0:
            before[0] = _NEWLINE
        if len(after) and places[1::2][-1] == len(block.data) - 1:
            after[-1] = _NEWLINE
        begins = around[before].all()
        around[ord("\r")] = True
        return bool(begins and around[after].all())


def _outside(places: Column, quotes: Column | None) -> Column:
    """Those that aren't in quoted fields."""
    if quotes is None:
        return places
    outside: Column = places[np.searchsorted(quotes, places) & 1 == 0]
    return outside


def _without_quotes(block: Block, found: Located) -> Located:
    last = np.maximum(found.start + found.length - 1, 0)
    quoted = (
        (found.length > 1) & (block.column[found.start] == _QUOTE) & (block.column[last] == _QUOTE)
    )
    return attrs.evolve(found, start=found.start + quoted, length=found.length - 2 * quoted)


def format_of(mark: str, header: bytes, options: Options) -> tuple[CsvFormat, bytes]:
    """The format of a file, and its header with the names of what is added.

    :param header: the first record, with its line end.
    :raises DataError: the column isn't there, or there is one with the name of an added one.
    """
    names = _fields(header.removeprefix(_BOM), mark)
    if not options.header:
        assert options.column is not None
        number = int(options.column)
        if not 1 <= number <= len(names):
            raise DataError(f"there is no column {number}: there are {len(names)}")
        return CsvFormat(mark, number - 1, len(names)), b""
    wanted = options.column or "ip"
    if names.count(wanted) != 1:
        there = "two columns are" if wanted in names else "no column is"
        listed = ", ".join(map(shorten, names[:20]))
        raise DataError(
            f"{there} called {shorten(wanted)}; name one by {options.named_by}: {listed}"
        )
    for name in options.names:
        if name in names:
            raise DataError(f"there is a column {name} already; choose another --prefix")
    format_ = CsvFormat(mark, names.index(wanted), len(names))
    line = header.rstrip(b"\r\n")
    ending = header[len(line) :] or b"\n"
    return format_, line + format_.joined(options.names) + ending


def _fields(record: bytes, mark: str) -> list[str]:
    """
    :raises DataError: it is no text.
    """
    try:
        text = record.decode()
    except UnicodeDecodeError:
        # Columns are counted alike in any encoding that has ASCII in it.
        text = record.decode("latin-1")
    if "\0" in text:
        raise DataError("this isn't text in UTF-8, or in another encoding that has ASCII in it")
    return next(csv.reader([text], delimiter=mark), [""])

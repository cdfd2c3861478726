"""A run: what is read is cut into blocks of whole rows, enriched, and written in order.

Nothing is kept of what has gone through, however much it is: a few blocks for each process are on
their way at a time.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from ipquery.data.enrich import csv_lines, json_lines, log_lines
from ipquery.data.enrich.inputs import SIZE, Input
from ipquery.data.enrich.located import Format
from ipquery.data.enrich.options import FORMATS, Options
from ipquery.data.enrich.output import Output
from ipquery.data.enrich.work import Done, Order, by_processes, here
from ipquery.data.record import DataError

_LONGEST = 1 << 26
"""Bytes of a row. One that is longer is a quoted field that doesn't end."""

_MARKS = {"csv": ",", "tsv": "\t"}


@attrs.frozen
class Totals:
    """How many rows there were; of how many addresses nothing was known, how many were none, and
    how many rows weren't like the others."""

    rows: int = 0
    unknown: int = 0
    bad: int = 0
    odd: int = 0

    def and_(self, done: Done) -> "Totals":
        return Totals(
            self.rows + done.rows,
            self.unknown + done.unknown,
            self.bad + done.bad,
            self.odd + done.odd,
        )


Report = Callable[[Totals], None]


def run(
    snapshot: Path,
    inputs: Sequence[Input],
    options: Options,
    output: Output,
    processes: int,
    report: Report,
) -> Totals:
    """Enrich all inputs, one after the other.

    :param snapshot: has been verified.
    :param report: is told how far it is after each block.
    :raises DataError: something can't be read, written or made sense of.
    """
    rows = Rows(inputs, options)
    order = Order(snapshot, rows.format, options.fields, options.anonymise)
    blocks = rows.blocks()
    # Other processes take a second to start: not for what is done by then.
    first = [*itertools.islice(blocks, 2)]
    if processes == 1 or len(first) < 2:
        results = here(order, itertools.chain(first, blocks))
    else:
        results = by_processes(order, itertools.chain(first, blocks), processes)
    totals = Totals()
    if rows.header:
        output.write(rows.header)
    for done in results:
        output.write(done.data)
        totals = totals.and_(done)
        report(totals)
    return totals


class Rows:
    """The rows of all inputs, which are of one format, and have one header if they have any."""

    format: Format
    header: bytes

    def __init__(self, inputs: Sequence[Input], options: Options) -> None:
        """
        :raises DataError: the format is none that is known, or hasn't the address.
        """
        self._inputs, self._options = inputs, options
        self._name = options.format
        self._first = _Reader(inputs[0])
        start = self._first.look()
        with inputs[0].errors():
            if self._name is None:
                self._name = _format_of(start)
            self.format, self.header = self._read_format()

    def _read_format(self) -> tuple[Format, bytes]:
        if self._name == "json":
            return json_lines.format_of(self._options), b""
        if self._name == "combined":
            return log_lines.format_of(self._options), b""
        assert self._name is not None
        mark = _MARKS[self._name]
        self._given_header = self._first.first_record(csv_lines.CsvFormat(mark, 0, 1))
        if not self._options.header:
            self._first.put_back(self._given_header)
        return csv_lines.format_of(mark, self._given_header, self._options)

    def blocks(self) -> Iterator[bytes]:
        """Blocks of whole rows, without headers, and empty ones where more may take a while.

        :raises DataError: something can't be read, or an input has another header.
        """
        yield from self._first.blocks(self.format)
        for one in self._inputs[1:]:
            reader = _Reader(one)
            if isinstance(self.format, csv_lines.CsvFormat) and self._options.header:
                reader.look()
                header = reader.first_record(self.format)
                if header.rstrip(b"\r\n") != self._given_header.rstrip(b"\r\n"):
                    raise DataError(f"{one.name}: its header isn't that of {self._inputs[0].name}")
            yield from reader.blocks(self.format)


def _format_of(start: bytes) -> str:
    """The format of what begins like this.

    :raises DataError: it doesn't look like any.
    """
    line = start.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").partition(b"\n")[0]
    if line.lstrip().startswith(b"{"):
        return "json"
    if log_lines.LOOKS_COMBINED.match(line):
        return "combined"
    if b"\t" in line:
        return "tsv"
    if b"," in line or not line.strip() or line.strip().replace(b"_", b"").isalnum():
        return "csv"
    raise DataError(f"can't tell what format this is; name one by --format: {', '.join(FORMATS)}")


class _Reader:
    """Cuts what an input holds at the ends of rows."""

    def __init__(self, source: Input) -> None:
        self._source = source
        self._chunks = source.chunks()
        self._data = b""
        self._is_whole = False
        """Whether all has been read."""

    def look(self) -> bytes:
        """The beginning: the first line at least, if there is one."""
        while b"\n" not in self._data and self._more():
            self._check()
        return self._data

    def first_record(self, format_: csv_lines.CsvFormat) -> bytes:
        """Take the first record off.

        :raises DataError: it doesn't end.
        """
        while not (end := format_.first_end(self._data)):
            if not self._more():
                end = len(self._data)
                break
            self._check()
        record, self._data = self._data[:end], self._data[end:]
        if record and not record.endswith(b"\n"):
            record += b"\n"
        return record

    def put_back(self, record: bytes) -> None:
        self._data = record + self._data

    def blocks(self, format_: Format) -> Iterator[bytes]:
        while True:
            if len(self._data) >= SIZE or self._is_whole:
                yield from self._cut(format_)
            if self._is_whole:
                return
            if not self._more_now():
                yield from self._cut(format_)
                yield b""

    def _cut(self, format_: Format) -> Iterator[bytes]:
        if self._is_whole and self._data and not self._data.endswith(b"\n"):
            self._data += b"\n"
        end = format_.record_end(self._data)
        block, self._data = self._data[:end], self._data[end:]
        if block:
            yield block
        self._check()
        if self._is_whole and self._data:
            raise DataError(f"{self._source.name}: ends inside a quoted field")

    def _check(self) -> None:
        if len(self._data) > _LONGEST:
            raise DataError(
                f"{self._source.name}: a row, or a quoted field, has more than "
                f"{_LONGEST >> 20} MB; is this another format?"
            )

    def _more(self) -> bool:
        """Read on; whether there was more."""
        while not self._more_now():
            pass
        return not self._is_whole

    def _more_now(self) -> bool:
        """Likewise, but whether more may not take a while."""
        for chunk in self._chunks:
            self._data += chunk
            return bool(chunk)
        self._is_whole = True
        return True

"""A run: what is read is cut into blocks of whole rows, enriched, and written in order.

Nothing is kept of what has gone through, however much it is: a few blocks for each process are on
their way at a time.
"""

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import attrs

from ipquery.data.enrich import csv_lines, json_lines, log_lines, parquet
from ipquery.data.enrich.inputs import SIZE, Input
from ipquery.data.enrich.located import Format
from ipquery.data.enrich.options import FORMATS, Options
from ipquery.data.enrich.output import Output
from ipquery.data.enrich.totals import Report, Totals
from ipquery.data.enrich.work import Order, by_processes, enough_for_several, here, work_on
from ipquery.data.record import DataError

_LONGEST = 1 << 26
"""Bytes of a row. One that is longer is a quoted field that doesn't end."""

_MARKS = {"csv": ",", "tsv": "\t"}


def run(
    snapshot: Path,
    inputs: Sequence[Input],
    options: Options,
    output: Output,
    processes: int,
    report: Report,
    size: int = SIZE,
) -> Totals:
    """Enrich all inputs, one after the other.

    :param snapshot: has been verified.
    :param report: is told how far it is after each block.
    :param size: bytes of a block.
    :raises DataError: something can't be read, written or made sense of.
    """
    if is_parquet(inputs, options):
        _refuse_nested(options, "parquet")
        return parquet.run(snapshot, inputs, options, output, processes, report)
    rows = Rows(inputs, options, size)
    order = Order(snapshot, rows.format, options.fields, options.anonymise)
    several, blocks = enough_for_several(rows.blocks())
    if processes > 1 and several:
        results = by_processes(partial(work_on, order), blocks, processes)
    else:
        results = here(order, blocks)
    totals = Totals()
    # Closed here, as an error would keep it, and the processes, to the end of the program.
    with contextlib.closing(results):
        if rows.header:
            output.write(rows.header)
        for done in results:
            output.write(done.data)
            totals = totals.plus(done.totals)
            report(totals)
    return totals


def is_parquet(inputs: Sequence[Input], options: Options) -> bool:
    """Whether inputs aren't lines, but Parquet."""
    return options.format == "parquet" or (options.format is None and inputs[0].is_parquet)


class Rows:
    """The rows of all inputs, which are of one format, and have one header if they have any."""

    format: Format
    header: bytes

    def __init__(self, inputs: Sequence[Input], options: Options, size: int) -> None:
        """
        :param size: bytes of a block.
        :raises DataError: the format is none that is known, or hasn't the address.
        """
        self._inputs, self._options, self._size = inputs, options, size
        self._name = options.format
        self._first = _Reader(inputs[0], size)
        start = self._first.look()
        with inputs[0].errors():
            if self._name is None:
                self._name = _format_of(start)
            if self._name != "json":
                _refuse_nested(options, self._name)
            self._given_header = b""
            if self._name in _MARKS:
                mark = _MARKS[self._name]
                self._given_header = self._first.first_record(csv_lines.CsvFormat(mark, 0, 1))
                if not options.header:
                    self._first.put_back(self._given_header)
            self.format, self.header = self._format_for(options)

    def at(self, column: str, named_by: str) -> Format:
        """The same format, with another column where the address's is.

        :param column: see :class:`~ipquery.data.enrich.options.Options`,
        :param named_by: too.
        :raises DataError: there is no such column.
        """
        with self._inputs[0].errors():
            options = attrs.evolve(self._options, column=column, named_by=named_by)
            return self._format_for(options)[0]

    @property
    def time_variable(self) -> str | None:
        """The variable of a log format that tells when a line was written, if one does."""
        return log_lines.time_variable(self._options) if self._name == "combined" else None

    def _format_for(self, options: Options) -> tuple[Format, bytes]:
        if self._name == "json":
            return json_lines.format_of(options), b""
        if self._name == "combined":
            return log_lines.format_of(options), b""
        assert self._name is not None
        return csv_lines.format_of(_MARKS[self._name], self._given_header, options)

    def blocks(self) -> Iterator[bytes]:
        """Blocks of whole rows, without headers, and empty ones where more may take a while.

        :raises DataError: something can't be read, or an input has another header.
        """
        yield from self._first.blocks(self.format)
        for one in self._inputs[1:]:
            reader = _Reader(one, self._size)
            if isinstance(self.format, csv_lines.CsvFormat) and self._options.header:
                reader.look()
                header = reader.first_record(self.format)
                if header.rstrip(b"\r\n") != self._given_header.rstrip(b"\r\n"):
                    raise DataError(f"{one.name}: its header isn't that of {self._inputs[0].name}")
            yield from reader.blocks(self.format)


def _refuse_nested(options: Options, format_: str) -> None:
    """
    :raises DataError: what only JSON has was asked for.
    """
    if options.nested is not None:
        raise DataError(f"fields can be nested in json, not in {format_}")


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

    def __init__(self, source: Input, size: int) -> None:
        self._source, self._size = source, size
        self._chunks = source.chunks(size)
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
            if len(self._data) >= self._size or self._is_whole:
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

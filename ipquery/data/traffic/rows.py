"""What is counted: the addresses and times of rows, read as ``ipquery enrich`` reads them."""

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from ipquery.data.columns.batch import Batch
from ipquery.data.columns.given import batches
from ipquery.data.columns.texts import Texts
from ipquery.data.enrich import parquet
from ipquery.data.enrich.inputs import Input
from ipquery.data.enrich.job import Rows, is_parquet
from ipquery.data.enrich.json_lines import JsonFormat
from ipquery.data.enrich.located import Block, Format, Located
from ipquery.data.enrich.options import Options
from ipquery.data.enrich.work import batches_of
from ipquery.data.export.parquet import load
from ipquery.data.ranges import Column
from ipquery.data.record import DataError
from ipquery.data.traffic.times import NO_TIME, Times, of_numbers

_NAMED_BY = "--time"


@attrs.frozen(eq=False)
class Part:
    """Some rows: their addresses, when each was (seconds since the epoch, or
    :data:`~ipquery.data.traffic.times.NO_TIME`), and how many were of another form."""

    addresses: Sequence[Batch]
    seconds: Column | None
    odd: int = 0


@attrs.frozen
class Lines:
    """How lines tell addresses, and when they were. It is sent to other processes."""

    format: Format
    at: Format | None

    def part(self, data: bytes, times: Times) -> Part:
        """
        :param data: whole rows.
        """
        block = Block.of(data)
        located = self.format.locate(block)
        seconds = None if self.at is None else _times(block, located, self.at, times)
        return Part([*batches_of(block, located)], seconds, located.odd)


@attrs.frozen
class InLines:
    """Rows that are lines, in blocks as :func:`ipquery.data.enrich.work.by_processes` has them.
    ``time`` is where rows tell when they were, ``None`` if that isn't looked at."""

    time: str | None
    lines: Lines
    blocks: Iterator[bytes]


@attrs.frozen
class InParts:
    """Rows of Parquet; ``time`` as of lines."""

    time: str | None
    parts: Iterator[Part]


def read(
    inputs: Sequence[Input], options: Options, time: str | None, size: int
) -> InLines | InParts:
    """
    :param options: without fields.
    :param time: where the time is: what ``column`` is for the address. Without it logs have it
        in a variable of their format, others don't have it.
    :param size: bytes of a block of lines.
    :raises DataError: something can't be read or made sense of; also while parts are read.
    """
    if time is not None and not options.header and not time.isdecimal():
        raise DataError("without a header, --time is the number of the time's column, from 1")
    if is_parquet(inputs, options):
        return InParts(time, _of_parquet(inputs, options, time))
    rows = Rows(inputs, options, size)
    if time is None:
        time = rows.time_variable
    at = None if time is None else rows.at(time, _NAMED_BY)
    return InLines(time, Lines(rows.format, at), rows.blocks())


def _times(block: Block, located: Located, at: Format, times: Times) -> Column:
    """When each row was."""
    if isinstance(at, JsonFormat):
        return times.of(at.values(block, located))
    found = at.locate(block)
    return times.of_texts(Texts(block.column, found.start, found.length))


def _of_parquet(inputs: Sequence[Input], options: Options, time: str | None) -> Iterator[Part]:
    arrow, module = load()
    schema = parquet.schema_of(module, inputs)
    number = parquet.column_of(schema, options)
    time_number = None
    if time is not None:
        named = attrs.evolve(options, column=time, named_by=_NAMED_BY)
        time_number = parquet.column_of(schema, named)
    times = Times()
    for one in inputs:
        for table in parquet.tables_of(arrow, module, one):
            try:
                addresses = [*batches(table.column(number))]
            except TypeError as error:
                raise DataError(str(error)) from None
            seconds = None
            if time_number is not None:
                seconds = _seconds(arrow, table.column(time_number), times)
            yield Part(addresses, seconds)


def _seconds(arrow: Any, column: Any, times: Times) -> Column:
    """
    :raises DataError: it holds no times.
    """
    types = arrow.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_string(column.type) or types.is_large_string(column.type):
        return times.of(column.to_pylist())
    if types.is_timestamp(column.type) or types.is_date(column.type):
        zone = column.type.tz if types.is_timestamp(column.type) else None
        column = column.cast(arrow.timestamp("s", zone), safe=False).cast(arrow.int64())
    type_, missing = _number_type(arrow, column.type)
    return of_numbers(column.cast(type_).fill_null(missing).to_numpy())


def _number_type(arrow: Any, given: Any) -> tuple[Any, float]:
    """The widest type of numbers like these, and what is no time in it.

    :raises DataError: they aren't numbers.
    """
    types = arrow.types
    if types.is_unsigned_integer(given):
        return arrow.uint64(), 2**64 - 1
    if types.is_integer(given):
        return arrow.int64(), NO_TIME
    if types.is_floating(given) or types.is_decimal(given):
        return arrow.float64(), NO_TIME
    raise DataError(f"a column of {given} holds no times; name another one by --time")

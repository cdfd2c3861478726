"""Parquet: the same rows, with a column for each field behind the others.

pyarrow reads and writes it, on as many cores as it is given.
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipquery.address import shorten
from ipquery.data.columns.given import batches
from ipquery.data.columns.numbers import NO_RECORD, NOT_AN_ADDRESS
from ipquery.data.enrich.arrow_columns import ArrowColumns
from ipquery.data.enrich.inputs import Input
from ipquery.data.enrich.options import Options
from ipquery.data.enrich.output import Output
from ipquery.data.enrich.prefixes import Prefixes
from ipquery.data.enrich.totals import Report, Totals
from ipquery.data.export.parquet import load
from ipquery.data.record import DataError
from ipquery.data.snapshot.reader import Snapshot

_ROWS = 1 << 18
"""Of a batch, and of a row group that is written."""


class _Sink(io.RawIOBase):
    """What pyarrow writes to."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data: Any) -> int:
        self._output.write(bytes(data))
        self._written += len(data)
        return len(data)


def run(
    snapshot: Path,
    inputs: Sequence[Input],
    options: Options,
    output: Output,
    processes: int,
    report: Report,
) -> Totals:
    """See :func:`ipquery.data.enrich.job.run`.

    :param processes: threads here.
    """
    arrow, parquet = load()
    arrow.set_cpu_count(processes)
    schema = schema_of(parquet, inputs)
    number = column_of(schema, options)
    totals = Totals()
    with Snapshot(snapshot, verify=False) as db:
        step = _Step(arrow, db, number, options)
        with parquet.ParquetWriter(
            arrow.PythonFile(_Sink(output), mode="w"),
            step.enriched(schema.empty_table())[0].schema.with_metadata(schema.metadata),
            compression="zstd",
        ) as writer:
            for one in inputs:
                for table in tables_of(arrow, parquet, one):
                    made, more = step.enriched(table)
                    writer.write_table(made)
                    totals = totals.plus(more)
                    report(totals)
    return totals


def _path(one: Input) -> Path:
    if one.path is None:
        raise DataError("Parquet is read from a file, as its end tells what is in it")
    return one.path


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """
    :raises DataError: instead of pyarrow's error for what isn't Parquet.
    """
    import pyarrow

    try:
        yield
    except pyarrow.ArrowException:
        raise DataError("no Parquet, or damaged") from None


def schema_of(parquet: Any, inputs: Sequence[Input]) -> Any:
    """The columns that all of them have.

    :raises DataError: they haven't the same ones, or can't be read.
    """
    schema = None
    for one in inputs:
        with one.errors(), _readable():
            found = parquet.read_schema(_path(one))
            schema = schema or found
            if not found.equals(schema):
                raise DataError(f"its columns aren't those of {inputs[0].name}")
    return schema


def column_of(schema: Any, options: Options) -> int:
    """
    :raises DataError: the address isn't there, or what is to be added is.
    """
    wanted = options.column or "ip"
    if schema.names.count(wanted) != 1:
        listed = ", ".join(map(shorten, schema.names[:20]))
        raise DataError(
            f"no column is called {shorten(wanted)}; name one by {options.named_by}: {listed}"
        )
    for name in options.names:
        if name in schema.names:
            raise DataError(f"there is a column {name} already; choose another --prefix")
    return int(schema.get_field_index(wanted))


def tables_of(arrow: Any, parquet: Any, one: Input) -> Iterator[Any]:
    """The rows of a file, some at a time.

    :raises DataError: it can't be read.
    """
    with one.errors(), _readable(), parquet.ParquetFile(_path(one)) as file:
        rows, whole = 0, file.metadata.num_rows
        batches_ = file.iter_batches(_ROWS)
        while (batch := next(batches_, None)) is not None:
            rows += len(batch)
            one.passed(rows / whole)
            yield arrow.Table.from_batches([batch])


class _Step:
    """Enriches one table after the other."""

    def __init__(self, arrow: Any, snapshot: Snapshot, number: int, options: Options) -> None:
        """
        :param number: of the address's column.
        """
        self._arrow, self._options, self._number = arrow, options, number
        self._index = snapshot.index()
        self._prefixes = Prefixes()
        self._columns = ArrowColumns(arrow, snapshot, options.fields)

    def enriched(self, table: Any) -> tuple[Any, Totals]:
        """The table with more columns, and what is in it.

        :raises DataError: its column holds no addresses.
        """
        arrow = self._arrow
        try:
            given = [*batches(table.column(self._number))]
        except TypeError as error:
            raise DataError(str(error)) from None
        numbers = self._index.find_batches(given)
        if self._options.anonymise:
            texts = [text.decode() for batch in given for text in self._prefixes.of(batch)]
            column = arrow.array(texts, arrow.string())
            name = table.schema.names[self._number]
            table = table.set_column(self._number, name, column)
        columns = self._columns.of(given, numbers)
        for name, column in zip(self._options.names, columns, strict=True):
            table = table.append_column(name, column)
        unknown, bad = (int(np.count_nonzero(numbers == n)) for n in (NO_RECORD, NOT_AN_ADDRESS))
        return table, Totals(len(numbers), unknown, bad)

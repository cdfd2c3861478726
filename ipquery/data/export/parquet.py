"""Parquet, for DuckDB, Spark, Polars and others: a row for each range, by first address.

``first`` and ``last`` are 16 bytes in network order, IPv4 as IPv4-mapped addresses (RFC 4291), so
that one comparison of bytes sorts both versions. ``first_v4`` and ``last_v4`` are the numbers of
IPv4 addresses, null for IPv6. Each row group tells the least and the greatest of them, by which
readers leave out most of the file.
"""

from typing import Any, BinaryIO

import numpy as np

from ipquery.data.export.content import Content
from ipquery.data.export.halves import Addresses
from ipquery.data.export.options import Options, Report
from ipquery.data.export.steps import Known, chunks
from ipquery.data.record import DataError

_MAPPED = np.uint64(0xFFFF << 32)
_ROW_GROUP = 1 << 17

_NUMBERS = {
    "latitude": "float64",
    "longitude": "float64",
    "accuracy_radius": "uint16",
    "asn": "uint32",
}


def load() -> tuple[Any, Any]:
    """pyarrow, which is an extra.

    :raises DataError: it isn't installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError("Parquet needs pyarrow: pip install 'ipquery[bulk]'") from None
    return pyarrow, pyarrow.parquet


def write(file: BinaryIO, content: Content, options: Options, report: Report) -> None:
    """
    :raises DataError: pyarrow isn't installed.
    """
    arrow, parquet = load()
    address = arrow.binary(16)
    columns = {
        "ip_version": arrow.uint8(),
        "first": address,
        "last": address,
        "first_v4": arrow.uint32(),
        "last_v4": arrow.uint32(),
    }
    values = {}
    for field in options.fields:
        columns[field] = arrow.type_for_alias(_NUMBERS.get(field, "string"))
        values[field] = arrow.array(content.values[field][1:], columns[field])
    metadata = {"ipquery.sources": "\n".join(content.sources)}
    schema = arrow.schema(list(columns.items()), metadata=metadata)
    with parquet.ParquetWriter(
        file,
        schema,
        compression="zstd",
        sorting_columns=[parquet.SortingColumn(schema.get_field_index("first"))],
    ) as writer:
        for known in _in_order(content, report):
            for part in chunks(len(known), _ROW_GROUP):
                writer.write_batch(_batch(arrow, schema, known[part], content, values))


def _in_order(content: Content, report: Report) -> list[Known]:
    """All ranges, IPv4 where its mapped addresses are."""
    v4, v6 = content.v4.known(), content.v6.known()
    before = v6.first.count_below(0xFFFF << 32)
    report("writing", 0.5)
    return [v6[:before], v4, v6[before:]]


def _batch(arrow: Any, schema: Any, known: Known, content: Content, said: dict[str, Any]) -> Any:
    count = len(known)
    last = known.after.predecessors()
    if known.version == 4:
        numbers = [arrow.array(half.low.astype(np.uint32)) for half in (known.first, last)]
        ends = [Addresses(half.high, half.low | _MAPPED) for half in (known.first, last)]
    else:
        numbers = [arrow.nulls(count, arrow.uint32())] * 2
        ends = [known.first, last]
    columns = [arrow.array(np.full(count, known.version, np.uint8))]
    columns += [
        arrow.Array.from_buffers(arrow.binary(16), count, [None, arrow.py_buffer(end.packed())])
        for end in ends
    ]
    columns += numbers
    for field, values in said.items():
        codes = content.codes[field][known.value]
        # What isn't known, the first of the values, is left out of them.
        number = arrow.array(codes.astype(np.int32) - 1, mask=codes == 0)
        columns.append(values.take(number))
    return arrow.record_batch(columns, schema=schema)

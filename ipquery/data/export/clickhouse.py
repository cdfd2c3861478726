"""CSV for ClickHouse's ``ip_trie`` dictionaries, and the statement that makes one of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ipquery.data.export.content import Content
from ipquery.data.export.csv_file import NETWORK
from ipquery.data.export.options import Options, Report
from ipquery.data.export.texts import csv_rows, prefixes_of, write_lines
from ipquery.data.record import FIELDS

_TYPES = {
    "latitude": "Nullable(Float64)",
    "longitude": "Nullable(Float64)",
    "accuracy_radius": "Nullable(UInt16)",
    "asn": "Nullable(UInt32)",
}
"""Of fields that hold numbers; the others are texts, and empty if unknown."""


def write(file: BinaryIO, content: Content, options: Options, report: Report) -> None:
    file.write((",".join([NETWORK, *options.fields]) + "\n").encode())
    rows = csv_rows(content, options.fields)
    write_lines(file, prefixes_of(content, report), [f",{row}" for row in rows])


def statement(out: Path, options: Options) -> Iterator[str]:
    """The lines of the statement that makes a dictionary of the file.

    ClickHouse reads files from its ``user_files`` folder only.
    """
    yield "CREATE OR REPLACE DICTIONARY ipquery"
    yield "("
    columns = [f"    {NETWORK} String"]
    for field in options.fields:
        kind = _TYPES.get(field)
        columns.append(f"    {field} {kind or 'String'} DEFAULT {'NULL' if kind else QUOTES}")
    yield ",\n".join(columns)
    yield ")"
    yield f"PRIMARY KEY {NETWORK}"
    path = f"/var/lib/clickhouse/user_files/{out.name}".replace("\\", "\\\\").replace("'", "\\'")
    yield f"SOURCE(FILE(path '{path}' format 'CSVWithNames'))"
    yield "LAYOUT(IP_TRIE)"
    yield "LIFETIME(MIN 300 MAX 600);"


QUOTES = "''"

assert _TYPES.keys() <= {*FIELDS}

"""CSV for ClickHouse's ``ip_trie`` dictionaries, and the statement that makes one of it.

These dictionaries hold no nulls: what isn't known is an empty text, 0, or of coordinates nan.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from ipquery.data.export.content import Content
from ipquery.data.export.csv_file import NETWORK
from ipquery.data.export.options import Options, Report
from ipquery.data.export.texts import csv_rows, prefixes_of, write_lines

# Type, and what stands for unknown; AS 0 is nobody's (RFC 7607). The others are texts.
_NUMBERS: Mapping[str, tuple[str, str]] = {
    "latitude": ("Float64", "nan"),
    "longitude": ("Float64", "nan"),
    "accuracy_radius": ("UInt16", "0"),
    "asn": ("UInt32", "0"),
}


def write(file: BinaryIO, content: Content, options: Options, report: Report) -> None:
    file.write((",".join([NETWORK, *options.fields]) + "\n").encode())
    rows = csv_rows(content, options.fields, {name: said for name, (_, said) in _NUMBERS.items()})
    write_lines(file, prefixes_of(content, report), [f",{row}" for row in rows])


def statement(out: Path, options: Options) -> Iterator[str]:
    """The lines of the statement that makes a dictionary of the file.

    The file has to be in the folder that ClickHouse reads files from (``user_files_path``), by
    default that which is named here.
    """
    columns = [f"    {NETWORK} String"]
    for field in options.fields:
        kind, unknown = _NUMBERS.get(field, ("String", "''"))
        columns.append(f"    {field} {kind} DEFAULT {unknown}")
    name = out.name.replace("\\", "\\\\").replace("'", "\\'")
    yield "CREATE OR REPLACE DICTIONARY ipquery"
    yield "("
    yield ",\n".join(columns)
    yield ")"
    yield f"PRIMARY KEY {NETWORK}"
    yield f"SOURCE(FILE(path '/var/lib/clickhouse/user_files/{name}' format 'CSVWithNames'))"
    yield "LAYOUT(IP_TRIE)"
    yield "LIFETIME(MIN 300 MAX 600);"

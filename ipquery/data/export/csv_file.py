"""CSV (RFC 4180): a line for each range, or for each prefix, in the order of addresses.

The header has ipquery's names of fields, by which its own reader knows them.
"""

from typing import BinaryIO

from ipquery.data.export.content import Content
from ipquery.data.export.options import Options, Report
from ipquery.data.export.texts import csv_rows, prefixes_of, ranges_of, write_lines
from ipquery.data.sources import RANGE_COLUMNS

FIRST, LAST, NETWORK = RANGE_COLUMNS


def write(file: BinaryIO, content: Content, options: Options, report: Report) -> None:
    ranges = [NETWORK] if options.prefixes else [FIRST, LAST]
    file.write((",".join([*ranges, *options.fields]) + "\n").encode())
    pieces = prefixes_of(content, report) if options.prefixes else ranges_of(content, ",", report)
    rows = csv_rows(content, options.fields)
    write_lines(file, pieces, [f",{row}" for row in rows])

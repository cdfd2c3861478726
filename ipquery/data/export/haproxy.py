"""A map file for HAProxy's ``map_ip``: prefixes, and one field without blanks at its ends."""

from typing import BinaryIO

from ipquery.data.export.content import Content
from ipquery.data.export.one_field import comments, refuse_unless_plain
from ipquery.data.export.options import Options, Report
from ipquery.data.export.texts import prefixes_of, write_lines

_LONGEST = 1000
"""Bytes of a value: HAProxy 2.6 reads lines of up to 2,048."""


def write(file: BinaryIO, content: Content, options: Options, report: Report) -> None:
    """
    :raises DataError: a value can't stand in the file.
    """
    (field,) = options.fields
    refuse_unless_plain("HAProxy", field, content.values[field], _LONGEST)
    # HAProxy leaves out blanks at the beginning.
    texts = [f" {str(value).strip(' ')}" for value in content.values[field]]
    endings = [texts[code] for code in content.codes[field].tolist()]
    file.write("".join(comments(content)).encode())
    write_lines(file, prefixes_of(content, report), endings)

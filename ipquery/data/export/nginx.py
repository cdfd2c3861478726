"""A file for nginx's ``include``: one field in a variable, by the module ngx_http_geo.

IPv4 stands in ranges, which nginx loads much faster than prefixes, but knows for IPv4 only; IPv6
in prefixes. A map takes the one that fits the client's address, which nginx writes as
``::ffff:1.2.3.4`` where an IPv6 socket takes IPv4.
"""

from collections.abc import Iterator
from typing import BinaryIO

from ipquery.address import V4_LAST
from ipquery.data.export.content import Content
from ipquery.data.export.one_field import comments, refuse_unless_plain
from ipquery.data.export.options import Options, Report
from ipquery.data.export.steps import chunks
from ipquery.data.export.texts import prefixes_of, range_texts, write_lines

_LONGEST = 3000
"""Bytes of a value: nginx takes no word of 4,096, quotes and escapes among them."""


def write(file: BinaryIO, content: Content, options: Options, report: Report) -> None:
    """
    :raises DataError: a value can't stand in the file.
    """
    (field,) = options.fields
    values = content.values[field]
    refuse_unless_plain("nginx", field, values, _LONGEST)
    quoted = ['""' if value is None else _quoted(str(value)) for value in values]
    endings = [f" {quoted[code]};" for code in content.codes[field].tolist()]
    name = f"ipquery_{field}"
    file.write("".join(comments(content)).encode())
    report("writing IPv4", 0.4)
    file.write(f"geo ${name}_v4 {{\nranges;\n".encode())
    write_lines(file, _v4_ranges(content), endings)
    file.write(f'default "";\n}}\ngeo ${name}_v6 {{\ndefault "";\n'.encode())
    write_lines(file, prefixes_of(content, report, (6,)), endings)
    file.write(f"}}\nmap $remote_addr ${name} {{\ndefault ${name}_v6;\n".encode())
    file.write(f'"~^(::ffff:)?[0-9]+[.]" ${name}_v4;\n}}\n'.encode())


def _v4_ranges(content: Content) -> Iterator[tuple[list[str], list[int]]]:
    # To nginx 255.255.255.255 is no address: it refuses ranges that end there.
    known = content.v4.overlaid(V4_LAST, V4_LAST + 1, 0).known()
    for part in chunks(len(known)):
        yield range_texts(known[part], "-"), known.value[part].tolist()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

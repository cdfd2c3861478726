"""Addresses and records as text, line by line."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from socket import AF_INET6, inet_ntop
from typing import Any, BinaryIO

from ipquery.data.export.content import Content
from ipquery.data.export.halves import Addresses
from ipquery.data.export.options import Report
from ipquery.data.export.steps import Known, Prefixes, chunks


def address_texts(version: int, addresses: Addresses) -> list[str]:
    """Addresses in their usual spelling (RFC 5952 for IPv6)."""
    if version == 4:
        octets = addresses.low.astype(">u4").tobytes()
        rows = zip(*(octets[place::4] for place in range(4)), strict=True)
        return [f"{a}.{b}.{c}.{d}" for a, b, c, d in rows]
    packed = addresses.packed()
    return [inet_ntop(AF_INET6, packed[at : at + 16]) for at in range(0, len(packed), 16)]


def range_texts(known: Known, between: str) -> list[str]:
    """First and last addresses."""
    first = address_texts(known.version, known.first)
    last = address_texts(known.version, known.after.predecessors())
    return [f"{one}{between}{other}" for one, other in zip(first, last, strict=True)]


def prefix_texts(prefixes: Prefixes) -> list[str]:
    """``address/length``."""
    first = address_texts(prefixes.version, prefixes.first)
    return [f"{text}/{bits}" for text, bits in zip(first, prefixes.length.tolist(), strict=True)]


def write_lines(
    file: BinaryIO,
    pieces: Iterable[tuple[Sequence[str], Sequence[int]]],
    endings: Sequence[str],
) -> None:
    """A line for each range.

    :param pieces: texts of ranges, and numbers of their records.
    :param endings: by number of the record what stands behind the range.
    """
    for ranges, records in pieces:
        if ranges:
            said = map(endings.__getitem__, records)
            lines = (f"{range_}{ending}\n" for range_, ending in zip(ranges, said, strict=True))
            file.write("".join(lines).encode())


def ranges_of(
    content: Content, between: str, report: Report
) -> Iterator[tuple[Sequence[str], Sequence[int]]]:
    """The ranges of both versions, as :func:`write_lines` takes them."""
    for steps, begun in ((content.v4, 0.4), (content.v6, 0.7)):
        report(f"writing IPv{steps.version}", begun)
        known = steps.known()
        for part in chunks(len(known)):
            yield range_texts(known[part], between), known.value[part].tolist()


def prefixes_of(
    content: Content, report: Report, versions: Sequence[int] = (4, 6)
) -> Iterator[tuple[Sequence[str], Sequence[int]]]:
    """Likewise the prefixes."""
    for steps, begun in ((content.v4, 0.4), (content.v6, 0.7)):
        if steps.version not in versions:
            continue
        report(f"writing IPv{steps.version}", begun)
        prefixes = steps.known().prefixes()
        for part in chunks(len(prefixes)):
            yield prefix_texts(prefixes[part]), prefixes.value[part].tolist()


def csv_rows(
    content: Content,
    fields: Sequence[str],
    unknown: Mapping[str, str] = {},  # never changed
) -> list[str]:
    """By number of the record, its fields as RFC 4180 has them.

    :param unknown: what stands for unknown in a field, else nothing.
    """
    columns = []
    for field in fields:
        empty = unknown.get(field, "")
        quoted = [empty if value is None else _quoted(value) for value in content.values[field]]
        columns.append([quoted[code] for code in content.codes[field].tolist()])
    return [",".join(row) for row in zip(*columns, strict=True)]


def _quoted(value: Any) -> str:
    # repr() of a float is the shortest text that reads back as the same.
    text = value if isinstance(value, str) else repr(value)
    line = io.StringIO()
    # Blanks at the ends belong to a field (RFC 4180); ClickHouse drops them unless it is quoted.
    csv.writer(
        line,
        lineterminator="",
        quoting=csv.QUOTE_MINIMAL if text == text.strip() else csv.QUOTE_ALL,
    ).writerow([text])
    return line.getvalue()

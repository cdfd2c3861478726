"""IPIP ``.ipdb``: IPv4 and IPv6 in one binary tree, texts in several languages.

Layout from the vendor's reader (ipip-ipdb), all big-endian::

    0      u32      M
    4      M bytes  JSON: build (Unix time), ip_version (1 IPv4, 2 IPv6, 3 both),
                    languages (name to number of its first column), node_count N,
                    total_size (of all that follows), fields (names of columns)
    4 + M  N nodes  two u32 each, for a 0 bit and a 1 bit of the address: below N
                    the next node, N nothing, above N a text
    ...    texts    u16 length, UTF-8 with tabs: the columns of every language

Value v leads to the text at 8 N + (v - N) from the first node on. IPv4 addresses
stand below ::ffff:0:0/96, as IPv4-mapped IPv6.

Where the vendor's reader is wrong it isn't followed: at a value of N it goes on
and reads the bytes behind the nodes as one more node.
"""

import datetime
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ipquery.data.formats.ipip_columns import ipip_record
from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.texts import make_record
from ipquery.data.ranges import Column, Ranges, RangeTable
from ipquery.data.record import DataError, Record

NAME = "ipdb"

_HEAD_LIMIT = (1 << 17) - 4
"""Bytes of JSON. Real heads have a few hundred; more than sniffing sees is none."""

_COLUMNS_LIMIT = 1000
_LANGUAGES = {"zh": "CN", "en": "EN"}
_MAPPED = [0] * 80 + [1] * 16
"""The bits of ::ffff:0:0/96."""

_VISITS = 4
"""How often a walk may look at a node, on average. A tree needs one look at each; a
writer may share equal branches. Without a bound, 128 nodes could make 2**128 ranges."""


@attrs.frozen
class _Head:
    """The JSON, checked; ``at`` is where the nodes begin."""

    at: int
    build: int
    ip_version: int
    languages: Mapping[str, int]
    node_count: int
    total_size: int
    fields: Sequence[str]


def _is_count(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _parse_head(head: bytes) -> _Head | None:
    """The head, or ``None`` if it isn't one."""
    if len(head) < 6 or head[4:5] != b"{":
        return None
    size = int(struct.unpack_from(">I", head)[0])
    if not 2 <= size <= _HEAD_LIMIT:
        return None
    try:
        values: Any = json.loads(head[4 : 4 + size])
    except (ValueError, RecursionError):
        return None
    return _check_head(values, 4 + size)


def _check_head(values: dict[str, Any], at: int) -> _Head | None:
    """Values of the right types within the format's bounds, or ``None``."""
    languages, fields = values.get("languages"), values.get("fields")
    numbers = (
        ("build", 0, 2**32 - 1),
        ("ip_version", 1, 3),
        ("node_count", 1, 2**32 // 8),
        ("total_size", 8, 2**40),
    )
    if not all(_is_count(values.get(name), low, high) for name, low, high in numbers):
        return None
    if not isinstance(languages, dict) or not isinstance(fields, list):
        return None
    if not languages or not 0 < len(fields) <= _COLUMNS_LIMIT:
        return None
    if not all(_is_count(offset, 0, _COLUMNS_LIMIT) for offset in languages.values()):
        return None
    if not all(isinstance(name, str) for name in fields):
        return None
    return _Head(at, languages=languages, fields=fields, **{n: values[n] for n, _, _ in numbers})


def sniff(head: bytes, tail: bytes, size: int) -> bool:
    """A JSON head with what the format asks for."""
    return _parse_head(head) is not None


def read(path: Path, options: ReadOptions = ReadOptions()) -> RangeTable:
    """Read an ``.ipdb`` file.

    :raises DataError: the file is damaged, not of this format, or has no such language.
    :raises OSError: it can't be read.
    """
    data = path.read_bytes()
    head = _parse_head(data[: 4 + _HEAD_LIMIT])
    if head is None:
        raise DataError(
            f"{path}: not an {NAME} file: its head isn't the JSON of one; get it again, or name "
            "its true format"
        )
    if head.at + head.total_size != len(data) or 8 * head.node_count > head.total_size:
        raise DataError(
            f"{path}: it has {len(data)} bytes where its head says {head.at + head.total_size}: "
            "the file is cut short or damaged; get it again"
        )
    nodes = np.frombuffer(data, ">u4", 2 * head.node_count, head.at).reshape(-1, 2)
    nodes = nodes.astype(np.uint32)
    v4, v6 = _walk_v4(path, nodes, head), _walk_v6(path, nodes, head)
    pointers, numbers = np.unique(np.append(v4.value, v6.value), return_inverse=True)
    begin = head.at + 7 * head.node_count
    offset = _column_offset(path, head, options)
    records = [
        _record(path, head, _text(path, data, begin + pointer), offset, options)
        for pointer in pointers.tolist()
    ]
    count = len(v4.value)
    return RangeTable(
        records, v4.ranges(numbers[:count]), v6.ranges(numbers[count:]), _date(head.build)
    )


def _date(build: int) -> datetime.date:
    return datetime.datetime.fromtimestamp(build, datetime.UTC).date()


def _column_offset(path: Path, head: _Head, options: ReadOptions) -> int:
    """Where the columns of the chosen language begin; the file's default is CN, else its first."""
    if options.language is None:
        return head.languages.get("CN", next(iter(head.languages.values())))
    name = _LANGUAGES.get(options.language, options.language.upper())
    if name not in head.languages:
        raise DataError(
            f"{path}: it has no texts in the language {options.language}; "
            f"it has {', '.join(map(ascii, head.languages))}"
        )
    return head.languages[name]


def _text(path: Path, data: bytes, at: int) -> Sequence[str]:
    """The columns of the text at a position."""
    size = int.from_bytes(data[at : at + 2], "big")
    text = data[at + 2 : at + 2 + size]
    if at + 2 + size > len(data):
        raise DataError(
            f"{path}: a text at byte {at} lies beyond the end of the file ({len(data)} bytes): "
            "the file is damaged; get it again"
        )
    try:
        return text.decode().split("\t")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: the text at byte {at + 2 + error.start} is not UTF-8: "
            "the file is damaged; get it again"
        ) from None


def _record(
    path: Path, head: _Head, columns: Sequence[str], offset: int, options: ReadOptions
) -> Record:
    """The record of one text in one language."""
    row = columns[offset : offset + len(head.fields)]
    if len(row) < len(head.fields):
        raise DataError(
            f"{path}: a record has {len(columns)} columns instead of "
            f"{offset + len(head.fields)} or more: the file is damaged; get it again"
        )
    if options.columns:
        return make_record(path, row, options.columns, len(options.columns))
    return ipip_record(path, dict(zip(head.fields, row, strict=True)))


@attrs.frozen(eq=False)
class _Leaves:
    """Ranges in address order, each with the value that the tree has for it."""

    version: int
    first: Column
    last: Column
    value: Column

    def ranges(self, record: Column) -> Ranges:
        return Ranges(self.version, self.first, self.last, record.astype(np.int64))


def _walk_v4(path: Path, nodes: Column, head: _Head) -> _Leaves:
    """What stands below ::ffff:0:0/96; a text above it holds for all of IPv4."""
    root = 0
    for bit in _MAPPED:
        if root >= head.node_count:
            break
        root = int(nodes[root, bit])
    if not head.ip_version & 1:
        root = head.node_count
    _, first, depth, value = _walk(path, nodes, root, 32)
    last = first | _masks(32)[1][depth]
    order = np.argsort(first)
    return _Leaves(4, first[order], last[order], value[order])


def _walk_v6(path: Path, nodes: Column, head: _Head) -> _Leaves:
    """The whole tree without ::ffff:0:0/96, which is IPv4's."""
    root = 0 if head.ip_version & 2 else head.node_count
    high, low, depth, value = _walk(path, nodes, root, 128)
    order = np.lexsort((low, high))
    high, low, depth, value = high[order], low[order], depth[order], value[order]
    high_mask, low_mask = _masks(128)
    first = _address(high, low)
    return _Leaves(6, first, _address(high | high_mask[depth], low | low_mask[depth]), value)


def _masks(bits: int) -> tuple[Column, Column]:
    """Halves of the bits below each depth, 0 to ``bits``."""
    below = [(1 << (bits - depth)) - 1 for depth in range(bits + 1)]
    return (
        np.array([mask >> 64 for mask in below], np.uint64),
        np.array([mask & (2**64 - 1) for mask in below], np.uint64),
    )


def _address(high: Column, low: Column) -> Column:
    """An IPv6 address column from its halves."""
    return np.column_stack((high, low)).astype(">u8").view("S16").reshape(-1)


def _walk(path: Path, nodes: Column, root: int, bits: int) -> tuple[Column, Column, Column, Column]:
    """Every text below a value, level by level: upper and lower half of its first
    address, its depth, its value.

    :raises DataError: the nodes make no tree of this depth.
    """
    count = len(nodes)
    node = np.array([root], np.int64)
    high = low = np.zeros(1, np.uint64)
    found: list[tuple[Column, Column, Column, Column]] = []
    seen = 0
    for depth in range(bits + 1):
        leaf = node > count
        found.append((high[leaf], low[leaf], np.full(int(leaf.sum()), depth), node[leaf]))
        inner = node < count
        node, high, low = node[inner], high[inner], low[inner]
        seen += len(node)
        if len(node) == 0:
            break
        if depth == bits or seen > _VISITS * count:
            raise DataError(
                f"{path}: its tree runs in a circle, or deeper than {bits} bits: "
                "the file is damaged; get it again"
            )
        node = nodes[node].astype(np.int64).reshape(-1)
        high, low = np.repeat(high, 2), np.repeat(low, 2)
        place = bits - 1 - depth
        half = low if place < 64 else high
        half[1::2] |= np.uint64(1 << place % 64)
        if bits == 128 and depth == len(_MAPPED) - 1:
            others = (high != 0) | (low != 0xFFFF << 32)
            node, high, low = node[others], high[others], low[others]
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    return columns[0], columns[1], columns[2], columns[3]

"""Makes MaxMind DB files, from the specification (MaxMind DB file format 2.0)."""

import ipaddress
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from tests.data.tables import Rows

MARKER = b"\xab\xcd\xefMaxMind.com"
ALIASES = ((0xFFFF << 32, 96), (0x2002 << 112, 16), (0x20010000 << 96, 32))
"""Where MaxMind's own writer repeats IPv4: first address, length of prefix."""

Network = tuple[int, int, int]
"""First address, length of prefix, record number."""


@attrs.frozen
class Float32:
    """A number to be stored as a float, not a double."""

    number: float


def networks_of(version: int, rows: Rows) -> list[Network]:
    """The prefixes that ranges are made of."""
    kind: Any = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    return [
        (int(network.network_address), network.prefixlen, record)
        for first, last, record in rows
        for network in ipaddress.summarize_address_range(kind(first), kind(last))
    ]


def mmdb(
    networks: Sequence[Network],
    records: Sequence[object],
    version: int = 6,
    bits: int = 28,
    aliases: Sequence[tuple[int, int]] = (),
    epoch: int = 1_780_666_922,
    metadata: Mapping[str, object] = {},  # never changed
) -> bytes:
    """A database file.

    :param networks: apart from each other; the first 96 bits of IPv4 in an IPv6
        tree are zero.
    :param aliases: networks that lead to the node of ``::/96``, if there is one.
    """
    length = 32 if version == 4 else 128
    data, places = _data(records)
    # A node is a list of two: None, a node, or the place of a record.
    root: list[Any] = [None, None]
    for first, prefix, record in networks:
        _set(root, first, prefix, length, _Leaf(places[record]))
    v4 = _v4_root(root) if version == 6 else None
    if isinstance(v4, list):
        for first, prefix in aliases:
            _set(root, first, prefix, length, v4)
    nodes = _numbered(root)
    numbers = {key: number for number, key in enumerate(nodes)}
    tree = b"".join(_node(node, numbers, bits) for node in nodes.values())
    return assemble(tree, len(nodes), data, version, bits, epoch, metadata)


def assemble(
    tree: bytes,
    count: int,
    data: bytes,
    version: int = 4,
    bits: int = 24,
    epoch: int = 1_780_666_922,
    metadata: Mapping[str, object] = {},  # never changed
) -> bytes:
    """A database file of a tree of ``count`` nodes and its data."""
    about = {
        "binary_format_major_version": U16(2),
        "binary_format_minor_version": U16(0),
        "build_epoch": U64(epoch),
        "database_type": "Test",
        "description": {"en": "a test"},
        "ip_version": U16(version),
        "languages": ["en"],
        "node_count": count,
        "record_size": U16(bits),
        **metadata,
    }
    return tree + bytes(16) + data + MARKER + encode(about)


class U16(int):
    """A number stored as uint16."""


class U64(int):
    """A number stored as uint64."""


class U128(int):
    """A number stored as uint128."""


@attrs.frozen
class _Leaf:
    place: int


def _set(root: list[Any], first: int, prefix: int, length: int, value: Any) -> None:
    if prefix == 0:
        root[:] = [value, value]
        return
    node = root
    for depth in range(prefix - 1):
        bit = first >> (length - 1 - depth) & 1
        if node[bit] is None:
            node[bit] = [None, None]
        node = node[bit]
    node[first >> (length - prefix) & 1] = value


def _v4_root(root: list[Any]) -> Any:
    node: Any = root
    for _ in range(96):
        if not isinstance(node, list):
            return None
        node = node[0]
    return node


def _numbered(root: list[Any]) -> dict[int, Any]:
    """Nodes by identity, in the order of their numbers, with children behind parents."""
    nodes: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in nodes:
            nodes[id(node)] = node
            waiting += [child for child in reversed(node) if isinstance(child, list)]
    return nodes


def _node(node: list[Any], numbers: Mapping[int, int], bits: int) -> bytes:
    values = []
    for child in node:
        if child is None:
            values.append(len(numbers))
        elif isinstance(child, _Leaf):
            values.append(len(numbers) + 16 + child.place)
        else:
            values.append(numbers[id(child)])
    return node_bytes(values[0], values[1], bits)


def node_bytes(left: int, right: int, bits: int) -> bytes:
    """A node of two numbers."""
    if bits == 28:
        middle = (left >> 24 << 4) | right >> 24
        return (
            (left & 0xFFFFFF).to_bytes(3, "big")
            + bytes([middle])
            + (right & 0xFFFFFF).to_bytes(3, "big")
        )
    return left.to_bytes(bits // 8, "big") + right.to_bytes(bits // 8, "big")


def _data(records: Sequence[object]) -> tuple[bytes, list[int]]:
    """Records one after the other, texts that repeat as pointers; and where each begins."""
    data = bytearray()
    seen: dict[str, int] = {}
    places = []
    for record in records:
        places.append(len(data))
        data += encode(record, len(data), seen)
    return bytes(data), places


def encode(value: object, at: int = 0, seen: dict[str, int] | None = None) -> bytes:
    """A value as it stands in the data.

    :param at: where it will stand.
    :param seen: where texts stand that were written before; without it nothing
        is written as a pointer.
    """
    if isinstance(value, str):
        if seen is not None:
            if value in seen:
                return pointer(seen[value])
            if len(value) > 3:
                seen[value] = at
        text = value.encode()
        return _control(2, len(text)) + text
    if isinstance(value, dict):
        out = _control(7, len(value))
        for key, part in value.items():
            out += encode(key, at + len(out), seen)
            out += encode(part, at + len(out), seen)
        return out
    if isinstance(value, list):
        out = _control(11, len(value))
        for part in value:
            out += encode(part, at + len(out), seen)
        return out
    return _scalar(value)


def _scalar(value: object) -> bytes:
    if isinstance(value, bool):
        return _control(14, int(value))
    if isinstance(value, Float32):
        return _control(15, 4) + struct.pack(">f", value.number)
    if isinstance(value, float):
        return _control(3, 8) + struct.pack(">d", value)
    if isinstance(value, bytes):
        return _control(4, len(value)) + value
    assert isinstance(value, int)
    if value < 0:
        return _control(8, 4) + struct.pack(">i", value)
    kind = {U16: 5, U64: 9, U128: 10}.get(type(value), 6)
    packed = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return _control(kind, len(packed)) + packed


def _control(kind: int, size: int) -> bytes:
    extended = b"" if kind < 8 else bytes([kind - 7])
    high = kind << 5 if kind < 8 else 0
    for code, base, width in ((29, 29, 1), (30, 285, 2), (31, 65821, 3)):
        if base <= size < base + 256**width:
            return bytes([high | code]) + extended + (size - base).to_bytes(width, "big")
    return bytes([high | size]) + extended


def pointer(target: int) -> bytes:
    """A pointer, of the shortest kind."""
    if target < 2048:
        return bytes([0x20 | target >> 8, target & 255])
    if target < 2048 + 2**19:
        target -= 2048
        return bytes([0x28 | target >> 16]) + (target & 0xFFFF).to_bytes(2, "big")
    if target < 526336 + 2**27:
        target -= 526336
        return bytes([0x30 | target >> 24]) + (target & 0xFFFFFF).to_bytes(3, "big")
    return b"\x38" + target.to_bytes(4, "big")

"""Makes IPIP's .datx and .ipdb files, from the layouts in the vendor's readers."""

import ipaddress
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from tests.data.files import Row


@attrs.define
class _Node:
    """One bit of an address: another node, a text or nothing for either value."""

    children: list["_Node | str | None"]
    number: int = 0


_PREFIX: dict[int, tuple[list[int], Any]] = {
    4: ([0] * 80 + [1] * 16, ipaddress.IPv4Address),
    6: ([], ipaddress.IPv6Address),
}


def datx(rows: Sequence[tuple[int, str]]) -> bytes:
    """The city edition of a ``.datx`` file from (last address, text), in order."""
    texts, places = _pool([text for _, text in rows])
    entries = b"".join(
        end.to_bytes(4, "big")
        + places[text].to_bytes(3, "little")
        + len(text.encode()).to_bytes(2, "big")
        for end, text in rows
    )
    return _datx(entries, [end for end, _ in rows], texts)


def district_datx(rows: Sequence[Row]) -> bytes:
    """The district edition of a ``.datx`` file; addresses between ranges have no record."""
    texts, places = _pool([text for _, _, text in rows])
    entries = b"".join(
        struct.pack(">II", first, last) + struct.pack("<IB", places[text], len(text.encode()))
        for first, last, text in rows
    )
    return _datx(entries, [last for _, last, _ in rows], texts)


def _pool(all_texts: Sequence[str]) -> tuple[bytes, Mapping[str, int]]:
    """The distinct texts behind each other, and where each begins."""
    texts = bytearray()
    places: dict[str, int] = {}
    for text in all_texts:
        if text not in places:
            places[text] = len(texts)
            texts += text.encode()
    return bytes(texts), places


def _datx(entries: bytes, ends: Sequence[int], texts: bytes) -> bytes:
    index = np.searchsorted(ends, np.arange(65536) << 16).astype("<u4").tobytes()
    header = struct.pack(">I", 4 + len(index) + len(entries) + 262144)
    return header + index + entries + texts


def ipdb(
    v4: Sequence[Row],
    v6: Sequence[Row],
    fields: Sequence[str] = ("country_name", "region_name", "city_name"),
    languages: Mapping[str, object] | None = None,
    ip_version: int | None = None,
    **head: object,
) -> bytes:
    """An ``.ipdb`` file from rows of each IP version; ``head`` replaces values of its JSON."""
    root = _Node([None, None])
    # IPv4 last: what IPv6 has for ::ffff:0:0/96 gives way.
    for version, rows in ((6, v6), (4, v4)):
        above, address = _PREFIX[version]
        for first, last, text in rows:
            for network in ipaddress.summarize_address_range(address(first), address(last)):
                size, number = network.max_prefixlen, int(network.network_address)
                bits = [number >> size - 1 - k & 1 for k in range(network.prefixlen)]
                _put(root, [*above, *bits], text)
    nodes = _numbered(root)
    texts = bytearray()
    places: dict[str, int] = {}
    packed = bytearray()
    for node in nodes:
        for child in node.children:
            if isinstance(child, _Node):
                value = child.number
            elif child is None:
                value = len(nodes)
            else:
                if child not in places:
                    # As in the vendor's free file, something stands between nodes and texts.
                    places[child] = len(nodes) + 20 + len(texts)
                    texts += struct.pack(">H", len(child.encode())) + child.encode()
                value = places[child]
            packed += struct.pack(">I", value)
    body = bytes(packed) + bytes(20) + bytes(texts)
    if ip_version is None:
        ip_version = (1 if v4 else 0) | (2 if v6 else 0) or 3
    values = {
        "build": 1535696240,
        "ip_version": ip_version,
        "languages": {"CN": 0} if languages is None else languages,
        "node_count": len(nodes),
        "total_size": len(body),
        "fields": list(fields),
    }
    encoded = json.dumps(values | head).encode()
    return struct.pack(">I", len(encoded)) + encoded + body


def _put(root: _Node, bits: Sequence[int], text: str) -> None:
    """Put a text where these bits lead to; one that stands above it is split."""
    if not bits:
        root.children = [text, text]
        return
    node = root
    for bit in bits[:-1]:
        below = node.children[bit]
        if not isinstance(below, _Node):
            below = node.children[bit] = _Node([below, below])
        node = below
    node.children[bits[-1]] = text


def _numbered(root: _Node) -> list[_Node]:
    """All nodes, in the order of their numbers."""
    nodes: list[_Node] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        node.number = len(nodes)
        nodes.append(node)
        waiting += [child for child in node.children if isinstance(child, _Node)]
    return nodes

"""Makes database files, from the layouts in the vendors' readers."""

import struct
from collections.abc import Sequence

Row = tuple[int, int, str]
"""First address, last address, text."""


def ipip_dat(rows: Sequence[tuple[int, str]]) -> bytes:
    """A ``.dat`` file from (last address, text), in order."""
    texts = bytearray()
    places: dict[str, int] = {}
    entries = bytearray()
    for end, text in rows:
        encoded = text.encode()
        if text not in places:
            places[text] = len(texts)
            texts += encoded
        entries += end.to_bytes(4, "big") + places[text].to_bytes(3, "little")
        entries.append(len(encoded))
    index = bytearray()
    for octet in range(256):
        number = next(n for n, (end, _) in enumerate(rows) if end >= octet << 24)
        index += struct.pack("<I", number)
    header = struct.pack(">I", 4 + 1024 + len(entries) + 1024)
    return bytes(header + index + entries + texts)


def split_at_16(rows: Sequence[Row], bits: int) -> list[Row]:
    """Rows cut wherever the first two bytes of the address change, as xdb wants them."""
    shift = bits - 16
    cut = []
    for first, last, text in rows:
        while first >> shift != last >> shift:
            end = ((first >> shift) + 1 << shift) - 1
            cut.append((first, end, text))
            first = end + 1
        cut.append((first, last, text))
    return cut


def xdb(
    rows: Sequence[Row],
    version: int = 2,
    ip: int = 4,
    created: int = 1655863922,
    inclusive_index: bool = False,
) -> bytes:
    """An ``.xdb`` file from rows in order; they are cut at the /16 where needed."""
    cut = split_at_16(rows, 32 if ip == 4 else 128)
    shift = 16 if ip == 4 else 112
    texts = bytearray()
    places: dict[str, int] = {}
    texts_at = 256 + 65536 * 8
    for _, _, text in cut:
        if text not in places:
            places[text] = texts_at + len(texts)
            texts += text.encode()
    entries_at = texts_at + len(texts)
    vector: dict[int, list[int]] = {}
    entries = bytearray()
    for first, last, text in cut:
        at = entries_at + len(entries)
        size = len(text.encode())
        if ip == 4:
            entries += struct.pack("<IIHI", first, last, size, places[text])
        else:
            entries += first.to_bytes(16, "big") + last.to_bytes(16, "big")
            entries += struct.pack("<HI", size, places[text])
        row = vector.setdefault(first >> shift, [0, 0])
        row[0] = row[0] or at
        row[1] = at if inclusive_index else entries_at + len(entries)
    entry_size = 14 if ip == 4 else 38
    header = struct.pack(
        "<HHIII", version, 1, created, entries_at, entries_at + len(entries) - entry_size
    )
    if version == 3:
        header += struct.pack("<HH", ip, 4)
    packed = bytearray(65536 * 8)
    for number, row in vector.items():
        struct.pack_into("<II", packed, number * 8, *row)
    return header.ljust(256, b"\0") + bytes(packed + texts + entries)

"""Makes IP2Location BIN files, from the layout in the vendor's readers."""

import struct
from collections.abc import Mapping, Sequence

from IP2Location import database as vendor

Row = tuple[int, Mapping[str, str]]
"""First address, and the fields of the row by the vendor's names; the row's range ends
where the next one begins. A field that is left out is ``-``, or 0 for a coordinate."""

FIELDS = {
    name.removeprefix("_").removesuffix("_POSITION").lower(): getattr(vendor, name)
    for name in dir(vendor)
    if name.endswith("_POSITION")
}
"""Column by product, of every field, in the vendor's own table."""

_TOP = {4: 2**32 - 1, 6: 2**128 - 1}


def ip2location(
    v4: Sequence[Row],
    v6: Sequence[Row],
    product: int = 11,
    columns: int | None = None,
    date: tuple[int, int, int] = (24, 3, 31),
    code: int = 1,
    encoding: str = "utf-8",
) -> bytes:
    """A BIN file. Each table gets a last row that only ends it, as the vendor's have."""
    positions = {name: table[product] for name, table in FIELDS.items() if table[product]}
    columns = columns or max(positions.values())
    positions = {name: position for name, position in positions.items() if position <= columns}
    texts = _Texts(64 + sum(_bytes(rows, v, columns) for v, rows in ((4, v4), (6, v6))), encoding)
    tables = {
        version: _table(rows, version, columns, positions, texts)
        for version, rows in ((4, v4), (6, v6))
    }
    size = 64 + len(tables[4]) + len(tables[6]) + len(texts.content)
    header = struct.pack(
        "<5B6I2BI",
        *(product, columns, *date),
        *(len(v4) + 1 if v4 else 0, 65, len(v6) + 1 if v6 else 0, 65 + len(tables[4]), 0, 0),
        *(code, 0, size if code else 0),
    )
    return header.ljust(64, b"\0") + tables[4] + tables[6] + bytes(texts.content)


def _bytes(rows: Sequence[Row], version: int, columns: int) -> int:
    return (len(rows) + 1) * (4 * columns + (12 if version == 6 else 0)) if rows else 0


def _table(
    rows: Sequence[Row], version: int, columns: int, positions: Mapping[str, int], texts: "_Texts"
) -> bytes:
    if not rows:
        return b""
    packed = bytearray()
    for first, fields in [*rows, (_TOP[version], {})]:
        packed += first.to_bytes(4 if version == 4 else 16, "little")
        cells = [texts.at("-")] * (columns - 1)
        for name, position in positions.items():
            cells[position - 2] = _cell(name, fields, texts)
        packed += b"".join(cells)
    return bytes(packed)


def _cell(name: str, fields: Mapping[str, str], texts: "_Texts") -> bytes:
    if name in ("latitude", "longitude"):
        return struct.pack("<f", float(fields.get(name, "0")))
    if name == "country":
        return texts.country(fields.get("country_short", "-"), fields.get("country_long", "-"))
    return texts.at(fields.get(name, "-"))


class _Texts:
    """The texts behind the tables, and where each begins."""

    def __init__(self, begin: int, encoding: str) -> None:
        self.content = bytearray()
        self._begin = begin
        self._encoding = encoding
        self._places: dict[bytes, int] = {}

    def at(self, text: str) -> bytes:
        return self._put(self._counted(text))

    def country(self, short: str, long: str) -> bytes:
        """The code with the name behind it: 3 bytes on, however short the code."""
        return self._put(self._counted(short).ljust(3, b"\0") + self._counted(long))

    def _counted(self, text: str) -> bytes:
        encoded = text.encode(self._encoding)
        return bytes([len(encoded)]) + encoded

    def _put(self, counted: bytes) -> bytes:
        if counted not in self._places:
            self._places[counted] = self._begin + len(self.content)
            self.content += counted
        return struct.pack("<I", self._places[counted])

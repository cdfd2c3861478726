"""Makes qqwry.dat files, in each of the ways that well-known readers can follow."""

import struct
from collections.abc import Callable, Sequence

Row = tuple[int, int, tuple[str, str]]
"""First address, last address, place and owner."""

Choose = Callable[[int], int]
"""Which of so many ways the next text is written in."""

UNKNOWN = " CZ88.NET"


def qqwry(rows: Sequence[Row], choose: Choose = lambda ways: 0, all_ways: bool = True) -> bytes:
    """A file from rows in order.

    :param all_ways: also those that qqwry-py3 gets wrong.
    """
    writer = _Writer(choose, all_ways)
    index = b"".join(
        struct.pack("<I", first) + _three(writer.record(last, pair)) for first, last, pair in rows
    )
    begin = 8 + len(writer.content)
    return struct.pack("<II", begin, begin + len(index) - 7) + bytes(writer.content) + index


def _three(position: int) -> bytes:
    return position.to_bytes(3, "little")


class _Writer:
    """What stands between the header and the index."""

    def __init__(self, choose: Choose, all_ways: bool) -> None:
        self.content = bytearray()
        self._choose = choose
        self._all_ways = all_ways
        self._texts: dict[str, int] = {}
        self._both: dict[tuple[str, str], int] = {}

    def record(self, last: int, pair: tuple[str, str]) -> int:
        """Append a record; returns its position."""
        if self._choose(2):
            if pair not in self._both:
                content = self._content(pair)
                self._both[pair] = self._append(content)
            content = b"\1" + _three(self._both[pair])
        else:
            content = self._content(pair)
        return self._append(struct.pack("<I", last) + content)

    def _append(self, content: bytes) -> int:
        position = 8 + len(self.content)
        self.content += content
        return position

    def _content(self, pair: tuple[str, str]) -> bytes:
        place, owner = pair
        written = b"\2" + self._elsewhere(place) if self._choose(2) else _text(place)
        return written + self._owner(owner)

    def _owner(self, owner: str) -> bytes:
        way = self._choose(4 if self._all_ways else 2)
        if way == 0:
            return _text(owner)
        if way == 3 and owner == UNKNOWN:
            return b"\2\0\0\0"
        return bytes([1 if way == 2 else 2]) + self._elsewhere(owner)

    def _elsewhere(self, text: str) -> bytes:
        if text not in self._texts:
            self._texts[text] = self._append(_text(text))
        return _three(self._texts[text])


def _text(text: str) -> bytes:
    return text.encode("gb18030") + b"\0"

"""Values in the data section of MaxMind DB files, from the specification, version 2.0.

A value begins with a control byte: type in the upper three bits, size in the lower five
(type 0: the next byte plus 7 is the type; size 29, 30, 31: one, two, three more bytes add
to 29, 285, 65821). A pointer leads to a value elsewhere, never to another pointer.

maxminddb isn't used for this. Its C extension (3.2.0) takes any key of a map for a text,
so that a file whose key is a number ends the process, or shows memory that isn't the
file's: 3 of 6,000 damaged files did. Nor is it faster: 425,000 flat records take it 1.3 s
instead of 2.8, but 493,000 with names in ten languages 7.9 instead of 3.7, as it decodes
anew what many records point at.
"""

import struct
from typing import Any

_DEEPEST = 100
"""Levels of maps, arrays and pointers; those of publishers have at most eight."""

_double = struct.Struct(">d").unpack_from
_float = struct.Struct(">f").unpack_from

# Most bytes of a number, by type: u16, u32, i32, u64, u128.
_WIDEST = {5: 2, 6: 4, 8: 4, 9: 8, 10: 16}
# Bytes that a type always has: double, float.
_EXACT = {3: 8, 15: 4}


class BadValue(Exception):
    """What stands there isn't a value."""


class Decoder:
    """Decodes values of one section; equal pointers give the same object.

    Whoever takes a value must not change it.

    :param data: the section; pointers count from its beginning.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        # By position, and by pointer as it stands in the data: taking one apart costs
        # more than looking it up.
        self._at: dict[int, Any] = {}
        self._by_pointer: dict[bytes, Any] = {}
        # Every value stands somewhere, and is decoded at most once where it stands and
        # once as what pointers lead to. What takes more overlaps itself. Counted are
        # values, and the bytes of all but short texts.
        self._left = 2 * len(data) + 100

    def decode(self, at: int) -> Any:
        """The value at a position.

        :raises BadValue: none is there, or it leads out of the section or into itself.
        """
        try:
            return self._value(at, 0)[0]
        except (IndexError, struct.error, UnicodeDecodeError) as error:
            raise BadValue from error

    def _value(self, at: int, depth: int) -> tuple[Any, int]:
        """The value at a position, and where the next one begins."""
        data = self._data
        control = data[at]
        kind = control >> 5
        if kind == 1:
            end = at + 2 + (control >> 3 & 3)
            pointer = data[at:end]
            value = self._by_pointer.get(pointer)
            if value is None:
                value = self._target(self._pointer(control, at + 1), depth + 1)
                self._by_pointer[pointer] = value
            return value, end
        size = control & 31
        at += 1
        if kind == 2 and size < 29:
            end = at + size
            text = data[at:end]
            if len(text) < size:
                raise BadValue
            return text.decode(), end
        if kind == 0:
            kind = data[at] + 7
            at += 1
            if kind == 7:
                raise BadValue
        if size >= 29:
            size, at = self._size(size, at)
            self._spend(size, depth)
        if kind == 7:
            return self._map(at, size, depth)
        if kind == 11:
            return self._array(at, size, depth)
        return self._scalar(kind, at, size)

    def _target(self, at: int, depth: int) -> Any:
        """What a pointer leads to."""
        value = self._at.get(at)
        if value is None:
            if self._data[at] >> 5 == 1:
                raise BadValue
            self._spend(1, depth)
            value = self._at[at] = self._value(at, depth)[0]
        return value

    def _spend(self, values: int, depth: int) -> None:
        self._left -= values
        if self._left < 0 or depth > _DEEPEST:
            raise BadValue

    def _map(self, at: int, size: int, depth: int) -> tuple[dict[str, Any], int]:
        self._spend(2 * size, depth)
        data, known = self._data, self._by_pointer
        found = {}
        for _ in range(size):
            # What most records are made of is taken apart here: 7 us a record instead of 8.
            control = data[at]
            end = at + 2 + (control >> 3 & 3)
            key = known.get(data[at:end]) if control >> 5 == 1 else None
            if key is None:
                key, end = self._value(at, depth + 1)
            if type(key) is not str:
                raise BadValue
            control = data[end]
            at, kind = end, control >> 5
            value: Any = None
            if kind == 1:
                end = at + 2 + (control >> 3 & 3)
                value = known.get(data[at:end])
            elif kind == 2 and control < 0x5D:
                end = at + 1 + (control & 31)
                # A text that is cut short is refused below.
                value = data[at + 1 : end].decode() if end <= len(data) else None
            elif control == 0x68:
                end = at + 9
                value = _double(data, at + 1)[0]
            if value is None:
                value, end = self._value(at, depth + 1)
            found[key], at = value, end
        return found, at

    def _array(self, at: int, size: int, depth: int) -> tuple[list[Any], int]:
        self._spend(size, depth)
        found = []
        for _ in range(size):
            part, at = self._value(at, depth + 1)
            found.append(part)
        return found, at

    def _scalar(self, kind: int, at: int, size: int) -> tuple[Any, int]:
        data, end = self._data, at + size
        if kind == 2 and end <= len(data):
            return data[at:end].decode(), end
        if kind == 14:
            if size > 1:
                raise BadValue
            return size == 1, at
        if end > len(data) or size > _WIDEST.get(kind, size) or size != _EXACT.get(kind, size):
            raise BadValue
        if kind == 3:
            return _double(data, at)[0], end
        if kind == 15:
            return _float(data, at)[0], end
        if kind == 4:
            return data[at:end], end
        if kind == 8:
            # Shorter than four bytes, it is positive.
            return int.from_bytes(data[at:end].rjust(4, b"\0"), "big", signed=True), end
        if kind in _WIDEST:
            return int.from_bytes(data[at:end], "big"), end
        raise BadValue

    def _pointer(self, control: int, at: int) -> int:
        """Where a pointer leads."""
        width = (control >> 3 & 3) + 1
        if at + width > len(self._data):
            raise BadValue
        rest = int.from_bytes(self._data[at : at + width], "big")
        if width == 4:
            return rest
        return ((control & 7) << 8 * width | rest) + (0, 2048, 526336)[width - 1]

    def _size(self, size: int, at: int) -> tuple[int, int]:
        width = size - 28
        end = at + width
        if end > len(self._data):
            raise BadValue
        base = (29, 285, 65821)[width - 1]
        return base + int.from_bytes(self._data[at:end], "big"), end

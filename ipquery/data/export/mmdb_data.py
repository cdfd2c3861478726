"""The data section of a MaxMind DB: each value that occurs in several places stands there once.

From the MaxMind DB file format specification, version 2.0.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

_POINTER, _TEXT, _DOUBLE, _UINT16, _UINT32, _MAP, _UINT64, _ARRAY = 1, 2, 3, 5, 6, 7, 9, 11

_pack_double = struct.Struct(">d").pack


class Uint16(int):
    """A number stored as uint16; any other is a uint32."""


class Uint64(int):
    """A number stored as uint64."""


class DataSection:
    """Grows by values, and tells how to point at them.

    What is equal is told by its encoding, type and all: to Python ``True``, ``1`` and ``1.0``
    are one.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._texts: dict[str, bytes] = {}
        self._shared: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._bytes)

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def add(self, encoded: bytes) -> int:
        """Where a value stands now."""
        place = len(self._bytes)
        self._bytes += encoded
        return place

    def shared(self, value: object) -> bytes:
        """A pointer to a value, which is added if none like it is there."""
        encoded = self.encode(value)
        pointer = self._shared.get(encoded)
        if pointer is None:
            pointer = self._shared[encoded] = _pointer(self.add(encoded))
        return pointer

    def encode(self, value: object) -> bytes:
        """A value with pointers in place of its texts; these are added."""
        if isinstance(value, str):
            return self._texts.get(value) or self._text(value)
        if isinstance(value, Mapping):
            parts = [part for pair in value.items() for part in map(self.encode, pair)]
            return encode_map(len(value), b"".join(parts))
        if isinstance(value, Sequence):
            return _control(_ARRAY, len(value)) + b"".join(map(self.encode, value))
        return _number(value)

    def _text(self, text: str) -> bytes:
        plain = _plain_text(text)
        pointer = _pointer(len(self._bytes))
        if len(plain) > len(pointer):
            self.add(plain)
            plain = pointer
        self._texts[text] = plain
        return plain


def encode(value: object) -> bytes:
    """A value without pointers, as the description at the end of the file has to be."""
    if isinstance(value, str):
        return _plain_text(value)
    if isinstance(value, Mapping):
        parts = [encode(part) for pair in value.items() for part in pair]
        return encode_map(len(value), b"".join(parts))
    if isinstance(value, Sequence):
        return _control(_ARRAY, len(value)) + b"".join(map(encode, value))
    return _number(value)


def encode_map(size: int, members: bytes) -> bytes:
    """A map of so many members, which are encoded already."""
    return _control(_MAP, size) + members


def _plain_text(text: str) -> bytes:
    encoded = text.encode()
    return _control(_TEXT, len(encoded)) + encoded


def _number(value: Any) -> bytes:
    if isinstance(value, float):
        return _control(_DOUBLE, 8) + _pack_double(value)
    kind = {Uint16: _UINT16, Uint64: _UINT64}.get(type(value), _UINT32)
    packed: bytes = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return _control(kind, len(packed)) + packed


def _control(kind: int, size: int) -> bytes:
    """The control byte, and what follows of it: types from 8 on, and sizes from 29 on."""
    first, extended = (kind << 5, b"") if kind < 8 else (0, bytes([kind - 7]))
    if size < 29:
        return bytes([first | size]) + extended
    for code, base, width in ((29, 29, 1), (30, 285, 2), (31, 65821, 3)):
        if size < base + 256**width:
            return bytes([first | code]) + extended + (size - base).to_bytes(width, "big")
    raise OverflowError(f"a value of {size} bytes")


def _pointer(target: int) -> bytes:
    for code, base, width in ((0, 0, 1), (1, 2048, 2), (2, 526336, 3)):
        if target < base + (8 << 8 * width):
            rest = target - base
            first = _POINTER << 5 | code << 3 | rest >> 8 * width
            return bytes([first]) + (rest & (1 << 8 * width) - 1).to_bytes(width, "big")
    return bytes([_POINTER << 5 | 3 << 3]) + target.to_bytes(4, "big")

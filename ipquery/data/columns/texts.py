"""Addresses read from columns of text: as :func:`ipquery.address.parse` reads one.

IPv4 is read by arithmetic on the characters of many addresses at once: each is put into a row of
16, which holds the longest and a blank behind it. What a row is made of is then told by numbers of
16 bits, one for each character: where its dots are, its digits, its zeros.
"""

from collections.abc import Sequence
from socket import AF_INET6, inet_pton

import attrs
import numpy as np

from ipquery.data.columns.batch import Batch, of_numbers, of_packed, of_parts
from ipquery.data.ranges import Column

WIDTH = 16
"""Characters of a row, and how many more than the texts have must be in their buffer."""

_LONGEST = 15
_ALL_ONES = 2**64 - 1


def _kept(half: int) -> Column:
    """By the length of a text, the bits of a half of its row that are its own; none if it is
    longer than an IPv4 address."""
    own = [min(max(length - 8 * half, 0), 8) for length in range(_LONGEST + 1)]
    return np.array([*((1 << 8 * count) - 1 for count in own), 0], "<u8")


_KEPT = (_kept(0), _kept(1))
_WHOLE = np.array([*((1 << length) - 1 for length in range(_LONGEST + 1)), 0], "<u2")


def _dots() -> Column:
    """By which characters of a text are dots, where the three dots of an address are, else 0: with
    one to three characters before each."""
    table = np.zeros((3, 1 << WIDTH), np.uint8)
    for first in range(1, 4):
        for second in range(first + 2, first + 5):
            for third in range(second + 2, second + 5):
                mask = 1 << first | 1 << second | 1 << third
                table[:, mask] = first, second, third
    return table


_DOTS = _dots()


@attrs.frozen(eq=False)
class Texts:
    """Texts in a buffer: where each begins, and how long it is.

    ``data`` are bytes, with :data:`WIDTH` more behind the last text. ``given`` are the texts
    themselves, if somebody has them: to cut an IPv6 address out takes half as long as to read it.
    """

    data: Column
    start: Column
    length: Column
    given: Sequence[str] | None = None

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview | Column, ends: Column) -> "Texts":
        """Texts one after the other; ``ends`` are where each ends, one more in front."""
        padded = np.zeros(len(data) + WIDTH, np.uint8)
        padded[: len(data)] = np.frombuffer(data, np.uint8)
        return cls(padded, ends[:-1], np.diff(ends))


def read(texts: Texts) -> Batch:
    """The addresses that texts tell."""
    numbers, is_v4 = read_v4(texts)
    if is_v4.all():
        return of_numbers(numbers)
    v4_at = np.flatnonzero(is_v4)
    others = np.flatnonzero(~is_v4)
    packed, is_v6 = _read_v6(texts, others)
    return of_parts(len(numbers), numbers[v4_at], v4_at, of_packed(packed), others[is_v6])


def read_v4(texts: Texts) -> tuple[Column, Column]:
    """The numbers of IPv4 addresses, and which of the texts are some.

    As ``inet_pton(3)`` has it: four decimal numbers up to 255 without leading zeros.
    """
    length = np.minimum(texts.length, _LONGEST + 1)
    rows = _rows(texts, length)
    count = len(length)
    is_dot = rows == ord(".")
    digits = rows - np.uint8(ord("0"))  # of other characters, more than 9
    is_digit = digits <= 9
    digits *= is_digit
    dots, are_digits = _bits(is_dot), _bits(is_digit)
    zeros = are_digits & ~_bits(digits > 0)
    first, second, third = (table.take(dots) for table in _DOTS)
    last = length - third
    valid = (first > 0) & (last > 1) & (last < 5) & ((dots | are_digits) == _WHOLE.take(length))
    # Where a number begins with a zero, and goes on.
    valid &= ((dots << 1 | 1) & zeros & (are_digits >> 1)) == 0
    # The number of up to three digits that ends at each character.
    ending = digits.astype(np.uint16)
    ending[1:] += digits[:-1] * np.uint8(10)
    ending[2:] += (digits[:-2] * is_digit[1:-1]) * np.uint16(100)
    # Where a row's numbers end, in rows one behind the other. An invalid row's are anywhere in it.
    row = np.arange(0, count * WIDTH, WIDTH, dtype=np.int32)
    a, b, c = (ending.take(row + (dot - np.uint8(1) & 15)) for dot in (first, second, third))
    d = ending.take(row + (length - 1 & 15))
    valid &= (a | b | c | d) < 256
    numbers = (a << 8 | b).astype(np.uint32) << 16 | (c << 8 | d)
    return numbers, valid


def _rows(texts: Texts, length: Column) -> Column:
    """The characters of each text in a row of its own, with zeros behind; one row after the other.

    Of those that are too long, there are none.
    """
    windows: Column = np.ndarray(len(texts.data) - WIDTH + 1, "V16", texts.data, strides=(1,))
    halves = windows[texts.start].view("<u8").reshape(-1, 2)
    for half, kept in enumerate(_KEPT):
        halves[:, half] &= kept.take(length)
    return halves.view(np.uint8).reshape(-1)


def _bits(mask: Column) -> Column:
    """What is true of the characters of each row, as a number: bit 0 is the first one's."""
    return np.packbits(mask, bitorder="little").view("<u2")


def _read_v6(texts: Texts, at: Column) -> tuple[Column, Column]:
    """The IPv6 addresses among some of the texts, packed, and which of these are some."""
    if texts.given is not None:
        return pack([*map(texts.given.__getitem__, at.tolist())])
    # Each byte is a character: what isn't ASCII is no address either way.
    whole = texts.data.tobytes().decode("latin-1")
    begin = texts.start[at]
    spans = zip(begin.tolist(), (begin + texts.length[at]).tolist(), strict=True)
    return pack([whole[first:after] for first, after in spans])


def pack(texts: Sequence[str]) -> tuple[Column, Column]:
    """The IPv6 addresses among texts in 16 bytes each, and which of the texts are some."""
    try:
        packed = [inet_pton(AF_INET6, text) for text in texts]
    except (OSError, ValueError):
        found = [_pack(text) for text in texts]
        packed = [one for one in found if one is not None]
        valid = np.array([one is not None for one in found], bool)
    else:
        valid = np.ones(len(texts), bool)
    return np.frombuffer(b"".join(packed), "V16"), valid


def _pack(text: str) -> bytes | None:
    try:
        return inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        return None

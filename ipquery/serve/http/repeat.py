"""Requests that repeat: told from the one before by comparing bytes.

The one before came on the same connection, or where callers ask once and close, first on the
connection before.

What a caller sends over and over differs in an address, and perhaps in the values of fields
that don't decide on anything, such as X-Request-Id or traceparent. Once two such requests have
been taken apart, the next is only compared: that takes a quarter of the time. Whatever a
repeat accepts, the parser and the fast way would take for the same; property tests hold it to
that.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import methodcaller
from typing import NamedTuple, Protocol

from ipquery.serve.http.fast import FastWay, Find, Kind, Spot, nothing
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.plain import DECISIVE_FIELDS, LINE_END_BYTES, VALUE_BYTES

Repeat = Find
"""From a read to the rest of the response; ``None`` if it isn't what was asked before."""

# An IPv6 address with an IPv4 tail has 45 characters, and its 7 colons may be escaped.
_LONGEST_ADDRESS = 45 + 7 * len("%3A")

_LENGTHS = [b"%d" % length for length in range(1000)]

# What a connection keeps of a head that repeats.
_LONGEST_HEAD = 4096

# Learning takes as long as taking a request apart: who never repeats isn't learnt from.
_VAIN_LESSONS, _NEXT_LESSON = 8, 64


class Passage(NamedTuple):
    """By what a request passes a guard that looks at its header fields."""

    field: bytes
    """The name of one of them, in lower case."""
    values: Collection[bytes]
    """Values of it by which requests pass, whatever other fields say; not all need be here."""


class Passing(Protocol):
    """What a guard is to those who learn."""

    looks_at_fields: bool
    """Whether requests pass by their header fields only."""

    def passage(self, fields: Mapping[bytes, bytes]) -> Passage | None:
        """By what a request passes; ``None`` if that can't be told by one of its fields.

        :param fields: its header fields, names in lower case.
        """


class Lessons:
    """What the requests of one connection, or those that come first, have in common."""

    __slots__ = ("_answered", "_before", "_guard", "_limits", "_vain", "kind", "varying")

    def __init__(self, limits: HttpLimits, guard: Passing | None = None) -> None:
        """
        :param guard: what requests have to pass.
        """
        self._guard = guard if guard is not None and guard.looks_at_fields else None
        self.varying: frozenset[bytes] = frozenset()
        """Names of the fields whose values the last repeat doesn't look at, in lower case."""
        self.kind: Kind | None = None
        """Of what requests the last repeat tells the next."""
        self._limits = limits
        self._before = b""
        self._answered = self._vain = 0

    def learn(
        self,
        answered: int,
        method: bytes,
        target: bytes,
        framing: Framing,
        body: bytes,
        last: bool,
        fast_way: FastWay,
    ) -> Repeat:
        """What tells the next request of this kind.

        :param answered: how many requests have been answered, on the connection or of those
            that come first on one.
        :param last: whether the connection is closed after each.
        """
        gap, self._answered = answered - self._answered, answered
        if gap > 1:
            self._vain = 0
        elif self._vain >= _VAIN_LESSONS and answered % _NEXT_LESSON:
            return nothing
        self._vain += 1
        limits = self._limits
        if (
            len(framing.lines) > _LONGEST_HEAD
            or len(target) + _LONGEST_ADDRESS > limits.request_line_bytes
            or len(body) + _LONGEST_ADDRESS > min(limits.body_bytes, len(_LENGTHS))
        ):
            return nothing
        spot = fast_way.spot_of(method, target, framing, body, last)
        # What has only had misses isn't known yet: of repeats, few are looked at.
        if spot is None or not spot.kind.tally.is_known:
            return nothing
        before, self._before = self._before.split(b"\r\n"), framing.lines
        lines = framing.lines.split(b"\r\n")
        known: dict[int, Collection[bytes]] = {}
        if self._guard is not None:
            passage = self._guard.passage(framing.fields)
            places = [] if passage is None else _places(lines, passage.field)
            if passage is None or len(places) != 1:
                return nothing
            (place,) = places
            # Whatever it was before, it varies.
            if len(before) == len(lines):
                before[place] = lines[place]
            known[place] = passage.values
        self.kind = spot.kind
        varying = _varying(before, lines, spot.kind.fields) | known.keys()
        self.varying = frozenset(lines[place].partition(b":")[0].lower() for place in varying)
        start = b"%b %b" % (method, target)
        most = limits.header_bytes + LINE_END_BYTES
        if body:
            return _posted(start, lines, varying, known, body, spot, most)
        at = len(method) + 1
        begin, rest = start[: at + spot.begin], start[at + spot.end :]
        if not varying:
            return _same(begin, rest + framing.lines, spot.kind)
        values = [known.get(place) for place in sorted(varying)]
        return _with_varying(begin, rest, _pieces(lines, varying), values, spot.kind, most)


def _places(lines: Sequence[bytes], field: bytes) -> list[int]:
    """Which lines are of a header field.

    :param field: its name, in lower case.
    """
    return [at for at, line in enumerate(lines) if line.partition(b":")[0].lower() == field]


def _varying(before: Sequence[bytes], lines: Sequence[bytes], fields: frozenset[bytes]) -> set[int]:
    """Which lines have another value than before, if nothing else is different.

    :param fields: those that decide, too.
    """
    if len(before) != len(lines):
        return set()
    varying = {place for place, line in enumerate(lines) if line != before[place]}
    for place in [*varying]:
        name = lines[place].partition(b":")[0]
        if not before[place].startswith(name + b":"):
            return set()
        lower = name.lower()
        if lower == b"content-length":
            varying.remove(place)
        elif lower in DECISIVE_FIELDS or lower in fields:
            return set()
    return varying


def _pieces(lines: Sequence[bytes], varying: Collection[int]) -> list[bytes]:
    """What stands before, between and behind the values that vary."""
    pieces: list[bytes] = []
    piece: list[bytes] = []
    for place, line in enumerate(lines):
        if place in varying:
            pieces.append(b"\r\n".join([*piece, line.partition(b":")[0] + b":"]))
            piece = [b""]
        else:
            piece.append(line)
    return [*pieces, b"\r\n".join(piece)]


def _same(start: bytes, tail: bytes, kind: Kind) -> Repeat:
    at, tail_at = len(start), -len(tail)

    def repeat(data: bytes) -> bytes | None:
        if data.startswith(start) and data.endswith(tail):
            return kind.find(data[at:tail_at])
        return None

    return repeat


# What may stand around a value (RFC 9110 section 5.6.3).
_BLANKS = b" \t"

# What is in a value that is in none. (Not a function of Python's: those take longer to call.)
_wrong_bytes = methodcaller("translate", None, VALUE_BYTES)


def _wrong(known: Collection[bytes] | None) -> Callable[[bytes], object]:
    """What tells whether a field's value, which varies, isn't what it has to be.

    :param known: all that it may be; ``None`` for whatever may be a value.
    """
    return _wrong_bytes if known is None else lambda value: value.strip(_BLANKS) not in known


def _with_varying(
    start: bytes,
    rest: bytes,
    pieces: Sequence[bytes],
    values: Sequence[Collection[bytes] | None],
    kind: Kind,
    most: int,
) -> Repeat:
    """
    :param rest: of the target, behind the address.
    :param values: what may stand between each two pieces; ``None`` for any value.
    """
    first, *others = pieces
    first = rest + first
    at, tail, skipped = len(start), others[-1], len(rest)
    if len(others) == 1:
        (known,) = values
        if known is not None:
            return _with_one_of(start, first, tail, known, kind, most + skipped)
        return _with_one_varying(start, first, tail, kind, most + skipped)
    steps = list(zip(others, map(_wrong, values), strict=True))

    def repeat(data: bytes) -> bytes | None:
        if not (data.startswith(start) and data.endswith(tail)):
            return None
        end = data.find(first, at)
        if end < 0 or len(data) - end - skipped > most:
            return None
        place = end + len(first)
        for piece, is_wrong in steps:
            stop = data.find(b"\r\n", place)
            if is_wrong(data[place:stop]) or not data.startswith(piece, stop):
                return None
            place = stop + len(piece)
        return kind.find(data[at:end]) if place == len(data) else None

    return repeat


def _with_one_varying(start: bytes, first: bytes, tail: bytes, kind: Kind, most: int) -> Repeat:
    """What stands between the first piece and the tail is the value: two thirds of the time.

    :param most: bytes from behind the address on.
    """
    at, first_bytes, tail_at = len(start), len(first), -len(tail)
    least = first_bytes - tail_at

    def repeat(data: bytes) -> bytes | None:
        if not (data.startswith(start) and data.endswith(tail)):
            return None
        end = data.find(first, at)
        if end < 0 or not least <= len(data) - end <= most:
            return None
        # No value has a CR: so this is a single one.
        if data[end + first_bytes : tail_at].translate(None, VALUE_BYTES):
            return None
        return kind.find(data[at:end])

    return repeat


def _with_one_of(
    start: bytes, first: bytes, tail: bytes, known: Collection[bytes], kind: Kind, most: int
) -> Repeat:
    """The same where the value has to be one of some."""
    at, first_bytes, tail_at = len(start), len(first), -len(tail)
    least = first_bytes - tail_at

    def repeat(data: bytes) -> bytes | None:
        if not (data.startswith(start) and data.endswith(tail)):
            return None
        end = data.find(first, at)
        if end < 0 or not least <= len(data) - end <= most:
            return None
        if data[end + first_bytes : tail_at].strip(_BLANKS) not in known:
            return None
        return kind.find(data[at:end])

    return repeat


def _posted(
    line: bytes,
    lines: Sequence[bytes],
    varying: set[int],
    known: Mapping[int, Collection[bytes]],
    body: bytes,
    spot: Spot,
    most: int,
) -> Repeat:
    """With a body, Content-Length varies, too."""
    length_at = next(
        place for place, one in enumerate(lines) if one.lower().startswith(b"content-length:")
    )
    first, *others = _pieces(lines, varying | {length_at})
    start = line + first
    opening, closing = body[: spot.begin], body[spot.end :]
    others[-1] += opening
    places = sorted(varying | {length_at})
    steps = [
        (piece, place == length_at, _wrong(known.get(place)))
        for piece, place in zip(others, places, strict=True)
    ]
    at, head_at, opened, closed, kind = len(start), len(line), len(opening), len(closing), spot.kind

    def repeat(data: bytes) -> bytes | None:
        if not (data.startswith(start) and data.endswith(closing)):
            return None
        place, length = at, b""
        for piece, is_length, is_wrong in steps:
            stop = data.find(b"\r\n", place)
            value = data[place:stop]
            if is_length:
                length = value
            elif is_wrong(value):
                return None
            if not data.startswith(piece, stop):
                return None
            place = stop + len(piece)
        body_at = place - opened
        size = len(data) - body_at
        if body_at - head_at > most or size >= len(_LENGTHS):
            return None
        if length.strip(b" ") != _LENGTHS[size]:
            return None
        return kind.find(data[place : len(data) - closed])

    return repeat

"""Bodies of batches: from pieces, cut anywhere, to what is asked for, in order.

======================  =========================================================
``application/json``    an array of items
``application/x-ndjson``  an item a line
``text/plain``          an address a line, blank lines left out
======================  =========================================================

An item is an address, a string, or an object ``{"ip": …, "fields": …, "lang": …}``. What is
most often sent, addresses alone, is taken from a body many at a time; the rest one by one.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from ipquery.address import shorten
from ipquery.serve.api.problems import Problem

# What is taken at once: so many addresses alone, or so many that are to be decoded one by one,
# which takes 3 us each.
MOST_ITEMS, _MOST_DECODED = 100, 25

# What is looked at for that: a hundred IPv6 addresses as JSON, or a longest line.
_WINDOW = 1 << 12
LONGEST_LINE = _WINDOW
"""Bytes of a line that can be an item, and of an element of an array."""


@attrs.frozen
class Item:
    """One that is more than an address, or none."""

    ip: str
    fields: str | None = None
    """As in a query."""
    language: str | None = None


@attrs.frozen
class Bad:
    """Something that can't be answered."""

    given: str | None
    problem: Problem


Taken = Sequence[bytes] | Sequence[Item | Bad]
"""Addresses, or what else there is, in order. What is said to be an address may be anything."""


class Reader(Protocol):
    """Takes one body apart."""

    def feed(self, piece: bytes) -> None:
        """A piece of it."""

    def end(self) -> None:
        """It is complete."""

    def take(self) -> Taken | None:
        """Up to :data:`MOST_ITEMS`, perhaps none; ``None`` if there is nothing to do before
        more of the body comes.

        :raises Problem: the body isn't what it should be.
        """


class _Lines:
    """Lines, a window at a time."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._has_ended = False
        self._long = b""

    def feed(self, piece: bytes) -> None:
        """See :class:`Reader`."""
        self._data = self._data[self._at :] + piece
        self._at = 0

    def end(self) -> None:
        """See :class:`Reader`."""
        self._has_ended = True

    def _take_lines(self, most: int) -> tuple[list[bytes], bool] | None:
        """Whole lines, and whether it is one that is too long, cut short."""
        data, at = self._data, self._at
        lines = data[at : at + _WINDOW].split(b"\n", most)
        rest = lines.pop()
        if lines:
            self._at = min(at + _WINDOW, len(data)) - len(rest)
            if not self._long:
                return lines, False
            # The end of a long one. What came behind it is taken next.
            self._at = at + len(lines[0]) + 1
            long, self._long = self._long, b""
            return [long], True
        if len(rest) >= LONGEST_LINE or (self._long and rest):
            self._long = self._long or rest[:_SHOWN]
            self._at += len(rest)
            return [], False
        if not self._has_ended or not (rest or self._long):
            return None
        self._at = len(data)
        if self._long:
            long, self._long = self._long, b""
            return [long], True
        return [rest], False


# Of a line that is too long so much is shown: shorten() shows less.
_SHOWN = 100


def _too_long(line: bytes) -> Bad:
    given = line.decode(errors="replace")
    return Bad(given, Problem("not-an-address", f"longer than {LONGEST_LINE} bytes"))


class TextReader(_Lines):
    """An address a line."""

    def take(self) -> Taken | None:
        """See :class:`Reader`."""
        found = self._take_lines(MOST_ITEMS)
        if found is None:
            return None
        lines, is_long = found
        if is_long:
            return [_too_long(lines[0])]
        return [line for line in map(bytes.strip, lines) if line]


# RFC 8259 section 2. A run of strings that have nothing to unescape, or of objects that hold
# one, can be split at quotation marks. Quantifiers are possessive, so that no body takes time to
# fail, but not behind groups, where Python before 3.11.5 matches those wrongly (its issue 106052).
# There the first character tells what comes next, so that nothing is tried twice either.
_WS = rb"[ \t\r]*+"
_PLAIN = rb'"[0-9A-Fa-f:.]{2,45}+"'
_OBJECT = rb"\{%(ws)b\"ip\"%(ws)b:%(ws)b%(plain)b%(ws)b\}" % {b"ws": _WS, b"plain": _PLAIN}


def _run(item: bytes, end: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:%b%b%b%b){1,%d}" % (_WS, item, _WS, end, MOST_ITEMS))


_PLAIN_LINES, _OBJECT_LINES = _run(_PLAIN, b"\n"), _run(_OBJECT, b"\n")


class NdjsonReader(_Lines):
    """An item a line."""

    def take(self) -> Taken | None:
        """See :class:`Reader`."""
        if not self._long:
            for pattern, first, step in ((_PLAIN_LINES, 1, 2), (_OBJECT_LINES, 3, 4)):
                run = pattern.match(self._data, self._at)
                if run is not None:
                    self._at = run.end()
                    return run[0].split(b'"')[first::step]
        found = self._take_lines(_MOST_DECODED)
        if found is None:
            return None
        lines, is_long = found
        if is_long:
            return [_too_long(lines[0])]
        return [_item(line) for line in map(bytes.strip, lines) if line]


_ELEMENT_WS = rb"[ \t\r\n]*+"
_COMMA = rb",[ \t\r\n]*+"
_PLAIN_ELEMENTS, _OBJECT_ELEMENTS = _run(_PLAIN, _COMMA), _run(_OBJECT, _COMMA)
_BLANK = re.compile(_ELEMENT_WS)

# An element and what ends it. What is below three levels is no item, so it needn't be found out
# where it ends. Scalars that are no JSON are told later.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*"'
_SCALAR = rb'[^ \t\r\n"\[\]{},]++'


def _nested(inner: bytes) -> bytes:
    return rb'[\[{](?:[^"\\\[\]{}]++|%b|%b)*[\]}]' % (_STRING, inner)


_NESTED = _nested(_nested(_nested(rb"(?!)")))
_ELEMENT = re.compile(rb"(%b|%b|%b)%b([,\]])" % (_STRING, _SCALAR, _NESTED, _ELEMENT_WS), re.DOTALL)


class ArrayReader:
    """An array of items.

    =========  ============================================  ==============
    where      what comes next                               then
    =========  ============================================  ==============
    START      ``[``                                         FIRST
    FIRST      ``]``, or what comes in NEXT                  END, or as there
    NEXT       an element, and ``,``; or an element and      NEXT; END
               ``]``
    END        blanks, and the end of the body               -
    =========  ============================================  ==============
    """

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._has_ended = False
        self._where = "START"
        self._count = 0

    def feed(self, piece: bytes) -> None:
        """See :class:`Reader`."""
        self._data = self._data[self._at :] + piece
        self._at = 0

    def end(self) -> None:
        """See :class:`Reader`."""
        self._has_ended = True

    def take(self) -> Taken | None:
        """See :class:`Reader`."""
        blank = _BLANK.match(self._data, self._at)
        assert blank is not None
        self._at = blank.end()
        if self._at == len(self._data):
            if self._has_ended and self._where != "END":
                raise _bad_array("it ends before the array does")
            return None
        if self._where == "START":
            self._expect_opening()
            return ()
        if self._where == "END":
            raise _bad_array("something follows the array")
        if self._where == "FIRST" and self._data[self._at : self._at + 1] == b"]":
            self._at, self._where = self._at + 1, "END"
            return ()
        taken = self._take_run() or self._take_elements()
        self._count += len(taken or ())
        return taken

    def _expect_opening(self) -> None:
        if self._data[self._at : self._at + 1] != b"[":
            raise _bad_array("it is no JSON array")
        self._at, self._where = self._at + 1, "FIRST"

    def _take_run(self) -> Taken | None:
        for pattern, first, step in ((_PLAIN_ELEMENTS, 1, 2), (_OBJECT_ELEMENTS, 3, 4)):
            run = pattern.match(self._data, self._at)
            if run is not None:
                self._at, self._where = run.end(), "NEXT"
                return run[0].split(b'"')[first::step]
        return None

    def _take_elements(self) -> Taken | None:
        items: list[Item | Bad] = []
        while len(items) < _MOST_DECODED and self._where != "END":
            blank = _BLANK.match(self._data, self._at)
            assert blank is not None
            self._at = blank.end()
            found = _ELEMENT.match(self._data, self._at, self._at + LONGEST_LINE)
            if found is None:
                break
            items.append(_item(found[1], self._count + len(items)))
            self._at = found.end()
            self._where = "NEXT" if found[2] == b"," else "END"
        if items:
            return items
        if self._has_ended or len(self._data) - self._at >= LONGEST_LINE:
            raise _bad_array(
                f"element {self._count} is not JSON, is longer than {LONGEST_LINE} bytes, or is "
                "nested too deeply"
            )
        return None


def _bad_array(why: str) -> Problem:
    return Problem("bad-batch", f"the body is not an array of addresses in JSON: {why}")


class _Twice(Exception):
    """An object has a member twice (RFC 8259 section 4 leaves open what that means)."""


def _members(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _Twice
    return members


_decode: Callable[[str], Any] = json.JSONDecoder(object_pairs_hook=_members).decode


def _item(text: bytes, place: int | None = None) -> Item | Bad:
    """What a JSON text asks for.

    :param place: in an array: what isn't JSON there is the whole body's fault.
    :raises Problem: then.
    """
    try:
        given = _decode(text.decode())
    except _Twice:
        return _bad(text, "bad-batch", "an object has a member twice")
    except (ValueError, RecursionError):
        if place is not None:
            raise _bad_array(f"element {place} is not JSON") from None
        return _bad(text, "bad-batch", "the line is not JSON")
    if isinstance(given, str):
        return Item(given)
    if not isinstance(given, dict):
        return _bad(text, "bad-batch", "neither a string nor an object")
    ip, fields, language = given.get("ip"), given.get("fields"), given.get("lang")
    if not isinstance(ip, str):
        return _bad(text, "bad-batch", '"ip" is no string, or missing')
    if isinstance(fields, list) and all(isinstance(field, str) for field in fields):
        fields = ",".join(fields)
    if not isinstance(fields, str | None):
        why = '"fields" is neither a string nor an array of strings'
        return Bad(ip, Problem("unknown-field", why))
    if not isinstance(language, str | None):
        return Bad(ip, Problem("unknown-language", '"lang" is no string'))
    return Item(ip, fields, language)


def _bad(text: bytes, name: str, why: str) -> Bad:
    given = text.decode(errors="replace")
    return Bad(given, Problem(name, f"{why}: {shorten(given)}"))

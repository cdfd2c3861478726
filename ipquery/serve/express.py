"""The express lane: look-ups in their plainest form, answered without a Request.

Whatever it answers, the routes answer with the same bytes; whatever it isn't
sure of, it leaves to them. It has two doors:

- a request that the parser has taken apart, if it is written plainly
  (:func:`plain_address`);
- a whole read that differs only in its address from one that came in by the
  first door (:class:`Lane`). Callers send the same header over and over. What
  the parser made of it once, it would make of it again: an address in its
  place is made of characters that mean nothing to it.
"""

import re
from collections.abc import Callable

import attrs

from ipquery.address import parse
from ipquery.serve import contract

Find = Callable[[bytes], bytes | None]
"""From the text of an address to the rest of the response, from behind the
Date header; ``None`` for whatever has to go the other way."""


def nothing(ip: bytes) -> None:
    """What the lane finds when it isn't to answer."""


_PATH = contract.QUERY_PATH.encode()
_TARGET = _PATH + b"?ip="

GET_START = b"GET " + _TARGET
POST_START = b"POST " + _PATH + b" "
ADDRESS_AT = len(GET_START)

# RFC 8259 sections 2 and 4: an object with the one member "ip", whose value has
# no escapes. Blanks are those four.
_BLANK = rb"[ \t\n\r]*"
_BODY = re.compile(_BLANK.join([b"", rb"\{", b'"ip"', b":", b'"([0-9A-Fa-f.:]+)"', rb"\}", b""]))

# The longest address text, IPv6 with an IPv4 tail, is 45 characters.
LONGEST_TARGET = len(_TARGET) + 45

# Heads differ by caller and, for POST, by Content-Length. A thousand of 700 bytes, as
# browsers send them, are 700 KB for a worker, not for a connection. What is longer, or
# would be more than a megabyte together, isn't what callers send over and over.
_KNOWN_HEADS = 1000
_KNOWN_BYTES, _LONGEST_HEAD = 1 << 20, 1 << 13


def after_date(answer: bytes) -> bytes:
    """What follows the Date header in the response that carries an answer."""
    return b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        contract.CONTENT_TYPE,
        len(answer),
        answer,
    )


# An address is made of characters that stand for themselves in JSON.
_MISSING_START, _MISSING_END = contract.no_record("0").body.split(b"0")


def without_record(answer_number: Callable[[int, int], int]) -> Find:
    """What finds the rest of the response for an address that has no record.

    :param answer_number: of a snapshot, by IP version and address; 0 for no record.
    """

    def find(ip: bytes) -> bytes | None:
        try:
            found = answer_number(*parse(ip.decode()))
        except ValueError:
            return None
        return None if found else after_date(_MISSING_START + ip + _MISSING_END)

    return find


def plain_address(method: bytes, target: bytes, body: bytes) -> bytes | None:
    """The address that is asked for, if it is written plainly.

    For GET it is whatever follows ``?ip=``: if that isn't an address as it
    stands, looking it up finds nothing.
    """
    if method == b"GET":
        if target.startswith(_TARGET) and not body:
            return target[len(_TARGET) :]
    elif method == b"POST" and target == _PATH:
        return body_address(body)
    return None


def body_address(body: bytes) -> bytes | None:
    """The address in a body, if it is written plainly."""
    # json.dumps writes one blank, JavaScript and most others none. What stands
    # between may be anything: if it isn't an address, looking it up finds nothing.
    if body.endswith(b'"}'):
        if body.startswith(b'{"ip":"'):
            return body[7:-2]
        if body.startswith(b'{"ip": "'):
            return body[8:-2]
    plain = _BODY.fullmatch(body)
    return plain[1] if plain is not None else None


@attrs.define
class Lane:
    """What the connections of a worker share of the second door."""

    find: Find = nothing
    """For an address with a record."""
    find_missing: Find = nothing
    """For one without."""
    head: bytes = b""
    """The status line and the Date header of this second, for an address with a record."""
    missing_head: bytes = b""
    """The same for one without."""
    tails: dict[bytes, bytes] = attrs.field(factory=dict)
    """What follows the address in a GET that is known; each maps to itself, so
    that connections keep one object."""
    heads: dict[bytes, int] = attrs.field(factory=dict)
    """Heads of POSTs that are known, up to the blank line, with their Content-Length."""
    known_bytes: int = 0
    """Of both, together."""

    def answer(self, address: bytes) -> bytes | None:
        """The whole response; ``None`` for whatever has to go the other way."""
        found = self.find(address)
        return self.head + found if found is not None else self.missing(address)

    def missing(self, address: bytes) -> bytes | None:
        """The same for what :attr:`find` doesn't find."""
        rest = self.find_missing(address)
        return self.missing_head + rest if rest is not None else None

    def learn(self, read: bytes, target: bytes, body: bytes) -> None:
        """A read has been one whole request that was answered through the first door.

        :param target: its target, as it stands in the request line.
        """
        if read.startswith(GET_START):
            tail = read[len(b"GET ") + len(target) :]
            if self._make_room(tail):
                self.tails[tail] = tail
        elif read.startswith(POST_START):
            head, _, rest = read.rpartition(b"\r\n\r\n")
            if rest == body and self._make_room(head):
                self.heads[head] = len(body)

    def _make_room(self, head: bytes) -> bool:
        """Whether a head may be kept: not one that is too long; the others go when it is full."""
        if len(head) > _LONGEST_HEAD:
            return False
        count = len(self.tails) + len(self.heads)
        if count >= _KNOWN_HEADS or self.known_bytes + len(head) > _KNOWN_BYTES:
            self.tails.clear()
            self.heads.clear()
            self.known_bytes = 0
        self.known_bytes += len(head)
        return True

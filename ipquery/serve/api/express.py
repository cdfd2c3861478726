"""The express lane: look-ups answered at once, without a Request.

Whatever it answers, the routes answer with the same bytes; whatever it isn't sure of, it
leaves to them. It is given requests that :mod:`ipquery.serve.http.plain` or the parser has
taken apart.
"""

import re
from collections.abc import Callable
from functools import cache
from urllib.parse import unquote_to_bytes

from ipquery.address import parse
from ipquery.serve.api import contract
from ipquery.serve.api.express_v1 import START as V1_START
from ipquery.serve.api.express_v1 import V1Lane
from ipquery.serve.api.lookups import Lookups
from ipquery.serve.api.shapes import Shape, shaped
from ipquery.serve.api.v1 import V1
from ipquery.serve.http.counts import ONE_OF, Counts, Tally
from ipquery.serve.http.fast import Find, Kind, Spot, nothing
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.reply import (
    Reply,
    after_date,
    in_form,
    status_line,
)

_PATH = contract.QUERY_PATH.encode()
_TARGET = _PATH + b"?ip="

# RFC 8259 sections 2 and 4: an object with the one member "ip", whose value has
# no escapes. Blanks are those four.
_BLANK = rb"[ \t\n\r]*"
_BODY = re.compile(_BLANK.join([b"", rb"\{", b'"ip"', b":", b'"([0-9A-Fa-f.:]+)"', rb"\}", b""]))

# The longest address text, IPv6 with an IPv4 tail, is 45 characters.
LONGEST_TARGET = len(_TARGET) + 45

# What a query string is taken apart at, besides "&", or decoded from.
_QUERY_MARKS = re.compile(rb"[;%+]")
# A second "?" is part of a value (RFC 3986 section 3.4).
_PARAMETER = re.compile(rb"(?:\A[^?]*+\?|[&;])ip=")


# An address is made of characters that stand for themselves in JSON.
_MISSING_START, _MISSING_END = contract.no_record("0").body.split(b"0")


def carrying(answer: bytes) -> bytes:
    """What follows the Date header in the response that carries an answer."""
    return after_date(Reply(200, answer))


def without_record(answer_number: Callable[[int, int], int]) -> Find:
    """What finds the rest of the response for an address that has no record.

    :param answer_number: of a snapshot, by IP version and address; 0 for no record.
    """

    def find(ip: bytes) -> bytes | None:
        try:
            found = answer_number(*parse(ip.decode()))
        except ValueError:
            return None
        if found:
            return None
        return _before_missing(len(ip)) + ip + _MISSING_END

    return find


@cache
def _before_missing(size: int) -> bytes:
    """What stands between the Date header and an address that has no record.

    :param size: of the address, in bytes: nothing else makes a difference.
    """
    rest = after_date(Reply(501, _MISSING_START + b"0" * size + _MISSING_END))
    return rest[: -size - len(_MISSING_END)]


def address_of(method: bytes, target: bytes, body: bytes) -> bytes | None:
    """The address that a request asks for, if it is a look-up.

    What stands there may be anything: if it isn't an address, looking it up finds nothing.
    """
    if method == b"POST":
        return body_address(body) if target == _PATH else None
    if body or method not in (b"GET", b"HEAD"):
        return None
    if target.startswith(_TARGET):
        value = target[len(_TARGET) :].partition(b"&")[0]
        if not _QUERY_MARKS.search(value):
            return value
    path, _, query = target.partition(b"?")
    return _query_address(query) if path == _PATH else None


def _query_address(query: bytes) -> bytes | None:
    """The first value of ``ip``, as :func:`twisted.web.http.parse_qs` has it."""
    # A fragment isn't sent (RFC 9112 section 3.2); were it, it would be part of the value.
    for item in query.replace(b";", b"&").split(b"&"):
        if item.startswith(b"ip="):
            return _decoded(item[3:])
        name, equals, value = item.partition(b"=")
        if equals and b"%" in name and _decoded(name) == b"ip":
            return _decoded(value)
    return None


def _decoded(text: bytes) -> bytes:
    if b"%" not in text and b"+" not in text:
        return text
    # Colons are what URL libraries escape in an address: two replacements take a fifth of
    # the time.
    text = text.replace(b"%3A", b":").replace(b"%3a", b":").replace(b"+", b" ")
    return unquote_to_bytes(text) if b"%" in text else text


def body_address(body: bytes) -> bytes | None:
    """The address in a JSON body."""
    # As JavaScript and most others write it, and as json.dumps does, with one blank.
    if body.endswith(b'"}'):
        if body.startswith(b'{"ip":"'):
            text = body[7:-2]
        elif body.startswith(b'{"ip": "'):
            text = body[8:-2]
        else:
            text = b'"'
        # What is no address is looked up in vain, and then the routes' to answer.
        if b'"' not in text and b"\\" not in text:
            return text
    plain = _BODY.fullmatch(body)
    if plain is not None:
        return plain[1]
    try:
        return contract.ip_of_body(body).encode()
    except (contract.BadRequest, UnicodeEncodeError):  # as with a lone surrogate
        return None


class Lane:
    """What the connections of a worker share of it.

    The service says what is found, when another snapshot answers or a cache comes or goes;
    the site's clock which second it is.
    """

    tally: Tally

    def __init__(
        self,
        v1: V1,
        find: Find = nothing,
        find_missing: Find = nothing,
        lookups: Lookups | None = None,
    ) -> None:
        """Finds see :meth:`aim`.

        :param lookups: where look-ups are counted.
        """
        self._lookups = lookups or Lookups(v1, Counts())
        self._v1 = V1Lane(v1, self._lookups)
        self._tallies, self._missing_tallies = (
            {
                method: self._lookups.tally(method, contract.QUERY_PATH, status)
                for method in (b"GET", b"HEAD", b"POST")
            }
            for status in ("200", "501")
        )
        self.tally = self._v1.tally
        self._find, self._find_missing = find, find_missing
        self._kinds: dict[tuple[Shape, bytes], Kind] = {}
        self.head = self._missing_head = self._unchanged_head = b""

    def aim(self, find: Find, find_missing: Find) -> None:
        """Answer by these from now on, and as ``v1`` does by now.

        :param find: for an address with a record.
        :param find_missing: for one without.
        """
        self._find, self._find_missing = find, find_missing
        for (shape, _), kind in self._kinds.items():
            kind.find = shaped(find, shape)
        self._v1.aim()

    def tell_date(self, line: bytes) -> None:
        """Another second has begun."""
        self.head = status_line(200) + line
        self._missing_head = status_line(501) + line
        self._unchanged_head = status_line(304) + line

    def respond(
        self, method: bytes, target: bytes, framing: Framing, body: bytes, last: bool
    ) -> bytes | None:
        """See :class:`~ipquery.serve.http.fast.FastWay`."""
        if target.startswith(V1_START):
            heads = self.head, self._unchanged_head
            response = self._v1.respond(heads, method, target, framing, body, last)
            self.tally = self._v1.tally
            return response
        address = address_of(method, target, body)
        if not address:
            return None
        head, found, tallies = self.head, self._find(address), self._tallies
        if found is None:
            head, tallies = self._missing_head, self._missing_tallies
            found = self._find_missing(address)
        if found is None:
            return None
        tally = self.tally = tallies[method]
        tally.answered += 1
        if tally.answered % ONE_OF == 1:
            tally.see(self._lookups.whence(address), ONE_OF)
        response = head + found
        return in_form(response, method, framing.is_1_0, last)

    def spot_of(
        self, method: bytes, target: bytes, framing: Framing, body: bytes, last: bool
    ) -> Spot | None:
        """See :class:`~ipquery.serve.http.fast.FastWay`."""
        if target.startswith(V1_START):
            return self._v1.spot_of(method, target, framing, body, last)
        address = address_of(method, target, body)
        if address is None:
            return None
        place = _place_in_body(body, address) if body else _place_in_target(target, address)
        if place is None:
            return None
        begin, end = place
        is_escaped = end - begin > len(address)
        shape = Shape(method == b"HEAD", framing.is_1_0, last, is_escaped)
        kind = self._kinds.get((shape, method))
        if kind is None:
            kind = Kind(shaped(self._find, shape), self._tallies[method], self._lookups.whence)
            self._kinds[shape, method] = kind
        return Spot(kind, begin, end)


def _place_in_body(body: bytes, address: bytes) -> tuple[int, int] | None:
    """Where the address stands that a body asks for, if that is certain."""
    # As long as nothing is escaped, the value of "ip" is among the texts that stand there;
    # and if there is one of its kind only, it is that.
    at = body.find(b'"%b"' % address) + 1
    if not at or b"\\" in body or body.count(address) > 1:
        return None
    return at, at + len(address)


def _place_in_target(target: bytes, address: bytes) -> tuple[int, int] | None:
    """Where the address stands that a query asks for, if that is certain."""
    first = _PARAMETER.search(target)
    if first is None:
        return None
    begin = first.end()
    for text in (address, address.replace(b":", b"%3A")):
        # With no other escapes, this is the first parameter of that name.
        if target.startswith(text, begin) and target.count(b"%") == text.count(b"%"):
            return begin, begin + len(text)
    return None

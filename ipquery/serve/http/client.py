"""The client's address, as proxies in front tell it, and only those that are trusted.

Each proxy adds at the right end of a list whom it got the request from. Whoever sends a
request may have begun that list with anything, so it is read from the right, and for as long
as whoever speaks is trusted:

- The peer of the connection (after the PROXY protocol, where that is spoken) isn't trusted:
  it is the client, whatever the header says.
- It is: the last element is whom the peer names. If that one is trusted, too, the element
  before is whom it names, and so on. The first that isn't trusted is the client.
- Where the list ends, or an element doesn't tell an address, the last one known is the client.

One field is read: X-Forwarded-For, which proxies and load balancers send unless told
otherwise, or Forwarded (RFC 7239). Never both: a proxy that adds to one of them passes the
other on as it came, so that its whole list may be the sender's invention.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Literal

from ipquery.address import parse, to_text
from ipquery.net.peers import Peers

Header = Literal["x-forwarded-for", "forwarded"]
"""The field that is read."""

# Chains of more than a handful of proxies aren't seen, and an element takes some 60 bytes. What
# is left of these isn't looked at, so that a header of 16 KB costs no more than one of these.
_MOST_ELEMENTS, _MOST_BYTES = 32, 2048

# Answers kept: of a header's last 2 KB, that is 2 MB for a worker at most.
_KNOWN = 1000

# RFC 7239 section 6: IPv4, or IPv6 in brackets, and a port, which may be hidden as "_name". The
# port has 1 to 5 digits, whatever they say.
_NODE = re.compile(
    rb"(?:\[([0-9A-Fa-f.]*+:[0-9A-Fa-f:.]*+)\]|([0-9.]++))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]++))?"
)

# RFC 7239 section 4: one parameter of an element, and what ends it. Not all proxies put the
# colon and the brackets of an address into quotes, and some put a blank after a semicolon:
# both are understood, as they can't be taken for anything else.
_TOKEN = rb"!#$%&'*+.^_`|~0-9A-Za-z-"
_QUOTED = rb'"[^"\\]*+(?:\\.[^"\\]*+)*"'
_PARAMETER = re.compile(
    rb"[ \t]*+(?:([%b]++)=([:\[\]%b]++|%b)[ \t]*+)?(;|\Z)" % (_TOKEN, _TOKEN, _QUOTED),
    re.DOTALL,
)

# An address of 45 characters in brackets, and a port, all of them escaped, and quotes.
_LONGEST_VALUE = 2 * len("[]:65535") + 2 * 45 + 2

# RFC 7239 section 6.2: what a proxy says that doesn't tell.
_UNKNOWN = b"unknown"


def address_in(element: bytes) -> tuple[int, int] | None:
    """The address that a proxy names; ``None`` if it doesn't, or not in a way that can be read.

    :param element: an address, or one with a port as in RFC 7239 section 6, or of IPv6 without
        the brackets, which is usual in X-Forwarded-For.
    """
    match = _NODE.fullmatch(element)
    text = element if match is None else match[1] or match[2]
    try:
        return parse(text.decode("ascii"))
    except ValueError:
        return None


def _elements(value: bytes) -> Iterable[bytes]:
    """Elements of X-Forwarded-For, from the right."""
    return reversed(value.rsplit(b",", _MOST_ELEMENTS))


def _for_elements(value: bytes) -> Iterator[bytes]:
    """What the elements of Forwarded say after ``for=``, from the right; empty ones are so."""
    end = len(value)
    while end >= 0:
        begin = _begin_of_element(value, end)
        yield _said_for(value[begin:end])
        end = begin - 1


def _begin_of_element(value: bytes, end: int) -> int:
    """Behind the comma before the element that ends there, and that isn't in a quoted-string.

    Found from the right: to the left somebody may have left a quoted-string open, in the hope
    that it takes in what proxies add.
    """
    at = end
    while True:
        quote = value.rfind(b'"', 0, at)
        comma = value.rfind(b",", max(quote, 0), at)
        if comma >= 0 or quote < 0:
            return comma + 1
        # Where it began: in between, quotes stand behind a backslash.
        at = value.rfind(b'"', 0, quote)
        while at > 0 and value[at - 1 : at] == b"\\":
            at = value.rfind(b'"', 0, at)
        if at < 0:
            return 0


def _said_for(element: bytes) -> bytes:
    found: list[bytes] = []
    at, is_empty, more = 0, True, b";"
    while more:
        match = _PARAMETER.match(element, at)
        if match is None:
            return _UNKNOWN
        name, value, more = match.groups()
        at = match.end()
        if name is None:
            continue
        is_empty = False
        # RFC 7239 section 4: names are case-insensitive.
        if name.lower() == b"for":
            found.append(value)
    if is_empty:
        return b""
    # Section 4: none occurs more than once. Without any, the proxy doesn't say who it was; the
    # element to the left is no answer to that.
    if len(found) != 1 or len(found[0]) > _LONGEST_VALUE:
        return _UNKNOWN
    return _unquoted(found[0]) or _UNKNOWN


def _unquoted(value: bytes) -> bytes:
    if not value.startswith(b'"'):
        return value
    return re.sub(rb"\\(.)", rb"\1", value[1:-1], flags=re.DOTALL)


_READERS: Mapping[str, Callable[[bytes], Iterable[bytes]]] = {
    "x-forwarded-for": _elements,
    "forwarded": _for_elements,
}


class Forwarding:
    """Finds clients behind trusted proxies."""

    def __init__(self, proxies: Peers, header: Header) -> None:
        """:param proxies: those that are trusted."""
        self.field = header.encode()
        """The name of the field that is read, in lower case."""
        self._proxies = proxies
        self._read = _READERS[header]
        self._lines = re.compile(rb"\r\n(?i:%b):([^\r]*+)" % re.escape(self.field))
        self._known = lru_cache(_KNOWN)(self._client)

    def trusts(self, peer: str | None) -> bool:
        """Whether a peer is believed.

        :param peer: its address; ``None`` for one on a UNIX socket.
        """
        return self._proxies.include_host(peer)

    def client(self, peer: str | None, told: bytes | None) -> str | None:
        """The client's address behind a peer that is trusted.

        :param peer: see :meth:`trusts`.
        :param told: the value of :attr:`field`, several lines with commas between.
        :returns: the usual text (RFC 5952 for IPv6); ``None`` if all that is known is a peer on
            a UNIX socket.
        """
        if told is None:
            return peer
        if len(told) > _MOST_BYTES:
            # Without the byte in front, the rest of an address might pass for one.
            told = b"\0" + told[-_MOST_BYTES:]
        return self._known(peer, told)

    def _client(self, peer: str | None, told: bytes) -> str | None:
        known = None
        for element in islice(self._read(told), _MOST_ELEMENTS):
            element = element.strip(b" \t")
            # RFC 9110 section 5.6.1.2: empty elements are ignored.
            if not element:
                continue
            address = address_in(element)
            if address is None:
                break
            known = address
            if not self._proxies.include_address(*address):
                break
        return peer if known is None else to_text(*known)

    def told_in(self, head: bytes) -> bytes | None:
        """The value of :attr:`field` in a plain head, as :func:`framing.fields_of` has it.

        In a sixth of the time, where nothing else is asked of it.

        :param head: from the end of a request line to the empty line, both included.
        """
        values = self._lines.findall(head)
        return b", ".join([value.strip(b"\t ") for value in values]) if values else None


def host_of(peer: object) -> str | None:
    """The address of a peer; ``None`` for one on a UNIX socket, which has none.

    :param peer: as Twisted has it, or as accept(2): an address and a port, or a path.
    """
    host = peer[0] if isinstance(peer, tuple) else getattr(peer, "host", None)
    if host is None:
        return None
    # A socket for both versions, as systemd can make one, says IPv4 addresses so.
    return to_text(*parse(host)) if host.startswith("::ffff:") else str(host)


def log_text(host: str | None) -> bytes:
    """How an address is told in the access log."""
    return b"-" if host is None else host.encode()

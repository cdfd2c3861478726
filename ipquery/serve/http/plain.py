"""Plain requests: those that one look tells whole, without a parser.

What is accepted here llhttp accepts, too, and :mod:`ipquery.serve.http.message` makes the same of
it; property tests hold them to it. Whatever isn't certain is ``None``, and the parser's to
decide. So this may be narrow, and never wrong.
"""

import re
from functools import lru_cache

from ipquery.serve.http.framing import Framing
from ipquery.serve.http.limits import HttpLimits

# Quantifiers are possessive, but not behind groups, where Python before 3.11.5 matches those
# wrongly (its issue 106052). The first characters of a line tell what it is, so that nothing is
# tried twice.

# RFC 9110 section 5.6.2: token; section 5.5: field-content and obs-text, with a tab or blank
# anywhere, as llhttp has it.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_VALUE = rb"[\t -~\x80-\xff]*+"
VALUE_BYTES = bytes(code for code in range(256) if re.fullmatch(_VALUE, bytes([code])))
_BLANK = rb"[ \t]*+"

# Fields that say how a message is to be read, and whether the connection goes on. To llhttp,
# Proxy-Connection (RFC 9112 appendix C.2.2 calls it harmful) says what Connection does.
DECISIVE_FIELDS = (
    b"connection", b"content-length", b"expect", b"host", b"proxy-connection",
    b"transfer-encoding", b"upgrade",
)  # fmt: skip
_OTHER = rb"(?:(?!(?i:%b):)%b:%b\r\n)*" % (b"|".join(DECISIVE_FIELDS), _TOKEN, _VALUE)

# RFC 3986 section 3.2.2, host: a registered name of labels, an IPv4 address, or an IPv6
# address in brackets; RFC 1035 section 2.3.4: at most 63 octets a label.
_HOST = rb"(?:[A-Za-z0-9_-]{1,63}+(?:\.[A-Za-z0-9_-]{1,63}+)*\.?|\[[0-9A-Fa-f:.]++\])(?::[0-9]*+)?"

# RFC 9112 section 2.1: HTTP-version CRLF *( field-line CRLF ) CRLF, with three of the decisive
# fields at most once each, and none of the others. The groups: minor version, Host,
# Connection, Content-Length; "(?(2)(?!)" is "no second Host".
_REST = re.compile(
    rb" HTTP/1\.([01])\r\n%(other)b(?:(?:"
    rb"(?(2)(?!)|(?i:host):%(blank)b(%(host)b)%(blank)b\r\n)|"
    rb"(?(3)(?!)|(?i:connection):%(blank)b((?i:keep-alive|close))%(blank)b\r\n)|"
    rb"(?(4)(?!)|(?i:content-length):%(blank)b([0-9]{1,8})%(blank)b\r\n)"
    rb")%(other)b)*\r\n" % {b"other": _OTHER, b"blank": _BLANK, b"host": _HOST}
)

# RFC 3986 sections 3.3 and 3.4: the characters of pchar, "/" and "?".
_TARGET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~%!$&'()*+,;=:@/?-"

_METHODS = (b"GET ", b"POST ", b"HEAD ")

# What limits don't count of the rest of a head: version, and the empty line.
LINE_END_BYTES = len(b" HTTP/1.1\r\n\r\n")

# The most that a head has beside its target and its fields.
_BESIDES = len(b"POST ") + LINE_END_BYTES

# Callers send the same header over and over. Twice a thousand of a kilobyte at most, and the
# fields of those whose fields are looked at, are four megabytes for a worker, not for a
# connection.
_KNOWN, _LONGEST_KNOWN = 1000, 1 << 10


Plain = tuple[bytes, bytes, Framing, bytes, int]
"""A whole request: method, target, framing, body, and where it ends in what was read.

A bare tuple: one is made for every request, and a class would take a tenth of its time.
"""


class PlainReader:
    """Reads plain requests within limits, and knows the heads that repeat."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        # Not beyond what a head may hold: to look at 50,000 fields would take 4 ms.
        self._most_head = limits.request_line_bytes + limits.header_bytes + _BESIDES
        self._known_framing = lru_cache(_KNOWN)(self._framing_of)
        self._known_parts = lru_cache(_KNOWN)(self._parts_of)

    def read(self, data: bytes, begin: int) -> Plain | None:
        """The plain request that begins at a place in what was read.

        :returns: ``None`` if none does, it isn't whole, that isn't certain, or it is beyond
            a limit.
        """
        end_of_head = data.find(b"\r\n\r\n", begin, begin + self._most_head) + 4
        if end_of_head < 4:
            return None
        head = data[begin:end_of_head]
        # Where the body says what is asked for, whole heads repeat.
        if head.startswith(b"POST ") and len(head) <= _LONGEST_KNOWN:
            parts = self._known_parts(head)
        else:
            parts = self._parts_of(head)
        if parts is None:
            return None
        method, target, framing = parts
        if not framing.length:
            return method, target, framing, b"", end_of_head
        end = end_of_head + framing.length
        if end > len(data):
            return None
        return method, target, framing, data[end_of_head:end], end

    def _parts_of(self, head: bytes) -> tuple[bytes, bytes, Framing] | None:
        """Method, target and framing of a head."""
        for method in _METHODS:
            if head.startswith(method):
                break
        else:
            return None
        at = len(method)
        end = head.find(b" ", at)
        if end < 0:
            return None
        target, rest = head[at:end], head[end:]
        # Twice as fast as a regular expression.
        if not target.startswith(b"/") or target.translate(None, _TARGET):
            return None
        if len(target) > self._limits.request_line_bytes:
            return None
        is_short = len(rest) <= _LONGEST_KNOWN
        framing = self._known_framing(rest) if is_short else self._framing_of(rest)
        return None if framing is None else (method[:-1], target, framing)

    def _framing_of(self, rest: bytes) -> Framing | None:
        return _framing_of(rest, self._limits)


def _framing_of(rest: bytes, limits: HttpLimits) -> Framing | None:
    """What the rest of a head says, if it is plain and within limits.

    :param rest: from the blank before the HTTP version to the empty line, both included.
    """
    match = _REST.fullmatch(rest)
    if match is None:
        return None
    minor, host, connection, length = match.groups()
    is_1_0 = minor == b"0"
    # RFC 9112 section 3.2: a Host, but for HTTP/1.0.
    if host is None and not is_1_0:
        return None
    count = rest.count(b"\r\n") - 2
    if len(rest) - LINE_END_BYTES > limits.header_bytes or count > limits.header_count:
        return None
    if int(length or 0) > limits.body_bytes:
        return None
    # RFC 9112 section 9.3.
    says_close = connection is not None and connection.lower() == b"close"
    persists = connection is not None and not says_close if is_1_0 else not says_close
    return Framing(is_1_0, persists, int(length or 0), rest)

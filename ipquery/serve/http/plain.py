"""Plain requests: those that one look tells whole, without a parser.

What is accepted here llhttp accepts, too, and :mod:`ipquery.serve.http.message` makes the same of
it; property tests hold them to it. Whatever isn't certain is ``None``, and the parser's to
decide. So this may be narrow, and never wrong.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from ipquery.serve.http.limits import HttpLimits

# RFC 9110 section 5.6.2: token; section 5.5: field-content and obs-text, with a tab or blank
# anywhere, as llhttp has it.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_VALUE = rb"[\t -~\x80-\xff]*+"
_BLANK = rb"[ \t]*+"

# Fields that say how a message is to be read, and whether the connection goes on. To llhttp,
# Proxy-Connection (RFC 9112 appendix C.2.2 calls it harmful) says what Connection does.
_DECISIVE = rb"connection|content-length|expect|host|proxy-connection|transfer-encoding|upgrade"
_OTHER = rb"(?:(?!(?i:%b):)%b:%b\r\n)*+" % (_DECISIVE, _TOKEN, _VALUE)

# RFC 3986 section 3.2.2, host: a registered name of labels, an IPv4 address, or an IPv6
# address in brackets; RFC 1035 section 2.3.4: at most 63 octets a label.
_HOST = rb"(?:[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*+\.?|\[[0-9A-Fa-f:.]++\])(?::[0-9]*+)?"

# RFC 9112 section 2.1: HTTP-version CRLF *( field-line CRLF ) CRLF, with three of the decisive
# fields at most once each, and none of the others. The groups: minor version, Host,
# Connection, Content-Length; "(?(2)(?!)" is "no second Host".
_REST = re.compile(
    rb" HTTP/1\.([01])\r\n%(other)b(?:(?:"
    rb"(?(2)(?!)|(?i:host):%(blank)b(%(host)b)%(blank)b\r\n)|"
    rb"(?(3)(?!)|(?i:connection):%(blank)b((?i:keep-alive|close))%(blank)b\r\n)|"
    rb"(?(4)(?!)|(?i:content-length):%(blank)b([0-9]{1,8})%(blank)b\r\n)"
    rb")%(other)b)*+\r\n" % {b"other": _OTHER, b"blank": _BLANK, b"host": _HOST}
)

# RFC 3986 sections 3.3 and 3.4: the characters of pchar, "/" and "?".
_TARGET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~%!$&'()*+,;=:@/?-"

_METHODS = (b"GET ", b"POST ", b"HEAD ")

# What limits don't count of the rest of a head: version, and the empty line.
_LINE_END = len(b" HTTP/1.1\r\n\r\n")

# The most that a head has beside its target and its fields.
_BESIDES = len(b"POST ") + _LINE_END

# Callers send the same header over and over. Twice a thousand of a kilobyte at most are two
# megabytes for a worker, not for a connection.
_KNOWN, _LONGEST_KNOWN = 1000, 1 << 10


class Framing(NamedTuple):
    """What the rest of a head, from the HTTP version on, says about a message.

    ``length`` is the body's, in bytes; the last two are what limits are held against.
    """

    is_1_0: bool
    persists: bool
    length: int
    header_bytes: int
    header_count: int


Plain = tuple[bytes, bytes, Framing, bytes, int]
"""A whole request: method, target, framing, body, and where it ends in what was read.

A bare tuple: one is made for every request, and a class would take a tenth of its time.
"""


def read_plain(data: bytes, begin: int, limits: HttpLimits) -> Plain | None:
    """A plain request that begins at a place in what was read, if one does and is whole.

    :returns: ``None`` if that isn't certain, or it is beyond a limit.
    """
    # Not beyond what a head may hold: to look at 50,000 fields would take 4 ms.
    most = begin + limits.request_line_bytes + limits.header_bytes + _BESIDES
    end_of_head = data.find(b"\r\n\r\n", begin, most) + 4
    if end_of_head < 4:
        return None
    head = data[begin:end_of_head]
    # Where the body says what is asked for, whole heads repeat.
    if head.startswith(b"POST ") and len(head) <= _LONGEST_KNOWN:
        parts = _known_head(head)
    else:
        parts = _head(head)
    if parts is None:
        return None
    method, target, framing = parts
    end = end_of_head + framing.length
    if (
        end > len(data)
        or framing.length > limits.body_bytes
        or framing.header_bytes > limits.header_bytes
        or framing.header_count > limits.header_count
        or len(target) > limits.request_line_bytes
    ):
        return None
    return method, target, framing, data[end_of_head:end], end


def _head(head: bytes) -> tuple[bytes, bytes, Framing] | None:
    """Method, target and framing of a head, if it is plain."""
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
    framing = _known_rest(rest) if len(rest) <= _LONGEST_KNOWN else framing_of(rest)
    return None if framing is None else (method[:-1], target, framing)


def framing_of(rest: bytes) -> Framing | None:
    """What the rest of a head says, if it is plain.

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
    # RFC 9112 section 9.3.
    says_close = connection is not None and connection.lower() == b"close"
    return Framing(
        is_1_0,
        connection is not None and not says_close if is_1_0 else not says_close,
        int(length or 0),
        len(rest) - _LINE_END,
        rest.count(b"\r\n") - 2,
    )


_known_rest = lru_cache(_KNOWN)(framing_of)
_known_head = lru_cache(_KNOWN)(_head)

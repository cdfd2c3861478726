"""Plain requests: those that one look tells whole, without a parser.

What is accepted here llhttp accepts, too, and :mod:`ipquery.serve.message` makes the same of
it; property tests hold them to it. Whatever isn't certain is ``None``, and the parser's to
decide. So this may be narrow, and never wrong.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from ipquery.serve.limits import HttpLimits

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

# RFC 3986 section 3.3 and 3.4: pchar, "/" and "?", without what RFC 3986 leaves out and some
# clients send.
_TARGET = re.compile(rb"/[A-Za-z0-9._~%!$&'()*+,;=:@/?-]*+")

_METHODS = (b"GET ", b"POST ", b"HEAD ")

# Callers send the same header over and over. A thousand of a kilobyte at most are a megabyte
# for a worker, not for a connection.
_KNOWN, _LONGEST_KNOWN = 1000, 1 << 10


# Tuples, not attrs classes: one is made for every request, in 0.3 us instead of 1.2.


class Framing(NamedTuple):
    """What the rest of a head, from the HTTP version on, says about a message.

    ``length`` is the body's, in bytes; ``header_bytes`` and ``header_count`` are what limits
    are held against.
    """

    is_1_0: bool
    persists: bool
    length: int
    header_bytes: int
    header_count: int


class Plain(NamedTuple):
    """A whole request. ``end`` is where it ends in what was read."""

    method: bytes
    target: bytes
    framing: Framing
    body: bytes
    end: int


def read_plain(data: bytes, begin: int, limits: HttpLimits) -> Plain | None:
    """A plain request that begins at a place in what was read, if one does and is whole.

    :returns: ``None`` if that isn't certain, or it is beyond a limit.
    """
    for start in _METHODS:
        if data.startswith(start, begin):
            break
    else:
        return None
    at = begin + len(start)
    end = data.find(b" ", at)
    head_end = data.find(b"\r\n\r\n", end) + 4
    if end < 0 or head_end < 4:
        return None
    rest, target = data[end:head_end], data[at:end]
    framing = _known(rest) if len(rest) <= _LONGEST_KNOWN else framing_of(rest)
    if framing is None or not _TARGET.fullmatch(target):
        return None
    body_end = head_end + framing.length
    if body_end > len(data) or _is_beyond(limits, target, framing):
        return None
    return Plain(start[:-1], target, framing, data[head_end:body_end], body_end)


def _is_beyond(limits: HttpLimits, target: bytes, framing: Framing) -> bool:
    return (
        framing.length > limits.body_bytes
        or framing.header_bytes > limits.header_bytes
        or framing.header_count > limits.header_count
        or len(target) > limits.request_line_bytes
    )


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
        len(rest) - len(b" HTTP/1.1\r\n") - len(b"\r\n"),
        rest.count(b"\r\n") - 2,
    )


_known = lru_cache(_KNOWN)(framing_of)

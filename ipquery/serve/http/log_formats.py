"""How an answer is told in a line of the access log.

Whatever a client sends is escaped, so that a line stays one line, each part of it can be told
from the next, and a terminal shows it and does nothing else.
"""

import datetime
import json
import re
from collections.abc import Callable, Mapping

import attrs

from ipquery.rfc3339 import timestamp

Fields = Mapping[bytes, bytes]
"""Header fields by their names in lower case."""


@attrs.frozen
class LogFormat:
    """A format of lines."""

    stamp: Callable[[float], bytes]
    """How a time is told, from seconds since the epoch."""
    line: Callable[[bytes, bytes, bytes | None, int, int], bytes]
    """A line up to what it tells of header fields: of the time, the client's address, the
    request line or ``None`` for what was no request, the status, and the bytes of the body."""
    plain: Callable[[bytes, bytes, bytes, int, bytes], bytes]
    """A whole line of an answer with status 200: of the time, the client's address, a request
    line in which nothing needs escaping, the bytes of the body, and the rest of the line."""
    ending: Callable[[Fields], bytes]
    """The rest of the line."""
    fields: frozenset[bytes]
    """Header fields that it tells, in lower case."""


# What stands for itself in both formats.
_UNSAFE = re.compile(rb"[^ !#-\[\]-~]")
_SAFE = bytes(code for code in range(256) if not _UNSAFE.match(bytes([code])))


# What proxies and libraries send to find a request again in other logs; W3C Trace Context.
_IDS = (b"x-request-id", b"traceparent")

# Of an id that is longer the begin is told. A traceparent has 55 bytes, a UUID 36.
_LONGEST_ID = 128


def _id(fields: Fields, name: bytes) -> bytes:
    return fields.get(name, b"")[:_LONGEST_ID]


# Combined: Apache's LogFormat of that name, as nginx writes and escapes it.


def _escaped(text: bytes) -> bytes:
    if not text.translate(None, _SAFE):
        return text
    return _UNSAFE.sub(lambda match: b"\\x%02X" % match[0][0], text)


def _combined_stamp(seconds: float) -> bytes:
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return at.strftime("%d/%b/%Y:%H:%M:%S +0000").encode()


def _combined_line(
    stamp: bytes, client: bytes, request: bytes | None, status: int, size: int
) -> bytes:
    told = b"-" if request is None else _escaped(request)
    return b'%b - - [%b] "%b" %d %d' % (client, stamp, told, status, size)


def _combined_plain(stamp: bytes, client: bytes, request: bytes, size: int, ending: bytes) -> bytes:
    return b'%b - - [%b] "%b" 200 %d%b' % (client, stamp, request, size, ending)


def _combined_ending(fields: Fields) -> bytes:
    referrer, agent = fields.get(b"referer", b"-"), fields.get(b"user-agent", b"-")
    return b' "%b" "%b"\n' % (_escaped(referrer), _escaped(agent))


COMBINED = LogFormat(
    _combined_stamp,
    _combined_line,
    _combined_plain,
    _combined_ending,
    frozenset({b"referer", b"user-agent"}),
)


# The same with the ids that tell which request of a caller it was, at the end.


def _combined_with_ids_ending(fields: Fields) -> bytes:
    ids = b" ".join(b'"%b"' % _escaped(_id(fields, name) or b"-") for name in _IDS)
    return b"%b %b\n" % (_combined_ending(fields)[:-1], ids)


# JSON lines (RFC 8259), ASCII only. Names are those of nginx's variables, where it has them.


def _quoted(text: bytes) -> bytes:
    if not text.translate(None, _SAFE):
        return b'"%b"' % text
    # Of a text that isn't UTF-8 each such byte is told. JSON allows DEL, a terminal acts on it.
    quoted = json.dumps(text.decode("utf-8", "backslashreplace"))
    return quoted.replace("\x7f", "\\u007f").encode()


def _json_stamp(seconds: float) -> bytes:
    return timestamp(seconds).encode()


def _json_line(stamp: bytes, client: bytes, request: bytes | None, status: int, size: int) -> bytes:
    start = b'{"time":"%b","remote_addr":"%b"' % (stamp, client)
    if request is not None:
        method, _, rest = request.partition(b" ")
        target, _, protocol = rest.rpartition(b" ")
        start += b',"request_method":"%b","request_uri":%b,"server_protocol":"%b"' % (
            method, _quoted(target), protocol,
        )  # fmt: skip
    return b'%b,"status":%d,"body_bytes_sent":%d' % (start, status, size)


def _json_plain(stamp: bytes, client: bytes, request: bytes, size: int, ending: bytes) -> bytes:
    return _json_line(stamp, client, request, 200, size) + ending


# RFC 9110 sections 10.1.3 and 10.1.5; W3C Trace Context section 3.2; and what proxies send.
_TOLD = {
    b"referer": b"http_referer",
    b"user-agent": b"http_user_agent",
    b"x-request-id": b"request_id",
    b"traceparent": b"traceparent",
}


def _json_ending(fields: Fields) -> bytes:
    told = [
        b',"%b":%b' % (name, _quoted(_id(fields, field) if field in _IDS else fields[field]))
        for field, name in _TOLD.items()
        if field in fields
    ]
    return b"".join(told) + b"}\n"


JSON_LINES = LogFormat(_json_stamp, _json_line, _json_plain, _json_ending, frozenset(_TOLD))

COMBINED_WITH_IDS = LogFormat(
    _combined_stamp,
    _combined_line,
    _combined_plain,
    _combined_with_ids_ending,
    COMBINED.fields | {*_IDS},
)

LOG_FORMATS: Mapping[str, LogFormat] = {
    "combined": COMBINED,
    "combined_with_ids": COMBINED_WITH_IDS,
    "json": JSON_LINES,
}

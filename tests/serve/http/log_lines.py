"""What callers might send to forge lines of the access log, and lines taken apart."""

import json
import re
from collections.abc import Mapping

import attrs

LOOK_UP = b"/api/ip_query?ip=1.2.3.4"

# As they are called in the JSON lines.
TOLD = {
    b"Referer": "http_referer",
    b"User-Agent": "http_user_agent",
    b"X-Request-Id": "request_id",
    b"traceparent": "traceparent",
}

FIELDS = (*TOLD, b"X-Forwarded-For")
"""From these a line is made; the last one tells the client, where the peer is trusted."""

EVIL = (
    b"\r\n", b"\n", b"\r", b"\0", b"\t", b" ", b"\x1b[2J\x1b]0;x\x07", b"\x9b31m",
    "\x9b31m".encode(),
    b"\x7f", b'"', b"\\", b"\\x22", b'\\"', b'" 200 69 "-" "-', b'","status":500,"x":"', b"}\n{",
    b"\r\n192.0.2.9 - - [x] \"GET / HTTP/1.1\" 200 0", b"\r\nX-Forged: 1", b"\r\n folded", b"",
    "é中\u2028\u202e".encode(), b"\xc3", b"\xff\xfe", b"\xed\xa0\x80", b"%0d%0a%1b%22", b"[]", b"-",
    b"a" * 900,
)  # fmt: skip


@attrs.frozen
class Line:
    """What a line says."""

    status: int
    method: bytes | None
    """``None`` for what was no request."""
    target: bytes
    fields: Mapping[bytes, bytes]


_COMBINED = re.compile(
    r"[0-9a-f.:]+ - - \[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8} \+0000\] "
    r'"(?:-|([A-Z-]+) ([^ "]*) HTTP/1\.[01])" ([0-9]{3}) [0-9]+ "([^"]*)" "([^"]*)"'
    r'(?: "([^"]*)" "([^"]*)")?'
)

IDS = (b"X-Request-Id", b"traceparent")
_LONGEST_ID = 128


def _unescaped(text: str) -> bytes:
    assert re.fullmatch(r"(?:[^\\]|\\x[0-9A-F]{2})*", text)
    return re.sub(rb"\\x(..)", lambda match: bytes.fromhex(match[1].decode()), text.encode())


def of_combined(line: str) -> Line:
    """A line of the combined format, with ids or without."""
    match = _COMBINED.fullmatch(line)
    assert match, line
    method, target, status, *told = match.groups()
    names = (b"Referer", b"User-Agent", *IDS)
    fields = {
        name: _unescaped(text) for name, text in zip(names, told, strict=True) if text is not None
    }
    told_method = None if method is None else method.encode()
    return Line(int(status), told_method, _unescaped(target or ""), fields)


def cut(field: bytes, value: bytes) -> bytes:
    """What lines tell of the value of a field."""
    return value[:_LONGEST_ID] if field in IDS else value


def as_told(value: bytes) -> str:
    """What a JSON line says where this was sent."""
    return value.decode("utf-8", "backslashreplace")


def of_json(line: str) -> Line:
    """A JSON line; its texts as they were escaped."""
    said = json.loads(line)
    assert set(said) <= {
        "time", "remote_addr", "request_method", "request_uri", "server_protocol", "status",
        "body_bytes_sent", *TOLD.values(),
    }  # fmt: skip
    assert re.fullmatch("[0-9a-f.:]+", said["remote_addr"])
    method = said["request_method"].encode() if "request_method" in said else None
    fields = {name: said[key].encode() for name, key in TOLD.items() if key in said}
    uri = said.get("request_uri", "").encode()
    return Line(said["status"], method, uri, fields)


def request(part: bytes, text: bytes, path: bytes = LOOK_UP, *, closes: bool = False) -> bytes:
    """A request with a text in one part of it."""
    method = text if part == b"method" else b"GET"
    target = path + b"&x=" + text if part == b"target" else path
    field = b"%b: %b\r\n" % (part, text) if part in FIELDS else b""
    close = b"Connection: close\r\n" if closes else b""
    return b"%b %b HTTP/1.1\r\nHost: x\r\n%b%b\r\n" % (method, target, field, close)

"""Whatever callers send, each answer is one line of the access log, and its parts can be told."""

import json
import re
from collections.abc import Callable, Mapping, Sequence

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from ipquery.serve.http.settings import ClientSettings
from tests.serve.http.connection import PEER, Connection, Server, parse_responses
from tests.serve.http.logged import MemoryFile, memory_log

LOOK_UP = b"/api/ip_query?ip=1.2.3.4"

BEHIND_A_PROXY = ClientSettings((PEER.host,))

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
)


def _unescaped(text: str) -> bytes:
    assert re.fullmatch(r"(?:[^\\]|\\x[0-9A-F]{2})*", text)
    return re.sub(rb"\\x(..)", lambda match: bytes.fromhex(match[1].decode()), text.encode())


def of_combined(line: str) -> Line:
    """A line of the combined format."""
    match = _COMBINED.fullmatch(line)
    assert match, line
    method, target, status, *told = match.groups()
    names = (b"Referer", b"User-Agent")
    fields = {name: _unescaped(text) for name, text in zip(names, told, strict=True)}
    told_method = None if method is None else method.encode()
    return Line(int(status), told_method, _unescaped(target or ""), fields)


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


Send = Callable[[Server, Connection, bytes, bytes], None]


def _alone(server: Server, connection: Connection, part: bytes, text: bytes) -> None:
    connection.send(request(part, text))


def _on_a_path(server: Server, connection: Connection, part: bytes, text: bytes) -> None:
    connection.send(request(part, text, b"/nowhere?"))


def _after_others(server: Server, connection: Connection, part: bytes, text: bytes) -> None:
    """Where only what varies is looked at."""
    for before in (b"1", b"2", b"3"):
        connection.send(request(part, before) if part in FIELDS else request(b"", b""))
    connection.send(request(part, text), request(part, b"4"))


def _in_one_read(server: Server, connection: Connection, part: bytes, text: bytes) -> None:
    connection.send(request(part, b"1") + request(part, text) + request(part, b"2"))


def _once(server: Server, connection: Connection, part: bytes, text: bytes) -> None:
    """Without a channel, if it can be, and like the one that came first before."""
    for value in (b"1", b"2", b"3", text):
        sent = request(part, value if part in FIELDS or value == text else b"", closes=True)
        answer = server.site.answer_first(sent, (PEER.host, PEER.port))
        if answer is not None:
            connection.transport.sent += answer[0]
        elif value == text:
            connection.send(sent)


WAYS: Sequence[Send] = (_alone, _on_a_path, _after_others, _in_one_read, _once)


@settings(max_examples=800)
@given(
    express=st.booleans(),
    name=st.sampled_from(("combined", "json")),
    way=st.sampled_from(WAYS),
    part=st.sampled_from([b"method", b"target", *FIELDS]),
    text=st.sampled_from(EVIL)
    | st.binary(max_size=6)
    | st.tuples(st.sampled_from(EVIL), st.binary(max_size=3)).map(b"".join),
)
def test_each_answer_is_one_line_that_says_what_was_sent(
    express: bool, name: str, way: Send, part: bytes, text: bytes
) -> None:
    file = MemoryFile()
    server = Server(log=memory_log(file, name), express=express, client=BEHIND_A_PROXY)
    connection = server.connect()
    way(server, connection, part, text)
    server.advance(1)
    answers = parse_responses(connection.transport.sent)
    assert len(file.lines) == len(answers)
    assert all(re.fullmatch("[ -~]+", written) for written in file.lines)
    understood = of_combined if name == "combined" else of_json
    lines = [understood(written) for written in file.lines]
    assert [line.status for line in lines] == [answer.status for answer in answers]
    if b"\r\n" in text:
        return  # these are other requests, then, or fields
    told = as_told(text).encode() if name == "json" else text
    for line in lines:
        if line.method is None or part == b"method":
            continue
        for field, value in line.fields.items():
            if value not in (b"-", b"1", b"2", b"3", b"4"):
                assert (field, value) == (part, told.strip(b" \t"))
        assert line.target.startswith((LOOK_UP, b"/nowhere?"))
        assert line.target.partition(b"&x=")[2] in (b"", b"1", b"2", b"4", told.rstrip(b" "))

"""Whatever callers send, each answer is one line of the access log, and its parts can be told."""

import re
from collections.abc import Callable, Sequence

from hypothesis import assume, given
from hypothesis import strategies as st

from ipquery.serve.http.log_formats import LOG_FORMATS
from ipquery.serve.http.settings import ClientSettings
from tests.examples import many
from tests.serve.http.connection import PEER, Connection, Server, parse_responses
from tests.serve.http.log_lines import (
    EVIL,
    FIELDS,
    LOOK_UP,
    as_told,
    cut,
    of_combined,
    of_json,
    request,
)
from tests.serve.http.logged import MemoryFile, memory_log

BEHIND_A_PROXY = ClientSettings((PEER.host,))


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


@many(6)
@given(
    express=st.booleans(),
    name=st.sampled_from(sorted(LOG_FORMATS)),
    way=st.sampled_from(WAYS),
    part=st.sampled_from([b"method", b"target", *FIELDS]),
    text=st.sampled_from(EVIL)
    | st.binary(max_size=6)
    | st.tuples(st.sampled_from(EVIL), st.binary(max_size=3)).map(b"".join),
)
def test_each_answer_is_one_line_that_says_what_was_sent(
    express: bool, name: str, way: Send, part: bytes, text: bytes
) -> None:
    # The answer has no body then, which whoever takes answers apart must know.
    assume((part, text) != (b"method", b"HEAD"))
    file = MemoryFile()
    server = Server(log=memory_log(file, name), express=express, client=BEHIND_A_PROXY)
    connection = server.connect()
    way(server, connection, part, text)
    server.advance(1)
    answers = parse_responses(connection.transport.sent)
    assert len(file.lines) == len(answers)
    assert all(re.fullmatch("[ -~]+", written) for written in file.lines)
    understood = of_json if name == "json" else of_combined
    lines = [understood(written) for written in file.lines]
    assert [line.status for line in lines] == [answer.status for answer in answers]
    if b"\r\n" in text:
        return  # these are other requests, then, or fields
    told = as_told(text).encode() if name == "json" else text
    value_told = cut(part, text.strip(b" \t"))
    if name == "json":
        value_told = as_told(value_told).encode()
    for line in lines:
        if line.method is None or part == b"method":
            continue
        for field, value in line.fields.items():
            if value not in (b"-", b"1", b"2", b"3", b"4"):
                assert (field, value) == (part, value_told)
        assert line.target.startswith((LOOK_UP, b"/nowhere?"))
        assert line.target.partition(b"&x=")[2] in (b"", b"1", b"2", b"4", told.rstrip(b" "))

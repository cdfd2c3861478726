"""What comes in as bytes, on every way in memory."""

import re
from collections.abc import Callable

import pytest

from tests.contract.wire import LOOK_UP, Outcome, Wire, failed
from tests.contract.wire_cases import CASES
from tests.serve.http.connection import PEER, Connection, Server, get, parse_responses

_REQUEST_LINE = re.compile(rb"\A[\r\n]*[^\r\n]*\r\n")


def _outcome(connection: Connection) -> Outcome:
    return Outcome(connection.received(), connection.open)


def _at_once(connection: Connection, sent: bytes) -> Outcome:
    connection.send(sent)
    return _outcome(connection)


def _by_bytes(connection: Connection, sent: bytes) -> Outcome:
    connection.send(*(bytes([byte]) for byte in sent))
    return _outcome(connection)


def _after_look_ups(connection: Connection, sent: bytes) -> Outcome:
    """Where the lane knows already how this client asks."""
    for _ in range(3):
        connection.ask(LOOK_UP)
        connection.ask(get("/api/ip_query?ip=1.2.3.4"))
    return _at_once(connection, sent)


def _behind_look_ups(connection: Connection, sent: bytes) -> Outcome:
    """In the same read as others."""
    connection.send(LOOK_UP * 3 + sent)
    outcome = _outcome(connection)
    assert [response.status for response in outcome.responses[:3]] == [200] * 3
    return Outcome(outcome.responses[3:], outcome.is_open)


def _without_a_channel(connection: Connection, sent: bytes) -> Outcome:
    """If one isn't needed: it is given what came in first."""
    answer = connection.server.site.answer_first(sent, (PEER.host, PEER.port))
    if answer is None:
        return _at_once(connection, sent)
    response, is_closed = answer
    return Outcome(parse_responses(response), is_open=not is_closed)


WAYS = [_at_once, _by_bytes, _after_look_ups, _behind_look_ups, _without_a_channel]


@pytest.mark.parametrize("express", [True, False], ids=["express", "no-express"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_one_thing_comes_of_it(express: bool, way: Callable[[Connection, bytes], Outcome]) -> None:
    def try_out(case: Wire) -> None:
        case.verify(way(Server(express=express).connect(), case.sent))

    assert failed(CASES, try_out) == []


ANSWERED = [case for case in CASES if case.statuses]


def test_the_same_comes_of_it_where_the_connection_is_to_be_closed() -> None:
    """As callers without keep-alive ask, for whom no channel is made."""

    def try_out(case: Wire) -> None:
        closing = _REQUEST_LINE.sub(lambda line: line[0] + b"Connection: close\r\n", case.sent)
        expected = Wire(case.name, closing, case.statuses[:1])
        expected.verify(_without_a_channel(Server().connect(), closing))

    assert failed(ANSWERED, try_out) == []


def test_no_name_is_used_twice() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)

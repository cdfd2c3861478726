"""What connections share: draining, readiness, the access log."""

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.log_formats import LOG_FORMATS
from tests.examples import many
from tests.serve.http.connection import PEER, Connection, Server, get
from tests.serve.http.logged import MemoryFile, memory_log
from tests.serve.http.requests import QUERY
from tests.serve.http.slow import Slow
from tests.serve.strategies import requests, series


def _fired(deferred: Deferred[None]) -> bool:
    seen: list[None] = []
    deferred.addCallback(seen.append)
    return bool(seen)


def test_draining_closes_idle_connections_soon() -> None:
    server = Server()
    unused, idle = server.connect(), server.connect()
    for _ in range(3):  # through every door of the express lane
        idle.ask(QUERY)
    drained = server.site.drain()
    server.advance(1)
    assert _fired(drained)
    assert unused.transport.closed
    assert idle.transport.closed


def test_idle_connections_have_a_whole_second_to_be_used_again() -> None:
    """Wherever between two looks at the clock draining begins."""
    server = Server()
    idle = server.connect()
    idle.ask(QUERY)
    server.clock.advance(0.9)
    server.site.drain()
    server.clock.advance(0.1)
    server.clock.advance(0.8)
    assert idle.ask(QUERY).headers["Connection"] == "close"


def test_a_request_on_its_way_when_draining_begins_is_answered() -> None:
    server = Server()
    unused, idle = server.connect(), server.connect()
    idle.ask(QUERY)
    server.site.drain()
    for connection in (unused, idle):
        response = connection.ask(QUERY)
        assert (response.status, response.headers["Connection"]) == (200, "close")


def test_without_connections_draining_is_done_at_once() -> None:
    assert _fired(Server().site.drain())


def test_draining_answers_what_was_asked_and_says_close() -> None:
    slow = Slow()
    server = Server(resource=slow)
    connection = server.connect()
    connection.send(get("/1") + get("/2"))
    drained = server.site.drain()
    slow.answer()
    (response,) = connection.received()
    assert response.headers["Connection"] == "close"
    assert not connection.open
    assert not _fired(drained)
    connection.finish_sending()
    assert _fired(drained)


def test_draining_lets_a_begun_request_come_in() -> None:
    server = Server()
    connection = server.connect()
    connection.send(QUERY[:20])
    drained = server.site.drain()
    response = connection.ask(QUERY[20:])
    assert (response.status, response.headers["Connection"]) == (200, "close")
    connection.finish_sending()
    assert _fired(drained)


def test_draining_has_an_end() -> None:
    slow = Slow()
    server = Server(HttpLimits(drain_seconds=5), resource=slow)
    connection = server.connect()
    connection.send(get("/1"))
    drained = server.site.drain()
    server.advance(4)
    assert not _fired(drained)
    server.advance(1)
    assert connection.transport.aborted
    assert _fired(drained)


def test_nothing_is_left_on_the_clock_after_draining() -> None:
    server = Server()
    server.site.drain()
    assert server.clock.getDelayedCalls() == []


def test_a_process_that_drains_is_not_ready() -> None:
    server = Server()
    server.readiness.why_not = "draining"
    response = server.connect().ask(get("/readyz"))
    assert (response.status, response.message) == (503, "draining")
    assert response.headers["Retry-After"] == "1"
    assert server.connect().ask(get("/healthz")).status == 200
    assert server.connect().ask(QUERY).status == 200


def _logged(*requests: bytes, express: bool = True, name: str = "combined") -> list[str]:
    file = MemoryFile()
    server = Server(log=memory_log(file, name), express=express)
    connection = Connection(server)
    connection.send(*requests)
    server.advance(1)
    return file.lines


def test_the_access_log_has_a_line_an_answer() -> None:
    request = get("/api/ip_query?ip=1.2.3.4", 'User-Agent: a "b"', "Referer: http://x/")
    first, second, third = _logged(request, get("/x"), b"nonsense\r\n\r\n")
    assert first == (
        "192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "
        '"GET /api/ip_query?ip=1.2.3.4 HTTP/1.1" 200 69 "http://x/" "a \\x22b\\x22"'
    )
    assert '"GET /x HTTP/1.1" 404 24 "-" "-"' in second
    assert re.search(r'"-" 400 [0-9]+ "-" "-"$', third)


@many(5)
@given(
    st.lists(requests(), min_size=1, max_size=6) | series(),
    st.booleans(),
    st.sampled_from(sorted(LOG_FORMATS)),
)
def test_the_fast_way_logs_what_the_routes_log(sent: list[bytes], at_once: bool, name: str) -> None:
    pieces = [b"".join(sent)] if at_once else sent
    assert _logged(*pieces, name=name) == _logged(*pieces, express=False, name=name)


@given(requests(), st.sampled_from(sorted(LOG_FORMATS)))
def test_what_needs_no_channel_is_logged_as_by_one(request: bytes, name: str) -> None:
    file = MemoryFile()
    server = Server(log=memory_log(file, name))
    if server.site.answer_first(request, (PEER.host, PEER.port)) is not None:
        server.advance(1)
        assert file.lines == _logged(request, express=False, name=name)

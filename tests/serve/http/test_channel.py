"""The HTTP channel: order, persistence, limits, deadlines, refusals."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import Request
from zope.interface import implementer

from ipquery.serve.http.limits import HttpLimits
from tests.serve.http.connection import KNOWN, Server, get, parse_responses, post
from tests.serve.http.requests import BODY, QUERY, SMUGGLED, UNKNOWN
from tests.serve.http.slow import Slow


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def slow_server(slow: Slow) -> Server:
    return Server(resource=slow)


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """Failures logged meanwhile."""
    seen: list[str] = []

    @implementer(ILogObserver)
    def observe(event: dict[str, object]) -> None:
        if "log_failure" in event:
            seen.append(str(event["log_failure"]))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


# Persistence


def test_a_connection_is_kept_and_answers_again(server: Server) -> None:
    connection = server.connect()
    for _ in range(3):
        assert connection.ask(QUERY).body == KNOWN
        assert connection.open


@pytest.mark.parametrize(
    ("version", "headers", "kept", "said"),
    [
        ("1.1", [], True, None),
        ("1.1", ["Connection: close"], False, "close"),
        ("1.1", ["Connection: Close"], False, "close"),
        ("1.1", ["Connection: keep-alive"], True, None),
        ("1.1", ["Connection: x, close"], False, "close"),
        ("1.1", ["Connection: x", "Connection: close"], False, "close"),
        ("1.1", ["Connection: closed"], True, None),
        ("1.1", ["Connection: not-close"], True, None),
        ("1.0", [], False, "close"),
        ("1.0", ["Connection: keep-alive"], True, "keep-alive"),
        ("1.0", ["Connection: Keep-Alive, x"], True, "keep-alive"),
        ("1.0", ["Connection: keep-alive, close"], False, "close"),
        ("1.0", ["Connection: close"], False, "close"),
    ],
)
def test_persistence(
    server: Server, version: str, headers: list[str], kept: bool, said: str | None
) -> None:
    connection = server.connect()
    response = connection.ask(get("/healthz", *headers, version=version))
    assert response.status == 200
    assert response.headers.get("Connection") == said
    assert connection.open is kept


def test_the_last_request_a_connection_may_have_says_close() -> None:
    connection = Server(HttpLimits(requests_per_connection=2)).connect()
    connection.send(QUERY * 5)
    responses = connection.received()
    assert [r.headers.get("Connection") for r in responses] == [None, "close"]
    assert not connection.open


def test_after_a_close_nothing_more_is_answered(server: Server) -> None:
    connection = server.connect()
    connection.send(get("/healthz", "Connection: close") + QUERY, QUERY)
    assert len(connection.received()) == 1


def test_an_upgrade_is_ignored_and_what_follows_is_http(server: Server) -> None:
    connection = server.connect()
    upgrade = get(
        "/healthz", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"
    )
    connection.send(upgrade + QUERY, QUERY, upgrade, QUERY)
    assert [r.status for r in connection.received()] == [200] * 5


def test_an_upgrade_with_a_body(server: Server) -> None:
    connection = server.connect()
    body = post(b'{"ip":"1.2.3.4"}', "Connection: Upgrade", "Upgrade: websocket")
    connection.send(body + QUERY)
    assert [r.body for r in connection.received()] == [KNOWN] * 2


def test_an_upgrade_that_is_refused_for_something_else(server: Server) -> None:
    connection = server.connect()
    connection.send(get("/healthz", "Connection: Upgrade", "Upgrade: h2c", "Host: again") + QUERY)
    assert [r.status for r in connection.received()] == [400]
    assert not connection.open


def test_empty_lines_before_a_request_are_skipped(server: Server) -> None:
    assert server.connect().ask(b"\r\n\r\n" + QUERY).status == 200


# Order


def test_all_answers_to_one_read_leave_in_one_write(server: Server) -> None:
    connection = server.connect()
    connection.send(QUERY + UNKNOWN + post(b"{}") + QUERY)
    assert [r.status for r in connection.received()] == [200, 501, 400, 200]
    assert connection.transport.writes == 1


def test_later_requests_wait_for_a_slow_one(slow_server: Server, slow: Slow) -> None:
    connection = slow_server.connect()
    connection.send(get("/1") + get("/2") + get("/3"))
    assert len(slow.waiting) == 1
    for path in (b"/1", b"/2", b"/3"):
        slow.answer()
        assert [r.body for r in connection.received()] == [path]
    assert connection.open


def test_reading_stops_while_requests_wait(slow_server: Server, slow: Slow) -> None:
    connection = slow_server.connect()
    connection.send(get("/1"))
    assert not connection.transport.paused, "a client that leaves must be noticed"
    connection.send(get("/2"))
    assert connection.transport.paused
    slow.answer()
    assert not connection.transport.paused
    slow.answer()
    assert [r.body for r in connection.received()] == [b"/1", b"/2"]


def test_a_refusal_waits_its_turn(slow_server: Server, slow: Slow) -> None:
    connection = slow_server.connect()
    connection.send(get("/1") + b"nonsense\r\n\r\n", get("/2"))
    assert connection.received() == []
    slow.answer()
    assert [r.status for r in connection.received()] == [200, 400]
    assert not connection.open


def test_many_waiting_requests_do_not_nest(server: Server, slow: Slow) -> None:
    server = Server(resource=slow)
    connection = server.connect()
    connection.send(get("/1") + get("/x") * 3000)
    for _ in range(3001):
        slow.answer()
    assert len(connection.received()) == 3001


# A client that goes


def test_a_client_that_leaves_is_told_to_the_request(slow_server: Server, slow: Slow) -> None:
    connection = slow_server.connect()
    connection.send(get("/1") + get("/2"))
    connection.transport.loseConnection()
    assert slow.lost == [b"/1"]
    assert slow_server.site.connections == set()


def test_a_half_closed_client_gets_its_answers(slow_server: Server, slow: Slow) -> None:
    connection = slow_server.connect()
    connection.send(get("/1") + get("/2"))
    connection.finish_sending()
    assert connection.open
    slow.answer()
    slow.answer()
    assert [r.body for r in connection.received()] == [b"/1", b"/2"]
    assert connection.transport.closed


@pytest.mark.parametrize("sent", [b"", b"GET", QUERY, QUERY[:-1], post(b"{}")[:-1]])
def test_a_half_closed_client_with_nothing_asked_is_closed(server: Server, sent: bytes) -> None:
    connection = server.connect()
    connection.send(sent)
    connection.finish_sending()
    assert connection.transport.closed


def test_a_client_that_does_not_read_is_not_read_and_in_the_end_cut(server: Server) -> None:
    connection = server.connect()
    connection.send(QUERY)
    connection.transport.producer.pauseProducing()
    assert connection.transport.paused
    server.advance(74)
    assert not connection.transport.closed
    server.advance(2)
    assert connection.transport.aborted


@pytest.mark.parametrize("express", [True, False])
def test_a_client_that_does_not_read_gets_no_answer_to_what_came_in_before(express: bool) -> None:
    """A transport that was told to pause may bring one read more."""
    server = Server(express=express)
    connection = server.connect()
    connection.ask(QUERY)
    connection.ask(QUERY)
    connection.transport.producer.pauseProducing()
    connection.channel.dataReceived(QUERY)
    assert connection.received() == []
    connection.transport.producer.resumeProducing()
    server.run()
    assert len(connection.received()) == 1
    assert connection.ask(QUERY).status == 200


def test_a_client_that_reads_again_is_read_again(server: Server) -> None:
    connection = server.connect()
    connection.send(QUERY)
    connection.transport.producer.pauseProducing()
    connection.transport.producer.resumeProducing()
    assert not connection.transport.paused
    server.advance(60)
    assert connection.open


def test_reading_stays_paused_while_either_side_wants_it(slow_server: Server, slow: Slow) -> None:
    connection = slow_server.connect()
    connection.send(get("/1") + get("/2") + get("/3"))
    connection.transport.producer.pauseProducing()
    slow.answer()
    assert connection.transport.paused
    assert slow.waiting == [], "who doesn't read gets no more answers to wait for"
    connection.transport.producer.resumeProducing()
    slow_server.run()
    assert connection.transport.paused, "the third waits"
    slow.answer()
    assert not connection.transport.paused


# Deadlines


def test_an_unused_connection_is_closed_without_a_word(server: Server) -> None:
    connection = server.connect()
    server.advance(9)
    assert connection.open
    server.advance(2)
    assert connection.transport.closed
    assert connection.received() == []


def test_a_header_has_an_absolute_deadline(server: Server) -> None:
    connection = server.connect()
    connection.ask(QUERY)
    for byte in QUERY[:10]:
        assert connection.open
        connection.send(bytes([byte]))
        server.advance(1)
    connection.send(QUERY[10:11])
    server.advance(1)
    (response,) = connection.received()
    assert (response.status, response.message) == (408, "request not complete in time")
    assert not connection.open


def test_a_body_has_an_absolute_deadline(server: Server) -> None:
    connection = server.connect()
    request = post(b" " * 100)
    connection.send(request[:-100])
    for _ in range(9):
        server.advance(1)
        connection.send(b" ")
    assert connection.open
    server.advance(2)
    (response,) = connection.received()
    assert (response.status, response.message) == (408, "request not complete in time")
    assert response.headers["Connection"] == "close"


def test_an_idle_connection_is_closed_without_a_word(server: Server) -> None:
    connection = server.connect()
    connection.ask(QUERY)
    server.advance(74)
    connection.ask(QUERY)
    server.advance(74)
    assert connection.open
    server.advance(2)
    assert connection.transport.closed
    assert connection.received() == []


@pytest.mark.parametrize("express", [True, False])
def test_what_is_left_to_send_has_as_long_as_an_idle_connection(
    express: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the client has said its last, and doesn't take its answer."""
    server = Server(express=express)
    connection = server.connect()
    monkeypatch.setattr(connection.transport, "loseConnection", lambda: None)
    connection.ask(QUERY)
    connection.ask(QUERY)
    connection.finish_sending()
    server.advance(74)
    assert not connection.transport.aborted
    server.advance(2)
    assert connection.transport.aborted


@pytest.mark.parametrize("express", [True, False])
def test_a_connection_in_use_again_is_kept_though_its_time_was_over(express: bool) -> None:
    """Not all whose time is over in the same second are closed in the same turn."""
    server = Server(express=express)
    connections = [server.connect() for _ in range(40)]
    for connection in connections:
        connection.ask(QUERY)
        connection.ask(QUERY)
    server.advance(70)
    while all(connection.open for connection in connections):
        server.clock.advance(1)
    late = [connection for connection in connections if connection.open]
    assert 0 < len(late) < 40
    for connection in late:
        connection.channel.dataReceived(QUERY)
    server.run()
    assert all(connection.open for connection in late)
    server.advance(80)
    assert server.site.connections == set()


def test_a_slow_answer_is_waited_for(slow_server: Server, slow: Slow) -> None:
    connection = slow_server.connect()
    connection.send(get("/1") + b"GET /2")
    slow_server.advance(1000)
    slow.answer()
    assert [r.body for r in connection.received()] == [b"/1"]
    # The time before did not count for the second request.
    slow_server.advance(9)
    assert connection.open
    slow_server.advance(2)
    assert [r.status for r in connection.received()] == [408]


def test_the_date_is_the_clocks(server: Server) -> None:
    connection = server.connect()
    assert connection.ask(QUERY).headers["Date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    server.advance(1)
    assert connection.ask(QUERY).headers["Date"] == "Tue, 14 Nov 2023 22:13:21 GMT"


def test_a_deadline_is_one_requests_own(server: Server) -> None:
    connection = server.connect()
    connection.ask(QUERY)
    connection.send(QUERY[:10])
    server.advance(9)
    # The first is complete; the second has begun now.
    connection.send(QUERY[10:] + QUERY[:10])
    server.advance(9)
    connection.send(QUERY[10:])
    assert [r.status for r in connection.received()] == [200, 200]
    connection.send(post(BODY)[:-1])
    server.advance(9)
    connection.send(post(BODY)[-1:] + post(BODY)[:-1])
    server.advance(9)
    assert connection.open


# Limits


def test_a_header_that_never_ends_is_refused(server: Server) -> None:
    connection = server.connect()
    connection.send(get("/healthz")[:-2])
    sent = 0
    while connection.open and sent < 1_000_000:
        connection.send(b"X: y\r\n" * 10)
        sent += 60
    (response,) = connection.received()
    assert response.status == 431
    assert sent < 50_000


def test_one_header_that_never_ends_is_refused(server: Server) -> None:
    connection = server.connect()
    connection.send(b"GET /healthz HTTP/1.1\r\nX: ")
    sent = 0
    while connection.open and sent < 1_000_000:
        connection.send(b"y" * 1000)
        sent += 1000
    assert [r.status for r in connection.received()] == [431]
    assert sent < 50_000


def test_a_target_that_never_ends_is_refused(server: Server) -> None:
    connection = server.connect()
    connection.send(b"GET /")
    sent = 0
    while connection.open and sent < 1_000_000:
        connection.send(b"y" * 100)
        sent += 100
    assert [r.status for r in connection.received()] == [414]
    assert sent < 10_000


@pytest.mark.parametrize(
    "endless",
    [b"1\r\nx\r\n", b"1;" + b"e" * 500 + b"\r\nx\r\n", b"fff\r\n" + b"x" * 4095 + b"\r\n"],
)
def test_a_body_that_never_ends_is_refused(server: Server, endless: bytes) -> None:
    connection = server.connect()
    connection.send(get("/api/ip_query", "Transfer-Encoding: chunked", method="POST"))
    sent = 0
    while connection.open and sent < 10_000_000:
        connection.send(endless)
        sent += len(endless)
    assert [r.status for r in connection.received()] == [413]
    assert sent < 100_000


def test_trailers_that_never_end_are_refused(server: Server) -> None:
    for trailer in (b"X: y\r\n", b"z" * 100):
        connection = server.connect()
        connection.send(get("/api/ip_query", "Transfer-Encoding: chunked", method="POST"))
        connection.send(b"0\r\n")
        sent = 0
        while connection.open and sent < 10_000_000:
            connection.send(trailer)
            sent += len(trailer)
        assert [r.status for r in connection.received()] in ([413], [431])
        assert sent < 100_000


def test_trailers_are_no_headers(server: Server) -> None:
    connection = server.connect()
    connection.send(
        get("/api/ip_query", "Transfer-Encoding: chunked", method="POST")
        + b'10\r\n{"ip":"1.2.3.4"}\r\n0\r\nHost: evil\r\nConnection: close\r\n\r\n'
    )
    # A second Host would have been refused. The connection isn't kept, to be safe.
    assert [r.status for r in connection.received()] == [200]
    assert not connection.open


def test_many_pipelined_requests_are_no_long_header(server: Server) -> None:
    connection = server.connect()
    whole = QUERY * 2000
    connection.send(*(whole[at : at + 65536] for at in range(0, len(whole), 65536)))
    assert len(connection.received()) == 2000


def test_a_large_body_is_refused_before_it_is_sent(server: Server) -> None:
    connection = server.connect()
    connection.send(post(b" " * 5000)[:-5000])
    assert [r.status for r in connection.received()] == [413]
    assert not connection.open


def test_too_many_connections_are_told_so() -> None:
    server = Server(HttpLimits(connections=2))
    first, second, third = (server.connect() for _ in range(3))
    (response,) = third.received()
    assert (response.status, response.message) == (503, "too many connections")
    assert response.headers["Retry-After"] == "1"
    assert not third.open
    assert first.ask(QUERY).status == second.ask(QUERY).status == 200
    third.transport.loseConnection()
    first.transport.loseConnection()
    assert server.connect().ask(QUERY).status == 200


# Refusals close, and linger


def test_a_refused_connection_is_read_on_for_a_while(server: Server) -> None:
    connection = server.connect()
    connection.send(b"nonsense\r\n\r\n")
    assert connection.transport.write_closed
    assert not connection.transport.closed
    connection.send(QUERY)
    assert [r.status for r in connection.received()] == [400]
    server.advance(3)
    assert connection.transport.aborted


def test_a_refused_client_that_closes_too_is_gone(server: Server) -> None:
    connection = server.connect()
    connection.send(b"nonsense\r\n\r\n")
    connection.finish_sending()
    assert connection.transport.closed
    assert not connection.transport.aborted


@pytest.mark.parametrize("express", [True, False])
def test_what_is_no_request_is_refused_with_a_body_after_a_head_too(express: bool) -> None:
    """It has no method that could say otherwise (RFC 9110 section 9.3.2)."""
    connection = Server(express=express).connect()
    connection.send(get("/api/ip_query?ip=1.2.3.4", method="HEAD"))
    connection.received(heads_only=True)
    connection.send(b"\r\n" * 40)
    (response,) = connection.received()
    assert response.message == "bad request: empty lines instead of a request"


@pytest.mark.parametrize("name", SMUGGLED)
@pytest.mark.parametrize("whole", [True, False], ids=["at once", "by bytes"])
def test_ambiguous_framing_is_refused_and_the_connection_closed(
    server: Server, name: str, whole: bool
) -> None:
    connection = server.connect()
    attack = SMUGGLED[name] + QUERY
    connection.send(attack) if whole else connection.send(*(bytes([b]) for b in attack))
    (response,) = connection.received()
    assert response.status in (400, 413, 501, 505)
    assert response.headers["Connection"] == "close"
    assert response.message
    assert not connection.open


# Expect


def test_100_continue_is_sent_when_the_body_is_awaited(server: Server) -> None:
    connection = server.connect()
    request = post(BODY, "Expect: 100-continue")
    connection.send(request[: -len(BODY)])
    assert connection.transport.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.received()
    assert connection.ask(BODY).body == KNOWN


def test_100_continue_is_not_sent_when_the_body_is_there(server: Server) -> None:
    assert server.connect().ask(post(BODY, "Expect: 100-Continue")).status == 200


def test_100_continue_is_not_sent_for_a_body_that_is_refused(server: Server) -> None:
    connection = server.connect()
    connection.send(post(b" " * 5000, "Expect: 100-continue")[:-5000])
    assert [r.status for r in connection.received()] == [413]


def test_100_continue_waits_for_the_answers_before(slow_server: Server, slow: Slow) -> None:
    connection = slow_server.connect()
    connection.send(get("/1") + post(BODY, "Expect: 100-continue", target="/2")[: -len(BODY)])
    assert connection.transport.sent == b""
    slow.answer()
    assert connection.transport.sent.endswith(b"\r\n\r\n/1HTTP/1.1 100 Continue\r\n\r\n")
    connection.transport.sent = b""
    connection.send(BODY)
    slow.answer()
    assert [r.body for r in connection.received()] == [b"/2"]


def test_http_1_0_expects_nothing(server: Server) -> None:
    connection = server.connect()
    request = post(BODY, "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
    connection.send(request[: -len(BODY)])
    assert connection.transport.sent == b""
    assert connection.ask(BODY).status == 200


# Faults


class Broken(Resource):
    isLeaf = True

    def render(self, request: Request) -> bytes:
        raise RuntimeError("a fault of ours")


def test_a_fault_is_answered_and_logged(faults: list[str]) -> None:
    connection = Server(resource=Broken()).connect()
    response = connection.ask(QUERY)
    assert (response.status, response.json) == (500, {"message": "internal error"})
    assert connection.ask(QUERY).status == 500
    assert any("a fault of ours" in fault for fault in faults)


def test_a_fault_in_the_channel_is_left_to_the_transport(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It logs the fault and cuts the connection, see tests/net/test_transport.py."""

    def fail(channel: object) -> None:
        raise RuntimeError("a fault of the channel")

    monkeypatch.setattr(server.site, "make_request", fail)
    with pytest.raises(RuntimeError, match="a fault of the channel"):
        server.connect().send(get("/api/ip_query?ip=x"))


# Streaming: what twisted.web resources may do besides answering at once


def test_a_request_may_write_at_the_transports_pace(slow_server: Server, slow: Slow) -> None:
    connection = slow_server.connect()
    connection.send(get("/1"))
    (request,) = slow.waiting

    class Producer:
        def resumeProducing(self) -> None: ...
        def pauseProducing(self) -> None: ...
        def stopProducing(self) -> None: ...

    producer: object = Producer()
    request.registerProducer(producer, True)
    assert connection.transport.producer is producer
    request.unregisterProducer()
    assert connection.transport.producer is connection.channel
    slow.answer()
    assert [r.body for r in connection.received()] == [b"/1"]


# Any bytes at all


@given(st.lists(st.binary() | st.sampled_from([QUERY, UNKNOWN, *SMUGGLED.values()])))
def test_whatever_comes_in_what_goes_out_is_http(pieces: list[bytes]) -> None:
    server = Server()
    connection = server.connect()
    connection.send(*pieces)
    for response in connection.received():
        assert response.status in (200, 400, 405, 413, 417, 431, 501, 505)
        assert response.json
    server.advance(100)
    assert connection.transport.closed
    assert server.site.connections == set()


@given(st.lists(st.sampled_from([QUERY, UNKNOWN, post(BODY), post(b"?")]), min_size=1), st.data())
def test_how_a_stream_is_cut_changes_nothing(requests: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(requests)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole, cut = Server().connect(), Server().connect()
    whole.send(stream)
    cut.send(*pieces)
    assert cut.transport.sent == whole.transport.sent
    assert len(parse_responses(whole.transport.sent)) == len(requests)

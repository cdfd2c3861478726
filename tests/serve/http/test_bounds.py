"""What one connection may cost the others: turns of the reactor, and memory."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ipquery.serve.http.bounds import most_kept_bytes
from ipquery.serve.http.codings import CODING_BYTES
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.turns import TURN_SECONDS
from tests.serve.http.connection import KNOWN, Server, get, post
from tests.serve.http.greedy import GREEDY, READ, ROOT, kept_bytes
from tests.serve.http.requests import QUERY
from tests.serve.http.slow import Slow


def _turns(server: Server, done: Callable[[], bool]) -> int:
    """How many turns of the reactor it takes."""
    for turn in range(100_000):
        if done():
            return turn
        server.turn()
    raise AssertionError("it never comes about")


# Turns


@pytest.mark.parametrize("request_", [ROOT, QUERY], ids=["by the routes", "by the lane"])
def test_a_pipeliner_is_answered_in_portions_and_others_between_them(request_: bytes) -> None:
    server = Server()
    hog, other = server.connect(), server.connect()
    count = READ // len(request_)
    hog.queue(request_ * count)
    server.turn()
    answered = len(hog.received())
    assert 0 < answered <= 32
    assert hog.transport.paused
    other.queue(QUERY)
    server.turn()
    assert [r.body for r in other.received()] == [KNOWN]
    server.run()
    assert answered + len(hog.received()) == count
    assert not hog.transport.paused


def test_pipeliners_take_turns() -> None:
    server = Server()
    hogs = [server.connect() for _ in range(20)]
    for hog in hogs:
        hog.queue(ROOT * 1000)
    for _ in range(30):
        server.turn()
    shares = [len(hog.received()) for hog in hogs]
    assert max(shares) <= min(shares) + 8
    assert min(shares) > 0


class Costly(Server):
    """Each answer by the routes takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        make = self.site.make_request

        def costly(channel: Any) -> Any:
            self.monotonic += seconds
            return make(channel)

        self.site.make_request = costly  # type: ignore[method-assign] # it takes time, besides


def test_all_connections_together_have_so_much_of_a_turn() -> None:
    server = Costly(TURN_SECONDS / 2)
    hogs = [server.connect() for _ in range(100)]
    for hog in hogs:
        hog.queue(ROOT * 20)
    worked = 0.0
    while any(hog.transport.inbox or hog.transport.paused for hog in hogs):
        before = server.monotonic
        server.turn()
        # What began in time is finished.
        assert server.monotonic - before < 2 * TURN_SECONDS
        worked += server.monotonic - before
    assert worked == pytest.approx(100 * 20 * TURN_SECONDS / 2)
    assert all(len(hog.received()) == 20 for hog in hogs)


def test_who_asks_once_waits_no_longer_than_a_round() -> None:
    server = Costly(TURN_SECONDS / 4)
    hogs = [server.connect() for _ in range(10)]
    for hog in hogs:
        hog.queue(ROOT * 5000)
    server.turn()
    one = server.connect()
    one.queue(get("/healthz"))
    # Ten portions of four before it, four to a turn.
    assert _turns(server, lambda: bool(one.transport.sent)) <= 13


def test_ten_thousand_deadlines_at_once_are_looked_at_in_portions() -> None:
    server = Server(HttpLimits(connections=10_000))
    for _ in range(1000):
        server.connect().send(QUERY[:20])
    server.clock.advance(11)
    answered = sum(connection.transport.sent != b"" for connection in server.connections)
    assert 0 < answered <= 64
    server.run()
    assert all(b" 408 " in connection.transport.sent for connection in server.connections)


def test_a_fault_in_one_deadline_leaves_the_others_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    first, second = server.connect(), server.connect()

    def fail() -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(first.channel, "expire", fail)
    server.advance(11)
    assert first.transport.aborted
    assert second.transport.closed
    third = server.connect()
    server.advance(11)
    assert third.transport.closed


def test_a_connection_that_is_lost_while_it_waits_is_forgotten() -> None:
    server = Server()
    hog = server.connect()
    hog.queue(ROOT * 1000)
    server.turn()
    hog.transport.abortConnection()
    server.run()
    assert server.site.connections == set()


def test_draining_while_a_connection_waits_its_turn() -> None:
    server = Server()
    hog = server.connect()
    hog.queue(ROOT * 1000)
    server.turn()
    begun = len(hog.received())
    server.site.drain()
    server.run()
    (last,) = hog.received()
    assert last.headers["Connection"] == "close"
    assert begun < 100


# Deadlines


def test_empty_lines_do_not_keep_a_connection_open() -> None:
    server = Server()
    connection = server.connect()
    connection.ask(QUERY)
    for _ in range(74):
        server.advance(1)
        if not connection.transport.closed:
            connection.send(b"\r\n")
    server.advance(3)
    assert not connection.open


def test_nor_do_they_replace_the_last_call_of_a_drain() -> None:
    server = Server()
    connection = server.connect()
    connection.ask(QUERY)
    server.site.drain()
    for _ in range(3):
        connection.send(b"\r\n")
        server.advance(1)
    assert connection.transport.closed


def test_an_empty_line_behind_each_body_does_no_harm() -> None:
    """As some clients send it (RFC 9112 section 2.2)."""
    server = Server()
    connection = server.connect()
    for _ in range(200):
        assert connection.ask(post(b'{"ip":"1.2.3.4"}'), b"\r\n").body == KNOWN


# Memory


@pytest.mark.parametrize("name", GREEDY)
@pytest.mark.parametrize("cut", [READ, 1000, 77])
@pytest.mark.parametrize("answered", [True, False], ids=["answered", "behind a slow request"])
def test_a_connection_keeps_no_more_than_is_stated(name: str, cut: int, answered: bool) -> None:
    server = Server() if answered else Server(resource=Slow())
    connection = server.connect()
    if not answered:
        connection.send(get("/slow"))
    stream = GREEDY[name]
    connection.queue(*(stream[at : at + cut] for at in range(0, len(stream), cut)))
    most = kept_bytes(connection)
    for turn in range(2000):
        if not server.turn():
            break
        # To look takes longer than a turn.
        if turn < 20 or turn % 50 == 0:
            most = max(most, kept_bytes(connection))
    assert most <= most_kept_bytes(HttpLimits())


def _batch(body: bytes, kind: str = "text/plain", *headers: str) -> bytes:
    return post(body, f"Content-Type: {kind}", *headers, target="/v1/batch")


BATCHES = {
    "addresses": _batch(b"1.2.3.4\n" * 10_000),
    "empty lines": _batch(b"\n" * 300_000),
    "a line without end": _batch(b"1" * 300_000),
    "an element without end": _batch(b'["' + b"1" * 300_000, "application/json"),
    "deep JSON": _batch(b"[" * 300_000, "application/json"),
    "short elements": _batch(b"[" + b"1," * 150_000, "application/json"),
    "objects": _batch(b'{"ip":"1.2.3.4","fields":"city"}\n' * 10_000, "application/x-ndjson"),
    "a gzip bomb": _batch(gzip.compress(b"\n" * 5_000_000), "text/plain", "Content-Encoding: gzip"),
    "gzip answers": _batch(b"1.2.3.4\n" * 10_000, "text/plain", "Accept-Encoding: gzip"),
    "small chunks": get("/v1/batch", "Content-Type: text/plain", "Transfer-Encoding: chunked",
                        method="POST") + b"2\r\n1\n\r\n" * (READ // 7),
}  # fmt: skip


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("cut", [READ, 1000])
@pytest.mark.parametrize("reads", [True, False], ids=["read", "not read"])
def test_an_exchange_keeps_no_more_than_is_stated(name: str, cut: int, reads: bool) -> None:
    server = Server()
    connection = server.connect()
    stream = BATCHES[name]
    connection.queue(*(stream[at : at + cut] for at in range(0, len(stream), cut)))
    most = 0
    for turn in range(3000):
        if not server.turn():
            break
        if not reads and turn == 5 and connection.transport.producer is not None:
            connection.transport.producer.pauseProducing()
        if turn < 20 or turn % 50 == 0:
            most = max(most, kept_bytes(connection))
    # What zlib and zstd keep isn't seen here.
    assert most <= most_kept_bytes(HttpLimits(), in_exchange=True) - CODING_BYTES


def test_a_client_that_does_not_read_is_given_one_portion_more() -> None:
    server = Server()
    connection = server.connect()
    connection.queue(QUERY * 5000)
    server.turn()
    sent = len(connection.transport.sent)
    connection.transport.producer.pauseProducing()
    server.run()
    assert len(connection.transport.sent) == sent <= 1 << 16
    connection.transport.producer.resumeProducing()
    server.run()
    assert len(connection.received()) == 5000


def test_the_handbook_states_what_a_connection_keeps() -> None:
    text = Path("conf/ipquery.toml").read_text("utf-8")
    stated = most_kept_bytes(HttpLimits())
    assert f"{stated / 1e6:.1f} MB" in text
    stated = most_kept_bytes(HttpLimits(), in_exchange=True)
    assert f"{stated / 1e6:.0f} MB while" in text


# Sizes, to the byte, however the stream is cut


def _padded(size: int) -> bytes:
    """A request whose header fields take so many bytes as they are sent."""
    start = b"GET /healthz HTTP/1.1\r\n"
    fields = b"Host: x\r\nX:"
    return start + fields + b" " * (size - len(fields) - 3) + b"y\r\n\r\n"


@pytest.mark.parametrize("cut", [1 << 20, 1000, 1])
@pytest.mark.parametrize(("size", "status"), [(16_384, 200), (16_385, 431)])
def test_a_header_is_measured_as_it_was_sent(cut: int, size: int, status: int) -> None:
    connection = Server().connect()
    stream = ROOT + b"\r\n" + _padded(size) + QUERY
    connection.send(*(stream[at : at + cut] for at in range(0, len(stream), cut)))
    statuses = [response.status for response in connection.received()]
    assert statuses == ([404, 200, 200] if status == 200 else [404, 431])


@pytest.mark.parametrize("cut", [1 << 20, 1000, 1])
@pytest.mark.parametrize(("count", "status"), [(99, 200), (100, 431)])
def test_fields_are_counted(cut: int, count: int, status: int) -> None:
    connection = Server().connect()
    stream = get("/healthz", *["a:"] * count)
    connection.send(*(stream[at : at + cut] for at in range(0, len(stream), cut)))
    assert [response.status for response in connection.received()] == [status]


@pytest.mark.parametrize("cut", [1 << 20, 1])
def test_empty_lines_without_end_are_refused(cut: int) -> None:
    connection = Server().connect()
    stream = b"\r\n" * 100 + QUERY
    connection.send(*(stream[at : at + cut] for at in range(0, len(stream), cut)))
    assert [response.status for response in connection.received()] == [400]
    assert not connection.open

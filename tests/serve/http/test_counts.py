"""What is counted: every answer once, whichever way it took."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.metrics import (
    ACTIVE,
    BATCHES,
    CONNECTIONS,
    DURATION,
    LIMITS,
    LOOKUPS,
    OPENED,
    RECEIVED,
    SENT,
    Metric,
)
from ipquery.serve.http.counts import ONE_OF_REPEATS, Counts, Tally, shared_out
from ipquery.serve.http.limits import HttpLimits
from tests.serve.http.connection import PEER, Server, get, post
from tests.serve.http.requests import QUERY
from tests.serve.http.slow import Slow
from tests.serve.strategies import requests, series

ARRAY = "/api/ip_query"


def counted(server: Server) -> dict[tuple[str, tuple[str, ...]], Any]:
    """Everything so far."""
    server.figures._told = None
    seen: list[Any] = []
    server.figures.get().addCallback(seen.append)
    return {(name, labels): value for name, labels, value in seen[0].entries}


def of(server: Server, metric: Metric) -> dict[tuple[str, ...], Any]:
    """Of one metric, by its labels; of a histogram the numbers."""
    return {
        labels: sum(value[:-1]) if isinstance(value, list) else value
        for (name, labels), value in counted(server).items()
        if name == metric.name
    }


def test_each_way_is_counted_by_method_route_and_status() -> None:
    server = Server()
    connection = server.connect()
    for _ in range(5):
        connection.send(QUERY)
    connection.send(get("/v1/ip/1.2.3.4"), get("/v1/ip/1.2.3.4/city"), get(f"{ARRAY}?ip=9.9.9.9"))
    connection.send(get(f"{ARRAY}?ip=1.2.3.4", method="HEAD"), post(b'{"ip":"1.2.3.4"}'))
    connection.send(get("/healthz"), get("/nowhere"), get("/healthz", method="DELETE"))
    connection.send(post(b'["1.2.3.4"]', "Content-Type: application/json", target="/v1/batch"))
    connection.send(b"nonsense\r\n\r\n")
    assert of(server, DURATION) == {
        ("GET", ARRAY, "200"): 5,
        ("GET", ARRAY, "501"): 1,
        ("HEAD", ARRAY, "200"): 1,
        ("POST", ARRAY, "200"): 1,
        ("GET", "/v1/ip/{ip}", "200"): 1,
        ("GET", "/v1/ip/{ip}/{field}", "200"): 1,
        ("GET", "/healthz", "200"): 1,
        ("GET", "", "404"): 1,
        ("DELETE", "/healthz", "405"): 1,
        ("POST", "/v1/batch", "200"): 1,
        ("_OTHER", "", "400"): 1,
    }
    assert of(server, OPENED) == {(): 1}
    assert of(server, CONNECTIONS) == {(): 1}


@given(st.lists(requests(), min_size=1, max_size=6) | series(), st.booleans())
def test_every_answer_is_counted_once(sent: list[bytes], at_once: bool) -> None:
    pieces = [b"".join(sent)] if at_once else sent
    numbers = []
    for express in (True, False):
        server = Server(express=express)
        connection = server.connect()
        connection.send(*pieces)
        numbers.append(of(server, DURATION))
        if not express:  # there bytes are counted by those of some
            assert of(server, SENT).get((), 0) == len(connection.transport.sent)
            assert of(server, RECEIVED).get((), 0) == sum(map(len, pieces))
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("again", [False, True], ids=["on a connection", "first on each"])
def test_hits_that_come_after_a_miss_are_counted_with_time_and_country(again: bool) -> None:
    """They are told from the miss by comparing bytes, and none of them was looked at before."""
    server = Server()
    connection = server.connect()
    for address in ("9.9.9.9", "1.2.3.4", "1.2.3.4"):
        if again:
            server.site.answer_first(get(f"{ARRAY}?ip={address}"), ("192.0.2.1", 1))
        else:
            connection.send(get(f"{ARRAY}?ip={address}"))
    assert of(server, DURATION) == {("GET", ARRAY, "501"): 1, ("GET", ARRAY, "200"): 2}
    assert of(server, LOOKUPS) == {("unknown", ""): 1, ("found", "CN"): 2}


@pytest.mark.parametrize("at_once", [1, 16, 100])
def test_repeats_are_all_counted_and_some_are_looked_at(at_once: int) -> None:
    server = Server()
    connection = server.connect()
    number = 4 * ONE_OF_REPEATS
    for done in range(0, number, at_once):
        connection.queue(QUERY * min(at_once, number - done))
    server.run()
    assert of(server, DURATION) == {("GET", ARRAY, "200"): number}
    assert of(server, LOOKUPS) == {("found", "CN"): number}
    assert of(server, RECEIVED) == {(): number * len(QUERY)}
    assert of(server, SENT).get((), 0) == len(connection.transport.sent)


def test_a_repeat_that_is_looked_at_is_timed() -> None:
    server = Server()
    connection = server.connect()
    connection.send(QUERY)
    counted(server)
    write = connection.channel._write

    def write_slowly(data: bytes) -> None:
        server.monotonic += 0.003
        write(data)

    connection.channel._write = write_slowly
    for _ in range(2 * ONE_OF_REPEATS):
        connection.send(QUERY)
    (values,) = [value for (name, _), value in counted(server).items() if name == DURATION.name]
    place = DURATION.bounds.index(0.005)
    assert values[place] == 2 * ONE_OF_REPEATS
    assert values[-1] == pytest.approx(2 * ONE_OF_REPEATS * 0.003)


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_a_connection_has_no_more_requests_for_being_looked_at(at_once: int) -> None:
    for most in (1, 2, 3, 5, 300, 600):
        server = Server(HttpLimits(requests_per_connection=most))
        connection = server.connect()
        for done in range(0, most + 3, at_once):
            connection.send(QUERY * min(at_once, most + 3 - done))
        server.run()
        answers = connection.received()
        assert len(answers) == most
        assert [one.headers.get("Connection") for one in answers[-1:]] == ["close"]
        assert of(server, DURATION) == {("GET", ARRAY, "200"): most}


def test_first_requests_on_connections_are_counted() -> None:
    server = Server()
    request = get(f"{ARRAY}?ip=1.2.3.4", "Connection: close")
    peer = PEER.host, PEER.port
    sent = 0
    for _ in range(2 * ONE_OF_REPEATS + 3):
        answer = server.site.answer_first(request, peer)
        assert answer is not None
        sent += len(answer[0])
    number = 2 * ONE_OF_REPEATS + 3
    assert of(server, DURATION) == {("GET", ARRAY, "200"): number}
    assert of(server, OPENED) == {(): number}
    assert of(server, LOOKUPS) == {("found", "CN"): number}
    assert (of(server, RECEIVED), of(server, SENT)) == (
        {(): number * len(request)},
        {(): sent},
    )


@pytest.mark.parametrize(
    ("ip", "labels"),
    [
        ("1.2.3.4", ("found", "CN")),
        ("9.9.9.9", ("unknown", "")),
        ("10.0.0.1", ("special", "")),
        ("::ffff:10.0.0.1", ("special", "")),
    ],
)
@pytest.mark.parametrize("target", ["/v1/ip/{}", f"{ARRAY}?ip={{}}"])
@pytest.mark.parametrize("express", [True, False])
def test_look_ups_are_told_by_outcome_and_country(
    ip: str, labels: tuple[str, str], target: str, express: bool
) -> None:
    server = Server(express=express)
    server.connect().ask(get(target.format(ip)))
    assert of(server, LOOKUPS) == {labels: 1}


def test_batches_are_told_by_size() -> None:
    server = Server()
    body = "".join(f"1.2.3.{number % 256}\n" for number in range(300)).encode()
    server.connect().send(post(body, "Content-Type: text/plain", target="/v1/batch"))
    sizes = counted(server)[BATCHES.name, ()]
    assert sizes[BATCHES.bounds.index(500)] == sum(sizes[:-1]) == 1
    assert sizes[-1] == 300
    assert of(server, LOOKUPS) == {("found", "CN"): 300}


@pytest.mark.parametrize(
    ("request_", "limits", "limit"),
    [
        (get("/" + "x" * 100), HttpLimits(request_line_bytes=50), "request_line_bytes"),
        (get("/", "A: " + "x" * 100), HttpLimits(header_bytes=50), "header_bytes"),
        (post(b"x" * 100), HttpLimits(body_bytes=50), "body_bytes"),
        (get("/"), HttpLimits(connections=0), "connections"),
    ],
)
def test_limits_that_are_hit_are_told(request_: bytes, limits: HttpLimits, limit: str) -> None:
    server = Server(limits)
    server.connect().send(request_)
    assert of(server, LIMITS) == {(limit,): 1}
    assert sum(of(server, DURATION).values()) == 1


@pytest.mark.parametrize(
    ("sent", "limit"), [(QUERY[:20], "header_seconds"), (post(b"{}")[:-1], "body_seconds")]
)
def test_who_is_late_is_told(sent: bytes, limit: str) -> None:
    server = Server()
    server.connect().send(sent)
    server.advance(11)
    assert of(server, LIMITS) == {(limit,): 1}


def test_requests_in_flight_are_told() -> None:
    slow = Slow()
    server = Server(resource=slow)
    answered, lost = server.connect(), server.connect()
    for one in (answered, lost):
        one.send(get("/1"))
    assert of(server, ACTIVE) == {(): 2}
    lost.transport.abortConnection()
    assert of(server, ACTIVE) == {(): 1}
    slow.answer()
    assert of(server, ACTIVE) == {(): 0}


@given(st.integers(0, 10**6), st.dictionaries(st.integers(), st.integers(1, 1000), min_size=1))
def test_what_is_shared_out_is_all_of_it(count: int, weights: dict[int, int]) -> None:
    shares = shared_out(count, weights)
    assert sum(shares.values()) == count
    whole = sum(weights.values())
    for group, weight in weights.items():
        assert abs(shares.get(group, 0) - count * weight / whole) < 1 + 1e-6 * count


def test_those_that_were_not_looked_at_are_like_those_before() -> None:
    counts, tally = Counts(), Tally(("GET", "/", "200"))
    tally.answered += 10
    tally.measure(0.003, 100, 200, 1)
    tally.see(("found", "CN"), 1)
    tally.take(counts)
    tally.answered += 5
    tally.take(counts)
    taken = {name: value for name, _, value in counts.take()}
    values = taken[DURATION.name]
    assert isinstance(values, list)
    assert values[DURATION.bounds.index(0.005)] == 15
    assert taken[LOOKUPS.name] == 15
    assert (taken[RECEIVED.name], taken[SENT.name]) == (1500, 3000)

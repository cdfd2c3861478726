"""The express lane: used when it can be, and never to be told from the other way."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.web.http import parse_qs

from ipquery import open_snapshot
from ipquery.address import parse, to_text
from ipquery.serve.api import contract
from ipquery.serve.api.express import address_of, carrying, without_record
from ipquery.serve.api.settings import ApiSettings
from ipquery.serve.http.fast import nothing
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.reply import after_date
from tests.data.builder import write_snapshot
from tests.data.tables import RECORDS
from tests.examples import many
from tests.serve.http.connection import KNOWN, Connection, Server, get, post
from tests.serve.strategies import BODIES, chunked, requests, series, streams

# Equality


def _state(connection: Connection) -> object:
    channel, transport = connection.channel, connection.transport
    return (
        transport.sent,
        transport.closed,
        transport.write_closed,
        transport.aborted,
        transport.paused,
        channel._requests_left,
        channel._deadlines.phase.name == "CLOSING",
    )


@many(4)
@given(
    streams(),
    st.sampled_from((HttpLimits(), HttpLimits(requests_per_connection=3))),
    st.booleans(),
    st.sampled_from((0, 1, 9)),
)
def test_with_and_without_the_lane_everything_is_the_same(
    pieces: list[bytes], limits: HttpLimits, drains: bool, seconds: int
) -> None:
    servers = [Server(limits, express=express) for express in (True, False)]
    connections = [server.connect() for server in servers]
    for piece in [
        *pieces,
        *[get("/v1/ip/1.2.3.4")] * 2,
        *[post(b'{"ip":"1.2.3.4"}')] * 2,
        *[get("/api/ip_query?ip=1.2.3.4")] * 2,
    ]:
        for connection in connections:
            connection.send(piece)
        assert _state(connections[0]) == _state(connections[1])
        for server in servers:
            server.advance(seconds)
    if drains:
        for server in servers:
            server.site.drain()
    # And in time: what is left of a deadline is the same, to the second it is looked at.
    for _ in range(80):
        for server in servers:
            server.advance(1)
        assert _state(connections[0]) == _state(connections[1])


@many(3)
@given(st.lists(st.tuples(st.integers(0, 2), requests()), min_size=1, max_size=12))
def test_connections_that_learn_from_each_other_answer_the_same(
    sent: list[tuple[int, bytes]],
) -> None:
    with_lane, without = Server(), Server(express=False)
    connections = [(with_lane.connect(), without.connect()) for _ in range(3)]
    for which, request in sent:
        for connection in connections[which]:
            connection.send(request)
        one, other = connections[which]
        assert _state(one) == _state(other)


CORS = st.sampled_from(((), ("*",), ("https://a.example", "https://b.example")))


def _thrice(field: str, *values: str, body: bytes = b"") -> list[bytes]:
    fields = [field.format(value) for value in values]
    if body:
        return [post(body, field) for field in fields]
    return [get("/api/ip_query?ip=1.2.3.4", field) for field in fields]


def _asked(field: str, *values: str) -> list[bytes]:
    return [get("/v1/ip/1.2.3.4", field.format(value)) for value in values]


@many(8)
@given(
    series(),
    st.sampled_from((HttpLimits(), HttpLimits(header_bytes=100), HttpLimits(body_bytes=70))),
    CORS,
)
@example(_thrice("X: {}", "1", "2", "x" * 200), HttpLimits(header_bytes=100), ())
@example(
    _thrice("X: {}", "1", "2", "x" * 200, body=b'{"ip":"1.2.3.4"}'),
    HttpLimits(header_bytes=100),
    (),
)
@example(_thrice("X: {}", "1", "2", "x\ry", body=b'{"ip":"1.2.3.4"}'), HttpLimits(), ())
@example(
    [post(b'{"ip":"1\\u002e0.0.0","y":"%b"}' % ip) for ip in (b"1.0.0.0", b"1.2.3.4")],
    HttpLimits(),
    (),
)
@example(
    [get(f"/api/ip_query?a=b?ip={ip}&ip=1.2.3.4") for ip in ("1.2.3.4", "1.0.0.0")],
    HttpLimits(),
    (),
)
@example(_asked("Accept: {}", "*/*", "text/csv", "*/*"), HttpLimits(), ())
@example(_asked("Accept:{}", "*/*", "*/*", "text/csv"), HttpLimits(), ())
@example(_asked("If-None-Match: {}", '"x"', '"y"', "*"), HttpLimits(), ())
@example(_asked("If-None-Match: {}", "*", "*", "*"), HttpLimits(), ())
@example(_asked("Origin: {}", "https://a.example", "x", "x"), HttpLimits(), ("https://a.example",))
@example(_asked("Origin: {}", "https://a.example", "x", "x"), HttpLimits(), ("*",))
def test_a_request_like_the_one_before_is_answered_the_same(
    sent: list[bytes], limits: HttpLimits, cors: tuple[str, ...]
) -> None:
    api = ApiSettings(cors=cors)
    one, other = (Server(limits, express=express, api=api).connect() for express in (True, False))
    for request in sent:
        one.send(request)
        other.send(request)
        assert _state(one) == _state(other)


@many(4)
@given(
    series() | st.lists(requests(), min_size=1, max_size=4),
    st.sampled_from((HttpLimits(), HttpLimits(requests_per_connection=1))),
)
def test_what_comes_first_is_answered_as_by_a_channel(
    sent: list[bytes], limits: HttpLimits
) -> None:
    server = Server(limits)
    for request in sent:
        answer = server.site.answer_first(request, PEER)
        if answer is None:
            continue
        connection = Server(limits, express=False).connect()
        connection.send(request)
        assert (connection.transport.sent, connection.transport.write_closed) == answer


@many(5)
@given(
    series() | st.lists(requests(), min_size=1, max_size=4),
    st.sampled_from((HttpLimits(), HttpLimits(requests_per_connection=2))),
    st.sampled_from((0, 1, 9)),
)
def test_a_connection_goes_on_as_if_it_had_had_a_channel_all_the_time(
    sent: list[bytes], limits: HttpLimits, seconds: int
) -> None:
    server, whole = Server(limits), Server(limits).connect()
    first, *others = sent
    answer = server.site.answer_first(first, PEER)
    if answer is None or answer[1]:
        return
    whole.send(first)
    resumed = Connection(server, server.site.build_answered)
    resumed.transport.sent = answer[0]
    for request in others:
        resumed.send(request)
        whole.send(request)
        assert _state(resumed) == _state(whole)
    for one in (server, whole.server):
        one.advance(seconds)
    assert _state(resumed) == _state(whole)


# As accept(2) has it.
PEER = ("192.0.2.7", 4711)


def test_a_look_up_that_comes_first_needs_no_channel() -> None:
    site = Server().site
    for request, is_last in (
        (get("/api/ip_query?ip=1.2.3.4", version="1.0"), True),
        (get("/api/ip_query?ip=9.9.9.9", "Connection: close"), True),
        (post(b'{"ip":"1.2.3.4"}', "Connection: close"), True),
        (get("/api/ip_query?ip=1.2.3.4"), False),
    ):
        answer = site.answer_first(request, PEER)
        assert answer is not None
        assert answer[1] == is_last
    assert site.answer_first(get("/healthz", version="1.0"), PEER) is None


def test_with_too_many_connections_or_none_to_come_it_does() -> None:
    request = get("/api/ip_query?ip=1.2.3.4", version="1.0")
    full = Server(HttpLimits(connections=1))
    full.connect()
    assert full.site.answer_first(request, PEER) is None
    draining = Server()
    draining.connect()
    draining.site.drain()
    assert draining.site.answer_first(request, PEER) is None
    assert Server(express=False).site.answer_first(request, PEER) is None


# That it is used at all


class Spy:
    """Counts the requests that are made the ordinary way."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        self.fed = 0
        make = server.site.make_request

        def counted(channel: object) -> object:
            self.made += 1
            return make(channel)  # type: ignore[arg-type] # passed through

        monkeypatch.setattr(server.site, "make_request", counted)

    def feeds(self, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        feed: Callable[[bytes, int], int] = connection.channel._incoming.feed

        def counted(data: bytes, begin: int) -> int:
            self.fed += 1
            return feed(data, begin)

        monkeypatch.setattr(connection.channel._incoming, "feed", counted)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def spy(server: Server, monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(server, monkeypatch)


def _json(ip: str) -> bytes:
    return b'{"ip":"%s"}' % ip.encode()


PLAIN = {
    "GET": lambda ip: get(f"/api/ip_query?ip={ip}"),
    "with headers": lambda ip: get(
        f"/api/ip_query?ip={ip}", "User-Agent: x", "Connection: keep-alive", "Accept: */*"
    ),
    "HTTP/1.0": lambda ip: get(f"/api/ip_query?ip={ip}", "Connection: Keep-Alive", version="1.0"),
    "one more parameter": lambda ip: get(f"/api/ip_query?from=ads&ip={ip}&x=%20"),
    "escapes": lambda ip: get(f"/api/ip_query?ip={ip.replace(':', '%3A')}"),
    "POST": lambda ip: post(_json(ip)),
    "POST with blanks": lambda ip: post(b' { "ip" : "%s" }\n' % ip.encode()),
    "POST with more members": lambda ip: post(b'{"from":"ads","ip":"%s","x":[]}' % ip.encode()),
    "POST with escapes": lambda ip: post(b'{"\\u0069p":"%s"}' % ip.encode()),
}
"""Look-ups in shapes that are told without a parser."""

V1_SHAPES = {
    "an object": "/v1/ip/{}",
    "one more parameter": "/v1/ip/{}?from=ads",
    "some fields": "/v1/ip/{}?fields=country_code,city",
    "fields around the address": "/v1/ip/{}?fields=ip,network,range.first",
    "a language": "/v1/ip/{}?lang=en",
    "a field": "/v1/ip/{}/city",
}
"""Targets of /v1 that are answered on the fast way."""


@pytest.mark.parametrize("accept", ["*/*", "text/csv", "text/plain"])
@pytest.mark.parametrize("kind", V1_SHAPES)
def test_what_v1_is_asked_is_not_parsed(
    server: Server, spy: Spy, monkeypatch: pytest.MonkeyPatch, kind: str, accept: str
) -> None:
    connection, slow = server.connect(), Server(express=False).connect()
    spy.feeds(connection, monkeypatch)
    for number, ip in enumerate(
        ("1.2.3.4", "1.0.0.0", "9.9.9.9", "10.0.0.1", "2001:db8::1", "2001%3Adb8%3A%3A2", "1.0.0.0")
    ):
        request = get(V1_SHAPES[kind].format(ip), f"X-Request-Id: {number}", f"Accept: {accept}")
        answer = connection.ask(request)
        assert answer.status == 200
        assert answer == slow.ask(request)
    asked_again = get("/v1/ip/1.2.3.4", "If-None-Match: *")
    assert connection.ask(asked_again).status == 304
    assert spy.fed == 0
    assert spy.made == 0


def test_after_a_reload_v1_answers_from_the_new_database(server: Server, tmp_path: Path) -> None:
    # One for each, so that it has learnt what it is asked before and after.
    connections = {shape.format("1.2.3.4"): server.connect() for shape in V1_SHAPES.values()}
    before = {
        target: [one.ask(get(target)) for _ in range(3)][-1] for target, one in connections.items()
    }
    path = write_snapshot(tmp_path / "other.ipq", [(0, 2**32 - 1, 1)], [], RECORDS)
    with open_snapshot(path) as other:
        server.v1.switch(other)
        assert server.lane is not None
        server.lane.aim(other.finder(carrying), nothing)
        slow = Server(express=False)
        slow.v1.switch(other)
        again = slow.connect()
        for target, connection in connections.items():
            for _ in range(3):
                answer = connection.ask(get(target))
                assert answer == again.ask(get(target))
                assert answer.headers["ETag"] != before[target].headers["ETag"]


PARSED = {
    "in chunks": lambda ip: chunked(_json(ip), 7),
    "an empty line before": lambda ip: b"\r\n" + get(f"/api/ip_query?ip={ip}"),
    "Expect": lambda ip: post(_json(ip), "Expect: 100-continue"),
    "absolute form": lambda ip: get(f"http://x/api/ip_query?ip={ip}"),
    "two options": lambda ip: get(f"/api/ip_query?ip={ip}", "Connection: x, keep-alive"),
}
"""Look-ups that the parser has to take apart."""

SHAPES = PLAIN | PARSED


@pytest.mark.parametrize("kind", SHAPES)
def test_a_look_up_makes_no_request(server: Server, spy: Spy, kind: str) -> None:
    connection = server.connect()
    for ip in ("1.2.3.4", "1.1.1.1", "2001:db8::1"):
        assert connection.ask(SHAPES[kind](ip)).body == KNOWN
    assert spy.made == 0


@pytest.mark.parametrize("kind", SHAPES)
def test_nor_does_an_address_without_a_record(server: Server, spy: Spy, kind: str) -> None:
    connection = server.connect()
    for ip in ("9.9.9.9", "::ffff:9.9.9.9", "3::A"):
        answer = connection.ask(SHAPES[kind](ip))
        assert answer.status == 501
        assert answer.json == {"message": f"no ip info in ip db for ip: {ip}"}
    assert spy.made == 0


@pytest.mark.parametrize("kind", PLAIN)
def test_a_plain_one_is_not_parsed(
    server: Server, spy: Spy, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    connection = server.connect()
    spy.feeds(connection, monkeypatch)
    for number, ip in enumerate(("1.2.3.4", "1.1.1.1", "2001:db8::1", "1.2.3.4")):
        request = PLAIN[kind](ip).replace(b"Host:", b"X-Request-Id: %d\r\nHost:" % number)
        assert connection.ask(request).body == KNOWN
    connection.send(PLAIN[kind]("1.2.3.4") * 40)
    assert [response.body for response in connection.received()] == [KNOWN] * 40
    assert spy.fed == 0
    assert spy.made == 0


@pytest.mark.parametrize("kind", SHAPES)
def test_one_that_closes_makes_no_request(server: Server, spy: Spy, kind: str) -> None:
    connection = server.connect()
    request = re.sub(rb"Connection: [^\r]*\r\n", b"", SHAPES[kind]("1.2.3.4"))
    (response,) = [connection.ask(request.replace(b"Host:", b"Connection: close\r\nHost:"))]
    assert response.body == KNOWN
    assert response.headers["Connection"] == "close"
    assert not connection.open
    assert spy.made == 0


def test_a_head_has_no_body(server: Server, spy: Spy) -> None:
    connection = server.connect()
    connection.send(get("/api/ip_query?ip=1.2.3.4", method="HEAD"))
    (response,) = connection.received(heads_only=True)
    assert response.headers["Content-Length"] == str(len(KNOWN))
    assert spy.made == 0


def test_pipelined_hits_make_no_request(server: Server, spy: Spy) -> None:
    connection = server.connect()
    connection.send(PLAIN["GET"]("1.2.3.4") * 5 + PLAIN["POST"]("1.2.3.4") * 5)
    assert [r.body for r in connection.received()] == [KNOWN] * 10
    assert connection.transport.writes == 1
    assert spy.made == 0


@pytest.mark.parametrize(
    "request_",
    [
        get("/api/ip_query?ip=x"),
        get("/api/ip_query"),
        get("/api/ip_query?ip=1.2.3.4", method="DELETE"),
        get("/api/ip_query/?ip=1.2.3.4"),
        post(b'{"ip":"x"}'),
        post(b'["1.2.3.4"]'),
    ],
)
def test_anything_else_makes_one(server: Server, spy: Spy, request_: bytes) -> None:
    server.connect().send(request_)
    assert spy.made == 1


def test_after_a_reload_the_new_database_answers(server: Server) -> None:
    connection = server.connect()
    connection.ask(PLAIN["GET"]("1.2.3.4"))
    assert server.lane is not None
    server.lane.aim(lambda ip: b"Content-Length: 2\r\n\r\n[]", nothing)
    assert connection.ask(PLAIN["GET"]("1.2.3.4")).body == b"[]"


# Its parts


@given(st.ip_addresses().map(str))
def test_without_a_record_it_says_what_the_routes_say(ip: str) -> None:
    find = without_record(lambda version, number: 0)
    assert find(ip.encode()) == after_date(contract.no_record(ip))
    assert without_record(lambda version, number: 1)(ip.encode()) is None
    assert find(ip.encode() + b"x") is None


def is_address(text: bytes) -> bool:
    try:
        parse(text.decode())
    except ValueError:
        return False
    return True


@given(st.binary(max_size=30) | BODIES)
def test_a_body_says_what_it_says_as_json(body: bytes) -> None:
    address = address_of(b"POST", b"/api/ip_query", body)
    if address is not None and is_address(address):
        assert json.loads(body)["ip"] == address.decode()


@given(
    st.lists(
        st.sampled_from(["ip", "=", "&", ";", "%69", "p", "1.2.3.4", "+", "%", "x", "%3d", "i"]),
        max_size=9,
    ).map("".join)
)
def test_a_query_says_what_it_says_to_twisted(query: str) -> None:
    address = address_of(b"GET", f"/api/ip_query?{query}".encode(), b"")
    values = parse_qs(query.encode(), 1).get(b"ip", [None])
    assert address == values[0]


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 9)), min_size=1))
def test_a_finder_finds_what_find_does(given: list[tuple[int, int]]) -> None:
    rows = [(number, number, record) for number, record in dict(given).items()]
    path = write_snapshot(
        Path(f"/dev/shm/ipquery-test-{os.getpid()}.ipq"), sorted(rows), [(1, 9, 3)], RECORDS
    )
    try:
        with open_snapshot(path) as db:
            find = db.finder(lambda answer: b"<" + answer)
            for text in (*(to_text(4, n) for n, _, _ in rows), "::1", "::", "::ffff:1.2.3.4"):
                for _ in range(2):  # the second time it is kept
                    found = db.find(text)
                    expected = None if found is None else b"<" + found.to_answer()
                    assert find(text.encode()) == expected
            for nonsense in (b"", b"x", b"1.2.3", b"\xff", b"1.2.3.4\0", b"1.2.3.4 "):
                assert find(nonsense) is None
    finally:
        path.unlink()

"""How often a client may ask, and that what is kept of clients is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.address import to_text
from ipquery.errors import ConfigError
from ipquery.serve.guard.buckets import Buckets
from ipquery.serve.guard.settings import GuardSettings, LimitSettings
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.settings import ClientSettings
from tests.serve.guard.test_networks import peer
from tests.serve.http.connection import Server, get, post

SECOND = 1_000_000_000
TARGET = "/api/ip_query?ip=1.2.3.4"


class Clock:
    """Time that a test lets pass."""

    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        return self.now


def limited(rate: int, burst: int, **more: int) -> GuardSettings:
    return GuardSettings(limit=LimitSettings(rate, burst, **more))


# One bucket


def test_so_many_at_once_and_then_so_many_a_second() -> None:
    clock = Clock()
    buckets = Buckets(LimitSettings(4, 10), clock)
    key = buckets.key_of("192.0.2.7")
    assert [buckets.take(key) is not None for _ in range(12)] == [True] * 10 + [False] * 2
    for _ in range(3):
        clock.now += SECOND
        assert [buckets.take(key) is not None for _ in range(5)] == [True] * 4 + [False]
    clock.now += 1000 * SECOND
    assert [buckets.take(key) is not None for _ in range(11)] == [True] * 10 + [False]


def test_what_is_left_is_told() -> None:
    clock = Clock()
    buckets = Buckets(LimitSettings(2, 3), clock)
    key = buckets.key_of("192.0.2.7")
    policy = b'RateLimit-Policy: "default";q=3;w=2\r\n'
    assert [buckets.take(key) for _ in range(4)] == [
        policy + b'RateLimit: "default";r=2;t=1\r\n',
        policy + b'RateLimit: "default";r=1;t=1\r\n',
        policy + b'RateLimit: "default";r=0;t=2\r\n',
        None,
    ]
    wait = buckets.wait(key)
    assert wait == SECOND // 2
    assert buckets.refused(wait) == {
        "RateLimit-Policy": '"default";q=3;w=2',
        "RateLimit": '"default";r=0;t=2',
        "Retry-After": "1",
    }
    clock.now += wait
    assert buckets.wait(key) <= 0
    assert buckets.take(key) is not None


@given(
    st.integers(1, 1000),
    st.integers(1, 50),
    st.lists(st.integers(0, 3 * SECOND), max_size=60),
)
def test_it_is_a_bucket_of_tokens(rate: int, burst: int, pauses: list[int]) -> None:
    """As if tokens were put in one after the other, each when it is due."""
    clock = Clock()
    buckets = Buckets(LimitSettings(rate, burst), clock)
    key = buckets.key_of("2001:db8::7")
    interval = SECOND // rate
    # Of tokens in parts of an interval.
    level = burst * interval
    for pause in pauses:
        clock.now += pause
        level = min(level + pause, burst * interval)
        has_one = level >= interval
        assert (buckets.wait(key) <= 0) == has_one
        told = buckets.take(key)
        assert (told is not None) == has_one
        if told is not None:
            level -= interval
            assert b";r=%d;t=" % (level // interval) in told


# Many of them


def test_clients_are_told_apart_by_their_prefixes() -> None:
    buckets = Buckets(LimitSettings(1, 1))
    same = [
        ("192.0.2.7", "::ffff:192.0.2.7"),
        ("2001:db8::1", "2001:db8::ffff:0:0:1"),
        ("fe80::1%eth0", "fe80::2"),
    ]
    for one, other in same:
        assert buckets.key_of(one) == buckets.key_of(other)
    others = ["192.0.2.7", "192.0.2.8", "2001:db8::1", "2001:db8:0:1::1", "::1", "0.0.0.1"]
    assert len({buckets.key_of(one) for one in others}) == len(others)
    wide = Buckets(LimitSettings(1, 1, 24, 48))
    assert wide.key_of("192.0.2.7") == wide.key_of("192.0.2.200")
    assert wide.key_of("2001:db8::1") == wide.key_of("2001:db8:0:ffff::1")
    assert wide.key_of("192.0.3.7") != wide.key_of("192.0.2.7")


def test_those_that_are_full_again_go() -> None:
    clock = Clock()
    buckets = Buckets(LimitSettings(1, 2, clients=1000), clock)
    for number in range(500):
        buckets.take(number)
    assert buckets.kept == 500
    clock.now += 10 * SECOND
    for number in range(500, 1000):
        buckets.take(number)
    assert buckets.kept == 500
    assert buckets.forgotten == 0


def test_where_all_are_in_use_the_one_that_asked_longest_ago_is_forgotten() -> None:
    buckets = Buckets(LimitSettings(1, 1, clients=3), Clock())
    for number in range(3):
        assert buckets.take(number) is not None
    assert buckets.take(3) is not None
    assert (buckets.kept, buckets.forgotten) == (3, 1)
    assert [buckets.take(number) is not None for number in (1, 2, 3)] == [False] * 3
    assert buckets.take(0) is not None


def _ask_as_many(buckets: Buckets, clock: Clock, clients: int, bound: int) -> None:
    for number in range(clients):
        buckets.take(buckets.key_of(to_text(6, (0x2001 << 112) + (number << 64))))
        clock.now += 100
        assert buckets.kept <= bound


def test_a_hundred_thousand_clients_are_no_more_than_the_bound() -> None:
    clock = Clock()
    buckets = Buckets(LimitSettings(1, 10, clients=1000), clock)
    _ask_as_many(buckets, clock, 100_000, 1000)
    assert buckets.forgotten == 99_000


@pytest.mark.soak
def test_nor_are_ten_million() -> None:
    clock = Clock()
    buckets = Buckets(LimitSettings(1, 10, clients=1000), clock)
    _ask_as_many(buckets, clock, 10_000_000, 1000)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, SECOND)), max_size=100))
def test_with_room_for_all_nobody_notices_the_bound(asked: list[tuple[int, int]]) -> None:
    clock = Clock()
    few, many = (Buckets(LimitSettings(2, 3, clients=most), clock) for most in (10, 10_000))
    for number, pause in asked:
        clock.now += pause
        assert few.take(number) == many.take(number)
    assert few.forgotten == 0


# Requests


@pytest.mark.parametrize("express", [True, False])
def test_more_are_refused_until_there_is_a_token(express: bool) -> None:
    server = Server(express=express, guard=limited(1, 5))
    connection = server.connect()
    answers = [connection.ask(get(TARGET)) for _ in range(7)]
    assert [one.status for one in answers] == [200] * 5 + [429] * 2
    assert [one.headers["RateLimit"] for one in answers[:5]] == [
        f'"default";r={4 - number};t={number + 1}' for number in range(5)
    ]
    refused = answers[-1]
    assert refused.message == "too many requests; Retry-After says when there may be another"
    assert refused.headers["RateLimit-Policy"] == '"default";q=5;w=5'
    assert refused.headers["RateLimit"] == '"default";r=0;t=5'
    assert refused.headers["Retry-After"] == "1"
    server.advance(1)
    assert [connection.ask(get(TARGET)).status for _ in range(2)] == [200, 429]
    problem = connection.ask(get("/v1/ip/1.2.3.4"))
    assert problem.json["type"] == "/docs#problem-too-many-requests"
    counted = {(name, labels): value for name, labels, value in server.counts.take()}
    assert counted["ipquery_limits_hit", ("requests_per_second",)] == 4
    assert connection.open


@pytest.mark.parametrize("express", [True, False])
def test_all_connections_and_routes_take_from_one_bucket(express: bool) -> None:
    server = Server(express=express, guard=limited(1, 8))
    batch = post(b"1.2.3.4\n", "Content-Type: text/plain", target="/v1/batch")
    asked = [get(TARGET), get("/v1/ip/1.2.3.4"), get("/nothing"), batch]
    for request in asked * 2:
        assert server.connect().ask(request).status in (200, 404)
    for request in asked:
        refused = server.connect().ask(request)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert server.connect(peer("192.0.2.8")).ask(get(TARGET)).status == 200


def test_pipelined_requests_take_one_each() -> None:
    connection = Server(guard=limited(1, 20)).connect()
    connection.send(get(TARGET) * 30)
    statuses = [one.status for one in connection.received()]
    assert statuses == [200] * 20 + [429] * 10


def test_so_do_those_that_come_first() -> None:
    site = Server(guard=limited(1, 20)).site
    answers = [site.answer_first(get(TARGET), ("192.0.2.7", 4711)) for _ in range(30)]
    statuses = [one[0].split(b" ")[1] for one in answers if one is not None]
    assert statuses == [b"200"] * 20 + [b"429"] * 10


@pytest.mark.parametrize("is_full", [True, False])
def test_what_a_full_or_draining_worker_leaves_unanswered_takes_none(is_full: bool) -> None:
    server = Server(HttpLimits(connections=1 if is_full else 2), guard=limited(1, 20))
    caller, site = ("192.0.2.7", 4711), server.site
    assert site.answer_first(get(TARGET), caller) is not None
    assert site.answer_first(get(TARGET), caller) is not None
    kept = server.connect()
    if not is_full:
        site.drain()
    assert site.answer_first(get(TARGET), caller) is None
    if is_full:
        assert server.connect().received()[0].status == 503
    assert kept.ask(get(TARGET)).headers["RateLimit"] == '"default";r=17;t=3'


@pytest.mark.parametrize("express", [True, False])
def test_behind_a_trusted_proxy_each_client_has_its_own(express: bool) -> None:
    client = ClientSettings(("10.0.0.1",))
    connection = Server(express=express, guard=limited(1, 3), client=client).connect(
        peer("10.0.0.1")
    )
    for number in range(5):
        for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            answer = connection.ask(get(TARGET, f"X-Forwarded-For: {host}"))
            assert answer.status == (200 if number < 3 else 429)


@pytest.mark.parametrize("express", [True, False])
def test_what_is_open_takes_none(express: bool) -> None:
    connection = Server(express=express, guard=limited(1, 1)).connect()
    for _ in range(5):
        answer = connection.ask(get("/healthz"))
        assert answer.status == 200
        assert "RateLimit" not in answer.headers
    assert connection.ask(get(TARGET)).status == 200
    assert connection.ask(get("/readyz")).status == 200


def test_clients_on_unix_sockets_that_nobody_tells_more_of_are_not_limited() -> None:
    connection = Server(guard=limited(1, 1)).connect(peer("-"))
    for _ in range(5):
        answer = connection.ask(get(TARGET))
        assert (answer.status, "RateLimit" in answer.headers) == (200, False)


def test_shared_caches_may_keep_answers_still() -> None:
    answer = Server(guard=limited(1, 1)).connect().ask(get("/v1/ip/1.2.3.4"))
    assert answer.headers["Cache-Control"] == "public, max-age=3600"


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"requests_per_second": 0}, "requests_per_second must be from 1 to 1000000"),
        ({"burst": 0}, "burst must be from 1 to 1000000"),
        ({"ipv4_prefix": 33}, "ipv4_prefix must be from 1 to 32"),
        ({"ipv6_prefix": 129}, "ipv6_prefix must be from 1 to 128"),
        ({"clients": 10_000_001}, "clients must be from 1 to 10000000"),
    ],
)
def test_what_cannot_be_is_an_error(more: dict[str, int], complaint: str) -> None:
    with pytest.raises(ConfigError, match=f"guard.limit.{complaint}"):
        LimitSettings(**{"requests_per_second": 1, **more})

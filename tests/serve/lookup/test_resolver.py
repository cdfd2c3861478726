"""From an address to its answer, with others who may know."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from ipquery.serve.lookup.local_cache import LocalCache
from ipquery.serve.lookup.resolver import Cached, Opinion, Resolver
from ipquery.serve.lookup.upstreams import CacheSettings
from tests.serve.http.connection import KNOWN, FakeSnapshot

REMOTE = b'["x","","","","","","",""]'
UNKNOWN_TO_US = "9.9.9.9"


class FakeFallback:
    """Answers when the test says so, and keeps what it was asked."""

    states: list[dict[str, str]] = []  # noqa: RUF012 # as the protocol has it

    def __init__(self, opinion: Opinion | None = None) -> None:
        self.asked: list[str] = []
        self.opinion = opinion
        self.waiting: list[Deferred[Opinion]] = []

    async def ask(self, ip: str) -> Opinion:
        self.asked.append(ip)
        if self.opinion is not None:
            return self.opinion
        self.waiting.append(Deferred())
        return await self.waiting[-1]

    def stop(self) -> Deferred[None]:
        return succeed(None)


def _resolver(fallback: FakeFallback, clock: Clock | None = None, **more: Any) -> Resolver:
    cache = LocalCache(CacheSettings(**more), (clock or Clock()).seconds)
    return Resolver(FakeSnapshot(), cache, fallback=fallback)


def _result(answer: Any) -> Any:
    """What a resolver gives, now or by a Deferred that has fired."""
    if not isinstance(answer, Deferred):
        return answer
    results: list[Any] = []
    answer.addBoth(results.append)
    assert len(results) == 1, "not yet"
    return results[0]


def test_without_others_only_the_snapshot_answers() -> None:
    resolver = Resolver(FakeSnapshot())
    assert resolver.resolve("1.2.3.4") == KNOWN
    assert resolver.resolve(UNKNOWN_TO_US) is None
    assert resolver.state == {}


def test_others_are_asked_only_for_what_the_snapshot_does_not_know() -> None:
    fallback = FakeFallback(Opinion(REMOTE, True))
    resolver = _resolver(fallback)
    assert resolver.resolve("1.2.3.4") == KNOWN
    assert _result(resolver.resolve(UNKNOWN_TO_US)) == REMOTE
    assert fallback.asked == [UNKNOWN_TO_US]


def test_an_ipv6_address_is_sent_in_its_usual_spelling() -> None:
    fallback = FakeFallback(Opinion(None, True))
    resolver = _resolver(fallback)
    resolver.resolve("2A00:0:0::1")
    resolver.resolve("::ffff:9.9.9.9")
    assert fallback.asked == ["2a00::1", "9.9.9.9"]


@given(st.ip_addresses())
def test_no_private_address_leaves(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    fallback = FakeFallback(Opinion(REMOTE, True))
    _resolver(fallback).resolve(str(address))
    for ip in fallback.asked:
        sent = ipaddress.ip_address(ip)
        assert sent.is_global
        assert not sent.is_multicast
        assert not sent.is_reserved


@given(st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(network="fc00::/7"))
def test_private_addresses_never_leave(address: object) -> None:
    fallback = FakeFallback(Opinion(REMOTE, True))
    assert _result(_resolver(fallback).resolve(str(address))) is None
    assert fallback.asked == []


def test_a_thousand_who_ask_for_the_same_make_one_question() -> None:
    fallback = FakeFallback()
    resolver = _resolver(fallback)
    results = [resolver.resolve(UNKNOWN_TO_US) for _ in range(1000)]
    assert len(fallback.asked) == 1
    # One who leaves doesn't take the answer from the others.
    left = results.pop(0)
    assert isinstance(left, Deferred)
    left.addErrback(lambda failure: None)
    left.cancel()
    fallback.waiting[0].callback(Opinion(REMOTE, True))
    assert [_result(result) for result in results] == [REMOTE] * 999


def test_what_others_say_is_kept_for_its_time() -> None:
    clock = Clock()
    for answer, seconds in ((REMOTE, 100), (None, 10)):
        fallback = FakeFallback(Opinion(answer, True))
        resolver = _resolver(fallback, clock, found_seconds=100, unknown_seconds=10)
        for wait, asked in ((0, 1), (seconds - 1, 1), (1, 2)):
            clock.advance(wait)
            assert _result(resolver.resolve(UNKNOWN_TO_US)) == answer
            assert len(fallback.asked) == asked


def test_what_is_not_sure_is_not_kept() -> None:
    fallback = FakeFallback(Opinion(None, sure=False))
    resolver = _resolver(fallback)
    for asked in (1, 2):
        assert _result(resolver.resolve(UNKNOWN_TO_US)) is None
        assert len(fallback.asked) == asked


def test_a_new_snapshot_makes_what_was_kept_old() -> None:
    fallback = FakeFallback(Opinion(REMOTE, True))
    resolver = _resolver(fallback)
    resolver.resolve(UNKNOWN_TO_US)
    other = FakeSnapshot()
    other.identity = "f" * 64
    resolver.snapshot = other
    resolver.resolve(UNKNOWN_TO_US)
    assert len(fallback.asked) == 2


def test_a_node_that_asks_is_not_asked_back() -> None:
    fallback = FakeFallback(Opinion(REMOTE, True))
    resolver = _resolver(fallback)
    assert _result(resolver.resolve(UNKNOWN_TO_US, ask=False)) is None
    assert fallback.asked == []


def test_everything_in_the_cache() -> None:
    cache = LocalCache(CacheSettings(), Clock().seconds)
    resolver = Resolver(FakeSnapshot(), cache, caches_all=True)
    for ip, answer in (("1.2.3.4", KNOWN), (UNKNOWN_TO_US, None), ("10.0.0.1", None)):
        for _ in range(2):
            assert _result(resolver.resolve(ip)) == answer

    # Whoever has put it there: the cache is asked first.
    class Liar(LocalCache):
        def get(self, key: str) -> Deferred[Cached | None]:
            return succeed(Cached(REMOTE))

    resolver = Resolver(FakeSnapshot(), Liar(CacheSettings(), Clock().seconds), caches_all=True)
    assert _result(resolver.resolve("1.2.3.4")) == REMOTE


def test_what_is_no_address_is_not_asked_for() -> None:
    fallback = FakeFallback(Opinion(REMOTE, True))
    with pytest.raises(ValueError, match="not an IP address"):
        _resolver(fallback).resolve("9.9.9")
    assert fallback.asked == []


def test_the_local_cache_keeps_what_was_used_last() -> None:
    cache = LocalCache(CacheSettings(entries=2), Clock().seconds)
    cache.put("a", Cached(b"1"))
    cache.put("b", Cached(b"2"))
    assert _result(cache.get("a")) == Cached(b"1")
    cache.put("c", Cached(b"3"))
    assert [_result(cache.get(key)) for key in "abc"] == [Cached(b"1"), None, Cached(b"3")]

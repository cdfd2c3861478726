"""Resolver: from an address to its answer."""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred

from ipquery.address import parse, to_text
from ipquery.metrics import BREAKERS, CACHE
from ipquery.serve.http.counts import Counts, Entry
from ipquery.serve.lookup.upstreams import FallbackSettings
from ipquery.special import is_special


@attrs.frozen
class Cached:
    """What is known of an address: an answer, or that nobody has a record for it."""

    answer: bytes | None


class Cache(Protocol):
    """Keeps results by key."""

    def get(self, key: str) -> Deferred[Cached | None]:
        """What is kept, ``None`` if nothing is. Never fails."""

    def put(self, key: str, result: Cached) -> None:
        """Keep a result."""

    @property
    def state(self) -> str:
        """Of its circuit breaker."""

    def stop(self) -> Deferred[None]:
        """Fires when all connections are closed."""


@attrs.frozen
class Opinion:
    """What remote sources say. ``sure``: all that could have known have answered."""

    answer: bytes | None
    sure: bool


class Fallback(Protocol):
    """Remote sources."""

    async def ask(self, ip: str) -> Opinion:
        """The first record that one has for an address. Never fails."""

    @property
    def states(self) -> list[dict[str, str]]:
        """Of each source's circuit breaker, in order. Callers see it: no hosts."""

    def stop(self) -> Deferred[Any]:
        """Fires when all connections are closed."""


class AnswerSource(Protocol):
    """What a resolver needs of a snapshot."""

    @property
    def identity(self) -> str:
        """Names its content."""

    def answer_number(self, version: int, number: int) -> int:
        """The number of an address's answer, 0 where there is no record."""

    def answer(self, number: int) -> bytes:
        """The contract's JSON array with that number."""


class Resolver:
    """Answers from the snapshot that is current, and asks others for what it doesn't know."""

    def __init__(
        self,
        snapshot: AnswerSource,
        cache: Cache | None = None,
        caches_all: bool = False,
        fallback: Fallback | None = None,
        fingerprint: str = "",
        counts: Counts | None = None,
    ) -> None:
        """
        :param caches_all: ask the cache before the snapshot, too.
        :param fallback: needs a cache.
        :param fingerprint: names what the fallback's answers depend on.
        :param counts: where it is counted what the cache is asked for.
        """
        self.snapshot = snapshot
        self._cache = cache
        self._caches_all = caches_all
        self._fallback = fallback
        self._fingerprint = fingerprint
        self._counts = counts or Counts()
        self._flights: dict[str, list[Deferred[bytes | None]]] = {}

    def resolve(self, ip: str, ask: bool = True) -> bytes | Deferred[bytes | None] | None:
        """The contract's JSON array for an address, ``None`` if there is no record.

        :param ask: whether remote sources may be asked.
        :raises ValueError: ``ip`` is not an address.
        """
        version, number = parse(ip)
        answer = self._from_snapshot(version, number)
        if self._cache is None or (answer is not None and not self.asks_cache_first):
            return answer
        asks = ask and self._fallback is not None and not is_special(version, number)
        if not (asks or self.asks_cache_first):
            return None
        return self._together(self._cache, version, number, answer, asks)

    @property
    def asks_nobody(self) -> bool:
        """Whether the snapshot is all there is."""
        return self._cache is None

    @property
    def asks_cache_first(self) -> bool:
        """Whether the cache comes before the snapshot now: not while it can't be had."""
        return self._caches_all and self._cache is not None and self._cache.state == "closed"

    def _from_snapshot(self, version: int, number: int) -> bytes | None:
        found = self.snapshot.answer_number(version, number)
        return self.snapshot.answer(found) if found else None

    def _together(
        self, cache: Cache, version: int, number: int, answer: bytes | None, asks: bool
    ) -> Deferred[bytes | None]:
        """Find out once for all who ask for the same at the same time."""
        key = (
            f"ipquery:{self.snapshot.identity[:32]}:{self._fingerprint}:"
            f"{version}:{number:x}:{'asked' if asks else 'own'}"
        )
        result: Deferred[bytes | None] = Deferred()
        waiting = self._flights.get(key)
        if waiting is not None:
            waiting.append(result)
            return result
        self._flights[key] = [result]
        ip = to_text(version, number) if asks and answer is None else None
        finding = Deferred.fromCoroutine(self._find_out(cache, key, answer, ip))
        finding.addBoth(self._tell_all, key)
        return result

    def _tell_all(self, outcome: Any, key: str) -> None:
        for result in self._flights.pop(key):
            # For a Failure, callback does what errback does.
            result.callback(outcome)

    async def _find_out(
        self, cache: Cache, key: str, answer: bytes | None, ip: str | None
    ) -> bytes | None:
        cached = await cache.get(key)
        self._counts.add(CACHE, ("miss" if cached is None else "hit",))
        if cached is not None:
            return cached.answer
        opinion = Opinion(answer, sure=True)
        if ip is not None and self._fallback is not None:
            opinion = await self._fallback.ask(ip)
        if opinion.sure:
            cache.put(key, Cached(opinion.answer))
        return opinion.answer

    @property
    def state(self) -> dict[str, Any]:
        """Of what may be asked beside the snapshot, for callers: no names, no addresses."""
        state: dict[str, Any] = {}
        if self._cache is not None:
            state["cache"] = self._cache.state
        if self._fallback is not None:
            state["fallback"] = self._fallback.states
        return state

    def gauges(self) -> list[Entry]:
        """The states of all breakers."""
        states = [] if self._cache is None else [("cache", self._cache.state)]
        if self._fallback is not None:
            states += [
                (f"fallback-{place}", one["breaker"])
                for place, one in enumerate(self._fallback.states, 1)
            ]
        return [(BREAKERS.name, labels, 1) for labels in states]

    def stop(self) -> Deferred[None]:
        """Fires when all connections to others are closed."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for part in (self._cache, self._fallback):
            if part is not None:
                await part.stop()


def fingerprint(sources: Sequence[FallbackSettings]) -> str:
    """Changes with what the answers of remote sources depend on."""
    parts = [(source.url, source.fields) for source in sources]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

"""Results kept for the next caller in Redis, which nodes share."""

from collections.abc import Callable
from typing import Any

import txredisapi
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipquery.data.record import is_answer
from ipquery.serve.lookup.breaker import Breaker, printable
from ipquery.serve.lookup.local_cache import LocalCache, life_time
from ipquery.serve.lookup.redis_pool import PROBE_SECONDS, RedisPool
from ipquery.serve.lookup.resolver import Cached
from ipquery.serve.lookup.upstreams import CacheSettings, parse_redis

_log = Logger()

# Connections close once what was written is sent, which a Redis that hangs never takes.
_STOP_SECONDS = 1.0


class _WrongReply(txredisapi.RedisError):  # type: ignore[misc] # it has no types
    """A reply that isn't to our question."""


class RedisCache:
    """Results in Redis.

    What goes wrong with Redis is never the caller's problem: there is nothing
    in the cache then. A command that isn't answered in time closes its
    connection, as its reply could otherwise pass for the next one's. Pauses
    are ended by a probe of our own, so no caller waits for it. Meanwhile, what
    is found out is kept in this process.
    """

    def __init__(
        self,
        reactor: Any,
        settings: CacheSettings,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """
        :param settings: with ``redis`` set.
        :param on_change: called when :attr:`state` is another.
        """
        assert settings.redis is not None
        self._reactor = reactor
        self._settings = settings
        self._address = parse_redis(settings.redis)
        self._meanwhile = LocalCache(settings, reactor.seconds)
        self._breaker = Breaker(
            f"the cache at {self._address}", reactor.seconds, is_open=True, on_change=on_change
        )
        self._pool: RedisPool | None = None
        self._closing: set[Deferred[None]] = set()
        self._commands = 0
        self._put_failed: str | None = None
        self._probing: Any = reactor.callLater(0, self._probe)

    @property
    def state(self) -> str:
        """Of its circuit breaker."""
        return self._breaker.state

    def get(self, key: str) -> Deferred[Cached | None]:
        """What is kept, ``None`` if nothing is, or Redis can't say."""
        if not self._may_ask:
            return self._meanwhile.get(key)
        return Deferred.fromCoroutine(self._get(key))

    @property
    def _may_ask(self) -> bool:
        # There are no connections once it is stopped.
        can = self._pool is not None and self._breaker.state == "closed"
        return can and self._commands < self._settings.commands

    async def _get(self, key: str) -> Cached | None:
        try:
            value = await self._command("get", key)
            result = None if value is None else _decode(key, value)
        except txredisapi.RedisError as error:
            self._failed(error)
            return await self._meanwhile.get(key)
        self._breaker.succeeded()
        return result

    def put(self, key: str, result: Cached) -> None:
        """Keep a result; nobody waits until it is."""
        if not self._may_ask:
            self._meanwhile.put(key, result)
            return
        Deferred.fromCoroutine(self._put(key, result))

    async def _put(self, key: str, result: Cached) -> None:
        seconds = life_time(self._settings, result)
        try:
            await self._command("setex", key, seconds, _encode(key, result))
        except txredisapi.ResponseError as error:
            # It is full or read-only, and may go on answering: no failure for the breaker.
            self._meanwhile.put(key, result)
            self._say_put_failed(printable(str(error).strip()))
        except txredisapi.RedisError as error:
            self._meanwhile.put(key, result)
            self._failed(error)
        else:
            self._say_put_failed(None)

    def _say_put_failed(self, reason: str | None) -> None:
        if reason == self._put_failed:
            return
        self._put_failed = reason
        if reason is None:
            _log.info("the cache at {address} takes results again", address=self._address)
            return
        _log.warn(
            "the cache at {address} takes no results: {reason}",
            address=self._address,
            reason=reason,
        )

    async def _command(self, name: str, *arguments: Any) -> Any:
        assert self._pool is not None
        self._commands += 1
        try:
            return await self._pool.command(name, *arguments)
        finally:
            self._commands -= 1

    def _failed(self, error: BaseException | None) -> None:
        if self._pool is None:
            return  # stopped meanwhile; there is nothing to try again
        self._breaker.failed(_reason(error))
        if isinstance(error, _WrongReply):
            self._renew_pool()  # the next replies would be wrong, too
        if self._breaker.state == "open" and self._probing is None:
            self._probing = self._reactor.callLater(self._breaker.pause, self._probe)

    # Coming back

    def _probe(self) -> None:
        self._probing = None
        self._breaker.probe()
        if self._pool is None or not self._pool.is_connected:
            self._renew_pool()
        assert self._pool is not None
        self._pool.ping(PROBE_SECONDS).addCallbacks(self._probed, self._probe_failed)

    def _probed(self, _: object) -> None:
        self._breaker.succeeded()

    def _probe_failed(self, failure: Failure) -> None:
        self._failed(failure.value)

    def _renew_pool(self) -> None:
        """Connect anew: txredisapi gives up for good when it isn't let in once."""
        self._close_pool()
        self._pool = RedisPool(self._reactor, self._address, self._settings)

    def _close_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            closing = pool.close(_STOP_SECONDS)
            self._closing.add(closing)
            closing.addBoth(lambda _: self._closing.discard(closing))

    def stop(self) -> Deferred[None]:
        """Fires when all connections are closed."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
        self._close_pool()
        for closing in list(self._closing):
            await closing


def _reason(error: BaseException | None) -> str:
    if isinstance(error, CancelledError):
        return "no answer in time"
    return str(error).strip() or type(error).__name__


def _encode(key: str, result: Cached) -> bytes:
    # With the key, so that a reply to another question is noticed.
    return key.encode() + b" " + (result.answer or b"")


def _decode(key: str, value: object) -> Cached:
    """
    :raises _WrongReply: it isn't what was kept under this key.
    """
    begin = f"{key} "
    if not isinstance(value, str) or not value.startswith(begin):
        raise _WrongReply("it answers something that wasn't asked")
    answer = value.removeprefix(begin).encode("latin-1")
    if answer and not is_answer(answer):
        raise _WrongReply("it answers what isn't an answer")
    return Cached(answer or None)

"""Connections to one Redis, by txredisapi."""

from typing import Any

import txredisapi
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from ipquery.serve.lookup.trust import trust_root
from ipquery.serve.lookup.upstreams import CacheSettings, RedisAddress

PROBE_SECONDS = 1.0
"""How long the first connection after a pause may take, TLS included. Nobody waits for it."""


class _Guarded(txredisapi.RedisProtocol):  # type: ignore[misc] # it has no types
    """Closes the connection to what doesn't speak Redis, instead of logging a traceback."""

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        try:
            super().dataReceived(data, unpause)
        except (ValueError, TypeError, LookupError):
            self.transport.abortConnection()


class RedisPool:
    """Some connections to one Redis."""

    def __init__(self, reactor: Any, address: RedisAddress, settings: CacheSettings) -> None:
        self._reactor = reactor
        self._why: str | None = None
        options = {
            "password": address.password,
            "username": address.username,
            # Replies as texts with one character for each byte. With None they would be bytes,
            # but then txredisapi doesn't recognise a master that a sentinel names.
            "charset": "latin-1",
            "convertNumbers": False,
            "replyTimeout": settings.deadline_ms / 1000,
        }
        database = address.database or None
        self._sentinel: Any = None
        if address.master is not None:
            # Without our password, which is for the master.
            self._sentinel = txredisapi.Sentinel(address.hosts)
            made: list[Any] = []

            def keep(**named: Any) -> Any:
                made.append(txredisapi.SentinelConnectionFactory(**named))
                return made[0]

            self._sentinel.master_for(
                address.master, keep, database, settings.connections, **options
            )
            self._factory = made[0]
        else:
            self._factory = txredisapi.RedisFactory(
                str(address), database, settings.connections, **options
            )
            self._factory.protocol = _Guarded
            self._factory.startConnecting(_endpoint(reactor, address, settings))
        self._factory.deferred.addErrback(self._refused)

    def _refused(self, failure: Failure) -> None:
        self._why = failure.getErrorMessage()

    @property
    def is_connected(self) -> bool:
        """Whether a command could be sent now."""
        return bool(self._factory.size)

    async def command(self, name: str, *arguments: Any) -> Any:
        """One command and its reply.

        :raises txredisapi.RedisError: it can't be sent, isn't answered in time, or refused.
        """
        if not self.is_connected:
            raise txredisapi.ConnectionError("not connected")
        return await getattr(self._factory.handler, name)(*arguments)

    def ping(self, seconds: float) -> Deferred[None]:
        """Wait for a connection, and for an answer on it.

        :returns: fails with RedisError or CancelledError.
        """
        waiting: Deferred[Any] = self._factory.handler.ping()
        waiting.addTimeout(seconds, self._reactor, self._late)
        return waiting

    def _late(self, result: object, seconds: float) -> object:
        if self._why is not None:
            raise txredisapi.ConnectionError(self._why)
        if not self.is_connected:
            raise txredisapi.ConnectionError("can't connect")
        return result

    def close(self, seconds: float) -> Deferred[None]:
        """Fires when all connections are closed, or the time is over."""
        return Deferred.fromCoroutine(self._close(seconds))

    async def _close(self, seconds: float) -> None:
        for part in (self._factory, self._sentinel):
            if part is not None:
                closing: Deferred[Any] = part.disconnect()
                await closing.addTimeout(seconds, self._reactor).addErrback(lambda _: None)


def _endpoint(
    reactor: Any, address: RedisAddress, settings: CacheSettings
) -> IStreamClientEndpoint:
    if address.path is not None:
        return UNIXClientEndpoint(reactor, address.path, timeout=PROBE_SECONDS)
    ((host, port),) = address.hosts
    plain = HostnameEndpoint(reactor, host, port, timeout=PROBE_SECONDS)
    if not address.tls:
        return plain
    # Verifies the certificate and, by service-identity, that it is the host's.
    return wrapClientTLS(optionsForClientTLS(host, trust_root(settings.ca_file)), plain)

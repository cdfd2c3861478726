"""Connecting to a TCP port: a stream that we open, and an asyncio loop owns."""

import asyncio
import socket
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    DNSLookupError,
    NoProtocol,
    TimeoutError,  # noqa: A004 # Twisted's own, which callers of endpoints expect
    getConnectError,
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from ipquery.net.transport import LoopTransport


class _ClientTransport(LoopTransport):
    """A stream that we opened."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        factory: Any,
        connected: "Deferred[IProtocol]",
        deadline: asyncio.Timeout,
    ) -> None:
        super().__init__(loop, factory)
        self._connected = connected
        self._deadline = deadline

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Build the protocol, and hand it over before it is given any data."""
        # All in one turn of the loop, the deadline may pass and the connection be made, or the
        # other way round. Whoever is second has come too late: the loop would close the stream
        # of a connection that has just been handed over, and tell nobody.
        if self._deadline.expired() or self._connected.called:
            stream: Any = transport
            stream.abort()
            return
        self._deadline.reschedule(None)
        super().connection_made(transport)
        if self._protocol is None:
            self._connected.errback(NoProtocol() if self.connected else ConnectError())
        else:
            self._connected.callback(self._protocol)

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream is gone, and the factory is one protocol less in use."""
        if self._stream is None:
            return  # it came too late
        super().connection_lost(exc)
        self._factory.doStop()


@implementer(IStreamClientEndpoint)
class LoopClientEndpoint:
    """Connects to a TCP port through an asyncio loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: str,
        port: int,
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> None:
        """
        :param host: a name, or an IPv4 or IPv6 address.
        :param timeout: how many seconds a connection may take to be made.
        :param bindAddress: host and port to connect from.
        """
        self._loop = loop
        self._host, self._port = host, port
        self._timeout = timeout
        self._from = bindAddress

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, and build a protocol for the connection.

        :returns: the protocol, as soon as it is connected. Fails with a
            ``ConnectError``, ``DNSLookupError``, ``NoProtocol`` if the factory
            builds none, or ``ConnectingCancelledError`` when cancelled.
        """
        connecting: asyncio.Task[None]

        def cancel(_: Deferred[IProtocol]) -> None:
            connecting.cancel()
            connected.errback(ConnectingCancelledError(IPv4Address("TCP", self._host, self._port)))

        connected: Deferred[IProtocol] = Deferred(cancel)
        connecting = self._loop.create_task(self._connect(protocolFactory, connected))
        return connected

    async def _connect(self, factory: IProtocolFactory, connected: Deferred[IProtocol]) -> None:
        factory.doStart()
        try:
            async with asyncio.timeout(self._timeout) as deadline:
                await self._loop.create_connection(
                    lambda: _ClientTransport(self._loop, factory, connected, deadline),
                    self._host,
                    self._port,
                    local_addr=self._from,
                )
        except OSError as error:  # asyncio's TimeoutError is one, too
            factory.doStop()
            if not connected.called:
                connected.errback(_connect_error(error))
        except asyncio.CancelledError:
            factory.doStop()


def _connect_error(error: OSError) -> Exception:
    """What Twisted's own endpoints fail with."""
    if isinstance(error, asyncio.TimeoutError) and error.errno is None:
        return TimeoutError()
    if isinstance(error, socket.gaierror):
        return DNSLookupError(str(error))
    found: Exception = getConnectError(error)
    return found

"""Connections to remote sources: how long a head may be, and no waiting for goodbyes."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool
from zope.interface import implementer

HEAD_BYTES = 32_768
"""Bytes of a response's head at most, interim responses (RFC 9110 section 15.2) included."""

HEAD_LINES = 128
"""Lines of it: a field of four bytes takes a hundred times as much memory."""


class HeadError(Exception):
    """A response whose head is too long."""


class Connection(ProtocolWrapper):
    """Stands between a connection and Twisted's HTTP client.

    Whatever would close the connection politely aborts it: a peer that never says
    its own goodbye (TLS's close_notify), or never reads ours, would keep it for ever.
    Nothing is lost by it: we close when all is read, or not wanted.
    """

    def __init__(self, factory: Any, wrapped: Any) -> None:
        """
        :param wrapped: Twisted's HTTP client.
        """
        super().__init__(factory, wrapped)
        self._in_head = True
        self._bytes = self._lines = 0
        self._failed: Failure | None = None

    def writeSequence(self, data: Any) -> None:
        """A request begins, and with it the head of its response."""
        self._in_head = True
        self._bytes = self._lines = 0
        super().writeSequence(data)

    def pauseProducing(self) -> None:
        """Twisted's client has read the head, and waits for somebody who wants the body.

        Of a response without a body it doesn't tell, but then nothing may follow either.
        """
        self._in_head = False
        self.transport.pauseProducing()  # type: ignore[union-attr] # it is connected

    def dataReceived(self, data: bytes) -> None:
        """Pass on what may be of the head, and if that was its end, the rest."""
        if self._in_head:
            end, why_not = self._bound(data)
            super().dataReceived(data[:end])
            data = data[end:]
            if data and self._in_head and not self.disconnecting:
                self._failed = Failure(HeadError(f"the head of the response is {why_not}"))
                self.loseConnection()
        if data and not self.disconnecting:
            super().dataReceived(data)

    def _bound(self, data: bytes) -> tuple[int, str]:
        """How much of this the bounds allow for a head, and which of them ends it."""
        end = min(len(data), HEAD_BYTES - self._bytes)
        lines, why_not = data.count(b"\n", 0, end), f"longer than {HEAD_BYTES} bytes"
        if self._lines + lines > HEAD_LINES:
            lines, why_not = HEAD_LINES - self._lines, f"more than {HEAD_LINES} lines"
            end = 0
            for _ in range(lines):
                end = data.index(b"\n", end) + 1
        self._bytes += end
        self._lines += lines
        return end, why_not

    def loseConnection(self) -> None:
        """Close it at once."""
        self.disconnecting = 1
        self.transport.abortConnection()  # type: ignore[union-attr] # it is connected

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone; tell the cause rather than the effect."""
        super().connectionLost(self._failed or reason)


class _Factory(WrappingFactory):
    protocol = Connection
    noisy = False


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        connecting: Deferred[Any] = self._endpoint.connect(_Factory(factory))
        # The pool calls methods of Twisted's client that a wrapper doesn't pass on.
        return connecting.addCallback(lambda connection: connection.wrappedProtocol)


class Connections(HTTPConnectionPool):
    """Connections that are kept for the next request."""

    def getConnection(self, key: Any, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        """One that is kept, or a new one."""
        return super().getConnection(key, _Endpoint(endpoint))

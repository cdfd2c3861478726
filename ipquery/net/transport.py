"""A Twisted transport on a stream that an asyncio loop owns.

Twisted's own transport defers every write to the next turn of the reactor: six
system calls a request. uvloop's writes at the end of the turn in which
something was written: two. Under an HTTP protocol that is four to five times
as many requests a second (measured).
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

_log = Logger()

_RESET = struct.pack("ii", 1, 0)


def _ignore(data: bytes) -> None:
    """What is written to a closed transport goes nowhere."""


@implementer(ITCPTransport, IConsumer, IPushProducer)
class LoopTransport(asyncio.Protocol):
    """One stream: an asyncio protocol to the loop, a transport to a Twisted protocol.

    ``data_received`` and ``write`` are the Twisted protocol's and the loop's
    own methods, so that neither way through costs a call here.
    """

    disconnecting = False
    connected = False

    write: Callable[[bytes], None]

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        factory: IProtocolFactory,
        peer: Any = None,
        first: bytes = b"",
    ) -> None:
        """
        :param peer: the name that accept(2) gave; asked for, a peer that has gone
            meanwhile has none.
        :param first: what has been read from the stream already.
        """
        self._loop = loop
        self._factory = factory
        self.peer_name = peer
        self._first = first
        self._stream: Any = None
        self._protocol: Any = None
        self._producer: Any = None
        self._streaming = True
        self._writing_paused = False
        self._reading_paused = False
        self._write_closed = False
        self._aborted = False

    # The loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Build the protocol that the factory has for this peer, or close the stream."""
        stream: Any = transport
        self._stream = stream
        try:
            self._connect(stream)
        except Exception:
            # Not the loop's to handle: it would only log it, and leave the stream open.
            _log.failure("a fault in a new connection; closing it")
            stream.abort()

    def _connect(self, stream: Any) -> None:
        peer = self.peer_name
        if peer is None:
            peer = stream.get_extra_info("peername")
        host = stream.get_extra_info("sockname")
        if peer is None or host is None:
            stream.abort()  # gone already
            return
        self._peer, self._host = address_of(peer), address_of(host)
        # uvloop then writes at once instead of at the end of its turn: the peer can
        # read while other peers are still being answered, 3 to 5 % more requests.
        stream.set_write_buffer_limits(0)
        self.connected = True
        self.write = stream.write
        protocol: Any = self._factory.buildProtocol(self._peer)
        if protocol is None:
            stream.abort()
            return
        self.protocol = protocol
        protocol.makeConnection(self)
        self._begin()
        if self._reading_paused:
            # uvloop begins to read behind this call, whatever was asked for in it: so one
            # read more may come in.
            self._loop.call_soon(self._pause_again)

    def _begin(self) -> None:
        """Hand on what has been read already."""
        first, self._first = self._first, b""
        if first:
            self.data_received(first)

    def _pause_again(self) -> None:
        if self._reading_paused:
            self.pauseProducing()

    @property
    def protocol(self) -> IProtocol:
        """The Twisted protocol; it may be replaced by another."""
        protocol: IProtocol = self._protocol
        return protocol

    @protocol.setter
    def protocol(self, protocol: IProtocol) -> None:
        self._protocol = protocol
        self.data_received = protocol.dataReceived  # type: ignore[method-assign] # see above
        # The loop keeps a reference to data_received from when it is told.
        self._stream.set_protocol(self)

    def eof_received(self) -> bool:
        """The peer sends no more. Whether to keep the stream for writing."""
        half_closeable: Any = IHalfCloseableProtocol(self._protocol, None)
        if half_closeable is None:
            return False
        half_closeable.readConnectionLost()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream is gone."""
        self.connected = False
        self.write = _ignore
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        if self._protocol is None:
            return
        reason: Exception
        if self._aborted:
            reason = ConnectionAborted()
        elif exc is None:
            reason = ConnectionDone()
        else:
            reason = ConnectionLost(str(exc))
        try:
            self._protocol.connectionLost(Failure(reason))
        finally:
            # Each refers to the other. Taken apart they go at once; thousands of pairs
            # a second, left for the garbage collector, hold the reactor for 10 ms.
            self._protocol = None
            del self.data_received

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self._writing_paused = True
        if self._producer is not None and self._streaming:
            self._producer.pauseProducing()

    def resume_writing(self) -> None:
        """Most of it has left."""
        self._writing_paused = False
        if self._producer is None:
            return
        if self._streaming:
            self._producer.resumeProducing()
        else:
            self._pull()
        if self.disconnecting:
            self._loop.call_soon(self._close_if_done)

    # The protocol's side

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Write several pieces."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Close when everything is written that has been, or is in this turn.

        A producer that has more to give, because it was paused or gives only
        when asked, is waited for.
        """
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._loop.call_soon(self._close_if_done)

    def _close_if_done(self) -> None:
        has_more = self._producer is not None and (self._writing_paused or not self._streaming)
        if self.connected and not has_more:
            self.write = _ignore
            self._stream.close()

    def abortConnection(self) -> None:
        """Close now."""
        self.disconnecting = True
        if self.connected:
            self._aborted = True
            self.write = _ignore
            # With a reset, as Twisted's own transport does: what the kernel still
            # has to send is dropped, and the peer knows that it got not all.
            with contextlib.suppress(OSError):  # it is gone already
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._stream.abort()

    def loseWriteConnection(self) -> None:
        """Tell the peer that nothing more comes, when everything is written."""
        if self._write_closed or not self.connected or self._stream.is_closing():
            return
        self._write_closed = True
        self.write = _ignore
        self._stream.write_eof()
        self._loop.call_soon(self._write_closed_by_us)

    def _write_closed_by_us(self) -> None:
        half_closeable: Any = IHalfCloseableProtocol(self._protocol, None)
        if half_closeable is not None and self.connected:
            half_closeable.writeConnectionLost()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let a producer be paused and resumed at the peer's pace.

        :raises RuntimeError: there is one already.
        """
        if self._producer is not None:
            raise RuntimeError(f"{self._producer} is still registered")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = producer
        self._streaming = streaming
        if not streaming:
            self._pull()
        elif self._writing_paused:
            self._producer.pauseProducing()

    def _pull(self) -> None:
        """Ask a pull producer for a piece a turn, while the peer reads."""
        if self._producer is None or self._streaming or self._writing_paused:
            return
        self._producer.resumeProducing()
        self._loop.call_soon(self._pull)

    def unregisterProducer(self) -> None:
        """No producer any more; a close that waited for it goes on."""
        self._producer = None
        if self.disconnecting:
            self._close_if_done()

    def pauseProducing(self) -> None:
        """Read no more for now. One read may still come in."""
        self._reading_paused = True
        if self.connected and not self._stream.is_closing():
            self._stream.pause_reading()

    def resumeProducing(self) -> None:
        """Read again."""
        self._reading_paused = False
        if self.connected and not self._stream.is_closing():
            self._stream.resume_reading()

    def stopProducing(self) -> None:
        """Read no more for good."""
        self.loseConnection()

    # ITCPTransport promises IP addresses; of a UNIX socket there is none.
    def getPeer(self) -> Any:
        """The other end's address."""
        return self._peer

    def getHost(self) -> Any:
        """This end's address."""
        return self._host

    @property
    def _socket(self) -> Any:
        return self._stream.get_extra_info("socket")

    def getTcpNoDelay(self) -> bool:
        """Whether small pieces leave at once."""
        return bool(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Let small pieces leave at once; the loop begins so."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether the kernel probes an idle peer."""
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Let the kernel probe an idle peer."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)


class RestTransport(LoopTransport):
    """The transport of a connection whose first answer the socket didn't take in full."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, factory: Any, peer: Any, rest: bytes, closes: bool
    ) -> None:
        """
        :param rest: what is still to be sent of the answer.
        :param closes: whether the connection is closed behind it.
        """
        super().__init__(loop, factory, peer)
        self._rest = rest
        self._closes = closes

    def _begin(self) -> None:
        self.write(self._rest)
        self._rest = b""
        # As when the peer says no more: so the protocol closes, and has a deadline for that.
        if self._closes and not self.eof_received():
            self.loseConnection()


def address_of(name: Any) -> IAddress:
    """The address that a name of a socket stands for.

    :param name: what accept(2), getsockname(2) or getpeername(2) gave: two parts of IPv4, four
        of IPv6, a path or nothing of a UNIX socket.
    """
    if not isinstance(name, tuple):
        return UNIXAddress(name or None)
    if len(name) == len(("host", "port")):
        return IPv4Address("TCP", *name)
    return IPv6Address("TCP", *name)

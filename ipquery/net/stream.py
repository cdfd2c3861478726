"""Twisted protocols on streams that an asyncio loop owns.

Twisted's own transport defers every write to the next turn of the reactor: six
system calls a request. uvloop's writes at the end of the turn in which
something was written: two. Under an HTTP protocol that is four to five times
as many requests a second (measured).
"""

import asyncio
import contextlib
import errno
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
    NoProtocol,
    TimeoutError,  # noqa: A004 # Twisted's own, which callers of endpoints expect
    getConnectError,
)
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IListeningPort,
    IProducer,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
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
        self._peer_name = peer
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
        peer = self._peer_name
        if peer is None:
            peer = stream.get_extra_info("peername")
        host = stream.get_extra_info("sockname")
        if peer is None or host is None:
            stream.abort()  # gone already
            return
        family = self._socket.family
        self._peer, self._host = _address(family, peer), _address(family, host)
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
        first, self._first = self._first, b""
        if first:
            self.data_received(first)
        if self._reading_paused:
            # uvloop begins to read behind this call, whatever was asked for in it: so one
            # read more may come in.
            self._loop.call_soon(self._pause_again)

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


def _address(family: int, name: Any) -> IAddress:
    if family == socket.AF_INET:
        return IPv4Address("TCP", *name)
    if family == socket.AF_INET6:
        return IPv6Address("TCP", *name)
    return UNIXAddress(name or None)


# Accepted in one turn: a few, as a connection takes 0.1 ms to open and everybody waits for
# the whole turn; and half as many more as could have been opened in the turn before. The
# loop's own servers accept one: with N busy connections a turn answers N requests first,
# and the last of 5,000 callers wait for seconds.
_LEAST_ACCEPTED, _MOST_ACCEPTED = 4, 256
_SECONDS_FOR_ONE_MORE = 0.0002

# What net.core.somaxconn allows at most by default; more come in faster than they go.
_LONGEST_QUEUE = 4096

# What accept(2) says when the machine or the process is short of something. Asking
# again at once would only burn the processor, as the connection goes on waiting.
_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SHORTAGE_SECONDS = 1


class AnswersFirst(Protocol):
    """What a protocol factory may be, too: one that can do without a protocol."""

    def answer_first(self, data: bytes, peer: Any) -> bytes | None:
        """The whole answer to what came in first on a connection.

        :param peer: the other end's name, as accept(2) has it.
        :returns: what to send before the connection is closed, or ``None`` if a protocol
            is to be built, which gets the data.
        """


# What a plain request takes, and then some: a larger one gets its transport.
_FIRST_BYTES = 1 << 14


@implementer(IListeningPort)
class LoopPort:
    """A listening socket whose connections the loop owns.

    Where the factory is an :class:`AnswersFirst`, a connection that is used once is
    accepted, read, answered and closed on its socket: a fifth of what it costs with a
    transport.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        factory: IProtocolFactory,
    ) -> None:
        self._loop = loop
        self._listening = listening
        self._factory: Any = factory
        self._answer_first: Callable[[bytes, Any], bytes | None] | None = getattr(
            factory, "answer_first", None
        )
        self._host = _address(listening.family, listening.getsockname())
        self._opening: set[asyncio.Task[Any]] = set()
        self._is_stopping = False
        self._retry: asyncio.TimerHandle | None = None
        self._said_short = False
        self._now = time.perf_counter
        self._left_at: float | None = None
        """When connections were left waiting for the next turn, if they were."""

    @property
    def can_accept(self) -> bool:
        """Whether nothing is short that accepting takes: descriptors, memory."""
        return not self._said_short

    def startListening(self) -> None:
        """Accept connections."""
        self._factory.doStart()
        self._listening.setblocking(False)
        self._watch()

    def _watch(self) -> None:
        self._retry = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        turn = 0.0 if self._left_at is None else self._now() - self._left_at
        self._left_at = None
        count = min(_LEAST_ACCEPTED + int(turn / _SECONDS_FOR_ONE_MORE), _MOST_ACCEPTED)
        for _ in range(count):
            if not self._accept_one():
                return
        self._left_at = self._now()

    def _accept_one(self) -> bool:
        """Whether there may be another to accept now."""
        try:
            connection, peer = self._listening.accept()
        except BlockingIOError:
            self._say_enough()
            return False
        except OSError as error:
            if error.errno not in _SHORTAGE:
                return True  # the peer has gone already
            self._pause(error)
            return False
        self._say_enough()
        first = b""
        if self._answer_first is not None:
            try:
                first = self._read_first(connection)
            except OSError:
                connection.close()  # the peer has gone already
                return True
            if first and self._is_answered(connection, first, peer):
                return True
        opening = self._loop.create_task(self._open(connection, peer, first))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        return True

    @staticmethod
    def _read_first(connection: socket.socket) -> bytes:
        """What has come in already.

        :raises OSError: nothing more will: the peer has closed.
        """
        connection.setblocking(False)
        try:
            first = connection.recv(_FIRST_BYTES)
        except BlockingIOError:
            return b""
        if not first:
            raise ConnectionResetError
        return first

    def _is_answered(self, connection: socket.socket, first: bytes, peer: Any) -> bool:
        """Answer on the socket, and close it, if that is all that is to be done."""
        assert self._answer_first is not None
        try:
            answer = self._answer_first(first, peer)
            if answer is None:
                return False
            # A socket that has sent nothing yet takes 16 KB and more at once. All that the
            # peer had to send has been read: so closing resets nothing.
            connection.send(answer)
        except OSError:
            pass  # the peer has gone already
        except Exception:
            _log.failure("a fault in a new connection; closing it")
        connection.close()
        return True

    def _pause(self, error: OSError) -> None:
        if not self._said_short:
            self._said_short = True
            _log.error(
                "can't accept connections: {reason}; trying again every {seconds} s",
                reason=error.strerror,
                seconds=_SHORTAGE_SECONDS,
            )
        self._loop.remove_reader(self._listening)
        if not self._is_stopping:
            self._retry = self._loop.call_later(_SHORTAGE_SECONDS, self._watch)

    def _say_enough(self) -> None:
        if self._said_short:
            self._said_short = False
            _log.info("accepting connections again")

    async def _open(self, connection: socket.socket, peer: Any, first: bytes) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: LoopTransport(self._loop, self._factory, peer, first), connection
            )
        except OSError:
            connection.close()  # the peer has gone already

    async def _stop(self) -> None:
        self._is_stopping = True
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._listening)
        # Who is in the queue by now has been let in by the kernel: to close it over
        # them would break their connections.
        for _ in range(_LONGEST_QUEUE):
            if not self._accept_one():
                break
        self._listening.close()
        if self._opening:
            await asyncio.wait(self._opening)
        self._factory.doStop()

    def stopListening(self) -> Deferred[None]:
        """Accept no more. Connections go on.

        :returns: fires when the socket is closed.
        """
        return Deferred.fromFuture(asyncio.ensure_future(self._stop()))

    def getHost(self) -> IAddress:
        """The address that is listened on."""
        return self._host


@implementer(IStreamServerEndpoint)
class LoopEndpoint:
    """Serves a socket that already listens, through an asyncio loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        self._loop = loop
        self._listening = listening

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Accept connections, and take the socket over."""
        port = LoopPort(self._loop, self._listening, protocolFactory)
        port.startListening()
        return succeed(port)


class _ClientTransport(LoopTransport):
    """A stream that we opened."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, factory: Any, connected: "Deferred[IProtocol]"
    ) -> None:
        super().__init__(loop, factory)
        self._connected = connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Build the protocol, and hand it over before it is given any data."""
        super().connection_made(transport)
        if self._protocol is None:
            self._connected.errback(NoProtocol() if self.connected else ConnectError())
        else:
            self._connected.callback(self._protocol)

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream is gone, and the factory is one protocol less in use."""
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
            async with asyncio.timeout(self._timeout):
                await self._loop.create_connection(
                    lambda: _ClientTransport(self._loop, factory, connected),
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

"""Accepting: a listening socket whose connections an asyncio loop owns."""

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from socket import SocketType
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from ipquery.net.opening import Openings
from ipquery.net.peers import Peers
from ipquery.net.proxy import ProxyError, read_header
from ipquery.net.proxy_stream import ProxyStream
from ipquery.net.quiet import QuietConnections
from ipquery.net.sending import AND_CLOSE, send_now
from ipquery.net.tls import Contexts
from ipquery.net.tls_first import TlsFirst
from ipquery.net.tls_records import Records
from ipquery.net.tls_stream import TlsStream, TlsTransport
from ipquery.net.transport import LoopTransport, RestTransport, address_of

_log = Logger()

# Accepted in one turn: a few, as a connection takes 0.1 ms to open and everybody waits for
# the whole turn; and half as many more as could have been opened in the turn before. The
# loop's own servers accept one: with N busy connections a turn answers N requests first,
# and the last of 5,000 callers wait for seconds.
_LEAST_ACCEPTED, _MOST_ACCEPTED = 4, 256
_SECONDS_FOR_ONE_MORE = 0.0002
# Half of a handshake is made where a connection is accepted: 0.3 ms.
_SECONDS_FOR_ONE_MORE_HANDSHAKE = 0.0006

# What net.core.somaxconn allows at most by default; more come in faster than they go.
_LONGEST_QUEUE = 4096

# What accept(2) says when the machine or the process is short of something. Asking
# again at once would only burn the processor, as the connection goes on waiting.
_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SHORTAGE_SECONDS = 1


Accept = Callable[[], tuple[SocketType, Any]]
"""Accepts a connection: its socket, and the peer's name.

:raises OSError: see accept(2).
"""


def _accepter(listening: socket.socket) -> Accept:
    """What accepts bare connections.

    ``socket.socket.accept`` makes a ``socket.socket`` of each, in Python: 6 us of the 30 that one
    takes which is used once. Of the others, :meth:`LoopPort._open` makes it.
    """
    # Its own accept calls this, too; no public name does.
    accept: Callable[[], tuple[int, Any]] = listening._accept  # type: ignore[attr-defined]
    kind = int(listening.family), int(listening.type), listening.proto

    def accept_bare() -> tuple[SocketType, Any]:
        descriptor, peer = accept()
        return SocketType(*kind, descriptor), peer

    return accept_bare


class AnswersFirst(Protocol):
    """What a protocol factory may be, too: one that can do without a protocol."""

    quiet: set[SocketType]
    """Connections without a protocol, before their first request or after its answer."""
    quiet_seconds: float
    """How long one is kept so."""
    silent_seconds: float
    """How long a new one is kept so that has said nothing yet. Then it gets its protocol."""

    def answer_first(self, data: bytes, peer: Any) -> tuple[bytes, bool] | None:
        """The whole answer to what came in first on a connection.

        :param peer: the other end's name, as accept(2) has it.
        :returns: what to send, and whether the connection is closed then; or ``None`` if a
            protocol is to be built, which gets the data.
        """

    def build_answered(self, address: IAddress | None) -> IProtocol:
        """A protocol for a connection that was answered once, and says more."""


@attrs.frozen
class _Answered:
    """Builds protocols for connections that were answered once."""

    buildProtocol: Callable[[IAddress | None], IProtocol]


# What a plain request takes, and then some: a larger one gets its transport.
_FIRST_BYTES = 1 << 14


@attrs.frozen(eq=False)
class Entrance:
    """What connections go through before there is a protocol: none of it by default.

    A PROXY header, then a TLS handshake, in this order, as HAProxy's ``send-proxy`` does.
    """

    openings: Openings
    balancers: Peers = Peers()
    tls: Contexts | None = None


@implementer(IListeningPort)
class LoopPort:
    """A listening socket whose connections the loop owns.

    Where the factory is an :class:`AnswersFirst`, a connection that is used once is
    accepted, read, answered and closed on its socket: a fifth of what it costs with a
    transport. One that says more gets its transport then. A PROXY header that came in before
    the request changes nothing about it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        factory: IProtocolFactory,
        entrance: Entrance | None = None,
    ) -> None:
        self._loop = loop
        self._listening = listening
        self._accept_bare = _accepter(listening)
        self._factory: Any = factory
        self._entrance = entrance
        self._balancers = entrance.balancers if entrance else Peers()
        self._answer_first: Callable[[bytes, Any], tuple[bytes, bool] | None] | None = None
        self._silent: QuietConnections | None = None
        self._quiet: QuietConnections | None = None
        self._tls_first: TlsFirst | None = None
        self._seconds_for_one_more = _SECONDS_FOR_ONE_MORE
        if entrance is not None and entrance.tls is not None:
            self._seconds_for_one_more = _SECONDS_FOR_ONE_MORE_HANDSHAKE
        if hasattr(factory, "answer_first"):
            answers: Any = factory
            self._answered: Any = _Answered(answers.build_answered)
            if entrance is not None and entrance.tls is not None:
                self._tls_first = TlsFirst(
                    loop, entrance.tls, entrance.openings, answers, self._open_tls
                )
            else:
                self._answer_first = answers.answer_first
                self._silent = QuietConnections(
                    loop, answers.silent_seconds, answers.quiet, self._begin, self._begin
                )
                self._quiet = QuietConnections(
                    loop, answers.quiet_seconds, answers.quiet, self._go_on
                )
        self._host = address_of(listening.getsockname())
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
        count = min(_LEAST_ACCEPTED + int(turn / self._seconds_for_one_more), _MOST_ACCEPTED)
        for _ in range(count):
            if not self._accept_one():
                return
        self._left_at = self._now()

    def _accept_one(self) -> bool:
        """Whether there may be another to accept now."""
        try:
            connection, peer = self._accept_bare()
        except BlockingIOError:
            self._say_enough()
            return False
        except OSError as error:
            if error.errno not in _SHORTAGE:
                return True  # the peer has gone already
            self._pause(error)
            return False
        self._say_enough()
        try:
            self._enter(connection, peer)
        except OSError:
            connection.close()  # the peer has gone already
        return True

    def _enter(self, connection: SocketType, peer: Any) -> None:
        """Answer a connection here and now, or open it.

        :raises OSError: the peer has gone.
        """
        is_proxied = bool(self._balancers) and self._balancers.include(peer)
        first = b""
        if is_proxied or self._answer_first is not None or self._tls_first is not None:
            first = self._read_first(connection)
        if is_proxied:
            assert self._entrance is not None
            openings = self._entrance.openings
            try:
                header = read_header(first)
            except ProxyError as error:
                openings.refuse(str(error), peer)
                connection.close()
                return
            if header is None:
                stream = ProxyStream(self._make_protocol, peer, openings, first)
                self._open(connection, stream)
                return
            peer, first = header.source or peer, first[header.size :]
        if self._tls_first is not None:
            self._tls_first.enter(connection, peer, first)
            return
        if self._silent is not None and not first:
            self._silent.add(connection, peer)
            return
        self._begin(connection, peer, first)

    def _begin(self, connection: SocketType, peer: Any, first: bytes = b"") -> None:
        """Answer what came in first on a connection, or give it its transport."""
        if first and self._answer_first is not None and self._is_answered(connection, first, peer):
            return
        self._open(connection, self._make_protocol(peer, first))

    def _make_protocol(self, peer: Any, first: bytes) -> asyncio.Protocol:
        """What reads a connection from here on.

        :param peer: the client's name.
        :param first: what has been read already.
        """
        entrance = self._entrance
        if entrance is None or entrance.tls is None:
            return LoopTransport(self._loop, self._factory, peer, first)
        transport = TlsTransport(self._loop, self._factory, peer)
        return TlsStream(Records(entrance.tls.context), transport, entrance.openings, first)

    def _open_tls(
        self,
        connection: SocketType,
        peer: Any,
        records: Records,
        data: bytes = b"",
        *,
        peer_is_done: bool = False,
        is_answered: bool = False,
    ) -> None:
        """A connection over TLS says more than one plain request."""
        assert self._entrance is not None
        factory = self._answered if is_answered else self._factory
        transport = TlsTransport(self._loop, factory, peer, data)
        openings = self._entrance.openings
        self._open(connection, TlsStream(records, transport, openings, peer_is_done=peer_is_done))

    def _open(self, connection: SocketType, protocol: asyncio.Protocol) -> None:
        # Not when it is accepted: most are gone before they need it, and it is a system call.
        connection.setblocking(False)
        opened = socket.socket(fileno=connection.detach())
        opening = self._loop.create_task(self._hand_over(opened, protocol))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    @staticmethod
    def _read_first(connection: SocketType) -> bytes:
        """What has come in already.

        :raises OSError: nothing more will: the peer has closed.
        """
        try:
            first = connection.recv(_FIRST_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        if not first:
            raise ConnectionResetError
        return first

    def _is_answered(self, connection: SocketType, first: bytes, peer: Any) -> bool:
        """Answer on the socket, if that can be done."""
        assert self._answer_first is not None
        assert self._quiet is not None
        closes, rest = True, b""
        try:
            answer = self._answer_first(first, peer)
            if answer is None:
                return False
            response, closes = answer
            # A socket that has sent nothing yet takes 16 KB and more at once, unless the kernel is
            # short of memory.
            rest = send_now(connection, response, AND_CLOSE if closes else 0)
        except OSError:
            closes = True  # the peer has gone already
        except Exception:
            _log.failure("a fault in a new connection; closing it")
        closes = closes or self._is_stopping
        if rest:
            transport = RestTransport(self._loop, self._answered, peer, rest, closes)
            self._open(connection, transport)
        elif closes:
            # All that the peer had to send has been read: so closing resets nothing.
            connection.close()
        else:
            self._quiet.add(connection, peer)
        return True

    def _go_on(self, connection: SocketType, peer: Any, data: bytes) -> None:
        """A connection that was answered on its socket says more, or is to be drained."""
        self._open(connection, LoopTransport(self._loop, self._answered, peer, data))

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

    async def _hand_over(self, connection: socket.socket, protocol: asyncio.Protocol) -> None:
        """Give a connection to the loop."""
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, connection)
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
        for waiting in (self._silent, self._quiet):
            if waiting is not None:
                waiting.stop()
        if self._tls_first is not None:
            self._tls_first.stop()
        if self._entrance is not None:
            await Deferred.fromCoroutine(self._entrance.openings.drain()).asFuture(self._loop)
        # Last, as what isn't open yet may be handed over in the end.
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
    """Serves a bound socket through an asyncio loop; it must listen by the time of ``listen``."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        entrance: Entrance | None = None,
    ) -> None:
        self._loop = loop
        self._listening = listening
        self._entrance = entrance

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Accept connections, and take the socket over."""
        port = LoopPort(self._loop, self._listening, protocolFactory, self._entrance)
        port.startListening()
        return succeed(port)

"""TLS on the bare socket: the handshake, and the first request behind it.

Half of all callers connect, ask once and close. Such a connection costs OpenSSL's handshake;
a stream of the loop, a transport and a protocol, for one answer, would take a third as long
again. So they are made only where they are needed.

=========  =====================================  ==========================================
state      what goes on                           ends
=========  =====================================  ==========================================
HANDSHAKE  records go to OpenSSL, and back        done: OPEN; an error, the peer leaves, or
                                                  too late: closed
OPEN       the first request is awaited           answered: closed, or left to the quiet
                                                  connections; too late, not to be answered
                                                  at once, or the answer isn't taken at once:
                                                  handed over to a stream
=========  =====================================  ==========================================

One that is late with its request is handed over, too: a protocol has a deadline of its own for
that.
"""

import asyncio
import contextlib
import socket
import ssl
from socket import SocketType
from typing import Any, Protocol

from twisted.logger import Logger

from ipquery.net.opening import Openings
from ipquery.net.quiet import QuietConnections
from ipquery.net.sending import AND_CLOSE, send_now
from ipquery.net.tls import Contexts
from ipquery.net.tls_records import Records, handshake_fault

_log = Logger()

_READ_BYTES = 1 << 16


class HandOver(Protocol):
    """Makes a stream of a connection."""

    def __call__(
        self,
        connection: SocketType,
        peer: Any,
        records: Records,
        data: bytes = b"",
        *,
        peer_is_done: bool = False,
        is_answered: bool = False,
    ) -> None:
        """
        :param peer: the client's name.
        :param data: what the peer has said, decrypted.
        :param peer_is_done: whether it says no more.
        :param is_answered: whether it has been answered once.
        """


class TlsFirst:
    """The connections of one listening socket that aren't handed over yet."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        contexts: Contexts,
        openings: Openings,
        answers: Any,
        hand_over: HandOver,
    ) -> None:
        """
        :param openings: keeps each connection until it is answered, or handed over.
        :param answers: a :class:`ipquery.net.accept.AnswersFirst`.
        """
        self.loop = loop
        self.openings = openings
        self.answer_first = answers.answer_first
        self.hand_over = hand_over
        self.quiet = QuietConnections(loop, answers.quiet_seconds, answers.quiet, self._go_on)
        self.is_stopping = False
        self._contexts = contexts

    def enter(self, connection: SocketType, peer: Any, first: bytes) -> None:
        """Begin with a connection.

        :param first: what has been read from it already.
        """
        opening = _Opening(self, connection, peer, Records(self._contexts.context))
        self.openings.add(opening)
        self.loop.add_reader(connection, opening.read)
        if first:
            opening.received(first)

    def stop(self) -> None:
        """Hand over all that are quiet; those that aren't open yet are the openings' to end."""
        self.is_stopping = True
        self.quiet.stop()

    def _go_on(self, connection: SocketType, told: tuple[Any, Records], data: bytes) -> None:
        """A connection that was answered says more, or is to be drained."""
        peer, records = told
        records.incoming.write(data)
        text, peer_is_done = b"", False
        try:
            if data:
                text, peer_is_done = records.read()
        except ssl.SSLError:
            peer_is_done = True
        if text or not peer_is_done:
            self.hand_over(
                connection, peer, records, text, peer_is_done=peer_is_done, is_answered=True
            )
            return
        records.say_close()
        # It may have gone already.
        with contextlib.closing(connection), contextlib.suppress(OSError):
            send_now(connection, records.take(), AND_CLOSE)


class _Opening:
    """One connection; see the table above."""

    __slots__ = ("_connection", "_first", "_peer", "_records")

    def __init__(
        self, first: TlsFirst, connection: SocketType, peer: Any, records: Records
    ) -> None:
        self._first = first
        self._connection = connection
        self._peer = peer
        self._records = records

    def read(self) -> None:
        """The loop says that something has come in."""
        try:
            data = self._connection.recv(_READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.received(data)
        else:
            self._close()

    def received(self, data: bytes) -> None:
        """Go on with what came in."""
        records = self._records
        records.incoming.write(data)
        try:
            if not records.is_open and not (records.shake_hands() and records.incoming.pending):
                self._send()
                return
            text, peer_is_done = records.read()
        except ssl.SSLError as error:
            self._fail(error)
            return
        if text:
            self._answer(text, peer_is_done)
        elif peer_is_done:
            self._say_close(is_answered=False)
        else:
            self._send()

    def _answer(self, text: bytes, peer_is_done: bool) -> None:
        """Answer what came first, if that can be done here and now."""
        first, records = self._first, self._records
        try:
            answer = first.answer_first(text, self._peer)
        except Exception:  # whichever it is, it costs this connection only, as at other ports
            _log.failure("a fault in a new connection; closing it")
            self._close()
            return
        if answer is None:
            self._hand_over(text, peer_is_done=peer_is_done)
            return
        response, closes = answer
        records.tls.write(response)
        if closes or peer_is_done or first.is_stopping:
            self._say_close(is_answered=True)
        elif self._send(is_answered=True):
            first.openings.done(self)
            first.quiet.add(self._connection, (self._peer, records))

    def _send(self, *, closes: bool = False, is_answered: bool = False) -> bool:
        """Send what OpenSSL has to say. Whether the connection is still this one's.

        :param closes: whether the connection is closed behind it.
        :param is_answered: whether the first request is answered with it.
        """
        data = self._records.take()
        if not data:
            return True
        try:
            rest = send_now(self._connection, data, AND_CLOSE if closes else 0)
        except OSError:
            self._close()
            return False
        if not rest:
            return True
        # A socket takes 16 KB and more at first, but a chain of certificates may be longer, and the
        # kernel may be short of memory.
        self._records.unsent = rest
        self._hand_over(b"", peer_is_done=closes, is_answered=is_answered)
        return False

    def _fail(self, error: ssl.SSLError) -> None:
        """Tell the peer what is wrong, in the words that OpenSSL has for it, and close."""
        if not self._records.is_open:
            self._first.openings.refuse(handshake_fault(error), self._peer)
        if self._send(closes=True):
            self._close()

    def _say_close(self, *, is_answered: bool) -> None:
        self._records.say_close()
        if self._send(closes=True, is_answered=is_answered):
            self._close()

    def _leave(self) -> None:
        self._first.openings.done(self)
        self._first.loop.remove_reader(self._connection)

    def _close(self) -> None:
        self._leave()
        self._connection.close()

    def _hand_over(
        self, text: bytes, *, peer_is_done: bool = False, is_answered: bool = False
    ) -> None:
        self._leave()
        self._first.hand_over(
            self._connection,
            self._peer,
            self._records,
            text,
            peer_is_done=peer_is_done,
            is_answered=is_answered,
        )

    def abort(self) -> None:
        """It is late, or one too many, or the port is closed."""
        if self._records.is_open:
            self._hand_over(b"")
        else:
            self._close()

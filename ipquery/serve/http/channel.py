"""One HTTP/1.1 connection: order, persistence, deadlines (RFC 9112 section 9).

A complete message becomes an ordinary ``twisted.web`` request, which the
site's resource answers, or is a look-up that the express lane answers at once. One
message is parsed at a time: what a client sends before it has its answer stays as it
came in, and meanwhile nothing more is read.

===========  ===============================  =========================  ========
phase        what goes on                     ends                       reading
===========  ===============================  =========================  ========
UNUSED       connected, nothing sent yet      header_seconds: closed     yes
IDLE         between two requests             idle_seconds: closed       yes
HEADER       a request line has begun         header_seconds: 408        yes
BODY         the header is complete           body_seconds: 408          yes
BUSY         a request is being answered, or  when it is answered; the   until
             more than one portion came in    next portion has its turn  more came
CLOSING      our last answer is written       2 s, or idle_seconds       yes
===========  ===============================  =========================  ========

In any phase a client that doesn't read its answers isn't read either, gets no
more answers to wait for, and is cut off after idle_seconds.

Deadlines are looked at once a second by the site (:meth:`Channel.is_due`):
a timer of its own for every request would cost more than answering it.

What one connection can make us keep, besides what the kernel buffers for it, is
:func:`most_kept_bytes`.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from ipquery.serve.api import contract
from ipquery.serve.api.contract import Reply
from ipquery.serve.api.express import ADDRESS_AT, GET_START
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.message import Incoming, Message, Refused
from ipquery.serve.http.plain import read_plain

if TYPE_CHECKING:
    from ipquery.serve.http.site import ApiRequest, ApiSite

_log = Logger()

# How long a connection that we closed for writing is read on. Closing at once
# with input unread would make the kernel reset it, and the client might lose
# our last answer (RFC 9112 section 9.6).
_LINGER_SECONDS = 2

_LAST_CALL_SECONDS = 1

# What a connection may have answered in one turn: 32 look-ups on the express lane, or 4
# requests by the routes, take 0.3 to 0.8 ms.
_PORTION, _BY_ROUTE, _BY_LANE = 32, 8, 1

# uvloop reads into 250 KiB at a time, asyncio into 256; a transport that was told to
# pause may bring one read more.
_READ_BYTES = 2 << 18
# Measured: a parsed field takes 170 bytes besides its own, a connection 6 KB.
_FIELD_BYTES, _CONNECTION_BYTES = 200, 10_000
# A portion's answers; 31 of them are look-ups of up to 1 KB, one may be any route's.
_ANSWER_BYTES = 1 << 16


def most_kept_bytes(limits: HttpLimits) -> int:
    """How much memory one connection can take at most, in bytes."""
    message = limits.request_line_bytes + limits.header_bytes + limits.body_bytes
    fields = limits.header_count * _FIELD_BYTES
    # The message stands there as it came in, parsed, and as the request it became.
    return _READ_BYTES + 3 * (message + fields) + _ANSWER_BYTES + _CONNECTION_BYTES


# No plain request ends with NUL.
_NO_TAIL = b"\0"

# Headers the channel itself writes: Date first, so that all that follows it in an
# express answer can be kept ready, and Connection last.
_OWN_HEADERS = frozenset({b"server", b"date", b"connection"})


class _Transport(ITCPTransport, IConsumer, IPushProducer):
    """What every stream transport in use provides."""


class _Phase(Enum):
    """What a connection is doing, which says what its deadline means."""

    UNUSED = "connected, nothing sent yet"
    IDLE = "between two requests"
    HEADER = "a request line or header has begun"
    BODY = "the header is complete, the body isn't"
    BUSY = "a request is being answered, or waits for its turn"
    CLOSING = "our last answer is written"


def _write_nowhere(data: bytes) -> None:
    """Before a connection is made there is nobody to write to."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class Channel(Protocol):
    """One connection: transport on one side, requests on the other.

    To a ``twisted.web`` request it is the channel it writes to.
    """

    transport: _Transport

    def __init__(self, site: "ApiSite", overloaded: bool) -> None:
        """
        :param overloaded: whether the worker has as many connections as it may;
            this one is then told so and closed.
        """
        self.site = self.factory = site
        self._overloaded = overloaded
        self._limits = site.limits
        self._incoming = Incoming(site.limits)
        self._express = site.express
        self._resting = False
        self._lane = site.lane
        self._write: Callable[[bytes], None] = _write_nowhere
        # What followed the address in the last request, if that was a GET with nothing but
        # an address in its query that kept the connection, and where it begins.
        self._tail, self._tail_at = _NO_TAIL, 0
        # Requests that may still be asked before the last one, which is told to
        # close; the lane leaves that to the other way.
        self._requests_left = site.limits.requests_per_connection - 1

        # What has come in and isn't parsed yet, and from where on; the message that
        # waits for its turn, and the request that is being answered
        self._unread, self._unread_at = b"", 0
        self._waiting: Message | None = None
        self._request: ApiRequest | None = None
        self._is_1_0 = False
        self._last = False
        self._portion = 0
        self._is_working = False
        self._is_queued = False
        # The connection
        self._phase = _Phase.UNUSED
        self._deadline = inf
        self._awaited = (self._phase, 0)
        self._settled_left = self._requests_left
        self._blocked_until = inf
        self._reading_paused = False
        self._peer_done = False
        self._unsent: list[bytes] = []

    # The transport's side

    def connectionMade(self) -> None:
        """Start the clock; or, with too many connections, say so."""
        self.site.connections.add(self)
        self.transport.registerProducer(self, True)
        if self._overloaded:
            self._send_reply(contract.unavailable("too many connections"))
            self._close_lingering()
            return
        self._deadline = self.site.now + self._limits.header_seconds
        self._resting = self._express and self._requests_left > 0
        self._write = self.transport.write

    def dataReceived(self, data: bytes) -> None:
        """Parse what came in, and answer what is complete."""
        if self._resting:
            # What follows an address is most often what followed the last one: then it
            # says what it said. In this body, as it is what a busy worker does all day,
            # and a call more takes 5 % of it.
            if data.startswith(GET_START) and data.endswith(self._tail):
                found = self._lane.find(data[ADDRESS_AT : self._tail_at])
                if found is not None:
                    self._requests_left -= 1
                    if not self._requests_left:
                        self._resting = False
                    self._write(self._lane.head + found)
                    return
            if self._answer_whole(data):
                return
        if self._phase is _Phase.CLOSING:
            return
        if self._unread:
            # The transport was told to pause, and had this read already.
            self._unread = self._unread[self._unread_at :] + data
            self._unread_at = 0
            return
        self._unread = data
        self._work()

    def _answer_whole(self, data: bytes) -> bool:
        """Answer a read that is one plain look-up."""
        plain = read_plain(data, 0, self._limits)
        if plain is None or plain[-1] != len(data):
            return False
        method, target, framing, body, _ = plain
        last = not framing.persists
        answer = self._lane.respond(method, target, body, framing.is_1_0, last)
        if answer is None:
            return False
        self._requests_left -= 1
        self._write(answer)
        if last:
            self._settled_left = self._requests_left
            self._last = True
            self._close_lingering()
            return True
        if not self._requests_left:
            self._resting = False
        if method == b"GET" and not (framing.is_1_0 or b"&" in target or b"%" in target):
            self._tail_at = len(b"GET ") + len(target) - len(data)
            self._tail = data[self._tail_at :]
        else:
            self._tail = _NO_TAIL
        return True

    def _has_more(self) -> bool:
        """Whether anything that has come in isn't answered."""
        return bool(self._unread) or self._incoming.has_begun

    def _work(self) -> None:
        """Parse and answer what has come in, in order: one portion, or until one takes its time."""
        self._portion = _PORTION
        self._is_working = True
        # All answers of a portion leave in one write.
        try:
            while self._may_work() and self._do_next():
                pass
        except Refused as refused:
            self._refuse(refused)
        finally:
            self._is_working = False
        self._flush()
        self._settle()

    def _may_work(self) -> bool:
        return (
            self._request is None
            and self._blocked_until == inf
            and self._phase is not _Phase.CLOSING
        )

    def _do_next(self) -> bool:
        """Take one step. Whether another may follow."""
        waiting, turns = self._waiting, self.site.turns
        if waiting is not None:
            if self._portion <= 0 or turns.is_over():
                self._wait_turn()
                return False
            self._portion -= _BY_ROUTE
            self._waiting = None
            self._start(waiting)
            return True
        if not self._unread:
            return False
        # The first of a read never waits: who sends one request at a time is answered in
        # the turn in which it came.
        if self._portion <= 0 or (self._portion < _PORTION and turns.is_over()):
            self._wait_turn()
            return False
        if not (self._express and self._answer_plain()):
            self._unread_at = self._incoming.feed(self._unread, self._unread_at)
            if self._incoming.is_complete:
                self._received()
        if self._unread_at == len(self._unread):
            self._unread, self._unread_at = b"", 0
        return True

    def _answer_plain(self) -> bool:
        """Answer what comes next, if it is a plain look-up."""
        if self._incoming.has_begun:
            return False
        begin = self._unread_at
        plain = read_plain(self._unread, begin, self._limits)
        if plain is None:
            return False
        method, target, framing, body, self._unread_at = plain
        if self._answer_at_once(method, target, body, framing.is_1_0, framing.persists):
            return True
        self._unread_at = begin
        return False

    def _wait_turn(self) -> None:
        if not self._is_queued:
            self._is_queued = True
            self.site.turns.wait(self)

    def go_on(self) -> None:
        """It is this connection's turn again."""
        self._is_queued = False
        if self._phase is _Phase.CLOSING:
            return
        try:
            self._work()
        except Exception:  # as the transport does for a read: said, and cut off
            _log.failure("a fault in a connection; closing it")
            self.transport.abortConnection()

    def _refuse(self, refused: Refused) -> None:
        """Nothing after this point can be understood: answer so, and close."""
        reply = refused.reply
        self._last = True
        self._send_reply(reply)
        self.site.log_refusal(self.transport.getPeer(), reply)
        self._close_lingering()

    def _settle(self) -> None:
        """After a read or an answer: what is awaited now, and until when."""
        was_used = self._requests_left != self._settled_left
        self._settled_left = self._requests_left
        self._resting = False
        if self._phase is _Phase.CLOSING:
            return
        has_more = self._waiting is not None or bool(self._unread)
        # While a request is answered, and with nothing waiting, reading goes on, so
        # that a client that leaves is noticed; the first read that brings more is the
        # last.
        if has_more:
            self._pause_reading()
        else:
            self._resume_reading()
        if has_more or self._request is not None:
            self._await(_Phase.BUSY, inf)
        elif self._peer_done:
            self._close()
        else:
            self._await_input(was_used)

    def _await_input(self, was_used: bool) -> None:
        """:param was_used: whether a request was answered since the last time."""
        incoming, limits = self._incoming, self._limits
        if incoming.is_in_body:
            self._await(_Phase.BODY, limits.body_seconds)
        elif incoming.is_in_header:
            self._await(_Phase.HEADER, limits.header_seconds)
        elif was_used or self._phase is _Phase.BUSY:
            # Not for an empty line: sent again and again, it would never end.
            self._phase, self._deadline = _Phase.IDLE, self.site.now + limits.idle_seconds
        self._resting = self._express and self._requests_left > 0 and not incoming.has_begun
        if incoming.continue_due:
            incoming.continue_due = False
            if not incoming.body:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _await(self, phase: _Phase, seconds: float) -> None:
        """Start a deadline that more bytes of the same message don't move."""
        awaited = (phase, self._incoming.begun)
        if awaited != self._awaited or self._phase is not phase:
            self._awaited, self._phase = awaited, phase
            self._deadline = self.site.now + seconds

    def is_due(self, before: float, now: float) -> bool:
        """Whether a deadline is over. The site asks once a second.

        :param before: what its clock has said since the last call.
        """
        if self._requests_left != self._settled_left:
            # The second door was used, and leaves the book-keeping to this.
            self._settled_left = self._requests_left
            self._phase, self._deadline = _Phase.IDLE, before + self._limits.idle_seconds
        return now >= self._deadline or now >= self._blocked_until

    def expire(self) -> None:
        """Act on a deadline, if it is still over."""
        now = self.site.now
        if now >= self._blocked_until:
            self.transport.abortConnection()
        elif now < self._deadline:
            return
        elif self._phase is _Phase.CLOSING:
            self.transport.abortConnection()
        elif self._phase in (_Phase.HEADER, _Phase.BODY):
            self._refuse(Refused(408))
        else:
            self._close()

    def drain(self) -> None:
        """Close with the next answer, or soon.

        An idle connection isn't closed at once: a request may be on its way, and
        its sender would get no answer. One in steady use is asked again within
        the second, and told to close.
        """
        self._express = self._resting = False
        self._settled_left = self._requests_left
        if self._phase in (_Phase.UNUSED, _Phase.IDLE):
            self._deadline = min(self._deadline, self.site.now + _LAST_CALL_SECONDS)

    def readConnectionLost(self) -> None:
        """The client sends nothing more; it may still wait for answers."""
        self._peer_done = True
        if self._phase is not _Phase.BUSY:
            self._close()

    def writeConnectionLost(self) -> None:
        """Our last answer has left."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the connection; a request in progress is told."""
        self.site.forget(self)
        self._drop_unread()
        self._write = _write_nowhere
        self._incoming.forget()
        self._phase, self._deadline, self._blocked_until = _Phase.CLOSING, inf, inf
        request, self._request = self._request, None
        if request is not None:
            request.connectionLost(reason)

    def pauseProducing(self) -> None:
        """The client doesn't read its answers: give it no more to wait for."""
        self._blocked_until = self.site.now + self._limits.idle_seconds
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._blocked_until = inf
        if not self._reading_paused:
            self.transport.resumeProducing()
        elif self._request is None and self._phase is not _Phase.CLOSING:
            self._wait_turn()

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost says so too."""

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pauseProducing()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if self._blocked_until == inf:
                self.transport.resumeProducing()

    def _drop_unread(self) -> None:
        self._unread, self._unread_at, self._waiting = b"", 0, None

    def _received(self) -> None:
        """A whole request has come in through the parser: answer it, or keep it for its turn."""
        incoming = self._incoming
        if not self._express or not self._answer_at_once(
            incoming.method, incoming.target, incoming.body, incoming.is_1_0, incoming.persists
        ):
            self._waiting = incoming.take()

    def _answer_at_once(
        self, method: bytes, target: bytes, body: bytes, is_1_0: bool, persists: bool
    ) -> bool:
        """Answer through the express lane, if it is a look-up and can be done here and now."""
        last = not persists or self._requests_left == 0
        answer = self._lane.respond(method, target, body, is_1_0, last)
        if answer is None:
            return False
        self._portion -= _BY_LANE
        self._requests_left = max(self._requests_left - 1, 0)
        self._unsent.append(answer)
        if last:
            self._last = True
            self._close_lingering()
        return True

    # The requests' side

    def _start(self, message: Message) -> None:
        self._is_1_0 = message.is_1_0
        self._last = not message.persists or self._requests_left == 0
        self._requests_left = max(self._requests_left - 1, 0)
        request = self._request = self.site.make_request(self)
        for name, value in message.headers:
            request.requestHeaders.addRawHeader(name, value)
        request.gotLength(len(message.body))
        request.handleContentChunk(message.body)
        version = b"HTTP/1.0" if message.is_1_0 else b"HTTP/1.1"
        request.requestReceived(message.method, message.target, version)

    def requestDone(self, request: "ApiRequest") -> None:
        """A request has written all of its answer."""
        self._request = None
        if self._last:
            self._close_lingering()
        elif not self._is_working:
            self._work()

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write the head of an answer.

        The version is always ours (RFC 9110 section 6.2). Date and Connection
        are the channel's to write; the software's name is nobody's business.
        """
        head = [b"HTTP/1.1 ", code, b" ", reason, b"\r\n", self.site.date_header]
        for name, values in headers.getAllRawHeaders():
            if name.lower() not in _OWN_HEADERS:
                for value in values:
                    head += (name, b": ", value, b"\r\n")
        self._end_head(head)
        self.writeSequence(head)

    def _end_head(self, head: list[bytes]) -> None:
        self._last = self._last or self.site.draining
        if self._last:
            head.append(b"Connection: close\r\n")
        elif self._is_1_0:
            head.append(b"Connection: keep-alive\r\n")
        head.append(b"\r\n")

    def _send_reply(self, reply: Reply) -> None:
        """An answer without a request."""
        self._last = True
        # Not Twisted's table of phrases, which has no 431.
        head = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\n".encode()]
        head.append(self.site.date_header)
        head.append(b"Content-Type: %s\r\n" % contract.CONTENT_TYPE)
        head.append(b"Content-Length: %d\r\n" % len(reply.body))
        head += (f"{name}: {value}\r\n".encode() for name, value in reply.headers.items())
        self._end_head(head)
        if not self._incoming.is_head:
            head.append(reply.body)
        self.writeSequence(head)

    def write(self, data: bytes) -> None:
        """Write a piece of an answer's body."""
        if self._is_working:
            self._unsent.append(data)
        else:
            self.transport.write(data)

    def writeSequence(self, pieces: Sequence[bytes]) -> None:
        """Write pieces of an answer."""
        self.write(b"".join(pieces))

    def _flush(self) -> None:
        if self._unsent:
            data = b"".join(self._unsent)
            self._unsent = []
            self.transport.write(data)

    def loseConnection(self) -> None:
        """Close when what is written has left."""
        self._close()

    def _close(self) -> None:
        self._flush()
        self._express = self._resting = False
        self._phase = _Phase.CLOSING
        self._deadline = self.site.now + self._limits.idle_seconds
        self._drop_unread()
        self.transport.loseConnection()

    def _close_lingering(self) -> None:
        """Close for writing now, and for reading when the client has, or soon."""
        if self._peer_done or self.isSecure():
            self._close()
            return
        self._flush()
        self._express = self._resting = False
        self._phase = _Phase.CLOSING
        self._deadline = self.site.now + _LINGER_SECONDS
        self._drop_unread()
        self._resume_reading()
        self.transport.loseWriteConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """A request writes its answer piece by piece, at the transport's pace."""
        self.transport.unregisterProducer()
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The request has written its last piece."""
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)

    def getPeer(self) -> IAddress:
        """The client's address."""
        return self.transport.getPeer()

    def getHost(self) -> IAddress:
        """Our address."""
        return self.transport.getHost()

    def isSecure(self) -> bool:
        """Whether the connection is over TLS."""
        return ISSLTransport.providedBy(self.transport)

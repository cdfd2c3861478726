"""One connection of a run: requests out, answers in (RFC 9112).

An answer has two ways in, as a request has in ipquery itself. The first is the
parser, llhttp. The second is for a read that is one whole answer with a head
that the parser has seen before: the same bytes to a parser in the same state
mean the same. It saves a third of a request's time.
"""

from collections import deque
from typing import Any
from typing import Protocol as Structure

import httptools
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from loadgen.send.load import Load, clock
from loadgen.send.requests import Ask

_END_OF_HEAD = b"\r\n\r\n"
# RFC 9110 section 15: 1xx comes before the answer, 204 and 304 have no body.
_FIRST_FINAL = 200
_FOUND = 200


class Owner(Structure):
    """Whoever has the connection made."""

    tls: bool

    def ready(self, connection: "Connection") -> None:
        """It can be asked on."""

    def lost(self, connection: "Connection", reason: Failure) -> None:
        """It is closed."""


@implementer(IHandshakeListener)
class Connection(Protocol):
    """One connection. httptools calls the methods named ``on_``."""

    def __init__(self, load: Load, owner: Owner, depth: int, keep_alive: bool) -> None:
        """
        :param depth: how many requests it may hold without an answer.
        """
        self._load = load
        self._owner = owner
        self._depth = depth
        self._keep_alive = keep_alive
        self._write: Any = None
        self.asked: deque[tuple[int, Ask]] = deque()
        """Requests without an answer: when they began, in nanoseconds, and what is asked."""
        self.usable = False
        self.used = False
        """Whether the parser has taken an answer on it."""
        self._stuck_on: object = None
        self._stuck_since = 0
        # What the parser has seen of an answer; `_between` is that it has seen none.
        self._parser = httptools.HttpResponseParser(self)
        self._between = True
        self._completed = 0
        self._clear()
        # While a read is parsed, the requests that it allows: they leave in one write.
        self._unsent: list[bytes] | None = None

    # The transport's side

    def connectionMade(self) -> None:
        """Plain connections are ready; over TLS the handshake comes first."""
        transport: Any = self.transport
        self._write = transport.write
        if not self._owner.tls:
            self._ready()

    def handshakeCompleted(self) -> None:
        """The peer has proven who it is."""
        self._ready()

    def _ready(self) -> None:
        self.usable = True
        self._owner.ready(self)

    def dataReceived(self, data: bytes) -> None:
        """Take answers, and ask again."""
        load = self._load
        # An ordinary answer is dealt with in this body, whole: each call out of it would
        # take another 2 % of its time.
        head = load.heads.get(len(data))
        if head is not None and data.startswith(head) and self._between and self.asked:
            now = clock()
            asked = self.asked
            begun, ask = asked.popleft()
            load.latencies.append(now - begun)
            load.bytes_read += len(data)
            if load.checks and ask[2] != data[len(head) :]:
                load.mismatch(ask, _FOUND, data[len(head) :])
            if load.paced:
                load.release(self)
                return
            try:
                ask = load.batch.pop()
            except IndexError:
                self._ask_again(now)
                return
            asked.append((now, ask))
            self._write(ask[0])
            return
        self._parse(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """What is without an answer has failed, except for one that the end completes."""
        if not self._between and self._ends_with_connection and reason.check(ConnectionDone):
            self._unsent = []
            self.on_message_complete()
        self.usable = False
        self._load.forget(self)
        for _ in self.asked:
            self._load.fail("closed", f"closed by the server: {reason.getErrorMessage()}")
        self.asked.clear()
        self._owner.lost(self, reason)

    # Asking

    def start(self, now: int) -> None:
        """Begin to ask: in a closed loop as much as may be at once, in an open one when due."""
        load = self._load
        if load.paced:
            for _ in range(self._depth):
                load.release(self)
            return
        pieces = []
        for _ in range(self._depth):
            ask = load.next()
            if ask is None:
                break
            pieces.append(ask[0])
            self.asked.append((now, ask))
        if pieces:
            self._write(b"".join(pieces))

    def send(self, begun: int, ask: Ask) -> None:
        """Send one request.

        :param begun: what its latency counts from.
        """
        self.asked.append((begun, ask))
        if self._unsent is not None:
            self._unsent.append(ask[0])
        else:
            self._write(ask[0])

    def _ask_again(self, now: int) -> None:
        if self.usable:
            self._load.go_on(self, now)

    def look(self, now: int, timeout: int) -> None:
        """Give up if the same request has been the first in turn for too long.

        This is asked now and then; so no request needs a timer of its own.

        :param timeout: nanoseconds.
        """
        first = self.asked[0] if self.asked else None
        if first is None or first is not self._stuck_on:
            self._stuck_on, self._stuck_since = first, now
        elif now - self._stuck_since >= timeout:
            self.give_up("timeout", f"no answer within {timeout / 1e9:g} s")

    def give_up(self, kind: str, reason: str) -> None:
        """Count what is without an answer as failed, and close the connection."""
        for _ in self.asked:
            self._load.fail(kind, reason)
        self.asked.clear()
        self._end(abort=True)

    def _end(self, abort: bool = False) -> None:
        self.usable = False
        self._load.forget(self)
        transport: Any = self.transport
        if abort:
            transport.abortConnection()
        else:
            transport.loseConnection()

    # Answers, by the parser

    def _clear(self) -> None:
        self._length: int | None = None
        self._chunked = False
        self._body: list[bytes] = []
        self._headers_done = False
        self._status = 0

    def _parse(self, data: bytes) -> None:
        load = self._load
        load.bytes_read += len(data)
        fresh, self._completed = self._between, 0
        self._unsent = []
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            # httptools hides what a callback raised behind an error of its own.
            raise error.__context__ or error from None
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._unsent = None
            if self.usable:
                self.give_up("protocol", f"not HTTP: {error}")
            return
        unsent, self._unsent = self._unsent, None
        if fresh and self._between and self._completed == 1 and self.usable:
            head, end, body = data.partition(_END_OF_HEAD)
            if self._status == _FOUND and self._length == len(body) and not self._chunked:
                load.learn(len(data), head + end)
        if unsent and self.usable:
            self._write(b"".join(unsent))

    @property
    def _ends_with_connection(self) -> bool:
        """RFC 9112 section 6.3: neither a length nor chunks, so it ends when we are closed."""
        return self._headers_done and self._length is None and not self._chunked

    def on_message_begin(self) -> None:
        """The first byte of an answer."""
        self._between = False
        self._clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field."""
        if self._headers_done:
            return  # a trailer
        lower = name.lower()
        if lower == b"content-length":
            self._length = int(value)
        elif lower == b"transfer-encoding":
            self._chunked = True

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._headers_done = True
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """A whole answer."""
        self._between = self.used = True
        self._completed += 1
        if self._status < _FIRST_FINAL:
            return
        if not self.usable:
            return
        if not self.asked:
            self.give_up("protocol", "an answer without a request")
            return
        now = clock()
        begun, ask = self.asked.popleft()
        self._load.answer(begun, now, ask, self._status, b"".join(self._body))
        kept = self._parser.should_keep_alive() and not self._ends_with_connection
        if self._keep_alive and kept:
            self._ask_again(now)
            return
        for _ in self.asked:
            self._load.fail("closed", "closed by the server: it said so in an answer before")
        self.asked.clear()
        self._end()

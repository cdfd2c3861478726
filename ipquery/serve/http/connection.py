"""A connection as its transport has it: who is there, and how it is read and closed.

It is the lowest layer of :class:`~ipquery.serve.http.channel.Channel`, and holds the state that
more than one layer needs.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from ipquery.serve.http.client import Forwarding, log_text
from ipquery.serve.http.deadlines import Deadlines, Phase
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.guard import Gate
from ipquery.serve.http.message import Incoming, Message
from ipquery.serve.http.outgoing import Outgoing

if TYPE_CHECKING:
    from ipquery.serve.http.request import ApiRequest
    from ipquery.serve.http.site import ApiSite
    from ipquery.serve.http.streaming import Streaming

_log = Logger()

# What a connection may have answered in one turn: 32 requests on the fast way, or 4 by the
# routes, take 0.3 to 0.8 ms.
PORTION, BY_ROUTE, BY_FAST_WAY = 32, 8, 1


class Transport(ITCPTransport, IConsumer, IPushProducer):
    """What every stream transport in use provides."""


def write_nowhere(data: bytes) -> None:
    """Before a connection is made there is nobody to write to."""


class Connection(Protocol):
    """See above."""

    # What each request on the fast way looks at. Of an object with more than 30 attributes
    # Python finds those in slots sooner.
    __slots__ = (
        "_access_log",
        "_client",
        "_is_resting",
        "_now",
        "_requests_left",
        "_write",
    )

    transport: Transport
    _outgoing: Outgoing

    def __init__(self, site: "ApiSite", overloaded: bool, answered: int = 0) -> None:
        """
        :param overloaded: whether the worker has as many connections as it may;
            this one is then told so and closed.
        :param answered: how many requests have been answered on the connection.
        """
        # What lives as long as the worker
        self.site = self.factory = site
        self._access_log = site.access_log
        self._counts = site.counts
        self._now = site.monotonic
        # What lives as long as the connection
        self._overloaded = overloaded
        self._client = b"-"
        # Only behind a proxy that is trusted: each request may have another client.
        self._host: str | None = None
        self._forwarding: Forwarding | None = None
        self._gate: Gate | None = None
        self._incoming = Incoming(site.limits, site.begin_exchange)
        self._deadlines = Deadlines(site.limits)
        self._write: Callable[[bytes], None] = write_nowhere
        # Requests that may still be asked before the last one, which is told to
        # close; and how many there were when the deadline was set.
        most = site.limits.requests_per_connection
        self._requests_left = self._settled_left = most - 1 - answered
        self._is_unused = not answered
        self._may_be_fast = site.fast_way is not None
        self._reading_paused = False
        self._peer_done = False
        # What lives until the next read: whether that may be answered without leaving IDLE.
        self._is_resting = False
        # What lives until it is answered: what has come in and isn't parsed yet, and from
        # where on; the message that waits for its turn; the request, or the exchange, that
        # is being answered.
        self._unread, self._unread_at = b"", 0
        self._waiting: Message | None = None
        self._request: ApiRequest | None = None
        self._streaming: Streaming | None = None
        # What lives for one turn
        self._portion = 0
        self._is_working = False
        self._is_queued = False

    def _work(self) -> None:
        """Parse and answer what has come in, as the uppermost layer does."""
        raise NotImplementedError

    def _wait_turn(self) -> None:
        if not self._is_queued:
            self._is_queued = True
            self.site.turns.wait(self)

    def go_on(self) -> None:
        """It is this connection's turn again."""
        self._is_queued = False
        if self._deadlines.phase is Phase.CLOSING:
            return
        try:
            self._work()
        except Exception:  # as the transport does for a read: said, and cut off
            _log.failure("a fault in a connection; closing it")
            self.transport.abortConnection()

    def _has_more(self) -> bool:
        """Whether anything that has come in isn't answered."""
        return bool(self._unread) or self._incoming.has_begun

    def _client_of(self, framing: Framing) -> bytes:
        """How the access log tells whose request it is."""
        forwarding = self._forwarding
        if forwarding is None:
            return self._client
        return log_text(forwarding.client(self._host, framing.fields.get(forwarding.field)))

    def drain(self) -> None:
        """Close with the next answer, or soon.

        An idle connection isn't closed at once: a request may be on its way, and
        its sender would get no answer. One in steady use is asked again within
        the second, and told to close.
        """
        self._may_be_fast = self._is_resting = False
        self._settled_left = self._requests_left
        self._deadlines.last_call(self.site.now)

    def readConnectionLost(self) -> None:
        """The client sends nothing more; it may still wait for answers."""
        self._peer_done = True
        if self._deadlines.phase is not Phase.BUSY:
            self._close()

    def writeConnectionLost(self) -> None:
        """Our last answer has left."""

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pauseProducing()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if not self._deadlines.is_blocked:
                self.transport.resumeProducing()

    def _drop_read(self) -> None:
        """Let go of what came in, if all of it is parsed."""
        if self._unread_at == len(self._unread):
            self._unread, self._unread_at = b"", 0

    def _drop_unread(self) -> None:
        self._unread, self._unread_at, self._waiting = b"", 0, None

    def _close(self) -> None:
        self._outgoing.flush()
        self._settled_left = self._requests_left
        self._may_be_fast = self._is_resting = False
        self._deadlines.closing(self.site.now)
        self._drop_unread()
        self.transport.loseConnection()

    def _close_lingering(self) -> None:
        """Close for writing now, and for reading when the client has, or soon."""
        if self._peer_done:
            self._close()
            return
        self._outgoing.flush()
        self._may_be_fast = self._is_resting = False
        self._deadlines.lingering(self.site.now)
        self._drop_unread()
        self._resume_reading()
        self.transport.loseWriteConnection()

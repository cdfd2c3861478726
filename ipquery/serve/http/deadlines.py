"""What a connection is doing, and how long it may.

Deadlines are looked at once a second by the site: a timer of its own for every request would
cost more than answering it.

===========  ===============================  =========================
phase        what goes on                     until
===========  ===============================  =========================
UNUSED       connected, nothing sent yet      header_seconds: closed
IDLE         between two requests             idle_seconds: closed
HEADER       a request line has begun         header_seconds: 408
BODY         the header is complete           body_seconds: 408; of an exchange
                                              see :meth:`Deadlines.awaiting_piece`
BUSY         a request is being answered, or  when it is answered; the
             more than one portion came in    next portion has its turn
CLOSING      our last answer is written       2 s, or idle_seconds
===========  ===============================  =========================

In any phase, a client that doesn't read its answers is cut off after idle_seconds.
"""

from enum import Enum
from math import inf

from ipquery.serve.http.limits import HttpLimits

# How long a connection that we closed for writing is read on. Closing at once
# with input unread would make the kernel reset it, and the client might lose
# our last answer (RFC 9112 section 9.6).
_LINGER_SECONDS = 2

_LAST_CALL_SECONDS = 1

# What a byte of the body of an exchange is worth, in seconds: who sends eight addresses a
# second may go on. A body of 6 MB is bound to end after 13 hours.
_SECONDS_FOR_A_BYTE = 1 / 128


class Phase(Enum):
    """See the table at the top."""

    UNUSED = "connected, nothing sent yet"
    IDLE = "between two requests"
    HEADER = "a request line or header has begun"
    BODY = "the header is complete, the body isn't"
    BUSY = "a request is being answered, or waits for its turn"
    CLOSING = "our last answer is written"


class Deadlines:
    """Those of one connection. Times are what the site's clock says, in seconds."""

    __slots__ = ("_begun", "_blocked_until", "_credit", "_limits", "_until", "phase")

    def __init__(self, limits: HttpLimits) -> None:
        self.phase = Phase.UNUSED
        self._limits = limits
        self._begun = 0
        self._credit = 0.0
        self._until = self._blocked_until = inf

    @property
    def is_blocked(self) -> bool:
        """Whether the client doesn't read its answers."""
        return self._blocked_until != inf

    def connected(self, now: float) -> None:
        """It is up to the client to send something."""
        self._until = now + self._limits.header_seconds

    def in_message(self, phase: Phase, begun: int, now: float) -> None:
        """A message is coming in. More bytes of the same one don't move its deadline.

        :param phase: HEADER or BODY.
        :param begun: how many messages have begun on the connection.
        """
        if (phase, begun) == (self.phase, self._begun):
            return
        self.phase, self._begun = phase, begun
        is_header = phase is Phase.HEADER
        limits = self._limits
        self._until = now + (limits.header_seconds if is_header else limits.body_seconds)

    def begin_pieces(self) -> None:
        """The body that comes next is taken piece by piece: it may come as it is made."""
        self._credit = float(self._limits.body_seconds)

    def awaiting_piece(self, now: float) -> None:
        """More of such a body is awaited, for as long as what came before has earned.

        ``body_seconds`` to begin with; what we take to answer doesn't count. So nobody may
        pause for longer, nor send a byte now and then for ever.
        """
        if self.phase is not Phase.BODY:
            self.phase, self._until = Phase.BODY, now + self._credit

    def piece_came(self, size: int, now: float) -> None:
        """:param size: of what came in, in bytes."""
        if self.phase is Phase.BODY:
            self._credit = max(self._until - now, 0.0)
            self.busy()
        earned = self._credit + size * _SECONDS_FOR_A_BYTE
        self._credit = min(earned, float(self._limits.body_seconds))

    def busy(self) -> None:
        """What came in is being answered."""
        self.phase, self._until = Phase.BUSY, inf

    def idle(self, now: float) -> None:
        """All that was asked is answered."""
        self.phase, self._until = Phase.IDLE, now + self._limits.idle_seconds

    def closing(self, now: float) -> None:
        """Closed as soon as what is written has left."""
        self.phase, self._until = Phase.CLOSING, now + self._limits.idle_seconds

    def lingering(self, now: float) -> None:
        """Closed for writing; the client may still read and send."""
        self.phase, self._until = Phase.CLOSING, now + _LINGER_SECONDS

    def last_call(self, now: float) -> None:
        """If no request has begun, give one that is on its way a moment."""
        if self.phase in (Phase.UNUSED, Phase.IDLE):
            self._until = min(self._until, now + _LAST_CALL_SECONDS)

    def blocked(self, now: float) -> None:
        """The client doesn't read its answers."""
        self._blocked_until = now + self._limits.idle_seconds

    def unblocked(self) -> None:
        """It reads again."""
        self._blocked_until = inf

    def gone(self) -> None:
        """The connection is lost: nothing is waited for."""
        self.phase, self._until, self._blocked_until = Phase.CLOSING, inf, inf

    def has_blocked(self, now: float) -> bool:
        """Whether the client hasn't read its answers for too long."""
        return now >= self._blocked_until

    def are_over(self, now: float) -> bool:
        """Whether something has taken too long."""
        return now >= self._until or now >= self._blocked_until

"""Connections that aren't open yet: in a TLS handshake, or before the end of a PROXY header.

They are bounded as open connections are, in number and in time. All of them have the same
time, so the oldest is always the first that is late: one timer does for ten thousand. One that
is too many costs the oldest its place, not the newest: a caller who means it is done within
two round trips, so those who only hold a place lose it to those who come.
"""

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger()

# Callers who came in before a stop get this long to finish what they have begun.
_LAST_CALL_SECONDS = 2


class Opening(Protocol):
    """A connection that isn't open yet."""

    def abort(self) -> None:
        """Close it now."""


class Openings:
    """Those of one worker."""

    def __init__(self, reactor: IReactorTime, most: int, seconds: float) -> None:
        """
        :param reactor: time.
        :param most: how many there may be.
        :param seconds: how long each may take from being accepted.
        """
        self._reactor = reactor
        self._most = most
        self._seconds = seconds
        # In the order in which they came, with what the clock will say when they are late.
        self._waiting: dict[Opening, float] = {}
        self._alarm: IDelayedCall | None = None
        self._emptied: Deferred[None] | None = None
        self._said: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, opening: Opening) -> None:
        """One more has begun."""
        if len(self._waiting) >= self._most:
            self._abort_first()
        self._waiting[opening] = self._reactor.seconds() + self._seconds
        if self._alarm is None:
            self._alarm = self._reactor.callLater(self._seconds, self._abort_late)

    def done(self, opening: Opening) -> None:
        """It is open, or gone."""
        self._waiting.pop(opening, None)
        if not self._waiting and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def refuse(self, what: str, peer: Any) -> None:
        """Say why a connection was closed, once for each reason: strangers send anything.

        :param what: a whole phrase, of which there are few.
        :param peer: its name, as accept(2) gave it.
        """
        if what not in self._said:
            self._said.add(what)
            _log.warn(
                "a connection from {host} was closed: {what} (said once)",
                host=peer[0] if isinstance(peer, tuple) else "a UNIX socket",
                what=what,
            )

    def _abort_first(self) -> None:
        opening = next(iter(self._waiting))
        self.done(opening)
        opening.abort()

    def _abort_late(self) -> None:
        self._alarm = None
        now = self._reactor.seconds()
        while self._waiting:
            first = next(iter(self._waiting.values()))
            if first > now:
                self._alarm = self._reactor.callLater(first - now, self._abort_late)
                return
            self._abort_first()

    async def drain(self) -> None:
        """Wait until there are none; those that aren't done soon are closed."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if not self._waiting:
            return
        self._emptied = Deferred()
        alarm = self._reactor.callLater(_LAST_CALL_SECONDS, self._abort_all)
        await self._emptied
        if alarm.active():
            alarm.cancel()

    def _abort_all(self) -> None:
        while self._waiting:
            self._abort_first()

"""Alone: totals where there is one process, and no supervisor to add up."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from ipquery.metrics import STARTED, WORKERS
from ipquery.serve.totals import HandedOver, Told, Totals


class Alone:
    """Takes what the process has counted once a second."""

    def __init__(self, reactor: IReactorTime, hand_over: Callable[[], HandedOver]) -> None:
        """:param hand_over: takes what was counted since the last time."""
        self._reactor = reactor
        self._hand_over = hand_over
        self._totals = Totals()
        self._clock = LoopingCall(self._tick)
        self._clock.clock = reactor

    def start(self) -> None:
        """Begin."""
        states = [(WORKERS.name, (state,), 1) for state in ("configured", "ready")]
        started = STARTED.name, (), self._reactor.seconds()
        self._totals.take("fleet", HandedOver([], [*states, started]))
        self._clock.start(1)

    def _tick(self) -> None:
        self._take()
        self._totals.tick(self._reactor.seconds())

    def _take(self) -> None:
        self._totals.take("worker", self._hand_over())

    def ask(self) -> "Deferred[Told]":
        """What has been counted."""
        self._take()
        return succeed(self._totals.told())

    def stop(self) -> None:
        """No more."""
        self._clock.stop()

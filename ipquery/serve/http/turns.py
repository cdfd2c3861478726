"""Turns: how long work may hold the reactor before others are served.

A read brings up to 256 KB, which can be ten thousand requests. They are answered
in portions: a connection has a budget (:mod:`ipquery.serve.http.connection`), and all
connections together have so much time in one turn of the reactor. What is left
waits in a queue, and goes on, one portion each, in the turns after.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

TURN_SECONDS = 0.0003
"""What others wait because of work that is queued: less than the 0.2 to 0.5 ms that the rest
of a busy worker's turn takes, and long enough that looking for new input between (30 us)
counts little. With 2 ms, steady callers waited ten times as long beside hostile ones as
without them (p99); so it was with 256 connections accepted in a turn."""


class Worker(Protocol):
    """Something that works in portions."""

    def go_on(self) -> None:
        """Do one portion, and ask for another turn if more is left. Never raises."""


class Turns:
    """Shares the turns of the reactor among those that have much to do."""

    def __init__(self, reactor: Any, now: Callable[[], float]) -> None:
        """
        :param reactor: calls later.
        :param now: a clock that runs while work is done, in seconds.
        """
        self._reactor = reactor
        self._now = now
        self._ends: float | None = None
        self._waiting: deque[Worker] = deque()

    def is_over(self) -> bool:
        """Whether this turn's time is used up. The first who asks in a turn begins it."""
        if self._ends is not None:
            return self._now() >= self._ends
        self._ends = self._now() + TURN_SECONDS
        self._reactor.callLater(0, self._next)
        return False

    def wait(self, worker: Worker) -> None:
        """Let a worker go on in a later turn. It must not be waiting already."""
        self._waiting.append(worker)
        self.is_over()  # so that there is a next turn

    def _next(self) -> None:
        self._ends = None
        # Who asks for another turn now has to wait for the next one.
        for _ in range(len(self._waiting)):
            if self.is_over():
                return
            self._waiting.popleft().go_on()

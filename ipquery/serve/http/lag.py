"""How late the event loop is."""

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ipquery.metrics import LAG
from ipquery.serve.http.counts import Counts

# A stall is seen if it lasts longer than what is left of this: half of it on average.
_EVERY_SECONDS = 0.1


class Lag:
    """Sets a timer again and again, and counts by how much it was missed."""

    def __init__(self, reactor: IReactorTime, counts: Counts) -> None:
        """:param reactor: time."""
        self._reactor = reactor
        self._counts = counts
        self._due = 0.0
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Begin."""
        self._due = self._reactor.seconds() + _EVERY_SECONDS
        self._timer = self._reactor.callLater(_EVERY_SECONDS, self._look)

    def _look(self) -> None:
        self._counts.observe(LAG, max(self._reactor.seconds() - self._due, 0.0))
        self.start()

    def stop(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

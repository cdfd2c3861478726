"""Figures: what all workers of the node have counted, for whoever asks this one."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ipquery.serve.totals import Told

# Asked more often than that, the same is told again: to put it together takes the supervisor
# a millisecond, and anybody may ask.
_FRESH_SECONDS = 0.5


class Figures:
    """Asks once for all who want to know at the same time."""

    def __init__(self, ask: Callable[[], "Deferred[Told]"], monotonic: Callable[[], float]) -> None:
        """
        :param ask: fails if nobody can say.
        :param monotonic: a clock, in seconds.
        """
        self._ask = ask
        self._monotonic = monotonic
        self._told: Told | None = None
        self._told_at = 0.0
        self._waiting: list[Deferred[Told]] | None = None

    def get(self) -> "Deferred[Told]":
        """What has been counted, up to about a second ago."""
        result: Deferred[Told] = Deferred()
        if self._told is not None and self._monotonic() - self._told_at < _FRESH_SECONDS:
            result.callback(self._told)
            return result
        if self._waiting is not None:
            self._waiting.append(result)
            return result
        self._waiting = [result]
        self._ask().addBoth(self._answered)
        return result

    def _answered(self, outcome: Told | Failure) -> None:
        waiting, self._waiting = self._waiting or [], None
        if isinstance(outcome, Told):
            self._told, self._told_at = outcome, self._monotonic()
        for one in waiting:
            # For a Failure, callback does what errback does.
            one.callback(outcome)

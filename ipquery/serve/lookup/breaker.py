"""A circuit breaker: who doesn't answer is left alone for a while."""

from collections.abc import Callable

from twisted.logger import Logger

_log = Logger()

# So many failures in a row open it.
_FAILURES = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0

_REASON_LENGTH = 200


def printable(text: str) -> str:
    """What others say, for the log: in one line, not too long, and no command to a terminal."""
    cut = text if len(text) <= _REASON_LENGTH else f"{text[:_REASON_LENGTH]}..."
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut
    )


class Breaker:
    """Says whether to ask something that may be down.

    ``closed``: ask. ``open``: don't, until the pause is over. ``half-open``:
    one asks, and its outcome counts for all. Each pause is twice as long as
    the one before, up to 30 seconds.
    """

    def __init__(
        self,
        name: str,
        seconds: Callable[[], float],
        is_open: bool = False,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """
        :param name: what is asked, for the log.
        :param seconds: the time now.
        :param is_open: begin by trying.
        :param on_change: called when the state is another.
        """
        self._state = "open" if is_open else "closed"
        self._on_change = on_change
        self.pause = 0.0 if is_open else _FIRST_PAUSE
        """Seconds that it stays open."""
        self._name = name
        self._seconds = seconds
        self._failures = 0
        self._since = seconds()
        self._cause = ""
        self._said: str | None = None

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        return self._state

    def allows(self) -> bool:
        """Whether to ask now. Who was told yes reports the outcome."""
        if self.state == "open" and self._seconds() - self._since >= self.pause:
            self.probe()
            return True
        return self.state == "closed"

    def probe(self) -> None:
        """The pause is over: the next outcome counts for all."""
        self._become("half-open")

    def _become(self, state: str) -> None:
        self._state = state
        self._on_change()

    def succeeded(self) -> None:
        """It answered."""
        self._failures = 0
        if self.state != "half-open":
            return  # closed, or an answer from before it opened
        self._become("closed")
        self.pause = _FIRST_PAUSE
        if self._said is not None:
            _log.info("{name} answers again", name=self._name)
            self._said = None

    def failed(self, reason: str) -> None:
        """It didn't, for this reason. Of several in a row the first is the one to tell.

        :param reason: may hold whatever the other side says.
        """
        self._failures += 1
        if self._failures == 1 or self.state == "half-open":
            self._cause = printable(reason)
        if self.state == "open" or (self.state == "closed" and self._failures < _FAILURES):
            return
        if self.state == "half-open":
            self.pause = min(max(self.pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._since = self._seconds()
        self._become("open")
        if self._cause != self._said:
            self._said = self._cause
            _log.warn("{name} is left alone for now: {reason}", name=self._name, reason=self._cause)

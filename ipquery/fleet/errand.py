"""Errands: processes that get an order, do what takes long, and answer with a JSON object."""

import json
from collections.abc import Sequence
from typing import Any

from twisted.python.failure import Failure

from ipquery.fleet.child import Child, how_it_ended
from ipquery.fleet.slots import Fleet

# How long a process that was told to end may take to remove its temporary files.
_PATIENCE_SECONDS = 5


async def run_errand(
    fleet: Fleet, command: Sequence[str], order: bytes, what: str, seconds: float, too_late: str
) -> dict[str, Any]:
    """Have a process carry out an order that it reads from its input.

    :param what: how a message calls the process.
    :param seconds: that it may take.
    :param too_late: what is said when it takes longer.
    :returns: its answer.
    :raises RuntimeError: it fails, saying why, or isn't done in time.
    :raises OSError: it can't be started.
    :raises StoppedError: the fleet is being stopped.
    """
    errand = Errand(fleet, order, what)
    fleet.reactor.spawnProcess(errand, command[0], list(command), env=None)
    fleet.living.add(errand)
    try:
        await fleet.until(lambda: errand.has_ended, seconds, too_late)
    finally:
        errand.cancel()
    if errand.answer is None:
        raise RuntimeError(errand.why_failed)
    return errand.answer


class Errand(Child):
    """Such a process."""

    def __init__(self, fleet: Fleet, order: bytes, what: str) -> None:
        self.has_ended = False
        self.answer: dict[str, Any] | None = None
        """Once it has ended well."""
        self.why_failed = ""
        self._fleet = fleet
        self._order = order
        self._what = what
        self._said = {1: b"", 2: b""}
        self._late: Any = None

    def connectionMade(self) -> None:
        """Hand it the order."""
        self.transport.write(self._order)  # type: ignore[union-attr] # it is there
        self.transport.closeStdin()  # type: ignore[union-attr]

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Its answer, or its complaint."""
        self._said[childFD] += data

    def cancel(self) -> None:
        """What it was sent for isn't wanted any more, if it isn't done."""
        if self.has_ended or self._late is not None:
            return
        self._signal("TERM")
        self._late = self._fleet.reactor.callLater(_PATIENCE_SECONDS, self.kill)

    def processEnded(self, reason: Failure) -> None:
        """It has answered, or never will."""
        self.transport = None
        self.has_ended = True
        self._fleet.living.discard(self)
        if self._late is not None and self._late.active():
            self._late.cancel()
        self._read_answer(reason)
        self._fleet.changed()

    def _read_answer(self, reason: Failure) -> None:
        try:
            answer = json.loads(self._said[1])
        except ValueError:
            last = self._said[2].decode(errors="replace").strip().splitlines()[-1:]
            said = f": {last[0]}" if last else ""
            self.why_failed = f"{self._what} {how_it_ended(reason)}{said}"
            if self._fleet.was_upgraded:
                # It runs the new code, and may not have understood the order of the old.
                self.why_failed += "; ipquery was upgraded while the daemon ran: restart the daemon"
            return
        if "error" in answer:
            self.why_failed = answer["error"]
        else:
            self.answer = answer

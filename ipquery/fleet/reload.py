"""What a reload needs: the process that builds, and what has changed."""

import json
import pickle
from pathlib import Path

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ipquery.config import Config
from ipquery.data.build import Order
from ipquery.fleet.child import how_it_ended


class Builder(ProcessProtocol):
    """The process that builds or finds the snapshot of a configuration."""

    def __init__(self, order: Order) -> None:
        self.built: Deferred[Path] = Deferred()
        self._order = order
        self._said = {1: b"", 2: b""}

    def connectionMade(self) -> None:
        """Hand it the order."""
        self.transport.write(pickle.dumps(self._order))  # type: ignore[union-attr] # it is there
        self.transport.closeStdin()  # type: ignore[union-attr]

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Its answer, or its complaint."""
        self._said[childFD] += data

    def cancel(self) -> None:
        """Its snapshot isn't wanted any more."""
        if self.transport is not None and self.transport.pid is not None:
            self.transport.signalProcess("TERM")

    def processEnded(self, reason: Failure) -> None:
        """It has answered, or never will."""
        self.transport = None
        try:
            answer = json.loads(self._said[1])
        except ValueError:
            last = self._said[2].decode(errors="replace").strip().splitlines()[-1:]
            said = f": {last[0]}" if last else ""
            self.built.errback(RuntimeError(f"the build {how_it_ended(reason)}{said}"))
            return
        if "error" in answer:
            self.built.errback(RuntimeError(answer["error"]))
        else:
            self.built.callback(Path(answer["path"]))


def in_place(before: Config, after: Config) -> bool:
    """Whether only databases and codes differ, which workers take over as they run."""
    same = attrs.evolve(after, databases=before.databases, lists=before.lists, build=before.build)
    return same == before


def code_stamp() -> str:
    """Changes when the installed code does."""
    package = Path(__file__).parents[1]
    files = sorted(package.rglob("*.py"))
    return repr([(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files])

"""One worker, seen from outside: its process, and what it says."""

import os
import signal
import socket
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from ipquery.fleet.control import (
    READ_FROM,
    WRITE_TO,
    Beat,
    Drain,
    Failed,
    Log,
    Messages,
    Prepare,
    Prepared,
    Ready,
    encode,
)

_log = Logger()

# Of what Python prints before it dies: more than one traceback.
_KEPT_BYTES = 8192


class WorkerProcess(ProcessProtocol):
    """One worker, seen from the supervisor."""

    def __init__(self, slot: "Slot", snapshot: Path, now: Callable[[], float]) -> None:
        self.slot = slot
        self.snapshot = snapshot
        self.started = now()
        self.heard = inf
        self.ready: Deferred[None] = Deferred()
        self.ended: Deferred[str] = Deferred()
        self.is_ready = False
        self.ready_since = inf
        self.is_draining = False
        self.why_failed: str | None = None
        self._now = now
        self._messages = Messages()
        self._complaint = b""
        self._preparing: Deferred[None] | None = None

    @property
    def name(self) -> str:
        """How the log calls it."""
        return f"worker {self.slot.number} (pid {self.transport.pid})"  # type: ignore[union-attr]

    def say(self, message: Any) -> None:
        """Tell the worker."""
        if self.transport is not None:
            self.transport.writeToChild(READ_FROM, encode(message))

    def prepare(self, snapshot: Path) -> Deferred[None]:
        """Have it map a snapshot.

        :returns: fires when it has, fails when it can't or dies.
        """
        self._preparing = Deferred()
        self.say(Prepare(str(snapshot)))
        return self._preparing

    def drain(self) -> None:
        """Have it answer what was asked, and end."""
        if not self.is_draining:
            self.is_draining = True
            self.say(Drain())

    def kill(self) -> None:
        """End it now."""
        if self.transport is not None and self.transport.pid is not None:
            os.kill(self.transport.pid, signal.SIGKILL)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Messages on one pipe; on the other what Python says before it dies."""
        if childFD != WRITE_TO:
            self._complaint = (self._complaint + data)[-_KEPT_BYTES:]
            return
        for message in self._messages.feed(data):
            self._act(message)

    def _act(self, message: Any) -> None:
        match message:
            case Ready():
                self.is_ready = True
                self.ready_since = self._now()
                self.ready.callback(None)
            case Beat():
                self.heard = self._now()
            case Log(level=level, text=text):
                _log.emit(LogLevel.lookupByName(level), "{name}: {text}", name=self.name, text=text)
            case Prepared():
                self._prepared(None)
            case Failed(reason=reason):
                self.why_failed = reason
                self._prepared(Failure(RuntimeError(reason)))

    def _prepared(self, outcome: Failure | None) -> None:
        preparing, self._preparing = self._preparing, None
        if preparing is not None:
            preparing.callback(outcome)

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        how = how_it_ended(reason)
        name = self.name
        self.transport = None
        said = self._complaint.decode(errors="replace").strip()
        if not self.is_ready:
            self.why_failed = self.why_failed or (said or how).splitlines()[-1]
        elif said:
            _log.error("{name} said: {text}", name=name, text=said)
        self._prepared(Failure(RuntimeError(f"{name} {how}")))
        self.ended.callback(how)


@attrs.define(eq=False)
class Slot:
    """A place for one worker, with the sockets that it listens on."""

    number: int
    sockets: list[socket.socket]
    shared: bool
    """Whether other slots listen on the same sockets."""
    worker: WorkerProcess | None = None
    failures: int = 0
    said: str | None = None
    retry: Any = None


def how_it_ended(reason: Failure) -> str:
    """What the log says of a process that ended."""
    if reason.check(ProcessDone):
        return "ended"
    number = getattr(reason.value, "signal", None)
    if number is not None:
        return f"was killed by {signal.Signals(number).name}"
    return f"ended with status {getattr(reason.value, 'exitCode', '?')}"

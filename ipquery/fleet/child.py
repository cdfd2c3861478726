"""One process of ours, seen from outside; above all a worker.

The phases of a worker:

| phase    | what it does                        | ends by                                 |
|----------|-------------------------------------|-----------------------------------------|
| STARTING | loads, listens                      | Ready → READY, drain or kill → LEAVING  |
| READY    | answers from ``state.snapshot``     | drain or kill → LEAVING                 |
| LEAVING  | answers what was asked, or is dying | after its patience it is killed         |
| ENDED    | nothing: the process is gone        |                                         |

From each of the first three its death leads to ENDED. In STARTING, READY and LEAVING it may
be asked to map another snapshot, which changes nothing but memory; it goes over to it when
told to switch, and is ``is_switching`` until it has said that it did.
"""

import enum
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from socket import socket
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from ipquery.fleet.control import (
    BEAT_SECONDS,
    CODEC,
    FIRST_SOCKET,
    OUTPUT,
    READ_FROM,
    WRITE_TO,
    AskFigures,
    Beat,
    Counted,
    Drain,
    Failed,
    Figures,
    Forget,
    Log,
    NotPrepared,
    Prepare,
    Prepared,
    Ready,
    Start,
    Switch,
    Switched,
)
from ipquery.fleet.log import Traceback
from ipquery.fleet.state import State
from ipquery.messages import MessageError, Reader
from ipquery.net.tls import TlsSettings
from ipquery.serve.totals import Totals, decode_handed_over, encode_told

_log = Logger()

_WORKER = "ipquery.fleet"

_STANDARD_OUTPUT = 1

# A worker that hasn't been heard of for ten beats is stuck, and so is one that isn't ready
# this long after its start.
_STUCK_SECONDS = 10 * BEAT_SECONDS
START_SECONDS = 30

# How much is kept of what a worker prints to standard error, where Python's last words are:
# room for more than one traceback.
_KEPT_BYTES = 8192


class Phase(enum.Enum):
    """See the table at the top."""

    STARTING = enum.auto()
    READY = enum.auto()
    LEAVING = enum.auto()
    ENDED = enum.auto()


class Child(ProcessProtocol):
    """A process that we have started, and that must not outlive us."""

    def kill(self) -> None:
        """End it now."""
        self._signal("KILL")

    def _signal(self, name: str) -> None:
        if self.transport is None:
            return
        try:
            self.transport.signalProcess(name)
        except ProcessExitedAlready:
            return  # processEnded is about to be called


class WorkerProcess(Child):
    """One worker, seen from the supervisor."""

    def __init__(
        self,
        reactor: Any,
        number: int,
        state: State,
        totals: Totals,
        changed: Callable[["WorkerProcess"], None],
    ) -> None:
        """
        :param reactor: time.
        :param number: how the log calls it.
        :param totals: where what it counts is added.
        :param changed: called after each change of what can be read here.
        """
        self.state = state
        """What it answers from, or will as soon as it reads what it was told."""
        self.phase = Phase.STARTING
        self.is_accepting = True
        self.is_switching = False
        self.was_stuck = False
        """Whether it is killed because it wasn't heard of."""
        self.ready_since: float | None = None
        self.not_accepting_since: float | None = None
        self.preparing: Path | None = None
        """The snapshot that it was asked to map, if it was."""
        self.has_mapped = False
        self.why_not_mapped: str | None = None
        self.why_failed: str | None = None
        self.how_it_ended = ""
        self._reactor = reactor
        self._number = number
        self._totals = totals
        self._changed = changed
        self._started = self._heard = reactor.seconds()
        self._messages = Reader(CODEC)
        self._complaint = b""
        self._order = 0
        self._late: Any = None
        self._has_complained = False

    @property
    def name(self) -> str:
        """How the log calls it."""
        return f"worker {self._number} (pid {self._pid})"

    @property
    def _pid(self) -> int | None:
        return getattr(self.transport, "pid", None)

    @property
    def answers(self) -> bool:
        """Whether callers can count on it."""
        return self.phase is Phase.READY and self.is_accepting

    # To the worker

    def say(self, message: Any) -> None:
        """Tell the worker."""
        if self.transport is not None:
            self.transport.writeToChild(READ_FROM, CODEC.encode(message))

    def prepare(self, snapshot: Path, tls: TlsSettings | None, keys: str | None = None) -> None:
        """Have it map a snapshot, and try certificates and API keys.

        :attr:`has_mapped` or :attr:`why_not_mapped` tell when it has.
        """
        self._order += 1
        self.preparing, self.has_mapped, self.why_not_mapped = snapshot, False, None
        self.say(Prepare(self._order, str(snapshot), tls, keys))

    def forget(self) -> None:
        """The snapshot that it was asked to map isn't wanted."""
        if self.preparing is not None:
            self.preparing, self.has_mapped, self.why_not_mapped = None, False, None
            self.say(Forget())

    def switch(self, state: State) -> None:
        """Have it answer from the snapshot that it has mapped."""
        self.state = state
        self.preparing, self.has_mapped = None, False
        self.is_switching = True
        self.say(Switch(self._order))

    def drain(self, patience: float) -> None:
        """Have it answer what was asked, and end.

        :param patience: seconds until it is killed.
        """
        if self._late is None and self.phase is not Phase.ENDED:
            self.phase = Phase.LEAVING
            self.say(Drain())
            self._late = self._reactor.callLater(patience, self.kill)

    def kill(self) -> None:
        """End it now."""
        if self.phase is not Phase.ENDED:
            self.phase = Phase.LEAVING
            super().kill()

    def overdue(self, now: float) -> float | None:
        """For how many seconds it should have been heard of, if that is too long."""
        if self.phase is Phase.STARTING and now - self._started > START_SECONDS:
            return START_SECONDS
        if self.phase is Phase.READY and now - self._heard > _STUCK_SECONDS:
            return _STUCK_SECONDS
        return None

    # From the worker

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Messages on one pipe; on the other what Python says before it dies."""
        if childFD != WRITE_TO:
            self._complaint = (self._complaint + data)[-_KEPT_BYTES:]
            return
        try:
            for message in self._messages.feed(data):
                self._act(message)
        except MessageError as error:
            self.why_failed = f"the supervisor doesn't understand it ({error}); restart the daemon"
            _log.error("{name}: {reason}", name=self.name, reason=self.why_failed)
            self.kill()
        self._changed(self)

    def _act(self, message: Any) -> None:
        match message:
            case Ready() if self.phase is Phase.STARTING:
                self.phase = Phase.READY
                self.ready_since = self._heard = self._reactor.seconds()
            case Beat(accepting=accepting):
                self._beat(accepting)
            case Counted() | AskFigures():
                self._act_on_figures(message)
            case Log():
                self._log(message)
            case Prepared(number=number) if self._is_of_now(number):
                self.has_mapped = True
            case NotPrepared(number=number, reason=reason) if self._is_of_now(number):
                self.why_not_mapped = reason
            case Switched(number=number) if number == self._order:
                self.is_switching = False
            case Failed(reason=reason):
                self.why_failed = reason
                if self.ready_since is not None:
                    _log.error("{name}: {reason}", name=self.name, reason=reason)

    def _act_on_figures(self, message: Counted | AskFigures) -> None:
        if isinstance(message, Counted):
            self._totals.take(self, decode_handed_over(message.text))
        else:
            self.say(Figures(message.number, encode_told(self._totals.told())))

    def _log(self, event: Log) -> None:
        fault = {} if event.failure is None else {"log_failure": Traceback(event.failure)}
        _log.emit(
            LogLevel.lookupByName(event.level),
            "{name}: {text}",
            name=self.name,
            text=event.text,
            told=event,
            worker=self._number,
            pid=self._pid,
            **fault,
        )

    def _is_of_now(self, number: int) -> bool:
        return self.preparing is not None and number == self._order

    def _beat(self, accepting: bool) -> None:
        self._heard = self._reactor.seconds()
        if accepting:
            self.not_accepting_since = None
        elif self.not_accepting_since is None:
            self.not_accepting_since = self._heard
            self._say_not_accepting()
        self.is_accepting = accepting

    def _say_not_accepting(self) -> None:
        """Once: at its limit a worker may go to and fro every second."""
        if self._has_complained:
            return
        self._has_complained = True
        _log.warn(
            "{name} can't accept connections for want of descriptors or memory; "
            "`ipquery doctor` tells whether the limit on open files is too low",
            name=self.name,
        )

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        name, how = self.name, how_it_ended(reason)
        self.transport = None
        self._totals.forget(self)
        self.phase, self.how_it_ended = Phase.ENDED, how
        if self._late is not None and self._late.active():
            self._late.cancel()
        said = self._complaint.decode(errors="replace").strip()
        if self.ready_since is None:
            self.why_failed = self.why_failed or (said or how).splitlines()[-1]
        elif said:
            _log.error(
                "{name} said: {text}",
                name=name,
                text=said.splitlines()[-1],
                log_failure=Traceback(said),
            )
        self._changed(self)


def start_worker(
    reactor: Any,
    number: int,
    state: State,
    listening: Sequence[socket],
    ticket_key: str | None,
    totals: Totals,
    changed: Callable[[WorkerProcess], None],
) -> WorkerProcess:
    """Start a worker in a state.

    :param ticket_key: what all workers encrypt TLS session tickets with, if they can.
    :param listening: the sockets on which it accepts.
    :param totals: where what it counts is added.
    :raises OSError: no process can be started.
    """
    worker = WorkerProcess(reactor, number, state, totals, changed)
    settings = state.config.settings
    descriptors = {FIRST_SOCKET + place: one.fileno() for place, one in enumerate(listening)}
    binds = state.listeners.groups
    log = settings.access_log
    # A descriptor of its own for the access log: what Python prints goes to us, by a pipe.
    output = {OUTPUT: _STANDARD_OUTPUT} if log is not None and log.is_output else {}
    reactor.spawnProcess(
        worker,
        sys.executable,
        [sys.executable, "-P", "-m", _WORKER],
        env=None,
        childFDs={0: "w", 1: "r", 2: "r", READ_FROM: "w", WRITE_TO: "r", **output, **descriptors},
    )
    worker.say(
        Start(
            number,
            list(descriptors),
            OUTPUT if output else None,
            str(state.snapshot),
            settings,
            [number for number, bind in zip(descriptors, binds, strict=True) if bind.tls],
            state.config.tls,
            ticket_key,
            [number for number, bind in zip(descriptors, binds, strict=True) if bind.admin],
        )
    )
    return worker


def how_it_ended(reason: Failure) -> str:
    """What the log says of a process that ended."""
    if reason.check(ProcessDone):
        return "ended"
    number = getattr(reason.value, "signal", None)
    if number is not None:
        return f"was killed by {signal.Signals(number).name}"
    return f"ended with status {getattr(reason.value, 'exitCode', '?')}"

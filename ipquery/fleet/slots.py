"""The fleet: a slot for each worker, each slot kept filled, and every process known.

A slot's states:

| state    | worker   | retry | ends by                                                          |
|----------|----------|-------|------------------------------------------------------------------|
| new      | none     | none  | start → filled                                                   |
| filled   | a worker | none  | its death → filled at once, or waiting; in a candidate → failed  |
| waiting  | none     | set   | the pause is over → filled                                       |
| failed   | none     | none  | let_go → closed; ``failed`` holds the reason                     |
| closed   | none     | none  | never: the worker that it had drains by itself                   |

A process that can't even be spawned counts as a worker that died at once.

A slot starts its workers in its own ``state``. The fleet's slots are all in the one
``current`` state. Candidates, the slots of a replacement under way, are in the state that it
is to bring: nothing that dies meanwhile comes back in the other's state.
"""

from collections import Counter
from collections.abc import Callable
from socket import AF_UNIX, socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipquery.fleet.child import Child, Phase, WorkerProcess, start_worker
from ipquery.fleet.state import State, code_stamp
from ipquery.fleet.ticket_keys import TicketKeys
from ipquery.metrics import RELOAD_OK, RELOADED, RESTARTS, STARTED, WORKERS
from ipquery.net import sockets
from ipquery.serve.http.counts import Entry
from ipquery.serve.totals import HandedOver, Totals

_log = Logger()

# A worker that was ready for at least this long is restarted at once; earlier deaths
# back off.
_STABLE_SECONDS = 1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

# Beyond `drain_seconds`, by which a worker ends by itself, it is killed after this time.
_DRAIN_MARGIN_SECONDS = 5


class StoppedError(Exception):
    """The fleet is being stopped: what was waited for won't come."""


class Slot:
    """A place for one worker, with the sockets that it listens on."""

    def __init__(
        self, fleet: "Fleet", number: int, state: State, listening: list[socket], shared: bool
    ) -> None:
        """:param shared: whether other slots of this state listen on the same sockets."""
        self.number = number
        self.state = state
        self.listening = listening
        self.worker: WorkerProcess | None = None
        self.was_tried = False
        """Whether a worker has been ready here, or has failed to be."""
        self.failed: str | None = None
        """Why a candidate's worker is gone."""
        self.why_waiting: str | None = None
        """Why no worker could start here, as the log has it."""
        self._fleet = fleet
        self._shared = shared
        self._failures = 0
        self._retry: Any = None

    @property
    def answers(self) -> bool:
        """Whether callers can count on its worker."""
        return self.worker is not None and self.worker.answers

    def start(self) -> None:
        """Start a worker in the slot's state."""
        self._retry = None
        try:
            self.worker = self._fleet.spawn(self)
        except OSError as error:
            self._could_not_start(f"no process can be made: {error.strerror or error}")
            self._fleet.changed()

    def start_waiting(self) -> None:
        """Start a worker if the slot waits to: what was in the way may be gone."""
        if self._retry is not None:
            self._retry.cancel()
            self.start()

    def replace(self) -> None:
        """Let the worker go, and start another at once."""
        self._fleet.totals.add(RESTARTS, ("not accepting",))
        self.let_go()
        self.start()

    def let_go(self) -> None:
        """Let the worker drain, and start no other."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        worker, self.worker = self.worker, None
        if worker is not None:
            patience = self.state.config.settings.http.drain_seconds + _DRAIN_MARGIN_SECONDS
            worker.drain(patience)

    def look(self, worker: WorkerProcess) -> None:
        """Take in what has changed about a worker that was started here."""
        if worker is not self.worker:
            return  # it was let go
        if worker.phase is Phase.ENDED:
            self.worker = None
            if worker.ready_since is None:
                self._could_not_start(worker.why_failed or worker.how_it_ended)
            else:
                self._died(worker, self._fleet.reactor.seconds() - worker.ready_since)
        elif worker.phase is Phase.READY:
            self.was_tried = True
            if self.why_waiting is not None:
                _log.info("worker {worker} answers again", worker=self.number)
                self.why_waiting = None

    def _could_not_start(self, reason: str) -> None:
        self.was_tried = True
        if self in self._fleet.candidates:
            self.failed = f"a new worker can't start: {reason}"
            return
        self._failures += 1
        self._fleet.totals.add(RESTARTS, ("can't start",))
        pause = _pause(self._failures)
        # Each reason is logged once: a worker that keeps failing would fill the log.
        if self.why_waiting != reason:
            self.why_waiting = reason
            _log.error(
                "worker {worker} can't start: {reason}; trying again, at first in {pause} s",
                worker=self.number,
                reason=reason,
                pause=pause,
            )
        self._wait(pause)

    def _died(self, worker: WorkerProcess, ready_seconds: float) -> None:
        how = worker.how_it_ended
        self._fleet.totals.add(RESTARTS, ("stuck" if worker.was_stuck else "died",))
        if self in self._fleet.candidates:
            self.failed = f"a new worker {how} before all of them were ready"
            return
        self._failures = 0 if ready_seconds >= _STABLE_SECONDS else self._failures + 1
        _log.warn("worker {worker} {how}; starting another", worker=self.number, how=how)
        if self._failures > 1:
            self._wait(_pause(self._failures))
            return
        # Another takes 0.3 s to listen, and more on a busy machine. If nobody can answer
        # meanwhile, or who waits here would be reset, they had better wait for it.
        if self._fleet.has_others(self) and self._fleet.moves_callers():
            self._stop_listening()
        self.start()

    def _wait(self, pause: float) -> None:
        self._retry = self._fleet.reactor.callLater(pause, self.start)
        self._stop_listening()

    def _stop_listening(self) -> None:
        """Leave callers to the other slots until a worker listens here again.

        The kernel shares them out among the sockets of an address that listen.
        """
        if self._shared:
            return
        for one in self.listening:
            # A UNIX socket can't be made to listen again.
            if one.family != AF_UNIX and not self._fleet.is_accepted_on(one):
                sockets.stop_listening(one)


def _pause(failures: int) -> float:
    """Seconds until the next try, ever longer."""
    # The exponent is bounded, as days of failures would make 2 ** failures too large for a
    # float; the longest pause is reached at the seventh.
    return float(min(_FIRST_PAUSE * 2 ** min(failures - 1, 10), _LONGEST_PAUSE))


class Fleet:
    """All slots and all processes, and the one state that the slots are in."""

    def __init__(
        self,
        reactor: Any,
        state: State,
        on_change: Callable[[], None],
        moves_callers: Callable[[], bool],
    ) -> None:
        """
        :param reactor: time and processes.
        :param on_change: called after each change of a worker or a slot.
        :param moves_callers: see :func:`ipquery.net.sockets.moves_callers`.
        """
        self.reactor = reactor
        self.moves_callers = moves_callers
        self.current = state
        self.slots = self.make_slots(state)
        self.candidates: list[Slot] = []
        """The slots of a replacement under way."""
        self.tickets = TicketKeys()
        self.totals = Totals()
        """What all workers have counted, and the fleet itself."""
        self.living: set[Child] = set()
        """Every process that was started and hasn't ended, the drained ones included."""
        self.is_stopping = False
        self.began = self.taken_over = reactor.seconds()
        """When the fleet was made, and when its state was taken over."""
        self.was_reloaded = True
        """Whether the last reload, if there was one, was carried out."""
        self._own_code = state.code
        self._on_change = on_change
        self._waiting: list[Deferred[None]] = []

    def make_slots(self, state: State) -> list[Slot]:
        """As many slots as the state has workers, with nothing in them."""
        config, listeners = state.config, state.listeners
        shared = config.workers > 1 and listeners.are_shared
        return [
            Slot(self, number + 1, state, listeners.of_slot(number), shared)
            for number in range(config.workers)
        ]

    @property
    def was_upgraded(self) -> bool:
        """Whether the installed code isn't that of this process any more."""
        return code_stamp() != self._own_code

    def spawn(self, slot: Slot) -> WorkerProcess:
        """Start a worker for a slot.

        :raises OSError: no process can be started.
        """

        def changed(worker: WorkerProcess) -> None:
            if worker.phase is Phase.ENDED:
                self.living.discard(worker)
            slot.look(worker)
            self.changed()

        ticket_key = self.tickets.key() if slot.state.config.tls is not None else None
        worker = start_worker(
            self.reactor,
            slot.number,
            slot.state,
            slot.listening,
            ticket_key,
            self.totals,
            changed,
        )
        self.living.add(worker)
        return worker

    def workers(self) -> list[WorkerProcess]:
        """Every worker that lives, those that drain and a candidate's included."""
        return [child for child in self.living if isinstance(child, WorkerProcess)]

    def count(self) -> None:
        """Tell how it is with the workers now, and begin another second."""
        phases = Counter(worker.phase for worker in self.workers())
        gauges: list[Entry] = [
            (WORKERS.name, (phase.name.lower(),), phases[phase])
            for phase in (Phase.STARTING, Phase.READY, Phase.LEAVING)
        ]
        gauges += [
            (WORKERS.name, ("configured",), self.current.config.workers),
            (STARTED.name, (), self.began),
            (RELOAD_OK.name, (), int(self.was_reloaded)),
            (RELOADED.name, (), self.taken_over),
        ]
        self.totals.take("fleet", HandedOver([], gauges))
        self.totals.tick(self.reactor.seconds())

    def has_others(self, slot: Slot) -> bool:
        """Whether another slot than this one answers callers."""
        return any(other.answers for other in self.slots if other is not slot)

    def is_accepted_on(self, one: socket) -> bool:
        """Whether a worker is to accept on a socket, of a candidate's slot or another."""
        return any(
            slot.worker is not None and one in slot.listening
            for slot in (*self.slots, *self.candidates)
        )

    def drop_candidates(self) -> None:
        """The replacement isn't wanted after all."""
        dropped, self.candidates = self.candidates, []
        for slot in dropped:
            slot.let_go()

    # Waiting

    def changed(self) -> None:
        """Have all who wait look again at what they wait for."""
        self._on_change()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    def _next_change(self) -> Deferred[None]:
        change: Deferred[None] = Deferred()
        self._waiting.append(change)
        return change

    async def until(self, condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
        """Wait for a condition, looking at it after each change.

        :raises RuntimeError: with the text of ``otherwise``, when it doesn't come true in time.
        :raises StoppedError: the fleet is being stopped.
        """
        deadline = self.reactor.seconds() + seconds
        alarm = self.reactor.callLater(seconds, self.changed)
        try:
            while not self.is_stopping:
                if condition():
                    return
                if self.reactor.seconds() >= deadline:
                    raise RuntimeError(otherwise)
                await self._next_change()
        finally:
            if alarm.active():
                alarm.cancel()
        raise StoppedError

    async def stop(self) -> None:
        """Let every worker go, and wait until no process is left."""
        self.is_stopping = True
        for slot in self.slots:
            slot.let_go()
        # A reload that waits in `until` now gets StoppedError, and takes back what it has begun.
        self.changed()
        while self.living:
            await self._next_change()

    def kill(self) -> None:
        """End every process now."""
        for child in tuple(self.living):
            child.kill()

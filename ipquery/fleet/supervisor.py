"""The supervisor: holds the sockets, starts the workers, watches them, and stops them.

A worker that dies loses only what it was answering: the connections that wait in its
socket's queue are moved to the other workers if the kernel does that, or wait for the
next one, as the socket is the supervisor's.

What is said to the service manager:

| when                                                    | what              |
|---------------------------------------------------------|-------------------|
| every slot was tried once, and a worker answers         | READY             |
| every slot was tried once, and no worker answers        | STATUS with why   |
| a reload begins after READY                             | RELOADING         |
| a reload has ended after READY, well or not             | READY             |
| the number of workers that answer changes               | STATUS            |
| stopping                                                | STOPPING          |
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipquery.config import Config
from ipquery.fleet.child import Phase
from ipquery.fleet.control import BEAT_SECONDS, Reopen, TicketKey
from ipquery.fleet.reload import Reload
from ipquery.fleet.slots import Fleet, Slot
from ipquery.fleet.state import State, hold_state
from ipquery.fleet.ticket_keys import RENEWAL_SECONDS
from ipquery.fleet.update import Updates
from ipquery.net import sockets
from ipquery.net.sockets import Listeners
from ipquery.net.systemd import Notifier

_log = Logger()

# A worker that has no descriptors left to accept with gets some back as connections end. If
# none has come back after this time it is replaced, as callers in its queue wait meanwhile.
_NOT_ACCEPTING_SECONDS = 10


class Supervisor(Service):
    """The service of the twistd process."""

    def __init__(
        self,
        reactor: Any,
        config: Config,
        load_config: Callable[[], Config],
        listeners: Listeners,
        snapshot: Path,
        notifier: Notifier,
        moves_callers: Callable[[], bool] = sockets.moves_callers,
        random: Callable[[], float] = random.random,
    ) -> None:
        """
        :param reactor: time, processes and signals.
        :param load_config: reads the configuration again; raises ConfigError.
        :param listeners: the bound sockets; they are closed when the service stops.
        :param snapshot: what the workers answer from, verified and in the cache.
        :param moves_callers: see :func:`ipquery.net.sockets.moves_callers`.
        :param random: from 0 to 1, for the times of updates.
        :raises OSError: the snapshot is gone.
        """
        self.up: Deferred[None] = Deferred()
        """Fires when every worker was tried, and one answers."""
        self._reactor = reactor
        self._load_config = load_config
        self._notifier = notifier
        state = hold_state(config, listeners, snapshot)
        self._fleet = Fleet(reactor, state, self._changed, moves_callers)
        self._was_tried = False
        self._was_ready = False
        self._status = ""
        self._reload_wanted = False
        self._update_wanted: Deferred[bool] | None = None
        self._updates = Updates(self._fleet, self._take_over_update, random)
        self._is_reloading = False
        self._in_a_hurry = False
        self._watch = self._steadily(self._check_workers)
        self._counting = self._steadily(self._fleet.count)
        self._renewal = self._steadily(self.renew_tickets)
        self._watchdog = self._steadily(notifier.alive)

    def _steadily(self, call: Callable[[], object]) -> LoopingCall:
        """A loop that an exception doesn't end."""

        def guarded() -> None:
            try:
                call()
            except Exception:
                _log.failure("the supervisor goes on after an error")

        loop = LoopingCall(guarded)
        loop.clock = self._reactor
        return loop

    @property
    def is_reloading(self) -> bool:
        """Whether a reload is under way."""
        return self._is_reloading

    @property
    def state(self) -> State:
        """What the workers are on: the configuration, sockets and snapshot in force."""
        return self._fleet.current

    # Starting

    def startService(self) -> None:
        """Start the workers."""
        super().startService()
        self._fleet.current.note()
        # From now on the kernel queues callers until a worker accepts them, instead of refusing.
        sockets.listen(self._fleet.current.listeners.all())
        for slot in self._fleet.slots:
            slot.start()
        self._watch.start(BEAT_SECONDS, now=False)
        self._counting.start(BEAT_SECONDS)
        self._updates.start()
        self._renewal.start(RENEWAL_SECONDS, now=False)
        if self._notifier.watchdog_seconds is not None:
            self._watchdog.start(self._notifier.watchdog_seconds / 2)

    # Watching

    def _changed(self) -> None:
        """Something has changed about a worker or a slot."""
        fleet = self._fleet
        self._was_tried = self._was_tried or all(slot.was_tried for slot in fleet.slots)
        if fleet.is_stopping or not self._was_tried:
            return
        answers = any(slot.answers for slot in fleet.slots)
        if not self._was_ready and answers:
            self._notifier.ready()
            self._was_ready = True
            self._status = ""
            self.up.callback(None)
        status = self._describe()
        if self._status != status:
            self._notifier.status(status)
            self._status = status
        self._reload_if_wanted()

    def _describe(self) -> str:
        slots = self._fleet.slots
        up = sum(slot.answers for slot in slots)
        text = f"{up} of {len(slots)} workers answer"
        reasons = [slot.why_waiting for slot in slots if slot.why_waiting is not None]
        return f"{text}: {reasons[0]}" if reasons and not up else text

    def _check_workers(self) -> None:
        for slot in (*self._fleet.slots, *self._fleet.candidates):
            try:
                self._check_worker(slot)
            except Exception:
                # What is wrong with one must not keep us from checking the others.
                _log.failure("can't check worker {worker}", worker=slot.number)

    def _check_worker(self, slot: Slot) -> None:
        worker, now = slot.worker, self._reactor.seconds()
        if worker is None:
            return
        overdue = worker.overdue(now)
        if overdue is not None:
            _log.error(
                "{name} has been stuck for {limit} s; killing it", name=worker.name, limit=overdue
            )
            worker.was_stuck = True
            worker.kill()
            return
        since = worker.not_accepting_since
        if worker.phase is not Phase.READY or since is None or slot not in self._fleet.slots:
            return
        # Where no worker accepts, the cause isn't in this one, and another would fare no better.
        if now - since >= _NOT_ACCEPTING_SECONDS and any(one.answers for one in self._fleet.slots):
            _log.error(
                "{name} hasn't accepted connections for {seconds} s; replacing it",
                name=worker.name,
                seconds=_NOT_ACCEPTING_SECONDS,
            )
            slot.replace()

    # Reloading

    def reload(self) -> None:
        """Take over a changed configuration, changed databases and changed code.

        All or nothing: whatever goes wrong, the old state keeps serving, and the log says
        why. Asked for while another is under way or the workers start, it follows.
        """
        self._reload_wanted = True
        self._reload_if_wanted()

    def _take_over_update(self) -> Deferred[bool]:
        """Take over what was fetched; tells whether it is served then."""
        self._update_wanted = Deferred()
        wanted = self._update_wanted
        self._reload_if_wanted()
        return wanted

    def _reload_if_wanted(self) -> None:
        stopping = self._fleet.is_stopping
        is_wanted = self._reload_wanted or self._update_wanted is not None
        if not is_wanted or self._is_reloading or not self._was_tried or stopping:
            return
        # What somebody asked for takes over what was fetched as well.
        reload = Reload(self._fleet, self._load_config, is_update=not self._reload_wanted)
        update, self._update_wanted = self._update_wanted, None
        self._reload_wanted = False
        self._is_reloading = True
        if self._was_ready:
            self._notifier.reloading()
        Deferred.fromCoroutine(reload.run()).addBoth(self._reloaded, update)

    def _reloaded(self, outcome: bool | Failure, update: Deferred[bool] | None) -> None:
        if isinstance(outcome, Failure):
            _log.failure("reload failed, the old state keeps serving", outcome)
        self._is_reloading = False
        if self._fleet.is_stopping:
            return
        if self._was_ready:
            self._notifier.ready()
        self._updates.follow(self._fleet.current.config)
        if update is not None:
            update.callback(outcome is True)
        self._reload_if_wanted()

    # Keys, logs and stopping

    def renew_tickets(self) -> None:
        """Have workers encrypt TLS session tickets with another key, if they do with one."""
        tickets = self._fleet.tickets
        key = tickets.renewed() if tickets.is_in_use else None
        if key is not None:
            for worker in self._fleet.workers():
                worker.say(TicketKey(key))

    def reopen_logs(self) -> None:
        """The access log was rotated."""
        for worker in self._fleet.workers():
            worker.say(Reopen())

    def stopService(self) -> Deferred[None]:
        """Have all workers drain.

        :returns: fires when the last process has ended.
        """
        super().stopService()
        self._notifier.stopping()
        return Deferred.fromCoroutine(self._stop())

    def hurry(self) -> None:
        """Don't wait for what the workers are still answering when stopping."""
        self._in_a_hurry = True
        if self._fleet.is_stopping:
            self._fleet.kill()

    async def _stop(self) -> None:
        self._updates.stop()
        for loop in (self._watch, self._counting, self._renewal):
            if loop.running:
                loop.stop()
        stopped = Deferred.fromCoroutine(self._fleet.stop())
        # A socket listens until its last descriptor is closed. From here on only workers have
        # them: once these have closed theirs, callers are refused instead of kept waiting.
        sockets.close_all(self._fleet.current.listeners)
        if self._in_a_hurry:
            self._fleet.kill()
        await stopped
        if self._watchdog.running:
            self._watchdog.stop()
        self._notifier.give_up()
        self._fleet.current.held.close()

"""The supervisor: holds the sockets, starts the workers, and keeps them going.

A worker that dies loses only what it was answering: the connections that wait
in its socket's queue wait for the next one, as the socket is the supervisor's.
"""

import json
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, BinaryIO

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from ipquery.config import Config, ConfigError
from ipquery.data.build import Order, hold, order_command
from ipquery.fleet.control import (
    BEAT_SECONDS,
    FIRST_SOCKET,
    READ_FROM,
    WRITE_TO,
    Beat,
    Drain,
    Failed,
    Forget,
    Log,
    Messages,
    Prepare,
    Prepared,
    Ready,
    Reopen,
    Start,
    Switch,
    encode,
)
from ipquery.net import sockets
from ipquery.net.sockets import BindError, Listeners
from ipquery.net.systemd import Notifier

_log = Logger()

_WORKER = "ipquery.fleet"

# A worker's reactor is stuck when it has missed this many beats, and its start
# has failed after so long.
_STUCK_SECONDS = 10 * BEAT_SECONDS
_START_SECONDS = 30

# One that answered for so long died by accident, and is missed: to start another
# takes half a second. One that didn't may die of the same again.
_STABLE_SECONDS = 1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

# Of what Python prints before it dies: more than one traceback.
_KEPT_BYTES = 8192

# More than a worker's own drain takes.
_DRAIN_MARGIN_SECONDS = 5


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
        how = _how_it_ended(reason)
        name = self.name
        self.transport = None
        said = self._complaint.decode(errors="replace").strip()
        if not self.is_ready:
            self.why_failed = self.why_failed or (said or how).splitlines()[-1]
        elif said:
            _log.error("{name} said: {text}", name=name, text=said)
        self._prepared(Failure(RuntimeError(f"{name} {how}")))
        self.ended.callback(how)


def _how_it_ended(reason: Failure) -> str:
    if reason.check(ProcessDone):
        return "ended"
    number = getattr(reason.value, "signal", None)
    if number is not None:
        return f"was killed by {signal.Signals(number).name}"
    return f"ended with status {getattr(reason.value, 'exitCode', '?')}"


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
    ) -> None:
        """
        :param reactor: time, processes and signals.
        :param load_config: reads the configuration again; raises ConfigError.
        :param listeners: the bound sockets; they are closed when the service stops.
        :param snapshot: what the workers answer from, verified and in the cache.
        """
        self.up: Deferred[None] = Deferred()
        """Fires when every worker has answered or failed for the first time."""
        self._reactor = reactor
        self._config = config
        self._load_config = load_config
        self._listeners = listeners
        self._snapshot = snapshot
        self._held: BinaryIO = hold(snapshot)
        self._notifier = notifier
        self._code = _code_stamp()
        self._slots: list[Slot] = []
        self._leaving: set[WorkerProcess] = set()
        self._stopping = False
        self._reloading: Deferred[None] | None = None
        self._reload_again = False
        self._builder: _Builder | None = None
        self._watch = LoopingCall(self._check_workers)
        self._watch.clock = reactor
        self._watchdog = LoopingCall(notifier.alive)
        self._watchdog.clock = reactor

    # Starting

    def startService(self) -> None:
        """Start the workers."""
        super().startService()
        # Callers wait the moment until the workers answer, instead of being refused.
        sockets.listen(self._listeners.all())
        self._slots = self._make_slots()
        tried = [self._first_try(slot) for slot in self._slots]
        self._tried = DeferredList(tried, consumeErrors=True)
        self._tried.addCallback(lambda _: self._all_tried())
        self._watch.start(BEAT_SECONDS, now=False)
        if self._notifier.watchdog_seconds is not None:
            self._watchdog.start(self._notifier.watchdog_seconds / 2)

    def _make_slots(self) -> list[Slot]:
        shared = self._config.workers > 1 and self._listeners.are_shared
        return [
            Slot(number + 1, self._listeners.of_slot(number), shared)
            for number in range(self._config.workers)
        ]

    def _all_tried(self) -> None:
        if not self._stopping:
            self._notifier.ready()
            self._say_status()
            self.up.callback(None)

    def _say_status(self) -> None:
        up = sum(slot.worker is not None and slot.worker.is_ready for slot in self._slots)
        self._notifier.status(f"{up} of {len(self._slots)} workers answer")

    def _spawn(self, slot: Slot) -> WorkerProcess:
        """Start a worker, and make it the slot's."""
        worker = self._spawn_beside(slot)
        slot.worker = worker
        return worker

    def _spawn_beside(self, slot: Slot) -> WorkerProcess:
        worker = WorkerProcess(slot, self._snapshot, self._reactor.seconds)
        first = FIRST_SOCKET
        descriptors = {first + place: one.fileno() for place, one in enumerate(slot.sockets)}
        self._reactor.spawnProcess(
            worker,
            sys.executable,
            [sys.executable, "-P", "-m", _WORKER],
            env=None,
            childFDs={
                0: "w",
                1: "r",
                2: "r",
                READ_FROM: "w",
                WRITE_TO: "r",
                **descriptors,
            },
        )
        config = self._config
        worker.say(
            Start(
                slot.number,
                list(descriptors),
                str(worker.snapshot),
                attrs.asdict(config.http),
                config.express,
                str(config.access_log) if config.access_log else None,
                attrs.asdict(config.cache),
                [attrs.asdict(settings) for settings in config.fallback],
            )
        )
        worker.ended.addCallback(self._ended, worker)
        worker.ready.addCallback(lambda _: self._up(worker))
        return worker

    def _up(self, worker: WorkerProcess) -> None:
        slot = worker.slot
        if worker.snapshot != self._snapshot and slot.worker is worker:
            # A reload went by while it was starting.
            worker.prepare(self._snapshot).addCallbacks(
                lambda _: worker.say(Switch()), lambda _: worker.kill()
            )
        if slot.said is not None:
            _log.info("worker {number} answers again", number=slot.number)
            slot.said = None
        self._say_status()

    # Keeping

    def _ended(self, how: str, worker: WorkerProcess) -> None:
        self._leaving.discard(worker)
        slot = worker.slot
        if slot.worker is not worker:
            return
        slot.worker = None
        if self._stopping or slot not in self._slots:
            return
        self._say_status()
        answered = self._reactor.seconds() - worker.ready_since
        slot.failures = 0 if answered >= _STABLE_SECONDS else slot.failures + 1
        pause = _pause(slot.failures, worker.is_ready)
        self._say_ended(slot, worker, how, pause)
        if pause == 0:
            self._spawn(slot)
            return
        if not slot.shared:
            # Nobody accepts here for a while: the other sockets of the group get
            # the callers instead.
            for one in slot.sockets:
                sockets.stop_listening(one)
        slot.retry = self._reactor.callLater(pause, self._spawn, slot)

    def _say_ended(self, slot: Slot, worker: WorkerProcess, how: str, pause: float) -> None:
        """Each reason once: a worker that keeps failing would fill the log."""
        if worker.is_ready:
            _log.warn("worker {number} {how}; starting another", number=slot.number, how=how)
        elif slot.said != worker.why_failed:
            slot.said = worker.why_failed
            _log.error(
                "worker {number} can't start: {reason}; trying again, at first in {pause} s",
                number=slot.number,
                reason=worker.why_failed,
                pause=pause,
            )

    def _check_workers(self) -> None:
        now = self._reactor.seconds()
        for slot in self._slots:
            worker = slot.worker
            if worker is None or worker.is_draining:
                continue
            since = worker.heard if worker.is_ready else worker.started
            limit = _STUCK_SECONDS if worker.is_ready else _START_SECONDS
            if now - since > limit:
                _log.error(
                    "{name} has been stuck for {limit} s; killing it", name=worker.name, limit=limit
                )
                worker.heard = inf
                worker.kill()

    # Reloading

    def reload(self) -> Deferred[None]:
        """Take over a changed configuration, changed databases and changed code.

        All or nothing: whatever goes wrong, the old state keeps serving.

        :returns: fires when it is done, or has failed and said so in the log.
        """
        if self._stopping:
            return succeed(None)
        if self._reloading is not None:
            self._reload_again = True
            return self._reloading
        self._notifier.reloading()
        self._reloading = Deferred.fromCoroutine(self._reload())
        return self._reloading.addBoth(self._reloaded)

    async def _reload(self) -> None:
        await self._tried
        try:
            config = self._load_config()
            snapshot = await self._build(config)
            held = hold(snapshot)
        except (ConfigError, OSError, RuntimeError) as error:
            _log.error("reload refused, the old state keeps serving: {reason}", reason=str(error))
            return
        code = _code_stamp()
        try:
            if _in_place(self._config, config) and code == self._code:
                await self._switch(snapshot)
            else:
                await self._roll(config, snapshot)
        except (BindError, OSError, RuntimeError) as error:
            held.close()
            _log.error("reload failed, the old state keeps serving: {reason}", reason=str(error))
            return
        self._code = code
        self._held.close()
        self._held = held
        _log.info("reloaded; answering from {snapshot}", snapshot=snapshot.name)

    def _reloaded(self, outcome: Any) -> None:
        if isinstance(outcome, Failure):
            _log.failure("reload failed, the old state keeps serving", outcome)
        self._reloading = None
        self._notifier.ready()
        if self._reload_again:
            self._reload_again = False
            self.reload()

    def _build(self, config: Config) -> Deferred[Path]:
        """Build and verify in a process of its own.

        :returns: fails with RuntimeError, saying why.
        """
        order = Order(config.databases, config.cache_dir, config.lists, config.build, config.blend)
        self._builder = _Builder(order)
        command = order_command()
        self._reactor.spawnProcess(self._builder, command[0], command, env=None)
        return self._builder.built

    async def _switch(self, snapshot: Path) -> None:
        """Every worker maps the new snapshot; when all have, all answer from it."""
        ready = [
            slot.worker for slot in self._slots if slot.worker is not None and slot.worker.is_ready
        ]
        prepared = DeferredList([worker.prepare(snapshot) for worker in ready], consumeErrors=True)
        outcomes: list[tuple[bool, Any]] = await prepared
        for (done, outcome), worker in zip(outcomes, ready, strict=True):
            # One that died comes back with whatever is current then.
            if not done and worker.transport is not None:
                for other in ready:
                    other.say(Forget())
                raise RuntimeError(outcome.getErrorMessage())
        self._snapshot = snapshot
        for worker in ready:
            worker.say(Switch())

    async def _roll(self, config: Config, snapshot: Path) -> None:
        """Start new workers beside the old ones; when all answer, let the old ones go."""
        before = self._config, self._snapshot, self._listeners, self._slots
        self._listeners = self._listeners.regrouped(config.binds, config.workers)
        self._config, self._snapshot = config, snapshot
        new = self._make_slots()
        try:
            for slot in new:
                await self._first_try(slot)
        except RuntimeError:
            failed = self._listeners
            self._config, self._snapshot, self._listeners, self._slots = before
            for slot in new:
                self._empty(slot)
            sockets.close_all(failed, keep=self._listeners)
            raise
        old, self._slots = self._slots, new
        for slot in old:
            self._empty(slot)
        sockets.close_all(before[2], keep=self._listeners)
        self._say_status()

    def _first_try(self, slot: Slot) -> Deferred[None]:
        """Start a slot's worker.

        :returns: fires when it answers, fails with RuntimeError when it ends before.
        """
        worker = self._spawn(slot)
        tried: Deferred[None] = Deferred()

        def ended(how: str) -> str:
            if not worker.is_ready:
                tried.errback(RuntimeError(f"a new worker can't start: {worker.why_failed}"))
            return how

        worker.ended.addCallback(ended)
        worker.ready.addCallback(lambda _: tried.callback(None))
        return tried

    def _empty(self, slot: Slot) -> None:
        """Let a slot's worker go, and start no other."""
        if slot.retry is not None and slot.retry.active():
            slot.retry.cancel()
        worker, slot.worker = slot.worker, None
        if worker is not None and worker.transport is not None:
            self._leaving.add(worker)
            worker.drain()
            patience = self._config.http.drain_seconds + _DRAIN_MARGIN_SECONDS
            late = self._reactor.callLater(patience, worker.kill)
            worker.ended.addCallback(lambda _: late.active() and late.cancel())

    # Logs and stopping

    def reopen_logs(self) -> None:
        """The access log was rotated."""
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.say(Reopen())

    def stopService(self) -> Deferred[None]:
        """Have all workers drain.

        :returns: fires when the last has ended.
        """
        super().stopService()
        self._stopping = True
        self._notifier.stopping()
        return Deferred.fromCoroutine(self._stop())

    def hurry(self) -> None:
        """Don't wait for what the workers are still answering."""
        for worker in self._leaving:
            worker.kill()

    async def _stop(self) -> None:
        self._watch.stop()
        if self._builder is not None:
            self._builder.cancel()
        for slot in self._slots:
            self._empty(slot)
        # From here on the workers' own are the last descriptors of the sockets:
        # when they close them, callers are refused instead of kept waiting.
        sockets.close_all(self._listeners)
        await DeferredList([worker.ended for worker in self._leaving])
        if self._watchdog.running:
            self._watchdog.stop()
        self._held.close()


class _Builder(ProcessProtocol):
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
            self.built.errback(RuntimeError(f"the build {_how_it_ended(reason)}{said}"))
            return
        if "error" in answer:
            self.built.errback(RuntimeError(answer["error"]))
        else:
            self.built.callback(Path(answer["path"]))


def _pause(failures: int, was_ready: bool) -> float:
    """How long to wait before the next try: not at all after an accident, then ever longer."""
    if failures == 0 or (failures == 1 and was_ready):
        return 0
    return float(min(_FIRST_PAUSE * 2 ** (failures - 1), _LONGEST_PAUSE))


def _in_place(before: Config, after: Config) -> bool:
    """Whether only databases and codes differ, which workers take over as they run."""
    same = attrs.evolve(
        after,
        databases=before.databases,
        lists=before.lists,
        build=before.build,
        blend=before.blend,
    )
    return same == before


def _code_stamp() -> str:
    """Changes when the installed code does."""
    package = Path(__file__).parents[1]
    files = sorted(package.rglob("*.py"))
    return repr([(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files])

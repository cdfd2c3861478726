"""A reactor whose time and processes are a test's to control."""

import errno
import itertools
import json
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ipquery.config import Config, ConfigError, Update
from ipquery.data.sources import Source
from ipquery.fleet.control import (
    CODEC,
    WRITE_TO,
    Beat,
    Drain,
    Failed,
    Forget,
    NotPrepared,
    Prepare,
    Prepared,
    Ready,
    Reopen,
    Start,
    Switch,
    Switched,
    TicketKey,
)
from ipquery.fleet.supervisor import Supervisor
from ipquery.messages import Reader
from ipquery.net.sockets import Bind, open_listeners
from ipquery.net.systemd import Notifier
from ipquery.net.tls import TlsSettings
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.settings import Settings
from tests.logs import Log

KILL = int(signal.SIGKILL)


class FakeProcess:
    """The transport of a process that does only what a test has it do."""

    def __init__(self, reactor: "FakeReactor", protocol: ProcessProtocol, pid: int) -> None:
        self.pid: int | None = pid
        self.is_alive = True
        self.signals: list[str] = []
        self._reactor = reactor
        self._protocol = protocol
        self._dying: list[IDelayedCall] = []

    def signalProcess(self, name: str) -> None:
        """A signal arrives."""
        if not self.is_alive:
            raise ProcessExitedAlready
        self.signals.append(name)
        if name == "KILL":
            self._dying.append(self._reactor.callLater(0, self.end, KILL))

    def end(self, by_signal: int | None = None, status: int = 0) -> None:
        """The process is gone."""
        if not self.is_alive:
            return
        self.is_alive = False
        self.pid = None
        for call in self._dying:
            if call.active():
                call.cancel()
        clean = by_signal is None and status == 0
        reason = ProcessDone(0) if clean else ProcessTerminated(status, by_signal, 0)
        self._protocol.processEnded(Failure(reason))


class FakeWorker(FakeProcess):
    """A worker that reads a message when it is told to, and then does what workers do."""

    def __init__(self, reactor: "FakeReactor", protocol: ProcessProtocol, pid: int) -> None:
        super().__init__(reactor, protocol, pid)
        self.unread: deque[Any] = deque()
        self.start: Start | None = None
        self.is_ready = False
        self.is_frozen = False
        self.can_accept = True
        self.reopened = 0
        self.snapshot = ""
        self.prepared: tuple[int, str] | None = None
        self.prepared_tls: TlsSettings | None = None
        self.ticket_keys: list[str | None] = []
        self._messages = Reader(CODEC)

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        """The supervisor says something."""
        self.unread.extend(self._messages.feed(data))

    def say(self, message: Any) -> None:
        """Say something to the supervisor."""
        self.say_bytes(CODEC.encode(message))

    def say_bytes(self, data: bytes) -> None:
        """Write to the supervisor's pipe."""
        self._protocol.childDataReceived(WRITE_TO, data)

    @property
    def serves(self) -> bool:
        """Whether it answers callers, and was neither told to drain nor killed."""
        return (
            self.is_alive
            and self.is_ready
            and not self.is_draining
            and not any(isinstance(message, Drain) for message in self.unread)
            and "KILL" not in self.signals
        )

    is_draining = False

    def read(self, prepare: bool = True) -> None:
        """Read the next message, if there is one.

        :param prepare: whether it can map a snapshot if this asks it to.
        """
        if not self.unread or self.is_frozen or not self.is_alive:
            return
        match self.unread.popleft():
            case Start() as start:
                self.start, self.snapshot = start, start.snapshot
                self.ticket_keys = [start.ticket_key]
            case Prepare(number=number, snapshot=snapshot, tls=tls) if prepare:
                self.prepared, self.prepared_tls = (number, snapshot), tls
                self.say(Prepared(number))
            case Prepare(number=number):
                self.prepared = None
                self.say(NotPrepared(number, "no memory to map it"))
            case Switch(number=number):
                assert self.prepared is not None, "nothing is prepared"
                assert self.prepared[0] == number, "something else is prepared"
                self.snapshot, self.prepared = self.prepared[1], None
                self.say(Switched(number))
            case Forget():
                self.prepared = None
            case Reopen():
                self.reopened += 1
            case TicketKey(key=key):
                self.ticket_keys.append(key)
            case Drain():
                self.is_draining = True

    def read_all(self) -> None:
        """Read every message."""
        while self.unread and not self.is_frozen and self.is_alive:
            self.read()

    def become_ready(self) -> None:
        """It listens."""
        while self.start is None and not self.is_frozen:
            self.read()
        if self.is_alive and not self.is_ready and not self.is_frozen:
            self.is_ready = True
            self.say(Ready())
            self.beat()

    def beat(self) -> None:
        """Its reactor turns."""
        if self.is_alive and self.is_ready and not self.is_frozen:
            self.say(Beat(self.can_accept))

    def give_up(self, reason: str = "disk on fire") -> None:
        """It can't start."""
        if self.is_alive and not self.is_ready:
            self.say(Failed(reason))
            self.end()


class FakeErrand(FakeProcess):
    """A process that gets an order."""

    order = b""

    def write(self, data: bytes) -> None:
        """Its order."""
        self.order += data

    def closeStdin(self) -> None:
        """Its order is complete."""

    def answer(self, **answer: Any) -> None:
        """It has carried it out."""
        if self.is_alive:
            self._protocol.childDataReceived(1, json.dumps(answer).encode() + b"\n")
            self.end(status=1 if "error" in answer else 0)

    def fail(self, reason: str) -> None:
        """It can't."""
        self.answer(error=reason)


class FakeBuild(FakeErrand):
    """The process that builds a snapshot."""

    def finish(self, path: Path) -> None:
        """It has built this."""
        self.answer(path=str(path))

    def withhold(self, instead: Path, is_new: bool = True, by: str = "guard") -> None:
        """It has built something that is withheld."""
        withheld = {"name": "new.ipq", "by": by, "why": "too different", "is_new": is_new}
        self.answer(path=str(instead), withheld=withheld)


class FakeFetch(FakeErrand):
    """The process that fetches databases."""


class FakeReactor(Clock):
    """Time, and processes."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: list[FakeWorker] = []
        self.builds: list[FakeBuild] = []
        self.fetches: list[FakeFetch] = []
        self.refuses = False
        """Whether no process can be made."""
        self._pids = itertools.count(1000)

    def spawnProcess(
        self,
        protocol: ProcessProtocol,
        executable: str,
        args: Sequence[str],
        env: Mapping[str, str] | None = None,
        childFDs: Mapping[int, object] | None = None,
    ) -> FakeProcess:
        """Start a process, or not."""
        if self.refuses:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        process: FakeWorker | FakeErrand
        if args[-1] == "ipquery.fleet":
            process = FakeWorker(self, protocol, next(self._pids))
            self.workers.append(process)
        elif args[-1] == "ipquery.data.update":
            process = FakeFetch(self, protocol, next(self._pids))
            self.fetches.append(process)
        else:
            process = FakeBuild(self, protocol, next(self._pids))
            self.builds.append(process)
        protocol.makeConnection(process)
        return process

    @property
    def alive(self) -> list[FakeWorker]:
        """The workers that run."""
        return [worker for worker in self.workers if worker.is_alive]

    def pass_time(self, seconds: int) -> None:
        """Let time go by, in which workers that turn beat."""
        for _ in range(seconds):
            for worker in self.alive:
                worker.beat()
            self.advance(1)


class Daemon:
    """A supervisor on a fake reactor, with sockets and snapshots that are real."""

    def __init__(
        self,
        folder: Path,
        workers: int = 2,
        binds: Sequence[Bind] = (),
        tls: TlsSettings | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
        moves_callers: bool = False,
        updates: Sequence[Update] = (),
    ) -> None:
        self.folder = folder
        self.reactor = FakeReactor()
        self.told: list[str] = []
        """What the service manager is told."""
        self.log = Log()
        self._snapshots = itertools.count(1)
        self.config = Config(
            binds=tuple(binds) or (Bind("127.0.0.1", 0),),
            workers=workers,
            databases=(Source(folder / "db"),),
            cache_dir=folder,
            tls=tls,
            updates=tuple(updates),
        )
        """What a reload would load, unless it is ``None``."""
        self.broken: str | None = None
        """Why the configuration can't be loaded."""
        self.before = open_files()
        self.log.__enter__()
        self._listeners = open_listeners(self.config.binds, workers)
        self.supervisor = Supervisor(
            self.reactor,
            self.config,
            self._load,
            self._listeners,
            self.snapshot(),
            Notifier(
                {"NOTIFY_SOCKET": "/fake", **environment},
                self.reactor,
                lambda address, state: self.told.append(state.decode()),
            ),
            lambda: moves_callers,
            lambda: 0.5,
        )
        self.stopped: list[None] = []

    def _load(self) -> Config:
        if self.broken is not None:
            raise ConfigError(self.broken)
        return self.config

    def snapshot(self) -> Path:
        """A new one."""
        path = self.folder / f"{next(self._snapshots)}.ipq"
        path.touch()
        return path

    def start(self) -> "Daemon":
        """Start, and have every worker be ready."""
        self.supervisor.startService()
        for worker in self.reactor.alive:
            worker.become_ready()
        return self

    def listening(self) -> list[socket.socket]:
        """The sockets that it was started with."""
        return self._listeners.all()

    def change_config(self, workers: int | None = None) -> None:
        """What needs new workers."""
        body_bytes = self.config.settings.http.body_bytes + 1
        self.config = attrs.evolve(
            self.config,
            settings=Settings(http=HttpLimits(body_bytes=body_bytes)),
            workers=workers or self.config.workers,
        )

    def reload(self, snapshot: Path | None = None) -> Path:
        """HUP, and a build that ends at once."""
        path = snapshot or self.snapshot()
        self.supervisor.reload()
        self.reactor.builds[-1].finish(path)
        return path

    def stop(self) -> None:
        """TERM."""
        self.supervisor.stopService().addCallback(self.stopped.append)

    def settle(self, done: Callable[[], bool], seconds: int = 120) -> None:
        """Have every process do its part until something is done."""
        self.reactor.refuses = False
        for worker in self.reactor.alive:
            worker.is_frozen, worker.can_accept = False, True
        for _ in range(seconds):
            for fetch in self.reactor.fetches:
                fetch.end(status=1) if "TERM" in fetch.signals else fetch.answer(new=False)
            for build in self.reactor.builds:
                if "TERM" in build.signals:
                    build.end(status=1)
                elif self.supervisor.running:
                    build.finish(self.snapshot())
            for worker in self.reactor.alive:
                worker.read_all()
                worker.become_ready()
                if worker.is_draining:
                    worker.end()
            if done():
                return
            self.reactor.pass_time(1)
        raise AssertionError("waited in vain")

    def close(self) -> None:
        """Stop, and look whether anything is left."""
        try:
            if self.supervisor.running:
                self.stop()
            self.settle(lambda: bool(self.stopped))
            assert self.reactor.alive == []
            assert not any(build.is_alive for build in self.reactor.builds)
            assert not any(fetch.is_alive for fetch in self.reactor.fetches)
            assert self.reactor.getDelayedCalls() == []
            assert open_files() == self.before
            assert self.log.count("Traceback") == 0, self.log.lines
        finally:
            self.log.__exit__()

    @property
    def answers(self) -> set[tuple[str, int]]:
        """The snapshots and limits by which callers are answered."""
        return {
            (Path(worker.snapshot).name, worker.start.settings.http.body_bytes)
            for worker in self.reactor.alive
            if worker.serves and worker.start is not None
        }


def open_files() -> list[str]:
    """The sockets and snapshots that this process has open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:") or ".ipq" in target:
            found.append(f"{name} {target}")
    return sorted(found)


def is_listening(one: socket.socket) -> bool:
    """Whether the kernel takes connections for a socket."""
    return one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1

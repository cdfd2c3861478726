"""A reload: build, then switch in place or replace the workers.

| phase     | waits for                                             | then     | else        |
|-----------|-------------------------------------------------------|----------|-------------|
| building  | the process that builds, or finds, the snapshot       | mapping, | refused     |
|           |                                                       | starting |             |
| mapping   | every worker of the fleet to have mapped the snapshot | commit,  | forgotten,  |
|           |                                                       | switching| failed      |
| switching | every worker to say that it answers from the snapshot | done     | killed,     |
|           |                                                       |          | done        |
| starting  | a worker that answers in each of the new slots        | commit,  | taken back, |
|           |                                                       | done     | failed      |

A reload has two outcomes. Until the commit, the fleet's state is the old one: what dies comes
back in it, and whatever goes wrong undoes what was begun. From then on it is the new one. The
commit itself is one step of the reactor, so that nothing can die or start in its midst. A
worker that doesn't switch after it is killed: its successor starts from the new snapshot.

Mapping waits for workers that are being started, too, those that follow one that died
meanwhile included. So when it ends, no worker is on its way up with the old snapshot.
"""

import json
import pickle
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipquery.config import Config, ConfigError
from ipquery.data.build import Order, order_command
from ipquery.fleet.child import START_SECONDS, Child, Phase, WorkerProcess, how_it_ended
from ipquery.fleet.slots import Fleet, Slot, StoppedError
from ipquery.fleet.state import State, check_binds, hold_state, in_place
from ipquery.metrics import REFUSALS, RELOADS
from ipquery.net import sockets
from ipquery.net.sockets import BindError
from ipquery.net.tls import expiry_warnings

_log = Logger()

# `time_limit` under [build] bounds the build itself. Before it every source is hashed, and after
# it the snapshot is verified, by a process that runs at a lower priority than the workers.
_BUILD_MARGIN_SECONDS = 60

# How long a build that was told to end may take to remove its temporary files.
_BUILD_PATIENCE_SECONDS = 5

# A worker that is stuck is killed after 10 s, one that doesn't start after 30 s, and the reload
# goes on with its successor. These longer bounds end a reload that would never be done, as
# where each successor dies, too.
_MAP_SECONDS = 2 * START_SECONDS
_START_MARGIN_SECONDS = 15

# A worker takes a millisecond to switch, but may have a long request to answer first.
_SWITCH_SECONDS = 10


class Reload:
    """One reload of a fleet. It answers from the new state afterwards, or from the old."""

    def __init__(self, fleet: Fleet, load_config: Callable[[], Config]) -> None:
        """:param load_config: reads the configuration again; raises ConfigError."""
        self._fleet = fleet
        self._load_config = load_config

    async def run(self) -> None:
        """Carry it out; what goes wrong is said in the log."""
        try:
            config = self._load_config()
            check_binds(config, self._fleet.current.listeners)
            snapshot = await self._build(config)
        except StoppedError:
            return
        except (ConfigError, OSError, RuntimeError) as error:
            _log.error("reload refused, the old state keeps serving: {reason}", reason=str(error))
            self._count("refused", "configuration" if isinstance(error, ConfigError) else "build")
            return
        try:
            await self._take_over(config, snapshot)
        except StoppedError:
            return
        except (BindError, OSError, RuntimeError) as error:
            _log.error("reload failed, the old state keeps serving: {reason}", reason=str(error))
            self._count("failed", "listening" if isinstance(error, BindError) else "workers")
            return
        except Exception:  # counted, whatever it is, and raised again
            self._count("failed", "fault")
            raise
        self._count("done")
        _log.info("reloaded; answering from {snapshot}", snapshot=snapshot.name)
        for line in expiry_warnings(config.tls, time.time()):
            _log.warn("{line}", line=line)

    def _count(self, outcome: str, reason: str | None = None) -> None:
        """
        :param reason: what was in the way, if anything was.
        """
        fleet = self._fleet
        fleet.totals.add(RELOADS, (outcome,))
        fleet.was_reloaded = reason is None
        if reason is None:
            fleet.taken_over = fleet.reactor.seconds()
        else:
            fleet.totals.add(REFUSALS, (reason,))

    async def _build(self, config: Config) -> Path:
        """Build and verify in a process of its own.

        :raises RuntimeError: it fails, saying why, or isn't done in time.
        """
        fleet = self._fleet
        order = Order(
            config.databases, config.cache_dir, config.codes, config.build_limits, config.blend
        )
        build = BuildProcess(fleet, order)
        command = order_command()
        fleet.reactor.spawnProcess(build, command[0], command, env=None)
        fleet.living.add(build)
        seconds = config.build_limits.seconds + _BUILD_MARGIN_SECONDS
        too_late = (
            f"the snapshot wasn't built within {seconds} s (`time_limit` under [build] and "
            f"{_BUILD_MARGIN_SECONDS} s for hashing and verifying); can every database be read?"
        )
        try:
            await fleet.until(lambda: build.has_ended, seconds, too_late)
        finally:
            build.cancel()
        if build.path is None:
            raise RuntimeError(build.why_failed)
        return build.path

    async def _take_over(self, config: Config, snapshot: Path) -> None:
        before = self._fleet.current
        with ExitStack() as undo:
            state = hold_state(config, before.listeners, snapshot)
            undo.callback(state.held.close)
            if in_place(before.config, config) and state.code == before.code:
                await self._map(state, undo)
                self._switch(state)
            else:
                state = await self._start(state, undo)
                self._replace(state)
            undo.pop_all()
        before.held.close()
        await self._switched()

    # In place

    async def _map(self, state: State, undo: ExitStack) -> None:
        undo.callback(self._forget)
        await self._fleet.until(
            partial(self._have_all_map, state),
            _MAP_SECONDS,
            f"the workers haven't mapped {state.snapshot.name} within {_MAP_SECONDS} s",
        )

    def _have_all_map(self, state: State) -> bool:
        """Ask those workers that weren't asked yet. Whether all have mapped it.

        :raises RuntimeError: one can't.
        """
        done = True
        for slot in self._fleet.slots:
            worker = slot.worker
            # Where a worker is gone or going, its successor will start from the state that is
            # current by then, or be asked here.
            if worker is None or worker.phase is Phase.LEAVING:
                continue
            if worker.why_not_mapped is not None:
                raise RuntimeError(worker.why_not_mapped)
            if worker.phase is Phase.READY and worker.preparing != state.snapshot:
                keys = state.config.settings.guard.keys
                worker.prepare(state.snapshot, state.config.tls, keys)
            done = done and worker.has_mapped
        return done

    def _forget(self) -> None:
        for slot in self._fleet.slots:
            if slot.worker is not None:
                slot.worker.forget()

    def _switch(self, state: State) -> None:
        fleet = self._fleet
        fleet.current = state
        for slot in fleet.slots:
            slot.state = state
            if slot.worker is not None and slot.worker.has_mapped:
                slot.worker.switch(state)
        for slot in fleet.slots:
            slot.start_waiting()

    async def _switched(self) -> None:
        """Wait until every worker that was told to switch has, or is gone."""
        too_late = f"doesn't say that it has switched within {_SWITCH_SECONDS} s; killing it"
        try:
            await self._fleet.until(lambda: not self._switching(), _SWITCH_SECONDS, too_late)
        except RuntimeError:
            for worker in self._switching():
                _log.error("{name} {what}", name=worker.name, what=too_late)
                worker.kill()

    def _switching(self) -> list[WorkerProcess]:
        workers = [slot.worker for slot in self._fleet.slots if slot.worker is not None]
        return [one for one in workers if one.is_switching and one.phase is Phase.READY]

    # By replacement

    async def _start(self, state: State, undo: ExitStack) -> State:
        """Start new workers beside the old ones.

        One after the other: to start takes half a second of a core, which those that
        answer would miss.
        """
        fleet, held = self._fleet, state.listeners
        listeners = held.regrouped(state.config.binds, state.config.workers)
        undo.callback(sockets.close_all, listeners, keep=held)
        state = attrs.evolve(state, listeners=listeners)
        fleet.candidates = fleet.make_slots(state)
        undo.callback(fleet.drop_candidates)
        seconds = START_SECONDS + _START_MARGIN_SECONDS
        for count, slot in enumerate(fleet.candidates, 1):
            slot.start()
            await fleet.until(
                partial(_all_answer, fleet.candidates[:count]),
                seconds,
                f"a new worker isn't ready after {seconds} s",
            )
        return state

    def _replace(self, state: State) -> None:
        fleet = self._fleet
        before, old = fleet.current, fleet.slots
        fleet.current, fleet.slots, fleet.candidates = state, fleet.candidates, []
        for slot in old:
            slot.let_go()
        sockets.close_all(before.listeners, keep=state.listeners)


def _all_answer(slots: Sequence[Slot]) -> bool:
    """Whether each of these candidates has a worker that callers can count on.

    :raises RuntimeError: one has lost its worker.
    """
    for slot in slots:
        if slot.failed is not None:
            raise RuntimeError(slot.failed)
    return all(slot.answers for slot in slots)


class BuildProcess(Child):
    """The process that builds or finds the snapshot of a configuration."""

    def __init__(self, fleet: Fleet, order: Order) -> None:
        self.has_ended = False
        self.path: Path | None = None
        """The snapshot, once it has ended well."""
        self.why_failed = ""
        self._fleet = fleet
        self._order = order
        self._said = {1: b"", 2: b""}
        self._late: Any = None

    def connectionMade(self) -> None:
        """Hand it the order."""
        self.transport.write(pickle.dumps(self._order))  # type: ignore[union-attr] # it is there
        self.transport.closeStdin()  # type: ignore[union-attr]

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Its answer, or its complaint."""
        self._said[childFD] += data

    def cancel(self) -> None:
        """Its snapshot isn't wanted any more, if it isn't done."""
        if self.has_ended or self._late is not None:
            return
        self._signal("TERM")
        self._late = self._fleet.reactor.callLater(_BUILD_PATIENCE_SECONDS, self.kill)

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
            self.why_failed = f"the build {how_it_ended(reason)}{said}"
            if self._fleet.was_upgraded:
                # It runs the new code, and may not have understood the order of the old.
                self.why_failed += "; ipquery was upgraded while the daemon ran: restart the daemon"
            return
        if "error" in answer:
            self.why_failed = answer["error"]
        else:
            self.path = Path(answer["path"])

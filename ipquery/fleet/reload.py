"""A reload: build, then switch in place or replace the workers.

| phase     | waits for                                             | then     | else        |
|-----------|-------------------------------------------------------|----------|-------------|
| building  | the process that builds, or finds, the snapshot, and  | mapping, | refused     |
|           | holds it against the one that serves                  | starting |             |
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

Where the guard refuses the new snapshot, the one that serves is mapped again, and the rest of the
configuration is taken over: certificates that are renewed meanwhile must not wait for a decision
about databases. The reload counts as refused all the same.

Mapping waits for workers that are being started, too, those that follow one that died
meanwhile included. So when it ends, no worker is on its way up with the old snapshot.
"""

import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from twisted.logger import Logger

from ipquery.config import Config, ConfigError
from ipquery.data.build import Order, order_command
from ipquery.fleet.child import START_SECONDS, Phase, WorkerProcess
from ipquery.fleet.errand import run_errand
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

# To compare two editions of the largest database takes a minute of a core.
_GUARD_SECONDS = 300

# A worker that is stuck is killed after 10 s, one that doesn't start after 30 s, and the reload
# goes on with its successor. These longer bounds end a reload that would never be done, as
# where each successor dies, too.
_MAP_SECONDS = 2 * START_SECONDS
_START_MARGIN_SECONDS = 15

# A worker takes a millisecond to switch, but may have a long request to answer first.
_SWITCH_SECONDS = 10


@attrs.frozen
class _Found:
    """What a build comes to. ``withheld`` is as in :func:`ipquery.data.build.order_command`."""

    path: Path
    withheld: Mapping[str, Any] | None


class Reload:
    """One reload of a fleet. It answers from the new state afterwards, or from the old."""

    def __init__(
        self, fleet: Fleet, load_config: Callable[[], Config], is_update: bool = False
    ) -> None:
        """
        :param load_config: reads the configuration again; raises ConfigError.
        :param is_update: whether nobody has asked for it: databases are taken over, and what else
            the operator has changed waits until somebody does.
        """
        self._fleet = fleet
        self._load_config = load_config
        self._is_update = is_update

    async def run(self) -> bool:
        """Carry it out; what goes wrong is said in the log.

        :returns: whether what the databases are now is served.
        """
        try:
            config = self._load()
            check_binds(config, self._fleet.current.listeners)
            found = await self._build(config)
        except StoppedError:
            return False
        except (ConfigError, OSError, RuntimeError) as error:
            _log.error("reload refused, the old state keeps serving: {reason}", reason=str(error))
            self._count("refused", "configuration" if isinstance(error, ConfigError) else "build")
            return False
        withheld = found.withheld
        if withheld is not None:
            self._say_withheld(withheld, found.path)
            if self._is_update and found.path == self._fleet.current.snapshot:
                self._count_withheld(withheld)
                return False
        try:
            await self._take_over(config, found.path)
        except StoppedError:
            return False
        except (BindError, OSError, RuntimeError) as error:
            _log.error("reload failed, the old state keeps serving: {reason}", reason=str(error))
            self._count("failed", "listening" if isinstance(error, BindError) else "workers")
            return False
        except Exception:  # counted, whatever it is, and raised again
            self._count("failed", "fault")
            raise
        if withheld is not None:
            self._count_withheld(withheld)
        else:
            self._count("done")
        _log.info("reloaded; answering from {snapshot}", snapshot=found.path.name)
        for line in expiry_warnings(config.tls, time.time()):
            _log.warn("{line}", line=line)
        return withheld is None

    def _load(self) -> Config:
        """
        :raises ConfigError: it can't be used.
        """
        loaded = self._load_config()
        if not self._is_update:
            return loaded
        current = self._fleet.current.config
        if loaded.named != current.named:
            raise ConfigError(
                "the list of databases in the configuration has been changed, and what was fetched "
                "waits for the reload that takes it over"
            )
        return attrs.evolve(current, databases=loaded.databases)

    def _count_withheld(self, withheld: Mapping[str, Any]) -> None:
        if withheld["by"] == "guard":
            self._count("refused", "guard")
        else:
            self._count("done")

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

    async def _build(self, config: Config) -> "_Found":
        """Build, verify and compare in a process of its own.

        :raises RuntimeError: it fails, saying why, or isn't done in time.
        """
        current = self._fleet.current
        # Whoever names other databases means them.
        guard = config.guard if config.named == current.config.named else None
        order = Order(
            config.databases,
            config.cache_dir,
            config.codes,
            config.build_limits,
            config.blend,
            config.line,
            current.snapshot,
            guard,
            config.elsewhere,
        )
        margin = _BUILD_MARGIN_SECONDS + (0 if guard is None else _GUARD_SECONDS)
        limit = config.build_limits.seconds
        # What is taken from another node may come to nothing, and is built then.
        seconds = limit * (1 if config.elsewhere is None else 2) + margin
        answer = await run_errand(
            self._fleet,
            order_command(),
            pickle.dumps(order),
            "the build",
            seconds,
            f"the snapshot wasn't built within {seconds} s (`time_limit` under [build] and "
            f"{margin} s for hashing, verifying and comparing); can every database be read?",
        )
        if answer.get("note"):
            _log.warn("{note}", note=answer["note"])
        return _Found(Path(answer["path"]), answer.get("withheld"))

    def _say_withheld(self, withheld: Mapping[str, Any], instead: Path) -> None:
        if withheld["is_new"]:
            _log.error(
                "databases refused, {snapshot} keeps serving: {reason} ({refused}; "
                "`ipquery accept` and a reload let it through)",
                snapshot=instead.name,
                reason=withheld["why"],
                refused=withheld["name"],
            )
            return
        # Its figures were told when it was refused.
        _log.warn(
            "{withheld} is still withheld; answering from {snapshot}; `ipquery accept` and a "
            "reload let it through",
            withheld=withheld["name"],
            snapshot=instead.name,
        )

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
        state.note()
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

"""Updates: databases that the daemon has fetched by itself, and takes over as a reload does.

Each recipe has its times. Those that are due are fetched one after the other, each by a process
of its own, and when something new has come, one reload follows for all of it. What fails is
tried again at its usual time and not before: whoever is asked for databases counts how often.
The times are kept beside the snapshots, so that a daemon that starts again and again asks no more
often either.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipquery.config import NODE, Config, Update
from ipquery.data.record import DataError
from ipquery.data.update.tries import (
    Try,
    fetch_command,
    fetch_order,
    note_tries,
    read_tries,
)
from ipquery.fleet.errand import run_errand
from ipquery.fleet.slots import Fleet, StoppedError
from ipquery.metrics import UPDATE_FAILURES, UPDATE_TRIED, UPDATES
from ipquery.serve.http.counts import Entry
from ipquery.serve.totals import HandedOver

_log = Logger()

# The largest files at 1 Mbit/s, several of them, and to read them.
_SECONDS = 2 * 60 * 60


class Updates:
    """When each recipe is due, and how it went."""

    def __init__(
        self, fleet: Fleet, take_over: Callable[[], Deferred[bool]], random: Callable[[], float]
    ) -> None:
        """
        :param take_over: has a reload take over what was fetched; tells whether it is served.
        :param random: from 0 to 1, for the jitter.
        """
        self._fleet = fleet
        self._take_over = take_over
        self._random = random
        self._due: dict[Update, float] = {}
        self._tries: dict[str, Try] = {}
        self._untaken: set[str] = set()
        """What was fetched and isn't served."""
        self._timer: Any = None
        self._is_running = False

    def start(self) -> None:
        """Begin with what the configuration says."""
        self._tries = read_tries(self._fleet.current.snapshot.parent)
        self.follow(self._fleet.current.config)

    def follow(self, config: Config) -> None:
        """Go by this configuration from now on."""
        now = self._fleet.reactor.seconds()
        self._due = {
            one: self._due[one] if one in self._due else self._first(one, now)
            for one in config.updates
        }
        names = {one.name for one in config.updates}
        self._tries = {name: last for name, last in self._tries.items() if name in names}
        self._untaken &= names
        self._tell()
        self._wait()

    def _first(self, one: Update, now: float) -> float:
        """When a recipe is due that has just been named."""
        jitter = one.jitter * self._random()
        last = self._tries.get(one.name)
        if last is None:
            return now + jitter
        # If it should have been tried meanwhile, soon. If the clock was wrong, in its time.
        return now + min(max(last.tried + one.every - now, 0), one.every) + jitter

    def stop(self) -> None:
        """Begin nothing any more. What is under way ends with the fleet."""
        self._due = {}
        self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due and not self._is_running:
            pause = max(min(self._due.values()) - self._fleet.reactor.seconds(), 0)
            self._timer = self._fleet.reactor.callLater(pause, self._begin)

    def _begin(self) -> None:
        self._timer = None
        now = self._fleet.reactor.seconds()
        due = [one for one, when in self._due.items() if when <= now]
        self._is_running = True
        Deferred.fromCoroutine(self._run(due)).addBoth(self._ended)

    def _ended(self, outcome: Failure | None) -> None:
        if isinstance(outcome, Failure) and not outcome.check(StoppedError):
            _log.failure("updates go on after an error", outcome)
        self._is_running = False
        self._wait()

    async def _run(self, due: Sequence[Update]) -> None:
        for one in due:
            if one not in self._due:
                continue  # a reload has taken it out meanwhile
            # Before it begins: whatever happens then, it isn't tried again at once.
            now = self._fleet.reactor.seconds()
            self._due[one] = now + one.every + one.jitter * self._random()
            await self._try(one, now)
        if not self._untaken:
            return
        names = set(self._untaken)
        outcome = "served" if await self._take_over() else "refused"
        for name in names & {*self._tries}:
            if outcome == "served":
                self._untaken.discard(name)
            self._note(name, attrs.evolve(self._tries[name], outcome=outcome))
            self._fleet.totals.add(UPDATES, (name, outcome))

    async def _try(self, one: Update, now: float) -> None:
        """
        :raises StoppedError: the fleet is being stopped.
        """
        if one.recipe == NODE:
            # The process that builds asks it.
            self._untaken.add(one.name)
            self._note(one.name, Try(now, "fetched"))
            return
        before = self._tries.get(one.name)
        failures = before.failures if before else 0
        failed = Try(now, "failed", failures + 1)
        # A daemon that is killed meanwhile finds it like this when it starts again.
        self._keep({**self._tries, one.name: failed})
        try:
            answer = await run_errand(
                self._fleet,
                fetch_command(),
                fetch_order(one.recipe, self._fleet.current.config.build_limits),
                "the process that fetches",
                _SECONDS,
                f"it wasn't fetched within {_SECONDS} s",
            )
        except StoppedError:
            # Nothing has failed: the next start looks for it.
            self._keep(self._tries)
            raise
        except (OSError, RuntimeError) as error:
            _log.error(
                "update by {recipe} failed, what is there serves on: {reason}",
                recipe=one.name,
                reason=str(error),
            )
            self._fleet.totals.add(UPDATES, (one.name, "failed"))
            self._note(one.name, failed)
            return
        if answer["new"]:
            _log.info("update by {recipe}: fetched", recipe=one.name)
            self._untaken.add(one.name)
        else:
            _log.info("update by {recipe}: nothing new", recipe=one.name)
            self._fleet.totals.add(UPDATES, (one.name, "unchanged"))
        self._note(one.name, Try(now, "fetched" if answer["new"] else "unchanged"))

    def _note(self, name: str, last: Try) -> None:
        self._tries[name] = last
        self._tell()
        self._keep(self._tries)

    def _keep(self, tries: Mapping[str, Try]) -> None:
        try:
            note_tries(self._fleet.current.snapshot.parent, tries)
        except DataError as error:
            _log.warn("{reason}; after a restart it is tried at once", reason=str(error))

    def _tell(self) -> None:
        gauges: list[Entry] = []
        for name, last in self._tries.items():
            gauges.append((UPDATE_TRIED.name, (name, last.outcome), last.tried))
            gauges.append((UPDATE_FAILURES.name, (name,), last.failures))
        self._fleet.totals.take("updates", HandedOver([], gauges))

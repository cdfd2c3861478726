"""Every order of events that a supervisor may meet, as hypothesis finds them."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ipquery.config import Update
from tests.fleet.processes import KILL, Daemon, FakeWorker

WHICH = st.integers(0, 3)
MOSTLY = st.sampled_from([True, True, True, False])
SELDOM = st.sampled_from([False, False, False, True])


class Supervised(RuleBasedStateMachine):
    """What may happen to a daemon: each rule is one event.

    What it should answer by is taken from its log: it changes when that says
    "reloaded", and at no other time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.reloaded = 0

    @initialize(
        workers=st.sampled_from([2, 2, 1, 3]), is_up=MOSTLY, refuses=SELDOM, moves=st.booleans()
    )
    def begin(self, workers: int, is_up: bool, refuses: bool, moves: bool) -> None:
        updates = [Update("asn-2026", 30, 0)]
        self.daemon = Daemon(Path(self._folder.name), workers, moves_callers=moves, updates=updates)
        self.reactor = self.daemon.reactor
        self.expected = ("1.ipq", self.daemon.config.settings.http.body_bytes)
        self.reactor.refuses = refuses
        self.daemon.start() if is_up else self.daemon.supervisor.startService()

    def _worker(self, which: int) -> FakeWorker | None:
        alive = self.reactor.alive
        return alive[which % len(alive)] if alive else None

    # What workers do

    @rule(which=WHICH, prepare=MOSTLY)
    def worker_reads(self, which: int, prepare: bool) -> None:
        if worker := self._worker(which):
            worker.read(prepare)

    @rule(which=WHICH)
    def worker_is_ready(self, which: int) -> None:
        if worker := self._worker(which):
            worker.become_ready()

    @rule(which=WHICH)
    def worker_cannot_start(self, which: int) -> None:
        if worker := self._worker(which):
            worker.give_up()

    @rule(which=WHICH, status=st.sampled_from([0, 1, -KILL]))
    def worker_dies(self, which: int, status: int) -> None:
        if worker := self._worker(which):
            worker.end(KILL) if status < 0 else worker.end(status=status)

    @rule(which=WHICH, seconds=st.sampled_from([0, 11]))
    def worker_freezes(self, which: int, seconds: int) -> None:
        if worker := self._worker(which):
            worker.is_frozen = True
            self.reactor.pass_time(seconds)

    @rule(which=WHICH, can=st.booleans())
    def worker_accepts(self, which: int, can: bool) -> None:
        if worker := self._worker(which):
            worker.can_accept = can
            worker.beat()

    @rule()
    def workers_do_all_they_are_told(self) -> None:
        for worker in self.reactor.alive:
            worker.read_all()
            worker.become_ready()
            if worker.is_draining:
                worker.end()

    # What the machine does

    @rule(refuses=st.booleans())
    def processes_can_be_made(self, refuses: bool) -> None:
        self.reactor.refuses = refuses

    @rule(seconds=st.sampled_from([1, 1, 2, 11, 31]))
    def time_goes_by(self, seconds: int) -> None:
        self.reactor.pass_time(seconds)

    # What the operator does

    def _changes(self, workers: int | None) -> None:
        if workers is not None:
            self.daemon.change_config(workers)
        self.daemon.broken = None

    @rule(workers=st.none() | st.integers(1, 3), broken=SELDOM)
    def hup(self, workers: int | None, broken: bool) -> None:
        self._changes(workers)
        self.daemon.broken = "nonsense" if broken else None
        self.daemon.supervisor.reload()

    @precondition(lambda self: not self.daemon.supervisor.is_reloading)
    @rule(workers=st.none() | st.integers(1, 3))
    def hup_and_a_build_that_ends_at_once(self, workers: int | None) -> None:
        self._changes(workers)
        self.daemon.supervisor.reload()
        self._end_build(fails=False)

    @rule(fails=SELDOM, is_withheld=SELDOM)
    def build_ends(self, fails: bool, is_withheld: bool) -> None:
        self._end_build(fails, is_withheld)

    @rule(answer=st.sampled_from(({"new": True}, {"new": False}, {"error": "no network"})))
    def fetch_ends(self, answer: dict[str, object]) -> None:
        for fetch in self.reactor.fetches:
            fetch.answer(**answer)

    @rule()
    def fetch_dies(self) -> None:
        for fetch in self.reactor.fetches:
            fetch.end(KILL)

    def _end_build(self, fails: bool, is_withheld: bool = False) -> None:
        for build in self.reactor.builds:
            if build.is_alive and is_withheld:
                build.withhold(self.daemon.supervisor.state.snapshot)
                return
            if build.is_alive:
                build.fail("no such database") if fails else build.finish(self.daemon.snapshot())
                return

    @rule(really=SELDOM, twice=SELDOM)
    def term(self, really: bool, twice: bool) -> None:
        if not really:
            return
        if self.daemon.supervisor.running:
            self.daemon.stop()
        if twice:
            self.daemon.supervisor.hurry()

    # What must hold

    @invariant()
    def all_answer_alike_unless_a_reload_is_under_way(self) -> None:
        daemon = self.daemon
        if daemon.supervisor.is_reloading or not daemon.supervisor.running:
            return
        done = [line for line in daemon.log.lines if line.startswith("reloaded; answering from")]
        if len(done) > self.reloaded:
            self.reloaded = len(done)
            self.expected = (
                done[-1].split()[-1],
                daemon.supervisor.state.config.settings.http.body_bytes,
            )
        assert daemon.answers <= {self.expected}

    @invariant()
    def nobody_answers_twice(self) -> None:
        supervisor = self.daemon.supervisor
        serving = sum(worker.serves for worker in self.reactor.alive)
        if not supervisor.is_reloading:
            assert serving <= supervisor.state.config.workers

    def teardown(self) -> None:
        try:
            if not hasattr(self, "daemon"):
                return
            if self.daemon.supervisor.running:
                self._comes_to_rest()
            self.daemon.close()
        finally:
            self._folder.cleanup()

    def _comes_to_rest(self) -> None:
        daemon, supervisor = self.daemon, self.daemon.supervisor
        daemon.settle(lambda: not supervisor.is_reloading and self._all_serve(), 150)
        self.all_answer_alike_unless_a_reload_is_under_way()
        assert daemon.answers == {self.expected}
        assert not any(worker.prepared for worker in self.reactor.alive)

    def _all_serve(self) -> bool:
        serving = [worker for worker in self.reactor.alive if worker.serves]
        return len(serving) == self.daemon.supervisor.state.config.workers


def _run(examples: int, steps: int, deterministic: bool) -> None:
    run_state_machine_as_test(
        Supervised,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=deterministic,
            database=None,
            deadline=None,
        ),
    )


def test_whatever_happens_all_workers_answer_alike_and_nothing_is_left() -> None:
    _run(100, 40, deterministic=True)


@pytest.mark.soak
def test_whatever_happens_for_minutes() -> None:
    _run(6_000, 60, deterministic=False)

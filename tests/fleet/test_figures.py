"""What the fleet tells of its workers, of itself, and of those that are gone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipquery.fleet.control import CODEC, AskFigures, Counted, Figures
from ipquery.metrics import (
    CONNECTIONS,
    LIMITS,
    REFUSALS,
    RELOAD_OK,
    RELOADED,
    RELOADS,
    RESTARTS,
    WORKERS,
    Metric,
)
from ipquery.serve.totals import HandedOver, decode_told, encode_handed_over
from tests.fleet.processes import KILL, Daemon, FakeWorker

Start = Callable[[], Daemon]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts two workers that answer. In the test, not before: its reactor has files, too."""
    started: list[Daemon] = []

    def call() -> Daemon:
        started.append(Daemon(tmp_path).start())
        return started[-1]

    yield call
    for daemon in started:
        daemon.close()


def count(worker: FakeWorker, limits: int, connections: int) -> None:
    """A worker hands over what it has counted."""
    counted = HandedOver(
        [(LIMITS.name, ("connections",), limits)], [(CONNECTIONS.name, (), connections)]
    )
    worker.say(Counted(encode_handed_over(counted)))


def told(daemon: Daemon) -> dict[tuple[str, tuple[str, ...]], Any]:
    """What a worker is told when it asks."""
    daemon.reactor.advance(1)
    worker = daemon.reactor.alive[0]
    worker.read_all()
    worker.say(AskFigures(7))
    (answer,) = [one for one in worker.unread if isinstance(one, Figures)]
    worker.unread.remove(answer)
    assert answer.number == 7
    entries = decode_told(answer.text).entries
    return {(name, labels): value for name, labels, value in entries}


def of(daemon: Daemon, metric: Metric) -> dict[tuple[str, ...], Any]:
    """Of one metric, by its labels."""
    return {labels: value for (name, labels), value in told(daemon).items() if name == metric.name}


def test_whichever_worker_is_asked_tells_of_all(start: Start) -> None:
    daemon = start()
    first, second = daemon.reactor.alive
    count(first, 2, 10)
    count(second, 3, 20)
    assert of(daemon, LIMITS) == {("connections",): 5}
    assert of(daemon, CONNECTIONS) == {(): 30}


def test_what_a_killed_worker_had_counted_stays(start: Start) -> None:
    daemon = start()
    first, second = daemon.reactor.alive
    count(first, 2, 10)
    count(second, 3, 20)
    first.end(KILL)
    assert of(daemon, LIMITS) == {("connections",): 5}
    assert of(daemon, CONNECTIONS) == {(): 20}
    assert of(daemon, RESTARTS) == {("died",): 1}
    assert of(daemon, WORKERS)["ready",] == 1
    assert of(daemon, WORKERS)["configured",] == 2


def test_what_replaced_workers_count_until_they_end_is_told(start: Start) -> None:
    daemon = start()
    old = list(daemon.reactor.alive)
    daemon.change_config()
    daemon.reload()
    while len(daemon.reactor.alive) < 4:
        daemon.reactor.alive[-1].become_ready()
    daemon.reactor.alive[-1].become_ready()
    for worker in old:
        worker.read_all()
        assert worker.is_draining
        count(worker, 1, 1)
        worker.end()
    assert of(daemon, LIMITS) == {("connections",): 2}
    assert of(daemon, CONNECTIONS) == {}
    # They weren't replaced because anything was wrong with them.
    assert of(daemon, RESTARTS) == {}


def test_reloads_are_told_and_what_was_in_the_way_of_others(start: Start) -> None:
    daemon = start()
    assert of(daemon, RELOAD_OK) == {(): 1}
    began = of(daemon, RELOADED)[()]
    daemon.broken = "no such key"
    daemon.supervisor.reload()
    assert of(daemon, REFUSALS) == {("configuration",): 1}
    assert of(daemon, RELOAD_OK) == {(): 0}
    daemon.broken = None
    daemon.supervisor.reload()
    daemon.reactor.builds[-1].fail("no such file")
    assert of(daemon, REFUSALS) == {("configuration",): 1, ("build",): 1}
    assert of(daemon, RELOADED) == {(): began}
    daemon.reload()
    for worker in daemon.reactor.alive:
        worker.read_all()
    assert of(daemon, RELOADS) == {("refused",): 2, ("done",): 1}
    assert of(daemon, RELOAD_OK) == {(): 1}
    assert of(daemon, RELOADED)[()] > began


def test_a_reload_that_is_taken_back_is_told(start: Start) -> None:
    daemon = start()
    daemon.reload()
    for worker in daemon.reactor.alive:
        worker.read(prepare=False)
    assert of(daemon, REFUSALS) == {("workers",): 1}
    assert of(daemon, RELOADS) == {("failed",): 1}


def test_a_stuck_worker_is_told(start: Start) -> None:
    daemon = start()
    daemon.reactor.alive[1].is_frozen = True
    daemon.reactor.pass_time(12)
    assert of(daemon, RESTARTS) == {("stuck",): 1}


def test_who_hands_over_nonsense_is_replaced(start: Start) -> None:
    daemon = start()
    worker = daemon.reactor.alive[1]
    worker.say_bytes(CODEC.encode(Counted("[1]")))
    assert "KILL" in worker.signals

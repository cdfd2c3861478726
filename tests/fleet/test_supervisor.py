"""What a supervisor does when a worker, a build or the machine fails."""

import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ipquery.net.sockets import Bind
from tests.fleet.processes import KILL, Daemon, FakeWorker, is_listening

Start = Callable[..., Daemon]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Start]:
    """Makes daemons that are looked through at the end: nothing may be left."""
    made: list[Daemon] = []

    def call(
        workers: int = 2,
        binds: tuple[Bind, ...] = (),
        environment: Mapping[str, str] = {},
        moves_callers: bool = False,
    ) -> Daemon:
        made.append(
            Daemon(tmp_path, workers, binds, environment=environment, moves_callers=moves_callers)
        )
        return made[-1]

    yield call
    for daemon in made:
        daemon.close()


def _read_all(*workers: FakeWorker) -> None:
    """Until nothing is left: what one answers is followed by orders to another."""
    while any(worker.unread and worker.is_alive for worker in workers):
        for worker in workers:
            worker.read_all()


# A switch


def test_a_worker_that_starts_while_a_switch_waits_switches_too(make: Start) -> None:
    daemon = make().start()
    one, other = daemon.reactor.workers
    daemon.reload()
    one.end(KILL)
    other.read()
    assert daemon.supervisor.is_reloading, "the successor is on its way up with the old snapshot"
    successor = daemon.reactor.workers[2]
    successor.become_ready()
    successor.read()
    _read_all(other, successor)
    assert not daemon.supervisor.is_reloading
    assert daemon.answers == {("2.ipq", 4096)}


def test_a_worker_that_dies_before_it_switches_is_followed_by_one_that_has(make: Start) -> None:
    daemon = make().start()
    one, other = daemon.reactor.workers
    daemon.reload()
    one.read()
    other.read_all()
    one.end(KILL)  # the switch is on its way to it
    other.read_all()
    daemon.reactor.workers[2].become_ready()
    assert daemon.answers == {("2.ipq", 4096)}
    assert daemon.log.count("reloaded; answering from 2.ipq") == 1


def test_a_reload_has_ended_when_all_have_switched(make: Start) -> None:
    daemon = make().start()
    one, other = daemon.reactor.workers
    daemon.reload()
    one.read()
    other.read()
    one.read()
    assert daemon.log.count("reloaded") == 0
    other.read()
    assert daemon.log.count("reloaded") == 1


def test_a_worker_that_does_not_switch_is_killed(make: Start) -> None:
    daemon = make().start()
    one, other = daemon.reactor.workers
    daemon.reload()
    one.read()
    other.read()
    one.read()
    for _ in range(10):  # it beats: only its answer is missing
        other.beat()
        daemon.reactor.advance(1)
    daemon.reactor.advance(0)
    assert not other.is_alive
    assert daemon.log.count("reloaded") == 1
    daemon.reactor.workers[2].become_ready()
    assert daemon.answers == {("2.ipq", 4096)}


def test_where_one_worker_cannot_map_it_none_switches(make: Start) -> None:
    daemon = make().start()
    one, other = daemon.reactor.workers
    daemon.reload()
    one.read()
    other.read(prepare=False)
    assert daemon.log.count("reload failed, the old state keeps serving: no memory to map it") == 1
    _read_all(one, other)
    assert daemon.answers == {("1.ipq", 4096)}
    assert one.prepared is None


def test_a_late_answer_to_one_reload_is_not_taken_for_one_to_the_next(make: Start) -> None:
    daemon = make().start()
    one, other = daemon.reactor.workers
    daemon.reload()
    other.read(prepare=False)
    path = daemon.reload()
    other.read()
    other.read()
    one.read()  # what the first asked of it
    assert daemon.supervisor.is_reloading
    _read_all(one, other)
    assert daemon.answers == {(path.name, 4096)}


def test_a_worker_in_a_pause_is_tried_again_at_once_after_a_reload(make: Start) -> None:
    daemon = make().start()
    one, other = daemon.reactor.workers
    one.end(KILL)
    daemon.reactor.workers[-1].give_up()
    daemon.reactor.pass_time(1)
    daemon.reactor.workers[-1].give_up()
    before = len(daemon.reactor.workers)
    daemon.reload()
    _read_all(other)
    assert len(daemon.reactor.workers) == before + 1
    daemon.reactor.workers[-1].become_ready()
    assert daemon.answers == {("2.ipq", 4096)}


# A replacement


def test_an_old_worker_that_dies_during_a_failing_replacement_stays_old(make: Start) -> None:
    daemon = make().start()
    one, _other = daemon.reactor.workers
    daemon.change_config()
    daemon.reload()
    new = daemon.reactor.workers[2]
    one.end(KILL)
    successor = daemon.reactor.workers[3]
    successor.become_ready()
    new.give_up()
    assert (
        daemon.log.count(
            "reload failed, the old state keeps serving: a new worker can't start: disk on fire"
        )
        == 1
    )
    assert daemon.answers == {("1.ipq", 4096)}


def test_an_old_worker_that_dies_during_a_replacement_is_let_go(make: Start) -> None:
    daemon = make().start()
    one, other = daemon.reactor.workers
    daemon.change_config()
    daemon.reload()
    one.end(KILL)
    successor = daemon.reactor.workers[3]
    daemon.reactor.workers[2].become_ready()
    daemon.reactor.workers[4].become_ready()
    assert not daemon.supervisor.is_reloading
    successor.become_ready()
    _read_all(successor, other)
    assert successor.is_draining
    assert other.is_draining
    assert daemon.answers == {("2.ipq", 4097)}


def test_a_new_worker_that_dies_before_all_are_ready_ends_the_replacement(make: Start) -> None:
    daemon = make().start()
    daemon.change_config()
    daemon.reload()
    first = daemon.reactor.workers[2]
    first.become_ready()
    second = daemon.reactor.workers[3]
    first.end(KILL)
    assert daemon.log.count("a new worker was killed by SIGKILL before all of them were ready") == 1
    _read_all(second)
    assert second.is_draining
    assert daemon.answers == {("1.ipq", 4096)}


def test_where_no_process_can_be_made_a_replacement_is_taken_back(make: Start) -> None:
    daemon = make().start()
    daemon.change_config(3)
    daemon.supervisor.reload()
    daemon.reactor.refuses = True
    daemon.reactor.builds[-1].finish(daemon.snapshot())
    assert (
        daemon.log.count(
            "reload failed, the old state keeps serving: a new worker can't start: "
            "no process can be made: Resource temporarily unavailable"
        )
        == 1
    )
    assert daemon.answers == {("1.ipq", 4096)}


def test_a_new_worker_that_hangs_as_it_starts_ends_the_replacement(make: Start) -> None:
    daemon = make().start()
    daemon.change_config()
    daemon.reload()
    daemon.reactor.pass_time(32)
    assert daemon.log.count("has been stuck for 30 s; killing it") == 1
    assert daemon.log.count("reload failed, the old state keeps serving") == 1
    assert daemon.answers == {("1.ipq", 4096)}


def test_stopping_during_a_replacement_takes_the_new_workers_along(make: Start) -> None:
    daemon = make().start()
    daemon.change_config(3)
    daemon.reload()
    daemon.reactor.workers[2].become_ready()
    daemon.stop()
    for worker in daemon.reactor.alive:
        worker.become_ready()
        worker.read_all()
        assert worker.is_draining
    assert not daemon.stopped
    for worker in daemon.reactor.alive:
        worker.end()
    assert daemon.stopped


def test_the_pause_of_an_old_worker_leaves_the_socket_to_a_new_one(make: Start) -> None:
    daemon = make(1).start()
    daemon.change_config()
    daemon.reload()
    (listening,) = daemon.listening()
    daemon.reactor.workers[0].end(KILL)
    daemon.reactor.workers[2].give_up()
    assert is_listening(listening), "the new worker accepts on it"


def _listen(daemon: Daemon) -> None:
    for one in daemon.listening():
        one.listen()


@pytest.mark.parametrize("moves", [True, False])
def test_the_callers_of_a_dead_worker_go_to_the_others_if_the_kernel_moves_them(
    make: Start, moves: bool
) -> None:
    daemon = make(2, moves_callers=moves).start()
    _listen(daemon)
    daemon.reactor.workers[0].end(KILL)
    assert len(daemon.reactor.alive) == 2, "another is started at once"
    assert [is_listening(one) for one in daemon.listening()] == [not moves, True]


@pytest.mark.parametrize("why", ["one worker", "the other isn't ready", "the other can't accept"])
def test_where_nobody_else_answers_the_callers_of_a_dead_worker_wait(make: Start, why: str) -> None:
    daemon = make(1 if why == "one worker" else 2, moves_callers=True).start()
    _listen(daemon)
    if why != "one worker":
        other = daemon.reactor.workers[1]
        if why == "the other isn't ready":
            other.end(KILL)
            _listen(daemon)
        else:
            other.can_accept = False
            other.beat()
    daemon.reactor.workers[0].end(KILL)
    assert all(map(is_listening, daemon.listening()))


def test_a_unix_socket_goes_on_listening_when_a_worker_dies(make: Start, tmp_path: Path) -> None:
    daemon = make(2, (Bind(path=str(tmp_path / "s")),), moves_callers=True).start()
    _listen(daemon)
    daemon.reactor.workers[0].end(KILL)
    assert all(map(is_listening, daemon.listening()))


# A build


def test_a_build_that_hangs_ends_with_its_deadline(make: Start) -> None:
    daemon = make().start()
    daemon.supervisor.reload()
    daemon.supervisor.reload()
    build = daemon.reactor.builds[0]
    daemon.reactor.pass_time(600 + 59)
    assert build.signals == []
    daemon.reactor.pass_time(1)
    assert build.signals == ["TERM"]
    assert daemon.log.count("reload refused, the old state keeps serving: ") == 1
    assert daemon.log.count("wasn't built within 660 s") == 1
    daemon.reactor.pass_time(6)
    assert build.signals == ["TERM", "KILL"]
    daemon.reactor.builds[1].finish(daemon.snapshot())
    _read_all(*daemon.reactor.workers)
    assert daemon.answers == {("2.ipq", 4096)}


def test_a_build_that_cannot_be_started_is_a_reload_refused(make: Start) -> None:
    daemon = make().start()
    daemon.reactor.refuses = True
    daemon.supervisor.reload()
    assert daemon.log.count("reload refused, the old state keeps serving: ") == 1
    assert not daemon.supervisor.is_reloading


def test_stopping_waits_for_the_build(make: Start) -> None:
    daemon = make().start()
    daemon.supervisor.reload()
    daemon.stop()
    (build,) = daemon.reactor.builds
    assert build.signals == ["TERM"]
    for worker in daemon.reactor.alive:
        worker.end()
    assert not daemon.stopped
    build.end(status=1)
    assert daemon.stopped
    assert daemon.log.count("reload") == 0


def test_a_second_signal_before_stopping_has_begun_is_not_lost(make: Start) -> None:
    daemon = make().start()
    daemon.supervisor.hurry()
    assert len(daemon.reactor.alive) == 2
    daemon.stop()
    daemon.reactor.advance(0)
    assert daemon.stopped


# Starting


def test_a_reload_asked_for_before_the_workers_are_up_is_done_then(make: Start) -> None:
    daemon = make()
    daemon.supervisor.reload()
    daemon.supervisor.startService()
    daemon.supervisor.reload()
    one, other = daemon.reactor.workers
    one.become_ready()
    assert daemon.reactor.builds == []
    other.become_ready()
    assert len(daemon.reactor.builds) == 1
    daemon.reactor.builds[0].finish(daemon.snapshot())
    _read_all(one, other)
    assert daemon.answers == {("2.ipq", 4096)}
    assert len(daemon.reactor.builds) == 1


def test_ready_is_not_said_until_a_worker_answers(make: Start) -> None:
    daemon = make()
    up: list[None] = []
    daemon.supervisor.up.addCallback(up.append)
    daemon.supervisor.startService()
    for worker in daemon.reactor.alive:
        worker.give_up()
    assert daemon.told == ["STATUS=0 of 2 workers answer: disk on fire"]
    assert not up
    daemon.reactor.advance(0.5)
    daemon.reactor.alive[0].become_ready()
    assert daemon.told[1:] == ["READY=1", "STATUS=1 of 2 workers answer"]
    assert up


def test_a_reload_mends_what_no_worker_could_start_from(make: Start) -> None:
    daemon = make()
    daemon.supervisor.startService()
    for worker in daemon.reactor.alive:
        worker.give_up()
    daemon.reload()
    for worker in daemon.reactor.alive:
        worker.become_ready()
    assert daemon.answers == {("2.ipq", 4096)}
    assert [told for told in daemon.told if "STATUS" not in told] == ["READY=1"]


def test_where_no_process_can_be_made_at_first_it_is_tried_again(make: Start) -> None:
    daemon = make()
    daemon.reactor.refuses = True
    daemon.supervisor.startService()
    assert daemon.told == [
        "STATUS=0 of 2 workers answer: no process can be made: Resource temporarily unavailable"
    ]
    daemon.reactor.refuses = False
    daemon.reactor.advance(0.5)
    assert len(daemon.reactor.alive) == 2


def test_pauses_stay_as_long_as_they_are_for_days(make: Start) -> None:
    daemon = make(1)
    daemon.supervisor.startService()
    for _ in range(1200):
        daemon.reactor.alive[0].give_up()
        daemon.reactor.advance(30)
    daemon.reactor.alive[0].become_ready()
    assert daemon.answers == {("1.ipq", 4096)}


def test_a_unix_socket_takes_callers_through_the_pauses_of_its_only_worker(
    make: Start, tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    daemon = make(1, (Bind(path=path),)).start()
    daemon.reactor.alive[0].end(KILL)
    daemon.reactor.alive[0].give_up()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(path)


# Watching


def test_a_worker_that_cannot_accept_does_not_count_and_is_replaced(make: Start) -> None:
    daemon = make().start()
    one, other = daemon.reactor.workers
    one.can_accept = False
    daemon.reactor.pass_time(2)
    assert daemon.told[-1] == "STATUS=1 of 2 workers answer"
    daemon.reactor.pass_time(12)
    assert daemon.log.count("can't accept connections for want of descriptors or memory") == 1
    assert daemon.log.count("hasn't accepted connections for 10 s; replacing it") == 1
    _read_all(one)
    assert one.is_draining
    assert not other.is_draining
    daemon.reactor.workers[2].become_ready()
    assert daemon.told[-1] == "STATUS=2 of 2 workers answer"


def test_a_worker_that_accepts_again_in_time_stays(make: Start) -> None:
    daemon = make().start()
    one, _other = daemon.reactor.workers
    for can in (False, True, False, True):
        one.can_accept = can
        daemon.reactor.pass_time(8)
    assert len(daemon.reactor.workers) == 2
    assert daemon.log.count("can't accept connections") == 1, "once"
    assert daemon.told[-1] == "STATUS=2 of 2 workers answer"


def test_where_no_worker_can_accept_none_is_replaced(make: Start) -> None:
    daemon = make().start()
    for worker in daemon.reactor.workers:
        worker.can_accept = False
    daemon.reactor.pass_time(60)
    assert len(daemon.reactor.workers) == 2


def test_an_error_of_the_watch_is_not_its_end(make: Start) -> None:
    daemon = make().start()
    one, _other = daemon.reactor.workers
    killed: list[str] = []

    def fails(name: str) -> None:
        killed.append(name)
        raise PermissionError(1, "Operation not permitted")

    one.is_frozen = True
    original, one.signalProcess = one.signalProcess, fails  # type: ignore[method-assign]
    daemon.reactor.pass_time(12)
    assert killed
    one.signalProcess = original  # type: ignore[method-assign]
    daemon.log.lines.clear()
    other = daemon.reactor.workers[1]
    other.is_frozen = True
    daemon.reactor.pass_time(12)
    assert "KILL" in other.signals


def test_the_watchdog_is_told_twice_in_its_time_until_the_end(make: Start) -> None:
    daemon = make(environment={"WATCHDOG_USEC": "4000000"}).start()
    daemon.told.clear()
    daemon.reactor.pass_time(4)
    daemon.stop()
    daemon.reactor.pass_time(2)
    assert daemon.told == ["WATCHDOG=1", "WATCHDOG=1", "STOPPING=1", "WATCHDOG=1"]


def test_a_worker_that_is_not_understood_is_killed_with_a_reason(make: Start) -> None:
    daemon = make().start()
    one, _other = daemon.reactor.workers
    daemon.change_config()
    daemon.reload()
    new = daemon.reactor.workers[2]
    new.say_bytes(b'{"is": "Greeting"}\n')
    daemon.reactor.advance(0)
    assert daemon.log.count("reload failed, the old state keeps serving") == 1
    assert daemon.log.count("restart the daemon") >= 1
    assert one.is_alive


# Logs


def test_every_worker_reopens_its_log_those_that_drain_and_new_ones_too(make: Start) -> None:
    daemon = make().start()
    daemon.change_config()
    daemon.reload()
    daemon.reactor.workers[2].become_ready()
    daemon.supervisor.reopen_logs()
    _read_all(*daemon.reactor.workers)
    assert [worker.reopened for worker in daemon.reactor.workers] == [1, 1, 1, 1]

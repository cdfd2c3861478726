"""Many workers as one service: crashes, reloads, replacement, and nothing lost."""

import contextlib
import errno
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import ipquery
from tests.integration.daemon import (
    Daemon,
    Daemons,
    children_of,
    exchange,
    is_running,
    opened_by,
    until,
)
from tests.integration.databases import ONE, ONE_ANSWER, OTHER, OTHER_ANSWER, QUERY, database
from tests.integration.load import Load
from tests.serve.http.connection import get


@pytest.fixture
def start(tmp_path: Path, daemons: Daemons) -> Callable[..., Daemon]:
    """Starts daemons on the database ``db.xdb``."""
    (tmp_path / "db.xdb").write_bytes(ONE)

    def call(*flags: object, **more: Any) -> Daemon:
        return daemons.start(*(flags or ("--db", tmp_path / "db.xdb", "-w", 2)), **more)

    return call


Start = Callable[..., Daemon]


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def _gone(pids: list[int]) -> bool:
    return not any(map(_alive, pids))


def _replaced(daemon: Daemon, pid: int) -> bool:
    workers = daemon.workers
    return pid not in workers and len(workers) == 2


def _wait_for_tries(daemon: Daemon, count: int) -> None:
    """Wait until so many more workers were started."""
    before, seen = set(daemon.workers), set()

    def were_seen() -> bool:
        seen.update(set(daemon.workers) - before)
        return len(seen) >= count

    until(were_seen)


def _count(daemon: Daemon, pattern: str) -> int:
    return len(re.findall(pattern, daemon.log))


def _reload(daemon: Daemon, expect: str = "reloaded; answering") -> None:
    before = _count(daemon, expect)
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: _count(daemon, expect) > before)


# Workers


def test_as_many_workers_as_asked_for(start: Start, tmp_path: Path) -> None:
    database = ("--db", tmp_path / "db.xdb")
    assert len(start(*database, "-w", 3).workers) == 3
    assert len(start(*database, "-w", "auto").workers) == len(os.sched_getaffinity(0))
    assert len(start(*database).workers) == len(os.sched_getaffinity(0))


def _connections(pid: int) -> int:
    return sum(one.startswith("socket:") for one in opened_by(pid))


def test_all_workers_get_callers(start: Start) -> None:
    daemon = start()

    before = [_connections(pid) for pid in daemon.workers]
    open_ones = [daemon.connect() for _ in range(40)]
    for one in open_ones:
        exchange(one, QUERY)
    after = [_connections(pid) for pid in daemon.workers]
    for one in open_ones:
        one.close()
    assert all(now > then for now, then in zip(after, before, strict=True))


def test_workers_map_the_same_pages_and_nobody_writes_them(start: Start) -> None:
    for pid in start().workers:
        maps = Path(f"/proc/{pid}/maps").read_text()
        (line,) = [line for line in maps.splitlines() if line.endswith(".ipq")]
        assert line.split()[1] == "r--s"


def test_workers_use_the_loops_own_sockets(start: Start) -> None:
    daemon = start()
    assert "uvloop is not installed" not in daemon.log


def test_without_uvloop_it_works_and_says_so(start: Start, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "uvloop.py").write_text("raise ImportError('hidden for a test')\n")
    daemon = start(PYTHONPATH=str(hidden))
    daemon.wait_for_log("uvloop is not installed")
    assert daemon.ask(QUERY).body == ONE_ANSWER


def test_the_supervisor_may_run_on_uvloop_too(tmp_path: Path, cached: dict[str, str]) -> None:
    (tmp_path / "db.xdb").write_bytes(ONE)
    flags = ["--db", tmp_path / "db.xdb", "-w", 2]
    with Daemon(tmp_path, *flags, environment=cached, twistd_flags=["--reactor=uvloop"]) as daemon:
        daemon.wait_until_up()
        assert "LoopReactor" in daemon.log
        os.kill(daemon.workers[0], signal.SIGKILL)
        daemon.wait_for_log("was killed by SIGKILL; starting another")
        until(lambda: len(daemon.workers) == 2)
        _reload(daemon)
        assert daemon.ask(QUERY).body == ONE_ANSWER


def test_without_the_lane_the_answers_are_the_same(start: Start, tmp_path: Path) -> None:
    with_lane, without = start(), start("--db", tmp_path / "db.xdb", "--no-express")
    for query in (QUERY, get("/api/ip_query?ip=9.9.9.9")):
        one, other = with_lane.ask(query), without.ask(query)
        assert (one.status, one.body) == (other.status, other.body)


# Crashes


def test_a_killed_worker_comes_back_at_once(start: Start) -> None:
    daemon = start()
    before = daemon.workers
    os.kill(before[0], signal.SIGKILL)
    until(partial(_replaced, daemon, before[0]))
    daemon.wait_for_log(r"worker \d was killed by SIGKILL; starting another")
    assert before[1] in daemon.workers
    for _ in range(20):
        assert daemon.ask(QUERY).status == 200


def test_connections_in_the_queue_of_a_killed_worker_are_answered(start: Start) -> None:
    daemon = start()
    stopped = daemon.workers[0]
    os.kill(stopped, signal.SIGSTOP)
    waiting = [daemon.connect() for _ in range(40)]
    for one in waiting:
        one.sendall(QUERY)
    os.kill(stopped, signal.SIGKILL)
    for one in waiting:
        assert exchange(one, b"").body == ONE_ANSWER
        one.close()


def test_a_stuck_worker_is_replaced(start: Start) -> None:
    daemon = start()
    stuck = daemon.workers[0]
    os.kill(stuck, signal.SIGSTOP)
    daemon.wait_for_log(r"worker \d \(pid \d+\) has been stuck for 10 s; killing it")
    until(partial(_replaced, daemon, stuck))


def test_a_worker_told_to_end_drains_and_is_replaced(start: Start) -> None:
    daemon = start("--db", "default", "-w", 1)
    (before,) = daemon.workers
    with daemon.connect() as connection:
        exchange(connection, QUERY)
        os.kill(before, signal.SIGTERM)
        until(lambda: exchange(connection, QUERY).headers.get("Connection") == "close")
    until(lambda: daemon.workers and before not in daemon.workers)


def test_a_worker_that_cannot_start_gets_no_callers_and_is_named_once(
    start: Start, tmp_path: Path
) -> None:
    cache = tmp_path / "own-cache"
    daemon = start(XDG_CACHE_HOME=str(cache))
    (snapshot,) = (cache / "ipquery").rglob("*.ipq")
    hidden = snapshot.rename(tmp_path / "hidden.ipq")
    victim = daemon.workers[0]
    os.kill(victim, signal.SIGKILL)
    daemon.wait_for_log(r"worker \d can't start: .*No such file or directory")
    for _ in range(50):
        assert daemon.ask(QUERY).status == 200
    _wait_for_tries(daemon, 3)
    assert _count(daemon, "can't start") == 1
    assert "Traceback" not in daemon.log
    hidden.rename(snapshot)
    daemon.wait_for_log(r"worker \d answers again")
    assert len(daemon.workers) == 2


def test_without_their_supervisor_workers_drain_and_end(start: Start, tmp_path: Path) -> None:
    daemon = start()
    port, workers = daemon.port, daemon.workers
    with daemon.connect() as connection:
        exchange(connection, QUERY)
        daemon.process.kill()
        daemon.process.wait()
        until(lambda: exchange(connection, QUERY).headers.get("Connection") == "close")
        # A new daemon can have the port at once.
        again = start(bind=f"127.0.0.1:{port}")
    until(partial(_gone, workers))
    assert again.ask(QUERY).status == 200


# Stopping


def test_a_second_signal_does_not_wait(start: Start) -> None:
    daemon = start()
    with daemon.connect() as connection:
        connection.sendall(QUERY[:20])
        until(lambda: daemon.has_read_all)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for_log("Received SIGTERM")
        assert daemon.process.poll() is None
        begun = time.monotonic()
        assert daemon.stop() == -signal.SIGTERM
        assert time.monotonic() - begun < 5
    assert "Traceback" not in daemon.log


def test_no_process_is_left(start: Start) -> None:
    daemon = start()
    workers = daemon.workers
    daemon.stop(signal.SIGINT)
    assert not any(map(_alive, workers))


# Reloading


def test_a_changed_database_is_taken_over_in_place(start: Start, tmp_path: Path) -> None:
    daemon = start()
    workers = daemon.workers
    assert daemon.ask(QUERY).body == ONE_ANSWER
    (tmp_path / "db.xdb").write_bytes(OTHER)
    _reload(daemon)
    for _ in range(20):
        assert daemon.ask(QUERY).body == OTHER_ANSWER
    assert daemon.workers == workers
    os.kill(workers[0], signal.SIGKILL)
    until(partial(_replaced, daemon, workers[0]))
    for _ in range(20):
        assert daemon.ask(QUERY).body == OTHER_ANSWER


def test_a_changed_database_knows_other_addresses(start: Start, tmp_path: Path) -> None:
    daemon = start()
    elsewhere = get("/api/ip_query?ip=9.9.9.9")
    for octet, known, unknown in ((1, QUERY, elsewhere), (9, elsewhere, QUERY)) * 2:
        (tmp_path / "db.xdb").write_bytes(database("美国|0|0|0|谷歌", octet))
        _reload(daemon)
        for _ in range(5):
            assert daemon.ask(known).status == 200
            assert daemon.ask(unknown).status == 501


def test_a_broken_database_changes_nothing(start: Start, tmp_path: Path) -> None:
    daemon = start()
    path = tmp_path / "db.xdb"
    good, after = (ONE, ONE_ANSWER), (OTHER, OTHER_ANSWER)
    for content, complaint in (
        (None, "can't read this database: No such file"),
        (b"", "the file is empty"),
        (ONE[:-7], "the file is cut short"),
        (b"<html>" * 1000, "a web page"),
    ):
        before = len(daemon.log)
        path.unlink() if content is None else path.write_bytes(content)
        _reload(daemon, "reload refused, the old state keeps serving: ")
        lines = [line for line in daemon.log[before:].splitlines() if "reload" in line]
        assert len(lines) == 1
        assert complaint in lines[0]
        assert daemon.ask(QUERY).body == good[1]
        path.write_bytes(after[0])
        _reload(daemon)
        assert daemon.ask(QUERY).body == after[1]
        good, after = after, good


def test_a_snapshot_cut_short_in_place_cannot_reach_the_workers(
    start: Start, tmp_path: Path
) -> None:
    made = tmp_path / "own.ipq"
    ipquery = Path(sys.executable).parent / "ipquery"
    subprocess.run([ipquery, "build", "-o", made, tmp_path / "db.xdb"], check=True, timeout=60)
    daemon = start("--db", made, "-w", 2)
    made.write_bytes(made.read_bytes()[:1000])
    assert daemon.ask(QUERY).body == ONE_ANSWER
    _reload(daemon, "reload refused, the old state keeps serving: ")
    assert f"{made}: " in daemon.log
    killed = daemon.workers[0]
    os.kill(killed, signal.SIGKILL)
    until(partial(_replaced, daemon, killed))
    for _ in range(20):
        assert daemon.ask(QUERY).body == ONE_ANSWER


def test_a_broken_configuration_changes_nothing(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[[database]]\npath = 'db.xdb'\n")
    daemon = start("--config", config)
    for content, complaint in (
        ("nonsense", "not valid TOML"),
        ("[[database]]\npath = 'db.xdb'\n[http]\nbody = 1", "unknown key http.body"),
    ):
        config.write_text(content)
        _reload(daemon, "reload refused, the old state keeps serving: ")
        assert complaint in daemon.log
    assert daemon.ask(QUERY).body == ONE_ANSWER


def test_a_changed_configuration_replaces_the_workers(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("workers = 1\n[[database]]\npath = 'db.xdb'\n")
    daemon = start("--config", config)
    before = daemon.workers
    config.write_text("workers = 3\n[[database]]\npath = 'db.xdb'\n[http]\nbody_bytes = 10\n")
    _reload(daemon)
    until(lambda: len(daemon.workers) == 3 and not set(before) & set(daemon.workers))
    request = b"POST /api/ip_query HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\n\r\n"
    assert daemon.ask(request).status == 413
    config.write_text("workers = 1\n[[database]]\npath = 'db.xdb'\n")
    _reload(daemon)
    until(lambda: len(daemon.workers) == 1)
    for _ in range(30):
        assert daemon.ask(QUERY).status == 200


def test_addresses_can_be_added_and_dropped(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    unix = tmp_path / "s"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rest = "workers = 2\n[[database]]\npath = 'db.xdb'\n"
    config.write_text(f"bind = ['127.0.0.1:{port}']\n{rest}")
    daemon = start("--config", config, bind=None)
    config.write_text(f"bind = ['127.0.0.1:{port}', 'unix:s2', 'unix:{unix}']\n{rest}")
    _reload(daemon)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(unix))
        assert exchange(connection, QUERY).status == 200
    assert daemon.ask(QUERY).status == 200
    config.write_text(f"bind = ['127.0.0.1:{port}']\n{rest}")
    _reload(daemon)
    until(lambda: not unix.exists())
    assert daemon.ask(QUERY).status == 200


def test_a_replacement_that_fails_leaves_the_old_workers(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("workers = 2\n[[database]]\npath = 'db.xdb'\n")
    daemon = start("--config", config)
    before = daemon.workers
    config.write_text("access_log = '/missing/log'\nworkers = 2\n[[database]]\npath = 'db.xdb'\n")
    _reload(daemon, "reload failed, the old state keeps serving: ")
    assert "/missing/log" in daemon.log
    until(lambda: daemon.workers == before)
    config.write_text("bind = ['192.0.2.1:80']\n[[database]]\npath = 'db.xdb'\n")
    for _ in range(20):
        assert daemon.ask(QUERY).body == ONE_ANSWER


def test_two_reloads_at_once_end_with_the_last_state(start: Start, tmp_path: Path) -> None:
    daemon = start()
    (tmp_path / "db.xdb").write_bytes(OTHER)
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: _children(daemon, "ipquery.data.build"))
    (tmp_path / "db.xdb").write_bytes(ONE)
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: _count(daemon, "reloaded; answering") >= 2)
    assert daemon.ask(QUERY).body == ONE_ANSWER


# Reloading while something dies


def _children(daemon: Daemon, module: str) -> list[int]:
    """Processes below the daemon that run a module of ours, in the order of their start."""
    found, parents = [], [daemon.process.pid]
    while parents:
        children = children_of(parents.pop())
        parents += children
        found += [child for child in children if is_running(child, module)]
    return sorted(found)


def _snapshots_mapped(pid: int) -> int:
    maps = Path(f"/proc/{pid}/maps").read_text()
    return len({line.split()[-1] for line in maps.splitlines() if line.endswith(".ipq")})


def _answers(daemon: Daemon) -> set[bytes]:
    """By so many connections, each worker is asked."""
    return {daemon.ask(QUERY).body for _ in range(40)}


def test_a_worker_killed_while_a_switch_waits_is_followed_by_one_that_switches(
    start: Start, tmp_path: Path
) -> None:
    daemon = start()
    killed, waits = daemon.workers
    (tmp_path / "db.xdb").write_bytes(OTHER)
    os.kill(waits, signal.SIGSTOP)
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: _snapshots_mapped(killed) == 2)
    os.kill(killed, signal.SIGKILL)
    until(partial(_replaced, daemon, killed))
    os.kill(waits, signal.SIGCONT)
    daemon.wait_for_log("reloaded; answering")
    assert waits in daemon.workers
    assert _answers(daemon) == {OTHER_ANSWER}


def test_an_old_worker_killed_during_a_replacement_that_fails_comes_back_as_it_was(
    start: Start, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text("workers = 2\n[[database]]\npath = 'db.xdb'\n")
    daemon = start("--config", config)
    old = daemon.workers
    (tmp_path / "db.xdb").write_bytes(OTHER)
    config.write_text("workers = 2\n[[database]]\npath = 'db.xdb'\n[http]\nbody_bytes = 10\n")
    daemon.process.send_signal(signal.SIGHUP)

    def new() -> list[int]:
        return [pid for pid in daemon.workers if pid not in old]

    until(new)
    (first,) = new()
    os.kill(first, signal.SIGSTOP)
    os.kill(old[0], signal.SIGKILL)
    until(lambda: len(new()) == 2)
    (successor,) = (pid for pid in new() if pid != first)
    until(lambda: _snapshots_mapped(successor) == 1)
    os.kill(first, signal.SIGKILL)
    daemon.wait_for_log("reload failed, the old state keeps serving: a new worker can't start")
    until(lambda: daemon.workers == sorted([old[1], successor]))
    assert _answers(daemon) == {ONE_ANSWER}


def test_stopping_during_a_replacement_leaves_no_process_and_no_socket(
    start: Start, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text("workers = 2\n[[database]]\npath = 'db.xdb'\n")
    daemon = start("--config", config)
    port, old = daemon.port, daemon.workers
    config.write_text("workers = 3\n[[database]]\npath = 'db.xdb'\n")
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: len(daemon.workers) > 2)
    new = [pid for pid in daemon.workers if pid not in old]
    daemon.stop()
    assert _gone(old + new)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
    assert "Traceback" not in daemon.log


def test_a_build_that_hangs_does_not_keep_the_daemon_from_stopping(
    start: Start, tmp_path: Path
) -> None:
    daemon = start()
    (tmp_path / "db.xdb").unlink()
    os.mkfifo(tmp_path / "db.xdb")
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: _children(daemon, "ipquery.data.build"))
    children = daemon.children
    daemon.stop()
    assert _gone(children)
    assert "Traceback" not in daemon.log


# Signals while a first build runs


@pytest.fixture
def building(tmp_path: Path) -> Iterator[tuple[Daemon, int, Path]]:
    """A daemon whose first build has stopped half-way, the build's process, the cache folder."""
    cache = tmp_path / "empty-cache"
    environment = {"XDG_CACHE_HOME": str(cache)}
    with Daemon(tmp_path, "--db", "default", "-w", 2, environment=environment) as daemon:
        daemon.wait_for_log(r"\d% +reading")
        (build,) = _children(daemon, "ipquery.data.build.child")
        os.kill(build, signal.SIGSTOP)
        try:
            yield daemon, build, cache / "ipquery/snapshots"
        finally:
            if _alive(build):
                os.kill(build, signal.SIGCONT)


def test_signals_while_the_first_build_runs_wait_until_it_is_done(
    building: tuple[Daemon, int, Path],
) -> None:
    daemon, build, _cache = building
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
        daemon.process.send_signal(number)
    os.kill(build, signal.SIGCONT)
    daemon.wait_until_up()
    daemon.wait_for_log("reloaded; answering")
    assert daemon.ask(QUERY).status == 200
    daemon.stop()
    assert _count(daemon, "reloaded; answering") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_first_build_that_is_interrupted_leaves_nothing(
    building: tuple[Daemon, int, Path], number: signal.Signals
) -> None:
    daemon, build, cache = building
    assert list(cache.iterdir()), "the build's temporary file"
    assert daemon.stop(number) == -number
    assert not _alive(build)
    assert list(cache.iterdir()) == []
    assert "Traceback" not in daemon.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_reloads_build_that_is_interrupted_leaves_nothing(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    cache = tmp_path / "own-cache"
    daemon = start(XDG_CACHE_HOME=str(cache))
    before = sorted((cache / "ipquery/snapshots").iterdir())
    (tmp_path / "db.xdb").write_bytes(OTHER)
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: _children(daemon, "ipquery.data.build.child"))
    (build,) = _children(daemon, "ipquery.data.build.child")
    os.kill(build, signal.SIGSTOP)
    for child in _children(daemon, "ipquery.data.build"):
        os.kill(child, number)  # HUP as a terminal that closes sends it to all
    with contextlib.suppress(ProcessLookupError):
        os.kill(build, signal.SIGCONT)
    if number == signal.SIGHUP:
        daemon.wait_for_log("reloaded; answering")
        assert len(list((cache / "ipquery/snapshots").iterdir())) == len(before) + 1
        return
    daemon.wait_for_log("reload refused, the old state keeps serving: the build ended")
    until(lambda: not _alive(build))
    assert sorted((cache / "ipquery/snapshots").iterdir()) == before


# systemd


ACTIVATE = """
import os, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_sockets_of_systemd_are_taken_over(
    tmp_path: Path, cached: dict[str, str], start: Start
) -> None:
    script = tmp_path / "activate.py"
    script.write_text(ACTIVATE)
    twistd = Path(sys.executable).parent / "twistd"
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [
            *(sys.executable, script, twistd, "-n", "--pidfile=", "ipquery"),
            *("-w", "2", "--db", str(tmp_path / "db.xdb")),
        ],
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, **cached},
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), 20) as connection:
                assert exchange(connection, QUERY).status == 200
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end of sd_notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(20)
        yield receiver


def _notified(manager: socket.socket, prefix: str) -> str:
    deadline, heard = time.monotonic() + 20, []
    while time.monotonic() < deadline:
        heard.append(manager.recv(4096).decode())
        if heard[-1].startswith(prefix):
            return heard[-1]
    raise AssertionError(f"no {prefix} in {heard}")


def test_systemd_is_told(start: Start, tmp_path: Path, manager: socket.socket) -> None:
    daemon = start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
    assert _notified(manager, "READY") == "READY=1"
    assert _notified(manager, "STATUS") == "STATUS=2 of 2 workers answer"
    for _ in range(3):
        assert _notified(manager, "WATCHDOG") == "WATCHDOG=1"
    daemon.process.send_signal(signal.SIGHUP)
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", _notified(manager, "RELOADING"))
    assert _notified(manager, "READY") == "READY=1"
    daemon.process.send_signal(signal.SIGTERM)
    assert _notified(manager, "STOPPING") == "STOPPING=1"


# Nothing lost


def test_6_kills_lose_only_what_the_workers_were_answering(start: Start) -> None:
    daemon = start()
    with Load(daemon.port) as load:
        load.wait_for(500)
        for number in range(6):
            victim = daemon.workers[number % 2]
            os.kill(victim, signal.SIGKILL)
            until(partial(_replaced, daemon, victim))
            load.wait_for(100)
            time.sleep(1)  # what has died twice within a second isn't started at once
    result = load.result
    assert set(result.statuses) == {200}
    assert set(result.answers) == {ONE_ANSWER}
    assert result.refused == 0, result.lost
    # At most what ten callers had in flight, each time; what is lost, is lost by
    # a reset or an end before the answer.
    assert len(result.lost) <= 6 * 10
    assert all("after b''" in lost for lost in result.lost), result.lost
    print(f"{len(result.lost)} of {result.answered} lost to 6 kills")


def test_8_reloads_lose_nothing_and_mix_nothing(start: Start, tmp_path: Path) -> None:
    daemon = start()
    with Load(daemon.port) as load:
        load.wait_for(500)
        for number in range(8):
            (tmp_path / "db.xdb").write_bytes(OTHER if number % 2 == 0 else ONE)
            _reload(daemon)
            load.wait_for(50)
    result = load.result
    assert result.lost == []
    assert set(result.statuses) == {200}
    assert set(result.answers) == {ONE_ANSWER, OTHER_ANSWER}


def test_3_replacements_lose_nothing(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"

    def configure(number: int) -> None:
        config.write_text(
            f"workers = 2\n[[database]]\npath = 'db.xdb'\n[http]\nbody_bytes = {4096 + number}\n"
        )

    configure(0)
    daemon = start("--config", config)
    with Load(daemon.port) as load:
        load.wait_for(500)
        for number in range(1, 4):
            before = daemon.workers
            configure(number)
            _reload(daemon)
            until(partial(_gone, before))
            load.wait_for(200)
    assert load.result.lost == []
    assert set(load.result.statuses) == {200}
    assert set(load.result.answers) == {ONE_ANSWER}


@pytest.mark.soak
def test_three_minutes_of_everything_at_once(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    kills, configured = 0, 0

    def configure() -> None:
        config.write_text(
            f"workers = 2\n[[database]]\npath = 'db.xdb'\n"
            f"[http]\nbody_bytes = {4096 + configured}\n"
        )

    configure()
    daemon = start("--config", config)
    with Load(daemon.port, pause=0.002) as load:
        begun = time.monotonic()
        while time.monotonic() < begun + 180:
            match random.randrange(4):
                case 0:
                    os.kill(random.choice(daemon.workers), signal.SIGKILL)
                    kills += 1
                    time.sleep(2)  # as above
                case 1:
                    (tmp_path / "db.xdb").write_bytes(random.choice([ONE, OTHER]))
                    _reload(daemon)
                case 2:
                    configured += 1
                    configure()
                    _reload(daemon)
                case 3:
                    (tmp_path / "db.xdb").write_bytes(b"broken")
                    _reload(daemon, "reload refused, the old state keeps serving: ")
                    (tmp_path / "db.xdb").write_bytes(ONE)
            load.wait_for(100)
    result = load.result
    assert set(result.statuses) == {200}
    assert set(result.answers) <= {ONE_ANSWER, OTHER_ANSWER}
    assert result.refused == 0
    assert len(result.lost) <= kills * 10
    assert all("after b''" in lost for lost in result.lost), result.lost
    print(
        f"{len(result.lost)} of {result.answered} lost to {kills} kills; {configured} replacements"
    )


@pytest.fixture
def copied(tmp_path: Path, cached: dict[str, str]) -> Iterator[tuple[Daemon, Path]]:
    """A daemon with one worker that runs from a copy of the package, and the copy."""
    package = tmp_path / "site/ipquery"
    shutil.copytree(Path(ipquery.__file__).parent, package)
    (tmp_path / "db.xdb").write_bytes(ONE)
    environment = {**cached, "PYTHONPATH": str(tmp_path / "site")}
    flags = ["--db", tmp_path / "db.xdb", "-w", 1]
    with Daemon(tmp_path, *flags, environment=environment) as daemon:
        yield daemon.wait_until_up(), package


def _append(module: Path, line: str) -> None:
    with module.open("a") as file:
        file.write(f"\n{line}\n")


def test_changed_code_is_taken_over_by_replacement(copied: tuple[Daemon, Path]) -> None:
    daemon, package = copied
    (old,) = daemon.workers
    _append(package / "fleet/worker.py", "_log.info('this is new code')")
    _reload(daemon)
    (new,) = (pid for pid in daemon.workers if pid != old)
    daemon.wait_for_log(rf"worker 1 \(pid {new}\): this is new code")
    until(partial(_gone, [old]))
    assert daemon.ask(QUERY).body == ONE_ANSWER


def test_code_that_does_not_start_leaves_the_old_one_running(copied: tuple[Daemon, Path]) -> None:
    daemon, package = copied
    before = daemon.workers
    _append(package / "fleet/worker.py", "raise ImportError('this is no code')")
    _reload(daemon, "reload failed, the old state keeps serving: .*ImportError: this is no code")
    until(lambda: daemon.workers == before)
    assert daemon.ask(QUERY).body == ONE_ANSWER


# What a version to come might have.
OTHER_START = """
import attrs
@attrs.frozen
class Start:
    greeting: str
CODEC = Codec(
    Start, Prepare, Switch, Forget, Drain, Reopen, TicketKey,
    Ready, Failed, Prepared, NotPrepared, Switched, Beat, Log,
)
"""
OTHER_ORDER = """
class Order:
    def __setstate__(self, state):
        raise TypeError("this order is of another version")
"""


def test_an_upgrade_that_needs_a_restart_says_so_and_the_old_workers_go_on(
    copied: tuple[Daemon, Path],
) -> None:
    daemon, package = copied
    before = daemon.workers
    _append(package / "fleet/control.py", OTHER_START)
    _reload(daemon, "reload failed, the old state keeps serving: a new worker can't start: ")
    (line,) = [line for line in daemon.log.splitlines() if "reload" in line]
    assert "is of another version of ipquery" in line
    assert line.endswith("; restart the daemon")
    until(lambda: daemon.workers == before)
    assert daemon.ask(QUERY).body == ONE_ANSWER
    assert "Traceback" not in daemon.log


def test_a_worker_that_dies_after_such_an_upgrade_is_named_once(
    copied: tuple[Daemon, Path],
) -> None:
    daemon, package = copied
    control = package / "fleet/control.py"
    original = control.read_bytes()
    _append(control, OTHER_START)
    os.kill(daemon.workers[0], signal.SIGKILL)
    daemon.wait_for_log(r"worker 1 can't start: .*; restart the daemon; trying again, at first")
    _wait_for_tries(daemon, 3)
    assert _count(daemon, "restart the daemon") == 1
    control.write_bytes(original)
    daemon.wait_for_log("worker 1 answers again")
    with daemon.connect() as connection:
        # In two pieces: what isn't in when the connection is read first comes in later.
        connection.sendall(QUERY[:20])
        until(lambda: daemon.has_read_all)
        assert exchange(connection, QUERY[20:]).body == ONE_ANSWER
    assert "Traceback" not in daemon.log


def test_an_upgrade_of_what_a_build_is_told_says_so_too(copied: tuple[Daemon, Path]) -> None:
    daemon, package = copied
    _append(package / "data/build/job.py", OTHER_ORDER)
    _reload(daemon, "reload refused, the old state keeps serving: the build ended with status 1: ")
    (line,) = [line for line in daemon.log.splitlines() if "reload" in line]
    assert line.endswith("; ipquery was upgraded while the daemon ran: restart the daemon")
    assert daemon.ask(QUERY).body == ONE_ANSWER

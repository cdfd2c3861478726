"""The access log of many workers under load: no line is lost, torn or told twice."""

import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.integration.daemon import Daemon, exchange, until
from tests.integration.databases import ONE, ONE_ANSWER, QUERY
from tests.integration.load import Load, Result
from tests.serve.http.connection import get

LINE = re.compile(
    r"127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "
    r'"(GET /api/ip_query\?ip=1\.2\.3\.4|POST /api/ip_query) HTTP/1\.1" 200 \d+ "-" "-"'
)


class Output:
    """The reader of a pipe that is a daemon's standard output."""

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        self._said = b""
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        while piece := os.read(self._read_end, 65536):
            self._said += piece

    @property
    def lines(self) -> list[str]:
        """What has been said so far."""
        return self._said.decode().splitlines()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Read to the end: the daemon has gone."""
        os.close(self.write_end)
        self._thread.join(20)
        assert not self._thread.is_alive(), "somebody has it open still"
        os.close(self._read_end)


Start = Callable[..., Daemon]


@pytest.fixture
def start(tmp_path: Path, cached: dict[str, str]) -> Iterator[Start]:
    """Starts a daemon of two workers with this configuration of its log."""
    started: list[Daemon] = []

    def call(log: str, output: int | None = None) -> Daemon:
        (tmp_path / "db.xdb").write_bytes(ONE)
        _configure(tmp_path, log)
        flags = ["--config", "c.toml"]
        started.append(Daemon(tmp_path, *flags, environment=cached, output=output))
        return started[-1].wait_until_up()

    yield call
    for daemon in started:
        daemon.stop()


def _configure(folder: Path, rest: str) -> None:
    (folder / "c.toml").write_text(f"workers = 2\n{rest}\n[[database]]\npath = 'db.xdb'\n")


def _loaded(daemon: Daemon, answers: int = 2000) -> Result:
    with Load(daemon.port, pause=0) as load:
        load.wait_for(answers)
    assert load.result.lost == []
    assert set(load.result.answers) == {ONE_ANSWER}
    return load.result


def test_lines_of_two_workers_come_whole_through_one_pipe(start: Start) -> None:
    with Output() as output:
        daemon = start("access_log = '-'", output.write_end)
        result = _loaded(daemon)
        daemon.stop()
    assert len(output.lines) == result.answered
    assert [line for line in output.lines if not LINE.fullmatch(line)] == []


def test_so_do_lines_of_json(start: Start) -> None:
    with Output() as output:
        daemon = start("[access_log]\npath = '-'\nformat = 'json'", output.write_end)
        result = _loaded(daemon)
        daemon.stop()
    told = [json.loads(line) for line in output.lines]
    assert len(told) == result.answered
    assert {one["status"] for one in told} == {200}


def test_of_so_many_answers_each_worker_logs_one(start: Start, tmp_path: Path) -> None:
    daemon = start("[access_log]\npath = 'access.log'\nsample = 10")
    result = _loaded(daemon)
    daemon.stop()
    lines = (tmp_path / "access.log").read_text().splitlines()
    # Each of two workers may have begun on the next ten.
    assert result.answered / 10 - 2 < len(lines) <= result.answered / 10


def test_rotation_under_load_loses_no_line(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    daemon = start("access_log = 'access.log'")
    rotated = []
    with Load(daemon.port, pause=0) as load:
        for number in range(5):
            load.wait_for(300)
            rotated.append(path.rename(tmp_path / f"access.log.{number}"))
            daemon.process.send_signal(signal.SIGUSR1)
            until(path.exists)
        load.wait_for(300)
    daemon.stop()
    assert load.result.lost == []
    files = [one.read_text().splitlines() for one in (*rotated, path)]
    assert all(files), "each was written to"
    lines = [line for file in files for line in file]
    assert len(lines) == load.result.answered
    assert [line for line in lines if not LINE.fullmatch(line)] == []


def test_a_full_disk_costs_no_answer_and_each_worker_says_so_once(start: Start) -> None:
    daemon = start("access_log = '/dev/full'")
    said = r"worker \d \(pid \d+\): /dev/full: this access log can't be written: No space left"
    with Load(daemon.port, pause=0) as load:
        load.wait_for(500)
        until(lambda: len(re.findall(said, daemon.log)) == 2)
        load.wait_for(500)
    daemon.stop()
    assert load.result.lost == []
    assert set(load.result.answers) == {ONE_ANSWER}
    assert len(re.findall(said, daemon.log)) == 2
    assert "Traceback" not in daemon.log


def test_the_last_lines_are_written_when_it_stops(start: Start, tmp_path: Path) -> None:
    daemon = start("access_log = 'access.log'")
    with daemon.connect() as connection:
        for _ in range(3):
            exchange(connection, QUERY)
    daemon.stop()
    assert len((tmp_path / "access.log").read_text().splitlines()) == 3


def _was_reloaded(daemon: Daemon, times: int, before: list[int]) -> bool:
    """Whether it was reloaded so often, and none of the workers is left that ran before."""
    reloaded = daemon.log.count("reloaded; answering") == times
    return reloaded and not set(before) & set(daemon.workers)


def test_a_changed_log_bound_or_lane_is_taken_over_without_a_failure(
    start: Start, tmp_path: Path
) -> None:
    log = "[access_log]\npath = 'access.log'"
    changes = [
        f"{log}\nformat = 'json'",
        f"{log}\nformat = 'json'\n[http]\nidle_seconds = 7\nbody_bytes = 100",
        f"express = false\n{log}\nformat = 'json'",
        "express = true",
    ]
    daemon = start(log)
    with Load(daemon.port) as load:
        load.wait_for(200)
        for number, change in enumerate(changes, 1):
            before = daemon.workers
            _configure(tmp_path, change)
            daemon.process.send_signal(signal.SIGHUP)
            until(partial(_was_reloaded, daemon, number, before))
            load.wait_for(200)
        size = (tmp_path / "access.log").stat().st_size
        load.wait_for(200)
    assert daemon.ask(get("/healthz")).status == 200
    daemon.stop()
    assert load.result.lost == []
    assert set(load.result.statuses) == {200}
    assert set(load.result.answers) == {ONE_ANSWER}
    lines = (tmp_path / "access.log").read_text().splitlines()
    combined = [line for line in lines if LINE.fullmatch(line)]
    told = [json.loads(line) for line in lines if not LINE.fullmatch(line)]
    assert len(combined) >= 200
    assert {one["status"] for one in told} == {200}
    assert len(told) >= 600
    assert (tmp_path / "access.log").stat().st_size == size, "switched off, it says no more"

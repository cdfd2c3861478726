"""Every hostile kind of caller at once, beside steady ones, who must not notice."""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.files import xdb
from tests.integration.daemon import Daemon
from tests.integration.load import Load, Result
from tests.serve.http.connection import get

CONFIG = """
workers = 1
[[database]]
path = "db.xdb"
[http]
header_seconds = 2
body_seconds = 2
idle_seconds = 3
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    (tmp_path / "db.xdb").write_bytes(xdb([(0x01000000, 0x01FFFFFF, "中国|0|河南省|商丘市|联通")]))
    (tmp_path / "c.toml").write_text(CONFIG)
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    with Daemon(tmp_path, "--config", "c.toml", environment=environment) as running:
        running.wait_until_up()
        # uvloop opens a file of its own with the first connection, and keeps it.
        running.ask(get("/healthz"))
        yield running


def _memory(worker: int) -> int:
    """Resident memory in kB."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
    assert match
    return int(match[1])


def _descriptors(worker: int) -> int:
    return len(os.listdir(f"/proc/{worker}/fd"))


def _wait_for_descriptors(worker: int, count: int) -> None:
    deadline = time.monotonic() + 30
    while _descriptors(worker) > count:
        assert time.monotonic() < deadline, f"{_descriptors(worker)} instead of {count}"
        time.sleep(0.1)


def _steady(daemon: Daemon, seconds: float, hostile: bool) -> Result:
    """64 callers for a while; what they have seen."""
    # Hostile callers have machines of their own. Here they must not take the processor from
    # the steady ones, whose waiting is measured.
    mix = ["nice", sys.executable, "-m", "tests.integration.hostile"]
    mix += [str(daemon.port), str(seconds)]
    with Load(daemon.port, kept=64, one_shot=0, pause=0.05) as load:
        load.wait_for(64)
        if hostile:
            subprocess.run(mix, check=True, timeout=seconds + 60)
        else:
            time.sleep(seconds)
    assert load.result.lost == []
    assert set(load.result.statuses) == {200}
    return load.result


def test_steady_callers_lose_nothing_and_nothing_is_left(daemon: Daemon) -> None:
    (worker,) = daemon.workers
    descriptors = _descriptors(worker)
    # What is used for the first time stays: caches, the allocator's own.
    _steady(daemon, 4, hostile=True)
    _wait_for_descriptors(worker, descriptors)
    memory = _memory(worker)
    _steady(daemon, 10, hostile=True)
    _wait_for_descriptors(worker, descriptors)
    assert daemon.workers == [worker], "it was killed"
    assert _memory(worker) - memory < 10_000
    assert "Traceback" not in daemon.log


@pytest.mark.soak
def test_steady_callers_wait_no_more_than_three_times_as_long(daemon: Daemon) -> None:
    (worker,) = daemon.workers
    descriptors = _descriptors(worker)
    _steady(daemon, 5, hostile=True)
    _wait_for_descriptors(worker, descriptors)
    memory = _memory(worker)
    ratios = []
    for _ in range(3):
        alone = _steady(daemon, 20, hostile=False).percentile(0.99)
        beside = _steady(daemon, 100, hostile=True).percentile(0.99)
        ratios.append(beside / alone)
    print(f"\np99 beside the mix / alone: {ratios}")
    _wait_for_descriptors(worker, descriptors)
    assert daemon.workers == [worker], "it was killed"
    assert _memory(worker) - memory < 10_000
    assert "Traceback" not in daemon.log
    assert statistics.median(ratios) <= 3

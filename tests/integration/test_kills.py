"""kill -9 at random points of fetching, building and switching: never half a file, never a lost
database, and whoever comes next goes on."""

import os
import pickle
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
import pytest

from ipquery.data.build import Limits, ListPaths, Order, order_command, served_snapshot
from ipquery.data.build.decisions import read_decisions
from ipquery.data.snapshot import Snapshot
from ipquery.data.sources import Source
from ipquery.data.update.guard import Guard
from ipquery.data.update.tries import fetch_command, fetch_order
from tests.data.files import xdb
from tests.integration.daemon import until
from tests.integration.databases import ONE, ONE_ANSWER, QUERY, SECOND, SECOND_ANSWER
from tests.integration.updating import Node


@attrs.frozen
class Errand:
    """A process of a daemon, and what it is to do."""

    command: Sequence[str]
    order: bytes
    environment: Mapping[str, str]

    def run(self, seconds: float | None = None) -> bool:
        """Run it.

        :param seconds: after which it is killed, if it hasn't ended.
        :returns: whether it has ended well.
        """
        with subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **self.environment},
        ) as process:
            assert process.stdin is not None
            process.stdin.write(self.order)
            process.stdin.close()
            try:
                return process.wait(60 if seconds is None else seconds) == 0
            except subprocess.TimeoutExpired:
                process.kill()
                return False


class Killed:
    """Errands that are killed, and whole again when they aren't."""

    def __init__(self, folder: Path) -> None:
        self.node = Node(folder)
        self.cache = folder / "cache"
        self.environment = {
            "PATH": f"{self.node.program}:{os.environ['PATH']}",
            "XDG_DATA_HOME": str(folder / "data"),
        }
        self._editions = 0
        self.serving = served_snapshot(
            [Source(self.node.path)], self.cache, lambda what, done: None
        )

    def edition(self) -> bytes:
        """One of which the guard has nothing to say, for an odd number; else it has."""
        self._editions += 1
        country = "中国" if self._editions % 2 else "美国"
        return xdb([(1 << 24, (2 << 24) - 1, f"{country}|0|0|0|{self._editions}")])

    def fetch(self) -> Errand:
        """What fetches."""
        order = fetch_order("npm:some:db.xdb", Limits())
        return Errand(fetch_command(), order, self.environment)

    def build(self) -> Errand:
        """What builds, compares, and decides."""
        order = Order(
            [Source(self.node.path)],
            self.cache,
            ListPaths(),
            Limits(),
            serving=self.serving,
            guard=Guard(),
        )
        return Errand(order_command(), pickle.dumps(order), self.environment)

    def look(self) -> None:
        """Nothing that has its name is half."""
        for path in (self.cache / "snapshots").glob("[0-9a-f]*.ipq"):
            Snapshot(path).close()
        read_decisions(self.cache / "snapshots")


def _points(count: int, seed: int) -> Callable[[float], float]:
    chance = random.Random(seed)
    return lambda whole: chance.random() * whole * 1.1


def _kill(folder: Path, points: int, seed: int) -> None:
    killed = Killed(folder)
    moment = _points(points, seed)
    begun = time.monotonic()
    killed.node.publish(killed.edition())
    assert killed.fetch().run()
    fetching = time.monotonic() - begun
    begun = time.monotonic()
    assert killed.build().run()
    building = time.monotonic() - begun
    for _ in range(points // 2):
        before, after = killed.node.path.read_bytes(), killed.edition()
        killed.node.publish(after)
        killed.fetch().run(moment(fetching))
        assert killed.node.path.read_bytes() in (before, after)
        assert killed.fetch().run(), "the next one goes on"
        assert killed.node.path.read_bytes() == after
        killed.build().run(moment(building))
        killed.look()
        assert killed.build().run(), "the next one goes on"
        killed.look()
    # The children of what was killed have ended by themselves by now, or soon will have.
    assert not list((folder / "data/ipquery").glob(".fetching-*"))

    def nothing_is_left() -> bool:
        killed.node.publish(killed.edition())
        killed.fetch().run()
        killed.build().run()
        return not list((killed.cache / "snapshots").glob(".*"))

    until(nothing_is_left)


def test_errands_killed_at_some_points(tmp_path: Path) -> None:
    _kill(tmp_path, 6, 1)


@pytest.mark.soak
def test_errands_killed_at_two_hundred_points(tmp_path: Path) -> None:
    _kill(tmp_path, 200, 1000)


def _kill_daemon(node: Node, seconds: float) -> None:
    """Kill the supervisor so long after it was up, while an update is under way."""
    daemon = node.start()
    # What it began is killed with it, as when a machine goes down.
    time.sleep(seconds)
    pids = [daemon.process.pid, *daemon.children]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    daemon.process.wait()
    node.daemon = None


def _kill_daemons(node: Node, points: int, seed: int) -> None:
    moment = _points(points, seed)
    node.publish(SECOND)
    for _ in range(points):
        node.path.write_bytes(ONE)
        # As if a day had gone by since the last try.
        (node.folder / "cache/snapshots/updates.json").unlink(missing_ok=True)
        _kill_daemon(node, moment(1.5))
        assert node.path.read_bytes() in (ONE, SECOND)
        for path in (node.folder / "cache/snapshots").glob("[0-9a-f]*.ipq"):
            Snapshot(path).close()
    (node.folder / "cache/snapshots/updates.json").unlink(missing_ok=True)
    daemon = node.start()
    assert daemon.ask(QUERY).body in (ONE_ANSWER, SECOND_ANSWER)
    until(lambda: daemon.ask(QUERY).body == SECOND_ANSWER)
    assert not re.search("Traceback|damaged", daemon.log)


def test_a_daemon_killed_at_some_points(tmp_path: Path) -> None:
    node = Node(tmp_path)
    try:
        _kill_daemons(node, 2, 1)
    finally:
        node.stop()


@pytest.mark.soak
def test_a_daemon_killed_at_fifty_points(tmp_path: Path) -> None:
    node = Node(tmp_path)
    try:
        _kill_daemons(node, 50, 1000)
    finally:
        node.stop()

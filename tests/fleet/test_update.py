"""Updates: when they are tried, what they lead to, and what is told of them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from ipquery.config import Update
from ipquery.metrics import REFUSALS, RELOAD_OK, UPDATE_FAILURES, UPDATE_TRIED, UPDATES, Metric
from tests.fleet.processes import Daemon

# Short ones: workers beat each second of it.
DAY, HOUR = 120, 5
ASN, CITY = Update("asn-2026", DAY, 0), Update("dbip-city-2026", DAY, 2 * HOUR)

Make = Callable[..., Daemon]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Starts daemons with these updates, one after the other in the same folder."""
    started: list[Daemon] = []

    def call(*updates: Update, at: float = 0) -> Daemon:
        if started:
            started[-1].close()
        daemon = Daemon(tmp_path, updates=updates)
        daemon.reactor.rightNow = at
        started.append(daemon.start())
        return daemon

    yield call
    started[-1].close()


def _told(daemon: Daemon, metric: Metric) -> dict[tuple[str, ...], object]:
    daemon.reactor.advance(1)
    entries = daemon.supervisor._fleet.totals.told().entries
    return {labels: value for name, labels, value in entries if name == metric.name}


def _switch(daemon: Daemon) -> None:
    for _ in range(2):
        for worker in daemon.reactor.alive:
            worker.read_all()


def test_something_new_is_built_and_taken_over(make: Make) -> None:
    daemon = make(ASN)
    daemon.reactor.advance(0)
    (fetch,) = daemon.reactor.fetches
    order = json.loads(fetch.order)
    assert order["recipe"] == "asn-2026"
    assert set(order["limits"]) == {"memory", "seconds", "unpacked"}
    assert daemon.reactor.builds == []
    fetch.answer(new=True)
    path = daemon.snapshot()
    assert _told(daemon, UPDATE_TRIED) == {("asn-2026", "fetched"): 0}
    daemon.reactor.builds[-1].finish(path)
    _switch(daemon)
    assert {name for name, _ in daemon.answers} == {path.name}
    assert _told(daemon, UPDATE_TRIED) == {("asn-2026", "served"): 0}
    assert _told(daemon, UPDATES) == {("asn-2026", "served"): 1}


def test_nothing_new_builds_nothing_until_its_next_time(make: Make) -> None:
    daemon = make(ASN)
    daemon.reactor.advance(0)
    daemon.reactor.fetches[0].answer(new=False)
    assert daemon.reactor.builds == []
    assert _told(daemon, UPDATE_TRIED) == {("asn-2026", "unchanged"): 0}
    daemon.reactor.pass_time(HOUR)
    assert len(daemon.reactor.fetches) == 1
    daemon.reactor.pass_time(DAY - HOUR)
    assert len(daemon.reactor.fetches) == 2


def test_chance_spreads_them(make: Make) -> None:
    daemon = make(CITY)  # chance is one half
    daemon.reactor.pass_time(HOUR - 1)
    assert daemon.reactor.fetches == []
    daemon.reactor.advance(1)
    daemon.reactor.fetches[0].answer(new=False)
    daemon.reactor.pass_time(DAY + HOUR - 1)
    assert len(daemon.reactor.fetches) == 1
    daemon.reactor.advance(1)
    assert len(daemon.reactor.fetches) == 2


def test_one_after_the_other_and_one_reload_for_all(make: Make) -> None:
    daemon = make(ASN, attrs.evolve(CITY, jitter=0))
    daemon.reactor.advance(0)
    assert len(daemon.reactor.fetches) == 1
    daemon.reactor.fetches[0].answer(new=True)
    assert daemon.reactor.builds == []
    daemon.reactor.fetches[1].answer(new=True)
    (build,) = daemon.reactor.builds
    build.finish(daemon.snapshot())
    _switch(daemon)
    assert _told(daemon, UPDATE_TRIED) == {
        ("asn-2026", "served"): 0,
        ("dbip-city-2026", "served"): 0,
    }


def test_what_fails_is_said_in_one_line_counted_and_tried_at_its_next_time(make: Make) -> None:
    daemon = make(ASN)
    before = daemon.answers
    for failures in (1, 2):
        daemon.reactor.advance(0)
        daemon.reactor.fetches[-1].fail("no network")
        assert _told(daemon, UPDATE_FAILURES) == {("asn-2026",): failures}
        daemon.reactor.pass_time(DAY - 1)
        assert len(daemon.reactor.fetches) == failures + 1
    assert daemon.log.count("update by asn-2026 failed, what is there serves on: no network") == 2
    assert _told(daemon, UPDATES) == {("asn-2026", "failed"): 2}
    assert daemon.answers == before
    daemon.reactor.fetches[-1].answer(new=False)
    assert _told(daemon, UPDATE_FAILURES) == {("asn-2026",): 0}


def test_one_that_fails_does_not_keep_another_from_being_served(make: Make) -> None:
    daemon = make(ASN, attrs.evolve(CITY, jitter=0))
    daemon.reactor.advance(0)
    daemon.reactor.fetches[0].fail("no network")
    daemon.reactor.fetches[1].answer(new=True)
    daemon.reactor.builds[-1].finish(daemon.snapshot())
    _switch(daemon)
    assert _told(daemon, UPDATES) == {("asn-2026", "failed"): 1, ("dbip-city-2026", "served"): 1}


def test_one_that_dies_or_hangs_has_failed(make: Make) -> None:
    daemon = make(ASN)
    daemon.reactor.advance(0)
    daemon.reactor.fetches[0].end(by_signal=9)
    assert daemon.log.count("serves on: the process that fetches was killed by SIGKILL") == 1
    daemon.reactor.pass_time(DAY)
    daemon.reactor.advance(2 * 60 * 60)
    assert daemon.reactor.fetches[1].signals == ["TERM"]
    assert daemon.log.count("serves on: it wasn't fetched within 7200 s") == 1


def test_if_no_process_can_be_made_it_has_failed(make: Make) -> None:
    daemon = make(ASN)
    daemon.reactor.refuses = True
    daemon.reactor.advance(0)
    daemon.reactor.refuses = False
    assert daemon.log.count("update by asn-2026 failed, what is there serves on: ") == 1
    daemon.reactor.pass_time(DAY)
    assert len(daemon.reactor.fetches) == 1


# What the guard refuses


def test_what_is_refused_is_said_and_looked_at_again_next_time(make: Make) -> None:
    daemon = make(ASN)
    serving = daemon.supervisor.state.snapshot
    daemon.reactor.advance(0)
    daemon.reactor.fetches[0].answer(new=True)
    daemon.reactor.builds[0].withhold(serving)
    assert daemon.log.count(f"databases refused, {serving.name} keeps serving: too different") == 1
    assert daemon.log.count("reloaded;") == 0
    assert _told(daemon, UPDATE_TRIED) == {("asn-2026", "refused"): 0}
    assert _told(daemon, REFUSALS) == {("guard",): 1}
    assert _told(daemon, RELOAD_OK) == {(): 0}
    # Somebody may have accepted it by then, without a reload.
    daemon.reactor.pass_time(DAY)
    daemon.reactor.fetches[1].answer(new=False)
    daemon.reactor.builds[1].withhold(serving, is_new=False)
    assert daemon.log.count("too different") == 1
    assert daemon.log.count("new.ipq is still withheld; answering from") == 1
    daemon.reactor.pass_time(DAY)
    daemon.reactor.fetches[2].answer(new=False)
    daemon.reactor.builds[2].finish(daemon.snapshot())
    _switch(daemon)
    assert _told(daemon, RELOAD_OK) == {(): 1}
    daemon.reactor.pass_time(DAY)
    daemon.reactor.fetches[3].answer(new=False)
    assert len(daemon.reactor.builds) == 3


def test_a_reload_takes_over_the_configuration_though_databases_are_refused(make: Make) -> None:
    daemon = make(ASN)
    daemon.change_config()
    daemon.supervisor.reload()
    daemon.reactor.builds[0].withhold(daemon.supervisor.state.snapshot)
    daemon.settle(lambda: not daemon.supervisor.is_reloading)
    assert {limit for _, limit in daemon.answers} == {daemon.config.settings.http.body_bytes}
    assert _told(daemon, REFUSALS) == {("guard",): 1}


def test_what_was_rolled_back_counts_as_done(make: Make) -> None:
    daemon = make(ASN)
    daemon.supervisor.reload()
    daemon.reactor.builds[0].withhold(daemon.snapshot(), is_new=False, by="operator")
    _switch(daemon)
    assert _told(daemon, RELOAD_OK) == {(): 1}
    assert _told(daemon, REFUSALS) == {}


# Beside what the operator does


def test_what_else_the_operator_has_changed_waits_for_a_reload(make: Make) -> None:
    daemon = make(ASN)
    before = {limit for _, limit in daemon.answers}
    daemon.change_config()
    daemon.reactor.advance(0)
    daemon.reactor.fetches[0].answer(new=True)
    path = daemon.snapshot()
    daemon.reactor.builds[0].finish(path)
    _switch(daemon)
    assert daemon.answers == {(path.name, *before)}
    daemon.reload()
    daemon.settle(lambda: not daemon.supervisor.is_reloading)
    assert {limit for _, limit in daemon.answers} == {daemon.config.settings.http.body_bytes}


def test_if_other_databases_are_named_meanwhile_it_waits(make: Make) -> None:
    daemon = make(ASN)
    daemon.config = attrs.evolve(daemon.config, named=("other",))
    daemon.reactor.advance(0)
    daemon.reactor.fetches[0].answer(new=True)
    assert daemon.reactor.builds == []
    assert daemon.log.count("reload refused, the old state keeps serving: the list of") == 1
    assert _told(daemon, UPDATE_TRIED) == {("asn-2026", "refused"): 0}


def test_a_reload_asked_for_meanwhile_serves_it_too(make: Make) -> None:
    daemon = make(ASN)
    daemon.reactor.advance(0)
    daemon.supervisor.reload()
    daemon.reactor.fetches[0].answer(new=True)
    assert len(daemon.reactor.builds) == 1
    daemon.reactor.builds[0].finish(daemon.snapshot())
    _switch(daemon)
    # The first build may have begun before it was there.
    daemon.reactor.builds[1].finish(daemon.snapshot())
    _switch(daemon)
    assert _told(daemon, UPDATE_TRIED) == {("asn-2026", "served"): 0}


def test_a_reload_changes_what_is_fetched_and_when(make: Make) -> None:
    daemon = make(ASN)
    daemon.reactor.advance(0)
    daemon.reactor.fetches[0].answer(new=False)
    daemon.config = attrs.evolve(daemon.config, updates=(attrs.evolve(CITY, jitter=0),))
    daemon.reload()
    _switch(daemon)
    daemon.reactor.advance(0)
    assert b"dbip-city-2026" in daemon.reactor.fetches[1].order
    daemon.reactor.fetches[1].answer(new=False)
    assert set(_told(daemon, UPDATE_TRIED)) == {("dbip-city-2026", "unchanged")}
    daemon.config = attrs.evolve(daemon.config, updates=())
    daemon.reload()
    _switch(daemon)
    daemon.reactor.pass_time(3 * DAY)
    assert len(daemon.reactor.fetches) == 2
    assert _told(daemon, UPDATE_TRIED) == {}


def test_stopping_ends_it(make: Make) -> None:
    daemon = make(ASN)
    daemon.reactor.advance(0)
    daemon.stop()
    assert daemon.reactor.fetches[0].signals == ["TERM"]
    daemon.reactor.fetches[0].end(status=1)
    daemon.settle(lambda: bool(daemon.stopped))
    daemon = make(ASN)
    daemon.reactor.advance(0)
    assert len(daemon.reactor.fetches) == 1, "nothing had failed"


# Restarts


def test_a_daemon_that_starts_again_and_again_asks_no_more_often(make: Make) -> None:
    daemon = make(ASN, at=1000)
    daemon.reactor.advance(0)
    daemon.reactor.fetches[0].fail("no network")
    for at in (1001, 1000 + DAY // 2, 1000 + DAY - 2):
        daemon = make(ASN, at=at)
        daemon.reactor.advance(0)
        assert daemon.reactor.fetches == []
    assert _told(daemon, UPDATE_FAILURES) == {("asn-2026",): 1}
    daemon = make(ASN, at=1000 + DAY - 1)
    daemon.reactor.advance(1)
    assert len(daemon.reactor.fetches) == 1


def test_one_that_is_killed_meanwhile_counts_it_as_tried(make: Make, tmp_path: Path) -> None:
    daemon = make(ASN, at=1000)
    daemon.reactor.advance(0)
    kept = (tmp_path / "updates.json").read_text()
    daemon.reactor.fetches[0].answer(new=False)
    (tmp_path / "updates.json").write_text(kept)  # as killed it would have left it
    daemon = make(ASN, at=1001)
    daemon.reactor.advance(0)
    assert daemon.reactor.fetches == []
    assert _told(daemon, UPDATE_FAILURES) == {("asn-2026",): 1}


def test_nothing_has_failed_while_it_is_under_way(make: Make) -> None:
    daemon = make(ASN)
    daemon.reactor.advance(0)
    assert _told(daemon, UPDATE_TRIED) == {}
    assert _told(daemon, UPDATE_FAILURES) == {}


def test_one_that_was_down_when_it_was_due_asks_soon(make: Make) -> None:
    daemon = make(CITY)
    daemon.reactor.pass_time(HOUR)
    daemon.reactor.fetches[0].answer(new=False)
    daemon = make(CITY, at=10 * DAY)
    daemon.reactor.pass_time(HOUR)
    assert len(daemon.reactor.fetches) == 1


def test_a_clock_that_was_wrong_puts_it_off_by_once_at_most(make: Make) -> None:
    daemon = make(ASN, at=1000 * DAY)
    daemon.reactor.advance(0)
    daemon.reactor.fetches[0].answer(new=False)
    daemon = make(ASN, at=10 * DAY)
    daemon.reactor.pass_time(DAY)
    assert len(daemon.reactor.fetches) == 1


def test_a_damaged_note_is_as_none(make: Make, tmp_path: Path) -> None:
    make(ASN)
    (tmp_path / "updates.json").write_text("[")
    daemon = make(ASN)
    daemon.reactor.advance(0)
    assert len(daemon.reactor.fetches) == 1

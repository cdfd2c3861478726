"""What was decided of snapshots: kept beside them, by nobody but us, and never half."""

import os
import pickle
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ipquery import DataError, Record
from ipquery.data.build import (
    Limits,
    ListPaths,
    Order,
    accept,
    note_served,
    order_command,
    roll_back,
    served_snapshot,
)
from ipquery.data.build.__main__ import carry_out
from ipquery.data.build.decisions import read_decisions
from ipquery.data.sources import Source
from ipquery.data.update.guard import Guard
from tests.data.builder import write_snapshot

pytestmark = pytest.mark.usefixtures("builds_here")

LINE = "databases"


def _quiet(what: str, done: float) -> None:
    pass


class Cache:
    """A cache folder, and what a daemon would do with it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cache"
        self.folder = self.path / "snapshots"
        self._own = folder / "own.ipq"

    def edition(self, country: str) -> Path:
        """Have the operator's file be another edition."""
        return write_snapshot(
            self._own, [(1 << 24, (2 << 24) - 1, 0)], [], [Record(country=country)]
        )

    def serve(self, line: str = LINE) -> Path:
        """Start a daemon."""
        path = served_snapshot([Source(self._own)], self.path, _quiet)
        note_served(path, line)
        return path

    def order(self, serving: Path, guard: Guard | None = None, line: str = LINE) -> dict[str, Any]:
        """Reload it."""
        answer = carry_out(self._order(serving, guard, line))
        path = Path(answer["path"])
        if path != serving:
            note_served(path, line)
        return answer

    def _order(self, serving: Path, guard: Guard | None, line: str) -> Order:
        return Order(
            [Source(self._own)],
            self.path,
            ListPaths(),
            Limits(),
            line=line,
            serving=serving,
            guard=guard,
        )


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def _serve(cache: Cache, editions: Sequence[str], line: str = LINE) -> list[Path]:
    served = []
    for country in editions:
        cache.edition(country)
        served.append(cache.serve(line))
    return served


def test_what_is_refused_stays_refused_until_it_is_accepted(cache: Cache) -> None:
    (old,) = _serve(cache, ["中国"])
    cache.edition("美国")
    first = cache.order(old, Guard())
    assert first["path"] == str(old)
    assert first["withheld"]["is_new"]
    assert first["withheld"]["by"] == "guard"
    assert "100.00 %" in first["withheld"]["why"]
    # Neither another reload, guarded or not, nor a start lets it through.
    for guard in (Guard(), None):
        again = cache.order(old, guard)
        assert again["path"] == str(old)
        assert not again["withheld"]["is_new"]
    assert cache.serve() == old
    accepted = accept(cache.path, LINE)
    assert accepted.name == first["withheld"]["name"]
    assert cache.order(old, Guard()) == {"path": str(cache.folder / accepted.name)}
    with pytest.raises(DataError, match="nothing is withheld here"):
        accept(cache.path, LINE)


def test_another_edition_is_looked_at_anew(cache: Cache) -> None:
    (old,) = _serve(cache, ["中国"])
    cache.edition("美国")
    cache.order(old, Guard())
    cache.edition("中国大陆")
    refused = cache.order(old, Guard())
    assert refused["withheld"]["is_new"]
    assert accept(cache.path, None).name == refused["withheld"]["name"]


def test_once_an_edition_passes_there_is_nothing_to_accept(cache: Cache) -> None:
    (old,) = _serve(cache, ["中国"])
    cache.edition("美国")
    cache.order(old, Guard())
    cache.edition("中国")
    assert cache.order(old, Guard()) == {"path": str(old)}
    with pytest.raises(DataError, match="nothing is withheld here"):
        accept(cache.path, LINE)


def test_rollback_goes_to_the_one_before_and_on_to_the_one_before_that(cache: Cache) -> None:
    first, second, third = _serve(cache, ["一", "二", "三"])
    assert (roll_back(cache.path, LINE).name, cache.serve()) == (third.name, second)
    # The databases are still those of the third.
    assert cache.order(second)["withheld"]["by"] == "operator"
    assert roll_back(cache.path, None).name == second.name
    assert cache.serve() == first
    with pytest.raises(DataError, match="no other was served here before it"):
        roll_back(cache.path, LINE)
    assert accept(cache.path, LINE).name == second.name
    assert accept(cache.path, LINE).name == third.name
    assert cache.serve() == third


def test_a_newer_edition_ends_a_rollback(cache: Cache) -> None:
    _, second = _serve(cache, ["一", "二"])
    roll_back(cache.path, LINE)
    cache.edition("三")
    assert "withheld" not in cache.order(second)


def test_databases_that_share_the_folder_are_told_apart(cache: Cache) -> None:
    first, second = _serve(cache, ["一", "二"])
    (other,) = _serve(cache, ["别"], "other databases")
    with pytest.raises(DataError, match="no other was served here before it"):
        roll_back(cache.path, "other databases")
    with pytest.raises(DataError, match="no daemon has served these databases from here"):
        roll_back(cache.path, "third")
    one = roll_back(cache.path, LINE)
    assert (one.name, one.instead) == (second.name, first.name)
    assert cache.serve("other databases") == other
    with pytest.raises(DataError, match="nothing is withheld here"):
        accept(cache.path, "other databases")


def test_what_there_may_be_reason_to_go_back_to_is_not_pruned(cache: Cache) -> None:
    served = _serve(cache, ["一", "二", "三"])
    for number in range(12):
        cache.edition(str(number))
        served_snapshot([Source(cache.path.parent / "own.ipq")], cache.path, _quiet)
        for path in served:
            os.utime(path, (0, 0))
    assert all(path.exists() for path in served)
    assert len(list(cache.folder.glob("*.ipq"))) == 8 + len(served)


def test_if_what_was_before_is_gone_the_new_one_is_served(cache: Cache) -> None:
    first, second = _serve(cache, ["一", "二"])
    roll_back(cache.path, LINE)
    first.unlink()
    assert cache.serve() == second


def test_what_serves_from_another_folder_is_kept_in_this_one(cache: Cache, tmp_path: Path) -> None:
    (old,) = _serve(cache, ["中国"])
    other = Cache(tmp_path)
    other.path = tmp_path / "moved"
    cache.edition("美国")
    answer = other.order(old, Guard())
    assert Path(answer["path"]).parent == tmp_path / "moved/snapshots"
    assert other.serve() == Path(answer["path"])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"withheld": [{"name": 1}]}', "null"])
def test_a_file_that_is_not_ours_is_refused_in_one_line(cache: Cache, content: str) -> None:
    _serve(cache, ["一", "二"])
    decisions = cache.folder / "decisions.json"
    decisions.write_text(content)
    with pytest.raises(
        DataError, match=r"decisions.json: not what ipquery wrote; remove it"
    ) as said:
        cache.serve()
    assert "\n" not in str(said.value)
    decisions.unlink()
    roll_back(cache.path, LINE)
    decisions.chmod(0o666)
    with pytest.raises(DataError, match=r"decisions.json: others may change it"):
        cache.serve()


def test_a_damaged_history_costs_a_rollback_and_nothing_else(cache: Cache) -> None:
    _serve(cache, ["一", "二"])
    (cache.folder / "served.json").write_text("{")
    served = cache.serve()
    with pytest.raises(DataError, match="no other was served here before it"):
        roll_back(cache.path, LINE)
    assert cache.serve() == served


def test_the_process_that_a_daemon_starts_says_the_same(cache: Cache) -> None:
    (old,) = _serve(cache, ["中国"])
    cache.edition("美国")
    done = subprocess.run(
        order_command(),
        input=pickle.dumps(cache._order(old, Guard(), LINE)),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert b'"is_new": true' in done.stdout
    assert read_decisions(cache.folder).withheld[0].instead == old.name

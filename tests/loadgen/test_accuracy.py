"""The figures of docs/accuracy.md, from tables whose figures are known."""

from pathlib import Path

import pytest

from ipquery.data.ranges import Ranges, RangeTable
from ipquery.data.record import Record
from loadgen.measure.accuracy.tables import Aim, agreement_table, coverage_table
from loadgen.measure.accuracy.world import World, figures, worlds

HENAN = Record(country="中国", province="河南省", city="商丘市", isp="联通")
ELSEWHERE = Record(country_code="CN", province="Henan", city="Zhengzhou", latitude=1, longitude=1)
AMERICAN = Record(country_code="US", city="Springfield", latitude=1, longitude=1)


def _table(records: list[Record], *sizes: int) -> RangeTable:
    """Records for so many addresses each from 1.0.0.0 on."""
    rows = []
    first = 1 << 24
    for number, size in enumerate(sizes):
        rows.append((first, first + size - 1, number))
        first += size
    return RangeTable(records, Ranges.of(4, rows))


@pytest.fixture
def v4() -> World:
    tables = {
        "mine": _table([HENAN, AMERICAN], 50, 30),
        "reference": _table([HENAN, ELSEWHERE, AMERICAN], 20, 70, 10),
    }
    return worlds(tables, [])[0]


def test_shares_are_of_all_addresses_asked_about(v4: World) -> None:
    found = figures(v4, "mine", v4.knows("reference", "country"), "reference")
    assert found.known["country"] == 0.8
    assert found.known["provider"] == 0.5
    # 20 the same; 30 in another city, 30 in another city of another country; 20 unknown.
    assert found.same == {"country": 0.5, "province": 0.5, "city": 0.2}
    assert found.other == {"country": 0.3, "province": 0.0, "city": 0.6}
    assert (found.median, found.p90) == (0, 0)


def test_of_china_by_the_reference(v4: World) -> None:
    found = figures(v4, "mine", v4.in_china("reference"), "reference")
    assert found.known["country"] == pytest.approx(80 / 90)
    assert found.other["country"] == pytest.approx(30 / 90)


def test_without_a_reference_there_is_coverage_only(v4: World) -> None:
    found = figures(v4, "mine", v4.everywhere(), None)
    assert found.known["country"] == 80 / 3_702_258_432
    assert not found.same


def test_tables(v4: World) -> None:
    found = {"mine": figures(v4, "mine", v4.knows("reference", "country"), "reference")}
    head, _, row, _ = coverage_table(found)
    assert head == "| knows, % | country | province | city | coordinates | provider | owner or AS |"
    assert row == "| mine | 80.00 | 50.00 | 80.00 | 30.00 | 50.00 | 50.00 |"
    *_, row, _ = agreement_table(found, "reference", placed=True)
    assert row == "| mine | 50.00 | 50.00 | 20.00 | 30.00 | – | 60.00 | 0.0 | 0.0 |"


def test_an_aim_is_met_or_said_not_to_be() -> None:
    assert Aim("a", 0.5, 0.5).row() == ["a", "at least 50.00", "50.00", "yes"]
    assert Aim("a", 0.5, 0.4).row()[-1] == "**no**"
    assert Aim("a", 0.5, 0.6, at_most=True).row() == ["a", "at most 50.00", "60.00", "**no**"]


def test_the_document_that_is_there_was_written_by_this_program() -> None:
    text = (Path(__file__).parents[2] / "docs/accuracy.md").read_text("utf-8")
    for part in ("# Accuracy", "## The default database", "## What was aimed at"):
        assert part in text
    assert "[DB-IP](https://db-ip.com)" in text

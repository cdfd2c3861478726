"""Latencies are counted as HdrHistogram counts them, whatever way they went in."""

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.report.latencies import histogram, percentiles, record, summarise
from loadgen.send.counts import Counts

NANOSECONDS = st.one_of(
    st.integers(0, 10**7),
    st.integers(0, 36 * 10**11),
    st.integers(0, 60).map(lambda n: 1000 << n % 32),
)


def _counted(values: list[int]) -> tuple[list[tuple[int, int]], Any]:
    counts = Counts()
    counts.add(array("q", values))
    slots = counts.take()
    found = histogram()
    record(found, slots)
    return slots, found


@given(st.lists(NANOSECONDS, min_size=1, max_size=200))
def test_counting_in_bulk_is_recording_one_by_one(values: list[int]) -> None:
    expected = histogram()
    for value in values:
        expected.record_value(value // 1000)
    _, found = _counted(values)
    assert list(found.counts) == list(expected.counts)
    assert found.get_total_count() == len(values)
    assert found.get_min_value() == expected.get_min_value()
    assert found.get_max_value() == expected.get_max_value()


@given(st.lists(NANOSECONDS, min_size=1, max_size=50), st.floats(0, 100, exclude_min=True))
def test_a_percentile_of_counts_is_the_histograms(values: list[int], share: float) -> None:
    slots, found = _counted(values)
    (mine,) = percentiles(slots, [share])
    assert mine == found.get_value_at_percentile(share) / 1e6


def test_more_than_an_hour_counts_as_an_hour() -> None:
    _, found = _counted([10**14])
    assert found.get_max_value() == pytest.approx(3.6e9, rel=0.001)


def test_taking_begins_anew() -> None:
    counts = Counts()
    counts.add(array("q", [5_000]))
    assert counts.take() == [(5, 1)]
    assert counts.take() == []
    counts.add(array("q"))
    assert counts.take() == []


def test_a_known_distribution() -> None:
    # 1 to 1000 ms, each once
    _, found = _counted([number * 1_000_000 for number in range(1, 1001)])
    summary = summarise(found)
    assert summary.count == 1000
    # Three significant digits
    assert summary.percentiles[50] == pytest.approx(0.5, rel=1e-3)
    assert summary.percentiles[99] == pytest.approx(0.99, rel=1e-3)
    assert summary.percentiles[99.9] == pytest.approx(0.999, rel=1e-3)
    assert summary.most == pytest.approx(1, rel=1e-3)
    assert summary.least == pytest.approx(0.001, rel=1e-3)
    assert summary.mean == pytest.approx(0.5005, rel=1e-3)
    assert summary.deviation == pytest.approx(0.288675, rel=1e-3)


def test_of_nothing_there_is_nothing_to_say() -> None:
    assert summarise(histogram()).as_json()["p99"] == 0
    assert percentiles([], [50, 99]) == [0, 0]

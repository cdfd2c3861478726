"""Ranges laid over each other, against a search by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.data.blend.overlay import NO_RECORD, overlay
from ipquery.data.ranges import Ranges, to_numbers
from ipquery.data.record import DataError
from tests.data.tables import LAST, Rows, addresses_of_interest, rows_of, search


@st.composite
def layered(draw: st.DrawFn) -> tuple[int, list[Rows]]:
    version = draw(st.sampled_from((4, 6)))
    return version, draw(st.lists(rows_of(version), min_size=1, max_size=4))


def _lookup(steps: Any, number: int) -> int:
    starts = to_numbers(steps.start)
    return int(steps.answer[max(k for k, start in enumerate(starts) if start <= number)])


@given(layered())
def test_the_first_table_with_a_record_answers(given: tuple[int, list[Rows]]) -> None:
    version, tables = given
    layers = []
    for place, rows in enumerate(tables):
        # Answer numbers differ by table, and one record of each says nothing.
        numbers = np.array([NO_RECORD, *range(10 * place + 1, 10 * place + 10)], np.uint32)
        layers.append((Ranges.of(version, rows), numbers))
    steps = overlay(version, layers)

    for number in addresses_of_interest(version, *tables):
        expected = NO_RECORD
        for (_, numbers), rows in zip(layers, tables, strict=True):
            record = search(rows, number)
            if record is not None and numbers[record] != NO_RECORD:
                expected = int(numbers[record])
                break
        assert _lookup(steps, number) == expected

    starts = to_numbers(steps.start)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert all(steps.answer[1:] != steps.answer[:-1]), "equal neighbours are one step"


@given(st.sampled_from((4, 6)).flatmap(lambda v: st.tuples(st.just(v), rows_of(v))))
def test_coverage_counts_addresses(given: tuple[int, Rows]) -> None:
    version, rows = given
    numbers = np.arange(1, 11, dtype=np.uint32)
    steps = overlay(version, [(Ranges.of(version, rows), numbers)])
    assert steps.covered() == sum(last - first + 1 for first, last, _ in rows)


@pytest.mark.parametrize("version", [4, 6])
def test_the_whole_space_and_none_of_it(version: int) -> None:
    whole = overlay(
        version, [(Ranges.of(version, [(0, LAST[version], 0)]), np.array([1], np.uint32))]
    )
    assert whole.covered() == LAST[version] + 1
    none = overlay(version, [(Ranges.empty(version), np.array([], np.uint32))])
    assert none.covered() == 0
    assert to_numbers(none.start) == [0]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([(0, 5, 0), (9, 7, 0)], "range 2 of 2 ends before it begins"),
        ([(0, 5, 0), (5, 7, 0)], "range 2 of 2 overlaps"),
        ([(7, 9, 0), (1, 3, 0)], "range 2 of 2 overlaps"),
    ],
)
def test_impossible_ranges_are_refused(version: int, rows: Rows, complaint: str) -> None:
    with pytest.raises(DataError, match=f"^some file: {complaint}"):
        Ranges.of(version, rows).check("some file")

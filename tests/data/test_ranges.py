"""Ranges laid over each other, against a search by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.data.blend.overlay import NO_RECORD, overlay
from ipquery.data.ranges import Ranges, to_numbers
from ipquery.data.record import DataError
from ipquery.data.sizes import Sizes
from tests.data.tables import LAST, Rows, addresses_of_interest, rows_of, search


@st.composite
def layered(draw: st.DrawFn) -> tuple[int, list[Rows]]:
    version = draw(st.sampled_from((4, 6)))
    return version, draw(st.lists(rows_of(version), min_size=1, max_size=4))


@given(layered())
def test_each_step_holds_the_record_of_each_table(given: tuple[int, list[Rows]]) -> None:
    version, tables = given
    start, found = overlay(version, [Ranges.of(version, rows) for rows in tables])
    starts = to_numbers(start)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    for number in addresses_of_interest(version, *tables):
        step = max(k for k, begin in enumerate(starts) if begin <= number)
        for rows, records in zip(tables, found, strict=True):
            record = search(rows, number)
            assert records[step] == (NO_RECORD if record is None else record + 1)


@given(st.sampled_from((4, 6)).flatmap(lambda v: st.tuples(st.just(v), rows_of(v))))
def test_the_sizes_of_steps_are_those_of_the_ranges(given: tuple[int, Rows]) -> None:
    version, rows = given
    start, (records,) = overlay(version, [Ranges.of(version, rows)])
    sizes = Sizes.of_steps(version, start)
    wanted = sum(last - first + 1 for first, last, _ in rows)
    assert sizes.total(records != NO_RECORD) == sizes[records != NO_RECORD].total() == wanted
    assert sizes.total(records == NO_RECORD) == LAST[version] + 1 - wanted
    assert sizes.total() == sum(sizes.numbers()) == LAST[version] + 1


@pytest.mark.parametrize("version", [4, 6])
def test_the_whole_space_and_none_of_it(version: int) -> None:
    start, (whole, none) = overlay(
        version, [Ranges.of(version, [(0, LAST[version], 0)]), Ranges.empty(version)]
    )
    assert to_numbers(start) == [0]
    assert (whole.tolist(), none.tolist()) == ([1], [NO_RECORD])


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

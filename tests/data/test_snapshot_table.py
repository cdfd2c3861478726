"""A snapshot read as a table says of every address what the snapshot does."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery import DataError, Snapshot
from ipquery.data.ranges import Ranges, RangeTable, predecessors, successors, to_numbers
from ipquery.data.record import Record
from ipquery.data.snapshot.table import read_table
from tests.data.blending import Given, blended, everywhere, given_of
from tests.data.builder import write
from tests.data.tables import LAST, Rows, addresses_of_interest, rows_of

RECORDS = st.builds(
    Record,
    country_code=st.sampled_from((None, "CN", "US")),
    city=st.sampled_from((None, "a", "b")),
    latitude=st.sampled_from((None, 1.5)),
    longitude=st.sampled_from((None, 2.5)),
    isp=st.sampled_from((None, "x")),
    asn=st.sampled_from((None, 7)),
)


def _said(table: RangeTable, version: int, number: int) -> Record | None:
    ranges = table.v4 if version == 4 else table.v6
    ends = zip(to_numbers(ranges.first), to_numbers(ranges.last), ranges.record, strict=True)
    found = [table.records[record] for first, last, record in ends if first <= number <= last]
    assert len(found) <= 1
    return found[0] if found else None


@given(given_of(RECORDS, "one"), given_of(RECORDS, "other"))
def test_a_table_says_what_the_snapshot_does(
    tmp_path_factory: pytest.TempPathFactory, one: Given, other: Given
) -> None:
    path = tmp_path_factory.mktemp("table") / "blend.ipq"
    write(path, blended([one, other]), ["one", "other"])
    table, about = read_table(path)
    with Snapshot(path) as snapshot:
        assert about == snapshot.about
        for version in (4, 6):
            for number in addresses_of_interest(version, one.rows[version], other.rows[version]):
                answer = snapshot.answer_number(version, number)
                wanted = snapshot.record(answer) if answer else None
                assert _said(table, version, number) == wanted


@given(st.sampled_from((4, 6)).flatmap(lambda v: st.tuples(st.just(v), rows_of(v))))
def test_predecessors_undo_successors(given: tuple[int, Rows]) -> None:
    version, rows = given
    first = Ranges.of(version, rows).first
    assert to_numbers(predecessors(successors(first))) == [
        number for number in to_numbers(first) if number != LAST[version]
    ]


def test_a_damaged_snapshot_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.ipq"
    write(path, blended([everywhere(Record(country="x"))]), ["one"])
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(DataError, match=r"one\.ipq: the snapshot is damaged"):
        read_table(path)

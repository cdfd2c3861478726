"""Sources for tests of the blend, and the answers at addresses."""

import datetime
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from hypothesis import strategies as st

from ipquery.data.answers import Answers, Owner, Place
from ipquery.data.blend.blend import Prepared, blend, prepare
from ipquery.data.blend.policy import Policy
from ipquery.data.codes.lists import OperatorLists
from ipquery.data.ranges import Ranges, RangeTable, to_numbers
from ipquery.data.record import FIELDS, Record
from ipquery.data.sources import Source
from tests.data.tables import Rows, rows_of

NO_LISTS = OperatorLists()


@attrs.frozen(eq=False)
class Given:
    """One source of a test: its settings, and its ranges by IP version."""

    source: Source
    records: Sequence[Record]
    rows: dict[int, Rows]
    date: datetime.date | None = None

    def table(self) -> RangeTable:
        return RangeTable(
            self.records,
            Ranges.of(4, self.rows.get(4, [])),
            Ranges.of(6, self.rows.get(6, [])),
            self.date,
        )


def prepared(
    given: Sequence[Given],
    policy: Policy = Policy(),
    lists: OperatorLists = NO_LISTS,
) -> Prepared:
    tables = [one.table() for one in given]
    return prepare([one.source for one in given], tables, policy, lists)


def blended(given: Sequence[Given], policy: Policy = Policy()) -> Answers:
    return blend(prepared(given, policy))


def everywhere(record: Record, name: str = "source", **settings: Any) -> Given:
    """A source that says the same of all addresses."""
    return Given(source(name, **settings), [record], {4: [(0, 2**32 - 1, 0)]})


def source(name: str, **settings: Any) -> Source:
    return Source(Path(name), name=name, **settings)


def answer_of(given: Sequence[Given], policy: Policy = Policy()) -> tuple[Place, Owner]:
    """What sources that say the same of all addresses are blended to."""
    return Lookup(blended(given, policy)).at(4, 0)


def coded(records: Sequence[Record], lists: OperatorLists = NO_LISTS) -> list[Record]:
    """Records as they are answered when their source is the only one: with their codes."""
    rows = [(number, number, number) for number in range(len(records))]
    found = Lookup(blend(prepared([Given(source("one"), records, {4: rows})], lists=lists)))
    pairs = [found.at(4, number) for number in range(len(records))]
    return [
        Record(**{name: getattr(owner if hasattr(owner, name) else place, name) for name in FIELDS})
        for place, owner in pairs
    ]


class Lookup:
    """Answers by address."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._starts = {4: to_numbers(answers.v4.start), 6: to_numbers(answers.v6.start)}

    def at(self, version: int, number: int) -> tuple[Place, Owner]:
        steps = self._answers.v4 if version == 4 else self._answers.v6
        step = bisect_right(self._starts[version], number) - 1
        place, owner = int(steps.place[step]), int(steps.owner[step])
        return (
            self._answers.places[place - 1] if place else Place(),
            self._answers.owners[owner - 1] if owner else Owner(),
        )


@st.composite
def given_of(draw: st.DrawFn, records: st.SearchStrategy[Record], name: str) -> Given:
    """A source with up to six records, in ranges of both IP versions."""
    listed = draw(st.lists(records, min_size=1, max_size=6))
    rows = {version: draw(rows_of(version, len(listed))) for version in (4, 6)}
    return Given(source(name), listed, rows)

"""Makes snapshots from tables in memory, the way a build does."""

from collections.abc import Sequence
from pathlib import Path

from ipquery.data.answers import Answers
from ipquery.data.blend.blend import blend, prepare
from ipquery.data.blend.policy import Policy
from ipquery.data.codes import OperatorLists
from ipquery.data.ranges import Ranges, RangeTable
from ipquery.data.record import Record
from ipquery.data.snapshot.encode import write_answers
from ipquery.data.sources import Source
from tests.data.tables import Rows


def write_snapshot(path: Path, v4: Rows, v6: Rows, records: Sequence[Record]) -> Path:
    """A snapshot of these ranges; record number k answers with ``records[k]``."""
    table = RangeTable(records, Ranges.of(4, v4), Ranges.of(6, v6))
    return write(path, blend(prepare([Source(path)], [table], Policy(), OperatorLists())), ["a"])


def write(path: Path, answers: Answers, sources: Sequence[str] = ()) -> Path:
    """A snapshot of these answers; sources are called so."""
    with path.open("w+b") as file:
        write_answers(file, answers, {"sources": [{"name": name} for name in sources]})
    return path

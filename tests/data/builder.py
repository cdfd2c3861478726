"""Makes snapshots from tables in memory, the way a build does."""

from collections.abc import Sequence
from pathlib import Path

from ipquery.data.blend.blend import blend, prepare
from ipquery.data.blend.policy import Policy
from ipquery.data.codes import OperatorLists
from ipquery.data.layout1 import write
from ipquery.data.ranges import Ranges, RangeTable
from ipquery.data.record import Record
from ipquery.data.sources import Source
from tests.data.tables import Rows


def write_snapshot(path: Path, v4: Rows, v6: Rows, records: Sequence[Record]) -> Path:
    """A snapshot of these ranges; record number k answers with ``records[k]``."""
    table = RangeTable(records, Ranges.of(4, v4), Ranges.of(6, v6))
    answers = blend(prepare([Source(path)], [table], Policy(), OperatorLists()))
    with path.open("w+b") as file:
        write(file, answers, {"sources": []})
    return path

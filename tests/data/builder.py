"""Makes snapshots from tables in memory, the way a build does."""

from collections.abc import Sequence
from pathlib import Path

from ipquery.data import compile as compiling
from ipquery.data import snapshot
from ipquery.data.blend.overlay import overlay
from ipquery.data.codes import OperatorLists
from ipquery.data.ranges import Ranges
from ipquery.data.record import Record
from tests.data.tables import Rows


def write_snapshot(path: Path, v4: Rows, v6: Rows, records: Sequence[Record]) -> Path:
    """A snapshot of these ranges; record number k answers with ``records[k]``."""
    answers = compiling.Answers(OperatorLists())
    numbers = answers.numbers(records)
    v4_steps, v6_steps = (
        overlay(version, [(Ranges.of(version, rows), numbers)])
        for version, rows in ((4, v4), (6, v6))
    )
    sections = compiling.sections(v4_steps, v6_steps, answers.records())
    with path.open("w+b") as file:
        snapshot.write(file, sections, {"sources": []})
    return path

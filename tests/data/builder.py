"""Makes snapshots from tables in memory, the way a build does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ipquery.data.answers import NO_SOURCE, Answers
from ipquery.data.build import child
from ipquery.data.ranges import Ranges, overlay
from ipquery.data.record import Record
from ipquery.data.snapshot.encode import write_answers
from tests.data.tables import Rows


def write_snapshot(path: Path, v4: Rows, v6: Rows, records: Sequence[Record]) -> Path:
    """A snapshot of these ranges; record number k answers with ``records[k]``."""
    numbers = np.arange(1, len(records) + 1, dtype=np.uint32)
    v4_steps, v6_steps = (
        overlay(version, [(Ranges.of(version, rows), numbers)])
        for version, rows in ((4, v4), (6, v6))
    )
    return write(path, child.in_halves(v4_steps, v6_steps, records, NO_SOURCE))


def write(path: Path, answers: Answers, sources: Sequence[str] = ()) -> Path:
    """A snapshot of these answers; sources are called so."""
    with path.open("w+b") as file:
        write_answers(file, answers, {"sources": [{"name": name} for name in sources]})
    return path

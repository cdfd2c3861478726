"""The build itself, as the child process of :mod:`ipquery.data.build` runs it.

Reads a pickled :class:`~ipquery.data.build.Job` from standard input and writes
JSON objects, one a line, to standard output: ``{"progress": what, "done": 0 to
1}`` any number of times, then ``{"seconds": s, "peak_memory": bytes}`` or
``{"error": text}``.
"""

import json
import os
import pickle
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data import snapshot
from ipquery.data.blend.overlay import NO_RECORD, Steps, overlay
from ipquery.data.build import Job, Limits, Report, file_digest
from ipquery.data.codes import OperatorLists, fill, load_lists
from ipquery.data.formats import FORMATS, recognise
from ipquery.data.formats.options import ReadOptions
from ipquery.data.ranges import RangeTable
from ipquery.data.record import UNKNOWN, DataError, Record
from ipquery.data.sources import Source

# What a build of ip2region spends its time on, roughly; the bar needs no more.
_READ, _MERGED = 0.7, 0.85


@attrs.frozen
class _Loaded:
    """A source that has been read, with the answer number of each of its records."""

    source: Source
    format: str
    digest: str
    size: int
    table: RangeTable
    numbers: NDArray[np.uint32]


class Answers:
    """Numbers equal answers alike, from 1 on, across all sources."""

    def __init__(self, lists: OperatorLists) -> None:
        self._lists = lists
        self._numbers: dict[Record, int] = {}

    def numbers(self, records: Sequence[Record]) -> NDArray[np.uint32]:
        """An answer number for each record, with its codes filled in."""
        return np.array([self._number(record) for record in records], np.uint32)

    def _number(self, record: Record) -> int:
        if record == UNKNOWN:
            return NO_RECORD
        return self._numbers.setdefault(fill(record, self._lists), len(self._numbers) + 1)

    def records(self) -> list[Record]:
        return list(self._numbers)


def compile_snapshot(job: Job, report: Report) -> None:
    """Read the sources, lay them over each other, write the temporary file, rename it.

    :raises DataError: a source or a list can't be used.
    """
    lists = load_lists(job.lists.countries, job.lists.provinces, job.lists.cities, job.lists.only)
    answers = Answers(lists)
    loaded = []
    for place, (source, digest) in enumerate(zip(job.sources, job.digests, strict=True)):
        share = _READ / len(job.sources)
        report(f"reading {source.name}", share * place)
        known, table, size = _read(source, digest)
        report(f"finding the codes of {source.name}", share * (place + 0.5))
        numbers = answers.numbers(table.records)
        loaded.append(_Loaded(source, known, digest, size, table, numbers))
    report("merging", _READ)
    v4, v6 = (
        overlay(version, [(_ranges(one.table, version), one.numbers) for one in loaded])
        for version in (4, 6)
    )
    report("writing", _MERGED)
    records = answers.records()
    with job.temporary.open("r+b") as file:
        snapshot.write(file, sections(v4, v6, records), _about(loaded, v4, v6, records))
    snapshot.Snapshot(job.temporary).close()
    _publish(job.temporary, job.out)
    report("done", 1.0)


def _ranges(table: RangeTable, version: int) -> Any:
    return table.v4 if version == 4 else table.v6


def _read(source: Source, digest: str) -> tuple[str, RangeTable, int]:
    """The format, content and size of a source."""
    try:
        known = FORMATS[source.format] if source.format else recognise(source.path)
        table = known.read(source.path, ReadOptions(source.columns))
        size = source.path.stat().st_size
    except OSError as error:
        raise DataError(f"{source.path}: can't read this database: {error.strerror}") from None
    if file_digest(source.path) != digest:
        raise DataError(f"{source.path}: the file changed while it was read; try again")
    return known.NAME, table, size


def sections(v4: Steps, v6: Steps, records: Sequence[Record]) -> dict[str, bytes | memoryview]:
    texts = [record.to_answer() for record in records]
    high, low = v6.halves()
    number = np.uint16 if len(records) < 2**16 else np.uint32
    slots = np.arange(65537, dtype=np.uint64) << np.uint64(16)
    columns = {
        "v4.index": np.searchsorted(v4.start, slots).astype(np.uint32),
        "v4.first.low": v4.start.astype(np.uint16),
        "v4.answer": np.append(0, v4.answer).astype(number),
        "v6.first.high": high,
        "v6.first.low": low,
        "v6.answer": np.append(0, v6.answer).astype(number),
        "answer.end": np.cumsum([0, *map(len, texts)]).astype(np.uint32),
    }
    views: dict[str, bytes | memoryview] = {
        name: np.ascontiguousarray(column).data for name, column in columns.items()
    }
    return views | {"answer.text": b"".join(texts)}


def _about(
    loaded: Sequence[_Loaded], v4: Steps, v6: Steps, records: Sequence[Record]
) -> dict[str, Any]:
    """What ``ipquery info`` shows. Nothing here may depend on when or where it was built."""
    return {
        "sources": [
            {
                "name": one.source.name,
                "format": one.format,
                "date": one.table.date.isoformat() if one.table.date else None,
                "licence": one.source.licence,
                "attribution": one.source.attribution,
                "bytes": one.size,
                "sha256": one.digest,
                "ranges": {"ipv4": len(one.table.v4), "ipv6": len(one.table.v6)},
                "records": len(set(one.table.records) - {UNKNOWN}),
            }
            for one in loaded
        ],
        "answers": len(records),
        "ranges": {name: _known(steps) for name, steps in (("ipv4", v4), ("ipv6", v6))},
        "addresses": {"ipv4": v4.covered(), "ipv6": v6.covered()},
        "codes": _shares(v4, v6, records),
    }


def _known(steps: Steps) -> int:
    return int((steps.answer != NO_RECORD).sum())


def _shares(v4: Steps, v6: Steps, records: Sequence[Record]) -> dict[str, dict[str, int]]:
    """How many ranges name a country, or in China a province and a city, and have its code."""
    count = len(records) + 1
    ranges = np.bincount(v4.answer, minlength=count) + np.bincount(v6.answer, minlength=count)
    shares = {
        name: {"ranges": 0, "named": 0, "coded": 0} for name in ("country", "province", "city")
    }
    for number, record in enumerate(records, 1):
        for field, share in shares.items():
            if field != "country" and record.country_code != "CN":
                continue
            share["ranges"] += int(ranges[number])
            if getattr(record, field) is not None:
                share["named"] += int(ranges[number])
                if getattr(record, f"{field}_code") is not None:
                    share["coded"] += int(ranges[number])
    return shares


def _publish(temporary: Path, out: Path) -> None:
    """Put the finished file in place; it survives a power cut from here on."""
    # mkstemp's 0600 would keep other users' workers from reading it.
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    temporary.replace(out)
    folder = os.open(out.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds))


def _say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run the job on standard input. Returns the exit status."""
    begun = time.monotonic()
    job: Job = pickle.load(sys.stdin.buffer)  # noqa: S301 # from the process that started us
    _limit(job.limits)
    try:
        compile_snapshot(job, lambda what, done: _say(progress=what, done=done))
    except DataError as error:
        _say(error=str(error))
        return 1
    except MemoryError:
        names = ", ".join(str(source.path) for source in job.sources)
        _say(
            error=f"{names}: building needs more than {job.limits.memory >> 20} MB of memory; "
            "if the file is sound, raise `memory_limit` under [build]"
        )
        return 1
    except OSError as error:
        _say(error=f"{job.out}: can't write the snapshot: {error.strerror}")
        return 1
    # Linux counts the peak in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    _say(seconds=time.monotonic() - begun, peak_memory=peak)
    return 0


if __name__ == "__main__":
    sys.exit(main())

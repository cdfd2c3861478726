"""The build itself, as the child process of :mod:`ipquery.data.build.parent` runs it.

Reads a pickled :class:`~ipquery.data.build.job.Job` from standard input and writes
JSON objects, one a line, to standard output: ``{"progress": what, "done": 0 to
1}`` any number of times, then ``{"seconds": s, "peak_memory": bytes}`` or
``{"error": text}``.
"""

import json
import pickle
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data import answers as answering
from ipquery.data import snapshot
from ipquery.data.answers import NO_SOURCE, NOTHING, AnswerSteps, Owner, Place
from ipquery.data.build.job import Job, Limits, Report, source_digest
from ipquery.data.codes import OperatorLists, fill, load_lists
from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.reading import read_files
from ipquery.data.ranges import NO_RECORD, RangeTable, Steps, overlay
from ipquery.data.record import FIELDS, FIELDS_OF, UNKNOWN, DataError, Record
from ipquery.data.snapshot.encode import write_answers
from ipquery.data.sources import Source

# What a build of ip2region spends its time on, roughly; the bar needs no more.
_READ, _MERGED = 0.7, 0.85

_PLACE_FIELDS = tuple(field.name for field in attrs.fields(Place) if field.name in FIELDS)
_FINE_FIELDS = FIELDS_OF["city"]


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
    """Read the sources, lay them over each other, write and verify the temporary file.

    :raises DataError: a source or a list can't be used.
    """
    lists = load_lists(job.lists.countries, job.lists.provinces, job.lists.cities, job.lists.only)
    answers = Answers(lists)
    loaded = []
    for place, (source, digest) in enumerate(zip(job.sources, job.digests, strict=True)):
        share = _READ / len(job.sources)
        report(f"reading {source.name}", share * place)
        known, table, size = _read(source, digest, job.folder / str(place), job.limits)
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
        pairs = in_halves(v4, v6, records, 0 if len(loaded) == 1 else NO_SOURCE)
        write_answers(file, pairs, _about(loaded, v4, v6, records))
    snapshot.Snapshot(job.temporary).close()
    report("done", 1.0)


def _ranges(table: RangeTable, version: int) -> Any:
    return table.v4 if version == 4 else table.v6


def _read(source: Source, digest: str, folder: Path, limits: Limits) -> tuple[str, RangeTable, int]:
    """The format, content and size of a source."""
    options = ReadOptions(source.columns, source.language)
    try:
        folder.mkdir(mode=0o700, parents=True)
        known, table = read_files(source.paths, source.format, options, folder, limits.unpacked)
        size = sum(path.stat().st_size for path in source.paths)
    except OSError as error:
        where = error.filename or source.path
        raise DataError(f"{where}: can't read this database: {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if source_digest(source) != digest:
        raise DataError(f"{source.path}: the file changed while it was read; try again")
    return known, table, size


def in_halves(v4: Steps, v6: Steps, records: Sequence[Record], source: int) -> answering.Answers:
    """Records as pairs of a place and an owner, which a snapshot is written from.

    :param source: the number of the source that they all come from, or
        :data:`~ipquery.data.answers.NO_SOURCE` where they are of several.
    """
    places: dict[Place, int] = {Place(): NOTHING}
    owners: dict[Owner, int] = {Owner(): NOTHING}
    pairs = [(NOTHING, NOTHING)]
    for record in records:
        place, owner = _place(record, source), _owner(record, source)
        pairs.append((places.setdefault(place, len(places)), owners.setdefault(owner, len(owners))))
    place_of, owner_of = np.array(pairs, np.uint32).T
    return answering.Answers(
        list(places)[1:],
        list(owners)[1:],
        *(
            AnswerSteps(one.version, one.start, place_of[one.answer], owner_of[one.answer])
            for one in (v4, v6)
        ),
    )


def _from(source: int, *fields: Any) -> int:
    """The source, if any of the fields is known."""
    return source if any(field is not None for field in fields) else NO_SOURCE


def _place(record: Record, source: int) -> Place:
    return Place(
        **{name: getattr(record, name) for name in _PLACE_FIELDS},
        country_from=_from(source, record.country, record.country_code),
        province_from=_from(source, record.province, record.province_code),
        city_from=_from(source, *(getattr(record, name) for name in _FINE_FIELDS)),
    )


def _owner(record: Record, source: int) -> Owner:
    return Owner(
        org=record.org,
        isp=record.isp,
        asn=record.asn,
        as_org=record.as_org,
        org_from=_from(source, record.org),
        isp_from=_from(source, record.isp),
        asn_from=_from(source, record.asn, record.as_org),
    )


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
            "if the file is sound, raise `memory_limit_mb` under [build]"
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

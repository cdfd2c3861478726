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

from ipquery.data import snapshot
from ipquery.data.answers import Answers
from ipquery.data.blend.blend import Prepared, blend, prepare
from ipquery.data.blend.coverage import coverage
from ipquery.data.build.job import Job, Limits, Report, source_digest
from ipquery.data.codes.lists import load_lists
from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.reading import read_files
from ipquery.data.ranges import RangeTable
from ipquery.data.record import DataError
from ipquery.data.snapshot.encode import write_answers
from ipquery.data.sources import Source

# What a build of ip2region spends its time on, roughly; the bar needs no more.
_READ, _UNDERSTOOD, _BLENDED = 0.4, 0.5, 0.8


@attrs.frozen
class _Loaded:
    """A source that has been read."""

    source: Source
    format: str
    digest: str
    size: int
    table: RangeTable


def compile_snapshot(job: Job, report: Report) -> None:
    """Read the sources, blend them, write and verify the temporary file; or only read them.

    :raises DataError: a source or a list can't be used.
    """
    lists = load_lists(job.lists.countries, job.lists.provinces, job.lists.cities, job.lists.only)
    loaded = []
    for place, (source, digest) in enumerate(zip(job.sources, job.digests, strict=True)):
        report(f"reading {source.name}", _READ * place / len(job.sources))
        known, table, size = _read(source, digest, job.folder / str(place), job.limits)
        loaded.append(_Loaded(source, known, digest, size, table))
    if job.reads_only:
        report("done", 1.0)
        return
    report("finding codes", _READ)
    prepared = prepare(job.sources, [one.table for one in loaded], job.policy, lists)
    report("blending", _UNDERSTOOD)
    answers = blend(prepared)
    report("writing", _BLENDED)
    with job.temporary.open("r+b") as file:
        write_answers(file, answers, _about(loaded, prepared, answers))
    snapshot.Snapshot(job.temporary).close()
    report("done", 1.0)


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
    if table.date is None:
        table = attrs.evolve(table, date=source.date)
    if source_digest(source) != digest:
        raise DataError(f"{source.path}: the file changed while it was read; try again")
    return known, table, size


def _about(loaded: Sequence[_Loaded], prepared: Prepared, answers: Answers) -> dict[str, Any]:
    """What ``ipquery info`` shows. Nothing here may depend on when or where it was built."""
    return {
        "sources": [
            {
                "name": one.source.name,
                "format": one.format,
                "date": one.table.date.isoformat() if one.table.date else None,
                "licence": one.source.licence,
                "attribution": one.source.attribution,
                "fields": one.source.fields,
                "leads": one.source.leads,
                "weight": one.source.weight,
                "family": one.source.family,
                "language": one.source.language,
                "bytes": one.size,
                "sha256": one.digest,
                "ranges": {"ipv4": len(one.table.v4), "ipv6": len(one.table.v6)},
                "records": int((said.columns != 0).any(axis=0).sum()),
            }
            for one, said in zip(loaded, prepared.said, strict=True)
        ],
        # With one source there is nothing to blend.
        "blend": attrs.asdict(prepared.policy) if len(loaded) > 1 else None,
        **coverage(answers),
    }


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

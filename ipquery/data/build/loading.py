"""What all children have in common: reading sources, within limits, and telling how it ended."""

import gc
import json
import pickle
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from ipquery.data.build.job import Limits, Report, Task, source_digest
from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.reading import read_files
from ipquery.data.ranges import RangeTable
from ipquery.data.record import DataError
from ipquery.data.sources import Source


@attrs.frozen
class Loaded:
    """A source that has been read."""

    source: Source
    format: str
    digest: str
    size: int
    table: RangeTable


def load(task: Task, report: Report, share: float) -> list[Loaded]:
    """Read the sources of a task.

    :param share: how much of the whole task that is, 0 to 1.
    :raises DataError: one can't be used, or isn't any more what it was.
    """
    loaded = []
    for place, (source, digest) in enumerate(zip(task.sources, task.digests, strict=True)):
        report(f"reading {source.name}", share * place / len(task.sources))
        known, table, size = _read(source, digest, task.folder / str(place), task.limits)
        loaded.append(Loaded(_on_terms(source, table), known, digest, size, table))
    return loaded


def _on_terms(source: Source, table: RangeTable) -> Source:
    """With the terms that its file gives for it, where nothing else is set."""
    if table.terms is None:
        return source
    return attrs.evolve(
        source,
        licence=source.licence or table.terms.licence,
        attribution=source.attribution or table.terms.attribution,
    )


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


def carry_out(work: Callable[[Any, Report], dict[str, Any]]) -> int:
    """Do the task on standard input, and say on standard output how it ended.

    :param work: gets the task and what to report progress to, and returns the last message.
    :returns: the exit status.
    """
    # Nothing of what a task makes by the million refers back to itself. To look for such rings
    # again and again took 4 of the 33 s of processor time that a build of ip2region and DB-IP
    # City Lite needs, and found no memory.
    gc.disable()
    task: Task = pickle.load(sys.stdin.buffer)  # noqa: S301 # from the process that started us
    limits = task.limits
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds))
    try:
        _say(**work(task, lambda what, done: _say(progress=what, done=done)))
    except DataError as error:
        _say(error=str(error))
        return 1
    except MemoryError:
        names = ", ".join(str(source.path) for source in task.sources)
        _say(
            error=f"{names}: building needs more than {limits.memory >> 20} MB of memory; "
            "if the file is sound, raise `memory_limit_mb` under [build]"
        )
        return 1
    return 0


def _say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()

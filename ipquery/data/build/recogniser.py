"""Tells formats, as the child process of :func:`ipquery.data.build.parent.recognise`.

Reads a pickled :class:`~ipquery.data.build.job.Task` and writes JSON objects, one a line, as
:mod:`ipquery.data.build.child` does; the last is ``{"recognised": [{"format": name, "error":
null}, {"format": null, "error": text} ...]}``, or ``{"error": text}``.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from ipquery.data.build.job import Report, Task, names_snapshot, unreadable
from ipquery.data.build.loading import carry_out
from ipquery.data.formats.reading import recognise_files
from ipquery.data.record import DataError
from ipquery.data.sources import Source


def _recognise(task: Task, report: Report) -> dict[str, Any]:
    found: list[dict[str, str | None]] = []
    for number, source in enumerate(task.sources):
        report(f"looking at {source.name}", number / len(task.sources))
        try:
            known = _format(source, task.folder / str(number), task.limits.unpacked)
            found.append({"format": known, "error": None})
        except DataError as error:
            found.append({"format": None, "error": str(error)})
    report("done", 1.0)
    return {"recognised": found}


def _format(source: Source, folder: Path, limit: int) -> str:
    if names_snapshot(source):
        return "snapshot"
    folder.mkdir(mode=0o700, parents=True)
    try:
        return recognise_files(source.paths, source.format, folder, limit)
    except OSError as error:
        raise unreadable(Path(error.filename or source.path), error) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(carry_out(_recognise))

"""Compares sources, as the child process of :func:`ipquery.data.build.parent.compare`.

Reads a pickled :class:`~ipquery.data.build.job.Task` and writes JSON objects, one a line, as
:mod:`ipquery.data.build.child` does; the last is ``{"comparison": {...}}``, or
``{"error": text}``.
"""

import sys
from typing import Any

import attrs

from ipquery.data.blend.compare import compare
from ipquery.data.build.job import Report, Task, names_snapshot
from ipquery.data.build.loading import carry_out, load
from ipquery.data.ranges import RangeTable
from ipquery.data.record import DataError
from ipquery.data.snapshot.table import read_table
from ipquery.data.sources import Source

_READ = 0.5


@attrs.frozen(eq=False)
class _Heard:
    """A source that has been read, and what is told of it. ``cleaned`` is whether
    placeholders were taken out of it when it was built."""

    source: Source
    format: str
    table: RangeTable
    date: str | None
    licence: str
    attribution: str
    cleaned: bool = False


def _compare(task: Task, report: Report) -> dict[str, Any]:
    heard = []
    for number, source in enumerate(task.sources):
        report(f"reading {source.name}", _READ * number / len(task.sources))
        heard.append(_read_snapshot(source) if names_snapshot(source) else _read(task, number))
    report("comparing", _READ)
    spaces = compare(
        [one.source for one in heard],
        [one.table for one in heard],
        [one.cleaned for one in heard],
    )
    report("done", 1.0)
    told = {
        "sources": [
            {
                "name": one.source.name,
                "format": one.format,
                "date": one.date,
                "licence": one.licence,
                "attribution": one.attribution,
                "ranges": {"ipv4": len(one.table.v4), "ipv6": len(one.table.v6)},
            }
            for one in heard
        ],
        **{f"ipv{space.version}": attrs.asdict(space) for space in spaces},
    }
    return {"comparison": told}


def _read(task: Task, number: int) -> _Heard:
    alone = attrs.evolve(
        task,
        sources=[task.sources[number]],
        digests=[task.digests[number]],
        folder=task.folder / str(number),
    )
    (loaded,) = load(alone, lambda what, done: None, 0)
    source, date = loaded.source, loaded.table.date
    return _Heard(
        source,
        loaded.format,
        loaded.table,
        date.isoformat() if date else None,
        source.licence,
        source.attribution,
    )


def _read_snapshot(source: Source) -> _Heard:
    try:
        table, about = read_table(source.path)
    except OSError as error:
        raise DataError(f"{source.path}: can't read this snapshot: {error.strerror}") from None
    try:
        made_of = about["sources"]
        dates = [one["date"] for one in made_of if one["date"]]
        licences, attributions = (
            "; ".join(dict.fromkeys(one[key] for one in made_of if one[key]))
            for key in ("licence", "attribution")
        )
        return _Heard(
            source,
            "snapshot",
            table,
            max(dates, default=None),
            licences,
            attributions,
            cleaned=about["blend"] is not None,
        )
    except (KeyError, TypeError):
        raise DataError(
            f"{source.path}: the snapshot doesn't say what it was built from; build it again"
        ) from None


if __name__ == "__main__":
    sys.exit(carry_out(_compare))

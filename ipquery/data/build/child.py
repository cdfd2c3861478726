"""The build itself, as the child process of :mod:`ipquery.data.build.parent` runs it.

Reads a pickled :class:`~ipquery.data.build.job.Job` from standard input and writes
JSON objects, one a line, to standard output: ``{"progress": what, "done": 0 to
1}`` any number of times, then ``{"seconds": s, "peak_memory": bytes}`` or
``{"error": text}``.
"""

import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import attrs

from ipquery.data import snapshot
from ipquery.data.answers import Answers
from ipquery.data.blend.blend import Prepared, blend, prepare
from ipquery.data.blend.coverage import coverage
from ipquery.data.build.job import Job, Report
from ipquery.data.build.loading import Loaded, carry_out, load
from ipquery.data.codes.lists import load_lists
from ipquery.data.record import DataError
from ipquery.data.snapshot.encode import write_answers

# What a build of ip2region spends its time on, roughly; the bar needs no more.
_READ, _UNDERSTOOD, _BLENDED = 0.4, 0.5, 0.8


def compile_snapshot(job: Job, report: Report) -> None:
    """Read the sources, blend them, write and verify the temporary file; or only read them.

    :raises DataError: a source or a list can't be used.
    """
    lists = load_lists(job.lists.countries, job.lists.provinces, job.lists.cities, job.lists.only)
    loaded = load(job, report, _READ)
    if job.reads_only:
        report("done", 1.0)
        return
    report("finding codes", _READ)
    prepared = prepare(job.sources, [one.table for one in loaded], job.policy, lists)
    report("blending", _UNDERSTOOD)
    answers = blend(prepared)
    report("writing", _BLENDED)
    with job.temporary.open("r+b") as file:
        own_codes = bool(job.lists.provinces or job.lists.cities)
        write_answers(file, answers, _about(loaded, prepared, answers), own_codes)
    snapshot.Snapshot(job.temporary).close()
    report("done", 1.0)


def _about(loaded: Sequence[Loaded], prepared: Prepared, answers: Answers) -> dict[str, Any]:
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


def _build(job: Job, report: Report) -> dict[str, Any]:
    begun = time.monotonic()
    try:
        compile_snapshot(job, report)
    except OSError as error:
        raise DataError(f"{job.out}: can't write the snapshot: {error.strerror}") from None
    # Linux counts the peak in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": time.monotonic() - begun, "peak_memory": peak}


if __name__ == "__main__":
    sys.exit(carry_out(_build))

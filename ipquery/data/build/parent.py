"""Runs the child that builds, and tells how it ended."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ipquery.data.build.job import Built, Job, Limits, ListPaths, Report, file_digest
from ipquery.data.record import DataError
from ipquery.data.sources import Source


def build(
    sources: Sequence[Source],
    out: Path,
    report: Report,
    lists: ListPaths = ListPaths(),  # frozen
    limits: Limits = Limits(),  # frozen
) -> Built:
    """Build a snapshot. ``out`` appears, or is replaced, only when all is well.

    :param sources: in order of precedence: the first that has a record for an
        address answers it.
    :raises DataError: a source, a list or ``out`` can't be used, or a limit was reached.
    """
    digests = [file_digest(source.path) for source in sources]
    with temporary_beside(out) as temporary:
        job = Job(sources, digests, lists, limits, temporary, out)
        return _run(job, report)


@contextlib.contextmanager
def temporary_beside(out: Path) -> Iterator[Path]:
    """A file in the same folder, so that a rename puts it in place in one step."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    except OSError as error:
        raise DataError(f"{out}: can't write here: {error.strerror}") from None
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def command() -> list[str]:
    """How the child is started; it reads the pickled :class:`Job` from its input."""
    # -P: a file in the folder one happens to be in can't pose as a library.
    return [sys.executable, "-P", "-m", "ipquery.data.build.child"]


def _run(job: Job, report: Report) -> Built:
    with subprocess.Popen(  # noqa: S603 # our own module
        command(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # One thread: OpenBLAS would reserve address space for a pool that nothing uses.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        overtime = threading.Timer(job.limits.seconds, child.kill)
        overtime.start()
        try:
            child.stdin.write(pickle.dumps(job))
            child.stdin.close()
            outcome = _follow(child.stdout, report)
            complaint = child.stderr.read()
            status = child.wait()
        except BrokenPipeError:
            outcome, complaint, status = {}, child.stderr.read(), child.wait()
        except BaseException:
            child.kill()
            raise
        finally:
            in_time = overtime.is_alive()
            overtime.cancel()
    return read_outcome(job, outcome, complaint, status, in_time)


def _follow(lines: Iterator[bytes] | Any, report: Report) -> Mapping[str, Any]:
    """Pass progress on until the child says how it ended."""
    for line in lines:
        message = json.loads(line)
        if "progress" not in message:
            return dict(message)
        report(message["progress"], message["done"])
    return {}


def read_outcome(
    job: Job, outcome: Mapping[str, Any], complaint: bytes, status: int, in_time: bool
) -> Built:
    """What a finished child's last message and exit status mean.

    :raises DataError: the build failed.
    """
    if status == 0 and "seconds" in outcome:
        return Built(outcome["seconds"], outcome["peak_memory"])
    if "error" in outcome:
        raise DataError(outcome["error"])
    limits = job.limits
    names = ", ".join(str(source.path) for source in job.sources)
    if not in_time or status == -signal.SIGXCPU:
        raise DataError(
            f"{names}: not built within {limits.seconds} s; if the file is sound, raise "
            "`time_limit` under [build]"
        )
    if status < 0:
        raise DataError(
            f"{names}: the build process was killed by {signal.Signals(-status).name}; "
            "was the machine out of memory?"
        )
    last = complaint.decode(errors="replace").strip().splitlines()[-1:] or [f"status {status}"]
    raise DataError(f"{names}: the build process failed ({last[0]}); please report this")

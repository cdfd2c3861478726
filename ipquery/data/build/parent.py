"""Runs the children that build and explain, and tells how they ended."""

import contextlib
import fcntl
import json
import os
import pickle
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ipquery.data.blend.policy import Policy
from ipquery.data.build.job import (
    Built,
    Job,
    Limits,
    ListPaths,
    Question,
    Report,
    Task,
    names_snapshot,
    source_digest,
)
from ipquery.data.record import DataError
from ipquery.data.sources import Source


def build(
    sources: Sequence[Source],
    out: Path,
    report: Report,
    lists: ListPaths = ListPaths(),  # frozen
    limits: Limits = Limits(),  # frozen
    policy: Policy = Policy(),  # frozen
) -> Built:
    """Build a snapshot. ``out`` appears, or is replaced, only when all is well.

    :param sources: in order of precedence.
    :param policy: how they are blended.
    :raises DataError: a source, a list or ``out`` can't be used, or a limit was reached.
    """
    digests = [source_digest(source) for source in sources]
    with temporary_beside(out) as temporary:
        job = Job(
            sources=sources,
            digests=digests,
            lists=lists,
            limits=limits,
            policy=policy,
            folder=temporary.folder,
            temporary=temporary.path,
            out=out,
        )
        built = run(job, report, temporary)
        publish(temporary, out, 0o666)
    return built


def try_reading(source: Source, report: Report, limits: Limits = Limits()) -> None:
    """Read a source as a build would, and write nothing.

    :raises DataError: it can't be used, or a limit was reached.
    """
    digests = [source_digest(source)]
    with temporary_beside(source.path) as temporary:
        job = Job(
            sources=[source],
            digests=digests,
            lists=ListPaths(),
            limits=limits,
            policy=Policy(),
            folder=temporary.folder,
            temporary=temporary.path,
            out=source.path,
            reads_only=True,
        )
        run(job, report, temporary)


@attrs.frozen
class Temporary:
    """A file that becomes ``out`` when it is whole.

    ``handle`` is its descriptor. Its lock says that somebody is at work, and is
    gone when the last process that has the descriptor has ended.
    """

    path: Path
    handle: int

    @property
    def folder(self) -> Path:
        """Where whoever fills the file may put what it needs meanwhile; goes with it."""
        return _folder_of(self.path)


def _folder_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.d")


@contextlib.contextmanager
def temporary_beside(out: Path) -> Iterator[Temporary]:
    """A file in the same folder, so that a rename puts it in place in one step.

    What dead builds left in that folder goes.

    :raises DataError: the folder can't be written.
    """
    try:
        _sweep(out)
        temporary = _locked_temporary(out)
    except OSError as error:
        raise DataError(f"{out}: can't write here: {error.strerror}") from None
    try:
        yield temporary
    finally:
        # Before the file: a folder without one would stay for ever.
        shutil.rmtree(temporary.folder, ignore_errors=True)
        temporary.path.unlink(missing_ok=True)
        os.close(temporary.handle)


def _locked_temporary(out: Path) -> Temporary:
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        # Between the two calls another build may take it for a dead one's.
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_nlink:
                return Temporary(Path(name), handle)
        os.close(handle)


def _sweep(out: Path) -> None:
    """Remove temporary files of builds that died, of ``out`` and of other snapshots."""
    # mkstemp's eight characters; editors and rsync use fewer, or capitals.
    name = re.compile(rf"\.({re.escape(out.name)}|.+\.ipq)\.[a-z0-9_]{{8}}")
    for path in out.parent.iterdir():
        if not name.fullmatch(path.name):
            continue
        # Gone meanwhile, somebody else's, or at work.
        with contextlib.suppress(OSError):
            _remove_unless_held(path)


def _remove_unless_held(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        return
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(_folder_of(path), ignore_errors=True)
        path.unlink()


def publish(temporary: Temporary, out: Path, mode: int) -> None:
    """Put a whole file in place; it survives a power cut from here on.

    :param mode: of the file, without what the umask takes away.
    :raises DataError: it can't be put there.
    """
    umask = os.umask(0)
    os.umask(umask)
    try:
        os.fchmod(temporary.handle, mode & ~umask)
        os.fsync(temporary.handle)
        temporary.path.replace(out)
        sync(out.parent)
    except OSError as error:
        raise DataError(f"{out}: can't put it there: {error.strerror}") from None


def sync(path: Path) -> None:
    """Have a file, or what a folder names, survive a power cut.

    :raises OSError: it can't be.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def run(job: Job, report: Report, temporary: Temporary) -> Built:
    """Have a child fill the temporary file.

    :raises DataError: a source or a list can't be used, or a limit was reached.
    """
    # Should this process be killed, the file is the child's until that ends, too.
    outcome = _have_done("child", job, report, [temporary.handle])
    return Built(outcome["seconds"], outcome["peak_memory"])


def explain(
    sources: Sequence[Source],
    addresses: Sequence[str],
    report: Report,
    lists: ListPaths = ListPaths(),  # frozen
    limits: Limits = Limits(),  # frozen
    policy: Policy = Policy(),  # frozen
) -> list[dict[str, Any]]:
    """How sources answer for addresses, and why.

    :param sources: in order of precedence.
    :returns: for each address what :func:`ipquery.data.blend.explain.to_document` makes.
    :raises DataError: a source or a list can't be used, or a limit was reached.
    """
    for source in sources:
        if names_snapshot(source):
            raise DataError(
                f"{source.path}: a snapshot holds what was chosen, not what each source said; name "
                "the databases it was built from (`ipquery info` tells which)"
            )
    digests = [source_digest(source) for source in sources]
    with tempfile.TemporaryDirectory(prefix="ipquery-") as folder:
        question = Question(
            sources=sources,
            digests=digests,
            lists=lists,
            limits=limits,
            policy=policy,
            folder=Path(folder, "sources"),
            addresses=addresses,
        )
        found: list[dict[str, Any]] = _have_done("explainer", question, report, [])["explanations"]
    return found


def compare(
    sources: Sequence[Source],
    report: Report,
    limits: Limits = Limits(),  # frozen
) -> dict[str, Any]:
    """How sources compare, each by itself. A snapshot may be among them.

    :returns: ``sources``, what is to be told of each, and ``ipv4`` and ``ipv6``, each a
        :class:`ipquery.data.blend.compare.Space` as JSON has it.
    :raises DataError: a source can't be used, or a limit was reached.
    """
    digests = [source_digest(source) for source in sources]
    with tempfile.TemporaryDirectory(prefix="ipquery-") as folder:
        task = Task(
            sources=sources,
            digests=digests,
            lists=ListPaths(),
            limits=limits,
            policy=Policy(),
            folder=Path(folder, "sources"),
        )
        found: dict[str, Any] = _have_done("comparer", task, report, [])["comparison"]
    return found


def recognise(
    sources: Sequence[Source],
    report: Report,
    limits: Limits = Limits(),  # frozen
) -> list[str | DataError]:
    """Which format each source is of, as a build would see it, or why it is of none.

    Nothing is read but what tells formats apart; archives are unpacked. Of a snapshot it is
    ``snapshot``.

    :raises DataError: a limit was reached.
    """
    with tempfile.TemporaryDirectory(prefix="ipquery-") as folder:
        task = Task(
            sources=sources,
            digests=[],
            lists=ListPaths(),
            limits=limits,
            policy=Policy(),
            folder=Path(folder, "sources"),
        )
        found = _have_done("recogniser", task, report, [])["recognised"]
    return [DataError(one["error"]) if one["error"] is not None else one["format"] for one in found]


def command(module: str) -> list[str]:
    """How a child is started; it reads the pickled :class:`Task` from its input."""
    # -P: a file in the folder one happens to be in can't pose as a library.
    return [sys.executable, "-P", "-m", f"ipquery.data.build.{module}"]


_ENVIRONMENT = {
    # One thread: OpenBLAS would reserve address space for a pool that nothing uses.
    "OPENBLAS_NUM_THREADS": "1",
    # Columns of tens of megabytes come and go. Memory that was given back is new when it
    # comes again, page by page: of 360,000 faults in a build of the default database these
    # settings leave 200,000, for 35 MB more of memory at most. Other C libraries than
    # glibc, which documents them under "Memory Allocation Tunables", ignore them.
    "GLIBC_TUNABLES": ":".join(
        (
            "glibc.malloc.hugetlb=1",
            f"glibc.malloc.mmap_threshold={32 << 20}",
            f"glibc.malloc.trim_threshold={128 << 20}",
        )
    ),
}
"""What the child has in its environment, whatever this process has there."""


def _have_done(
    module: str, task: Task, report: Report, handles: Sequence[int]
) -> Mapping[str, Any]:
    """The last message of a child that has carried out a task.

    :param handles: descriptors that it gets, too.
    :raises DataError: it failed, or a limit was reached.
    """
    with subprocess.Popen(  # noqa: S603 # our own module
        command(module),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=handles,
        env={**os.environ, **_ENVIRONMENT},
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        overtime = threading.Timer(task.limits.seconds, child.kill)
        # Stopped at the wrong moment, this process would else wait for it to the end.
        overtime.daemon = True
        try:
            overtime.start()
            child.stdin.write(pickle.dumps(task))
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
    return read_outcome(task, outcome, complaint, status, in_time)


def _follow(lines: Iterator[bytes] | Any, report: Report) -> Mapping[str, Any]:
    """Pass progress on until the child says how it ended."""
    for line in lines:
        message = json.loads(line)
        if "progress" not in message:
            return dict(message)
        report(message["progress"], message["done"])
    return {}


def read_outcome(
    task: Task, outcome: Mapping[str, Any], complaint: bytes, status: int, in_time: bool
) -> Mapping[str, Any]:
    """What a finished child's last message and exit status mean.

    :raises DataError: it failed.
    """
    if "error" in outcome:
        raise DataError(outcome["error"])
    if status == 0 and outcome:
        return outcome
    limits = task.limits
    names = ", ".join(str(source.path) for source in task.sources)
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

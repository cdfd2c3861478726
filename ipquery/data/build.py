"""Sources to snapshot, in a child process, kept in a cache by content.

The process that asks never parses a database itself: what is in a file may be
wrong or hostile, so :mod:`ipquery.data.compile` does it in a child with limits
on memory and time.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from ipquery.data.blend.policy import Policy
from ipquery.data.record import DataError
from ipquery.data.snapshot import LAYOUT_VERSION, Snapshot, is_snapshot
from ipquery.data.sources import Source

Report = Callable[[str, float], None]
"""Called with what is being done and how much of the whole build is, 0 to 1."""

# Enough for the codes of four nodes' worth of databases; older ones go.
_CACHED_SNAPSHOTS = 8


@attrs.frozen
class ListPaths:
    """The operator's own lists of codes, see :func:`ipquery.data.codes.load_lists`."""

    countries: Path | None = None
    provinces: Path | None = None
    cities: Path | None = None
    only: bool = False

    def paths(self) -> list[Path]:
        return [path for path in (self.countries, self.provinces, self.cities) if path is not None]


@attrs.frozen
class Limits:
    """What a build may use: ``memory`` in bytes of address space, ``seconds`` of time."""

    memory: int = 4 << 30
    seconds: int = 600


@attrs.frozen
class Job:
    """One build, as the child gets it.

    ``digests`` are SHA-256 of the sources, in order, as they were when the
    build was ordered. ``temporary`` is the child's to fill; it renames it to
    ``out`` when all is well.
    """

    sources: Sequence[Source]
    digests: Sequence[str]
    lists: ListPaths
    limits: Limits
    policy: Policy
    temporary: Path
    out: Path


@attrs.frozen
class Built:
    """What a build took: wall-clock seconds, and the child's peak memory in bytes."""

    seconds: float
    peak_memory: int


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
    digests = [file_digest(source.path) for source in sources]
    with _temporary_beside(out) as temporary:
        job = Job(sources, digests, lists, limits, policy, temporary, out)
        return _run(job, report)


def ensure_snapshot(
    sources: Sequence[Source],
    cache: Path,
    report: Report,
    lists: ListPaths = ListPaths(),  # frozen
    limits: Limits = Limits(),  # frozen
    policy: Policy = Policy(),  # frozen
) -> Path:
    """The snapshot of these sources: a given one, a cached one, or one built now.

    :param cache: folder of snapshots named after the content they were built from.
    :raises DataError: see :func:`build`.
    """
    if any(_is_snapshot(source) for source in sources):
        if len(sources) > 1:
            raise DataError(
                "a snapshot can't be combined with other sources; name the databases it was "
                "built from instead"
            )
        return sources[0].path
    out = cache / f"{_cache_key(sources, lists, policy)}.ipq"
    if not _is_intact(out):
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{cache}: can't make this cache folder: {error.strerror}; "
                "set `cache_dir` in the configuration"
            ) from None
        build(sources, out, report, lists, limits, policy)
        _prune(cache)
    os.utime(out)
    return out


def served_snapshot(
    sources: Sequence[Source],
    cache: Path,
    report: Report,
    lists: ListPaths = ListPaths(),
    limits: Limits = Limits(),
    policy: Policy = Policy(),
) -> Path:
    """The verified snapshot of these sources, in a file of our own.

    A snapshot that was given is copied into the cache: what the operator does
    to its file, even cutting it short in place, can't reach a mapped page.

    :raises DataError: see :func:`build`.
    """
    path = ensure_snapshot(sources, cache, report, lists, limits, policy)
    if path.parent == cache:
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _temporary_beside(cache / path.name) as temporary:
            shutil.copyfile(path, temporary)
            with Snapshot(temporary) as copied:
                out = cache / f"{copied.identity[:32]}.ipq"
            temporary.replace(out)
    except OSError as error:
        raise DataError(f"{path}: can't copy it into {cache}: {error.strerror}") from None
    except DataError as error:
        raise DataError(str(error).replace(str(temporary), str(path))) from None
    _prune(cache)
    return out


def hold(path: Path) -> BinaryIO:
    """Keep a cached snapshot from being pruned while the file returned is open.

    :raises OSError: it is gone.
    """
    file = path.open("rb")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def default_cache() -> Path:
    """The cache folder: systemd's if it gives one, else the user's (XDG base directories)."""
    given = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ipquery"


def _is_snapshot(source: Source) -> bool:
    try:
        return source.format is None and is_snapshot(source.path)
    except OSError as error:
        raise _unreadable(source.path, error) from None


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: can't read this database: {error.strerror}")


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    :raises DataError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _cache_key(sources: Sequence[Source], lists: ListPaths, policy: Policy) -> str:
    """Names everything that the bytes of a snapshot depend on."""
    folder = Path(__file__).parent
    code = [*sorted(folder.rglob("*.py")), *sorted(folder.rglob("*.tsv"))]
    parts = [
        LAYOUT_VERSION,
        *(importlib.metadata.version(name) for name in ("babel", "numpy", "pycountry")),
        *(file_digest(path) for path in (*code, *lists.paths())),
        lists,
        policy,
        *((file_digest(source.path), attrs.evolve(source, path=Path())) for source in sources),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _is_intact(path: Path) -> bool:
    try:
        Snapshot(path).close()
    except (OSError, DataError):
        return False
    return True


def _prune(cache: Path) -> None:
    """Drop the snapshots that were used longest ago and that nobody holds."""
    by_use = sorted(cache.glob("*.ipq"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in by_use[_CACHED_SNAPSHOTS:]:
        with contextlib.suppress(OSError), path.open("rb") as file:
            # Fails where hold() has it
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


@contextlib.contextmanager
def _temporary_beside(out: Path) -> Iterator[Path]:
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
    return [sys.executable, "-P", "-m", "ipquery.data.compile"]


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


@attrs.frozen
class Order:
    """What :func:`served_snapshot` takes, for a process of its own."""

    sources: Sequence[Source]
    cache: Path
    lists: ListPaths
    limits: Limits
    policy: Policy = Policy()


def order_command() -> list[str]:
    """How that process is started; it reads the pickled :class:`Order` from its input.

    It writes one JSON object: ``{"path": path}`` or ``{"error": text}``.
    """
    return [sys.executable, "-P", "-m", "ipquery.data.build"]


def main() -> int:
    """Carry out the order on standard input. Returns the exit status."""
    # Stopped, it removes what it hasn't finished.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # The workers are answering meanwhile: a build takes what they leave, and a tenth
    # of a core that they keep busy.
    os.nice(10)
    order: Order = pickle.load(sys.stdin.buffer)  # noqa: S301 # from the process that started us
    try:
        path = served_snapshot(
            order.sources,
            order.cache,
            lambda what, done: None,
            order.lists,
            order.limits,
            order.policy,
        )
    except DataError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    except KeyboardInterrupt:
        return 1
    print(json.dumps({"path": str(path)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

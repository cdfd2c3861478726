"""The cache folder: snapshots named after what they were built from."""

import contextlib
import errno
import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import attrs

from ipquery.data.blend.policy import Policy
from ipquery.data.build.job import (
    Job,
    Limits,
    ListPaths,
    Report,
    file_digest,
    names_snapshot,
    source_digest,
)
from ipquery.data.build.parent import (
    Temporary,
    publish,
    run,
    temporary_beside,
)
from ipquery.data.home import home
from ipquery.data.record import DataError
from ipquery.data.snapshot import LAYOUT_VERSION, Snapshot
from ipquery.data.sources import Source

# Enough for the codes of four nodes' worth of databases; older ones go.
_CACHED_SNAPSHOTS = 8

_FOLDER = "snapshots"
_NAME = re.compile(r"[0-9a-f]{32}\.ipq")

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

# Code beside the builder's: what gets databases decides about a source by fields of the
# source, and what reads snapshots, or writes their content elsewhere, comes after it.
_OTHER_ROOMS = ("update", "export", "columns", "enrich", "traffic")

# linux/fs.h, _IOW(0x94, 9, int): the copy shares the blocks until one of the two is
# written to.
_FICLONE = 0x40049409
_CHUNK = 1 << 20


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
    given = _given(sources)
    return _built(sources, cache, report, lists, limits, policy) if given is None else given


def served_snapshot(
    sources: Sequence[Source],
    cache: Path,
    report: Report,
    lists: ListPaths = ListPaths(),
    limits: Limits = Limits(),
    policy: Policy = Policy(),
) -> Path:
    """The verified snapshot of these sources, in a file of our own.

    A snapshot that was given is always copied, wherever it is, and the copy
    verified: what the operator does to the file, even cutting it short in place,
    can't reach a mapped page.

    :raises DataError: see :func:`build`.
    """
    given = _given(sources)
    if given is None:
        return _built(sources, cache, report, lists, limits, policy)
    return _copied(given, _folder(cache))


def _given(sources: Sequence[Source]) -> Path | None:
    """The snapshot that is named, ``None`` if databases are."""
    if not any(names_snapshot(source) for source in sources):
        return None
    if len(sources) > 1:
        raise DataError(
            "a snapshot can't be combined with other sources; name the databases it was "
            "built from instead"
        )
    return sources[0].path


def _built(
    sources: Sequence[Source],
    cache: Path,
    report: Report,
    lists: ListPaths,
    limits: Limits,
    policy: Policy,
) -> Path:
    folder = _folder(cache)
    # Once: what is built is what it is named after, or refused as changed meanwhile.
    digests = [source_digest(source) for source in sources]
    out = folder / f"{_cache_key(sources, digests, lists, policy)}.ipq"
    if not (_mark_used(folder, out) and _is_intact(out)):
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
            run(job, report, temporary)
            _keep(folder, temporary, out)
    return out


def _copied(path: Path, folder: Path) -> Path:
    """A verified copy, named after its content."""
    with temporary_beside(folder / "copy.ipq") as temporary:
        try:
            with path.open("rb") as source, temporary.path.open("r+b") as target:
                _copy(source, target)
            with Snapshot(temporary.path) as copied:
                out = folder / f"{copied.identity[:32]}.ipq"
        except OSError as error:
            raise DataError(f"{path}: can't copy it into {folder}: {error.strerror}") from None
        except DataError as error:
            raise DataError(str(error).replace(str(temporary.path), str(path))) from None
        _keep(folder, temporary, out)
    return out


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    try:
        fcntl.ioctl(target, _FICLONE, source.fileno())
    except OSError:
        # Another file system, or one that can't share blocks: ext4, tmpfs.
        shutil.copyfileobj(source, target, _CHUNK)


def _keep(folder: Path, temporary: Temporary, out: Path) -> None:
    """Put a finished file in place, unless another process was first."""
    with _locked(folder):
        # Its workers may have mapped it and somebody may hold it: it stays that file.
        if not (_ours(out) and _is_intact(out)):
            publish(temporary, out, 0o644)
    _mark_used(folder, out)
    _prune(folder)


def hold(path: Path) -> BinaryIO:
    """Keep a cached snapshot from being pruned while the file returned is open.

    :raises OSError: it is gone.
    """
    file = path.open("rb")
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        if not os.fstat(file.fileno()).st_nlink:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    except BaseException:
        file.close()
        raise
    return file


def default_cache() -> Path:
    """The cache folder: systemd's if it gives one, else the user's (XDG base directories)."""
    given = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or home() / ".cache"
    return Path(base) / "ipquery"


def _cache_key(
    sources: Sequence[Source], digests: Sequence[str], lists: ListPaths, policy: Policy
) -> str:
    """Names everything that the bytes of a snapshot depend on."""
    folder = Path(__file__).parents[1]
    code = [
        path
        for path in (*sorted(folder.rglob("*.py")), *sorted(folder.rglob("*.tsv")))
        if path.relative_to(folder).parts[0] not in _OTHER_ROOMS
    ]
    code.append(folder.parent / "address.py")
    parts = [
        LAYOUT_VERSION,
        *(importlib.metadata.version(name) for name in ("babel", "numpy", "pycountry")),
        *(file_digest(path) for path in code),
        *(file_digest(path, "list of codes") for path in lists.paths()),
        lists,
        policy,
        *digests,
        *(attrs.evolve(source, path=Path(), others=()) for source in sources),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _folder(cache: Path) -> Path:
    """Where the snapshots are that this program made, with all links resolved.

    A folder of its own inside the cache folder: what the operator keeps there, under
    whatever name, is neither trusted nor pruned.

    :raises DataError: it can't be made, or others may change what is in it.
    """
    folder = cache
    try:
        for name in ("", _FOLDER):
            (folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)
            folder = (folder / name).resolve()
            _check_folder(folder)
    except OSError as error:
        raise DataError(
            f"{cache}: can't make this cache folder: {error.strerror}; "
            "set `cache_dir` in the configuration"
        ) from None
    return folder


def _check_folder(folder: Path) -> None:
    found = folder.stat()
    if not _is_trusted(found.st_uid):
        raise DataError(
            f"{folder}: this cache folder belongs to another user (uid {found.st_uid}); "
            "run as that user, or set `cache_dir` in the configuration"
        )
    if found.st_mode & _OTHERS_WRITE:
        raise DataError(
            f"{folder}: others may write to this cache folder, and so change what is served; "
            f"`chmod go-w {folder}`, or set `cache_dir` in the configuration"
        )


def _is_trusted(owner: int) -> bool:
    return owner in (os.geteuid(), 0)


def _ours(path: Path) -> os.stat_result | None:
    """A file that nobody but us can change, by no link and no second name."""
    try:
        found = path.lstat()
    except OSError:
        return None
    is_ours = (
        stat.S_ISREG(found.st_mode)
        and found.st_nlink == 1
        and _is_trusted(found.st_uid)
        and not found.st_mode & _OTHERS_WRITE
    )
    return found if is_ours else None


def _is_intact(path: Path) -> bool:
    try:
        Snapshot(path).close()
    except (OSError, DataError):
        return False
    return True


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time puts files in place or removes them; each takes a moment."""
    with contextlib.ExitStack() as held:
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            held.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            raise DataError(
                f"{folder}: can't lock this cache folder: {error.strerror}; "
                "set `cache_dir` in the configuration"
            ) from None
        yield


def _mark_used(folder: Path, path: Path) -> bool:
    """Whether a file is there and ours; if so, others are pruned before it."""
    with _locked(folder):
        if _ours(path) is None:
            return False
        # Root's own, or a read-only file system: it is of use all the same.
        with contextlib.suppress(OSError):
            os.utime(path)
        return True


def _prune(folder: Path) -> None:
    """Drop the snapshots that were used longest ago and that nobody holds."""
    with _locked(folder):
        ours = [
            (found.st_mtime, path)
            for path in folder.iterdir()
            if _NAME.fullmatch(path.name) and (found := _ours(path))
        ]
        for _, path in sorted(ours, reverse=True)[_CACHED_SNAPSHOTS:]:
            with contextlib.suppress(OSError), path.open("rb") as file:
                # Fails where hold() has it
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

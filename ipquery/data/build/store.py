"""The cache folder: snapshots named after what they were built from."""

import contextlib
import errno
import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import attrs

from ipquery.data.blend.policy import Policy
from ipquery.data.build.cache_folder import locked, ours, snapshots_folder
from ipquery.data.build.decisions import Withheld, needed, read_decisions
from ipquery.data.build.elsewhere import Elsewhere, take
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
from ipquery.data.record import DataError
from ipquery.data.snapshot import LAYOUT_VERSION, Snapshot
from ipquery.data.sources import Source

# Enough for the codes of four nodes' worth of databases; older ones go.
_CACHED_SNAPSHOTS = 8

_NAME = re.compile(r"[0-9a-f]{32}\.ipq")

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
    if given is not None:
        return given
    planned = _planned(sources, snapshots_folder(cache), lists, policy)
    return _built(planned, sources, report, lists, limits, policy)


@attrs.frozen
class Chosen:
    """What is to be served. ``withheld`` is what would be, had it not been decided otherwise;
    ``note`` a line for the log, empty if there is nothing to say."""

    path: Path
    withheld: Withheld | None = None
    note: str = ""


def served_snapshot(
    sources: Sequence[Source],
    cache: Path,
    report: Report,
    lists: ListPaths = ListPaths(),
    limits: Limits = Limits(),
    policy: Policy = Policy(),
) -> Path:
    """The path of :func:`choose_snapshot`."""
    return choose_snapshot(sources, cache, report, lists, limits, policy).path


def choose_snapshot(
    sources: Sequence[Source],
    cache: Path,
    report: Report,
    lists: ListPaths = ListPaths(),
    limits: Limits = Limits(),
    policy: Policy = Policy(),
    elsewhere: Elsewhere | None = None,
    serving: Path | None = None,
) -> Chosen:
    """The verified snapshot of these sources, in a file of our own; or, where that is
    withheld, the one that takes its place.

    A snapshot that was given is always copied, wherever it is, and the copy
    verified: what the operator does to the file, even cutting it short in place,
    can't reach a mapped page.

    :param elsewhere: the node to take it from; it is built here if that can't be done.
    :param serving: what is served now, and needn't be taken again.
    :raises DataError: see :func:`build`.
    """
    folder = snapshots_folder(cache)
    note = ""
    if elsewhere is not None:
        try:
            report(f"taking the snapshot of {elsewhere.url}", 0.0)
            out = _taken(elsewhere, folder, limits, serving)
            return _instead(folder, out) or Chosen(out)
        except DataError as error:
            note = f"{error}; building it here"
    given = _given(sources)
    if given is not None:
        out = _copied(given, folder)
        return attrs.evolve(_instead(folder, out) or Chosen(out), note=note)
    planned = _planned(sources, folder, lists, policy)
    # Before it is built: what is withheld needn't be.
    chosen = _instead(folder, planned.out)
    if chosen is None:
        chosen = Chosen(_built(planned, sources, report, lists, limits, policy))
    return attrs.evolve(chosen, note=note)


def _instead(folder: Path, out: Path) -> Chosen | None:
    """What is served in the place of a snapshot that is withheld, if that is there.

    If it is gone, as after somebody has emptied the folder, there is nothing else to serve
    than what is withheld.
    """
    withheld = read_decisions(folder).withheld_of(out.name)
    if withheld is None:
        return None
    path = folder / withheld.instead
    is_there = _mark_used(folder, path) and _is_intact(path)
    return Chosen(path, withheld) if is_there else None


def own_copy(path: Path, cache: Path) -> Path:
    """A snapshot as a file of this cache folder, where it may be already.

    :raises DataError: it can't be copied, or is damaged.
    """
    folder = snapshots_folder(cache)
    return path if path.parent == folder else _copied(path, folder)


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


@attrs.frozen
class _Planned:
    """A snapshot before it is built: digests of its sources, and where it will be."""

    digests: Sequence[str]
    out: Path


def _planned(sources: Sequence[Source], folder: Path, lists: ListPaths, policy: Policy) -> _Planned:
    # Once: what is built is what it is named after, or refused as changed meanwhile.
    digests = [source_digest(source) for source in sources]
    return _Planned(digests, folder / f"{_cache_key(sources, digests, lists, policy)}.ipq")


def _built(
    planned: _Planned,
    sources: Sequence[Source],
    report: Report,
    lists: ListPaths,
    limits: Limits,
    policy: Policy,
) -> Path:
    out = planned.out
    if not (_mark_used(out.parent, out) and _is_intact(out)):
        with temporary_beside(out) as temporary:
            job = Job(
                sources=sources,
                digests=planned.digests,
                lists=lists,
                limits=limits,
                policy=policy,
                folder=temporary.folder,
                temporary=temporary.path,
                out=out,
            )
            run(job, report, temporary)
            _keep(out.parent, temporary, out)
    return out


def _taken(elsewhere: Elsewhere, folder: Path, limits: Limits, serving: Path | None) -> Path:
    """That of another node, verified, and named after its content."""
    known = _identity(serving) if serving is not None and serving.parent == folder else None
    with temporary_beside(folder / "taken.ipq") as temporary:
        with temporary.path.open("r+b") as target:
            if not take(elsewhere, target, limits.seconds, limits.unpacked, known):
                assert serving is not None
                return serving
        try:
            with Snapshot(temporary.path) as taken:
                out = folder / f"{taken.identity[:32]}.ipq"
        except DataError as error:
            raise DataError(str(error).replace(str(temporary.path), elsewhere.url)) from None
        _keep(folder, temporary, out)
    return out


def _identity(path: Path) -> str | None:
    try:
        with Snapshot(path) as snapshot:
            return snapshot.identity
    except (OSError, DataError):
        return None


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
    with locked(folder):
        # Its workers may have mapped it and somebody may hold it: it stays that file.
        if not (ours(out) and _is_intact(out)):
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


def _is_intact(path: Path) -> bool:
    try:
        Snapshot(path).close()
    except (OSError, DataError):
        return False
    return True


def _mark_used(folder: Path, path: Path) -> bool:
    """Whether a file is there and ours; if so, others are pruned before it."""
    with locked(folder):
        if ours(path) is None:
            return False
        # Root's own, or a read-only file system: it is of use all the same.
        with contextlib.suppress(OSError):
            os.utime(path)
        return True


def _prune(folder: Path) -> None:
    """Drop the snapshots that were used longest ago, that nobody holds and that no decision
    names."""
    kept = needed(folder)
    with locked(folder):
        cached = [
            (found.st_mtime, path)
            for path in folder.iterdir()
            if _NAME.fullmatch(path.name) and (found := ours(path))
        ]
        for _, path in sorted(cached, reverse=True)[_CACHED_SNAPSHOTS:]:
            if path.name in kept:
                continue
            with contextlib.suppress(OSError), path.open("rb") as file:
                # Fails where hold() has it
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

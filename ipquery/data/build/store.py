"""The cache folder: snapshots named after what they were built from."""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import attrs

from ipquery.data.build.job import Limits, ListPaths, Report, file_digest, unreadable
from ipquery.data.build.parent import build, temporary_beside
from ipquery.data.record import DataError
from ipquery.data.snapshot import LAYOUT_VERSION, Snapshot, is_snapshot
from ipquery.data.sources import Source

# Enough for the codes of four nodes' worth of databases; older ones go.
_CACHED_SNAPSHOTS = 8


def ensure_snapshot(
    sources: Sequence[Source],
    cache: Path,
    report: Report,
    lists: ListPaths = ListPaths(),  # frozen
    limits: Limits = Limits(),  # frozen
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
    out = cache / f"{_cache_key(sources, lists)}.ipq"
    if not _is_intact(out):
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{cache}: can't make this cache folder: {error.strerror}; "
                "set `cache_dir` in the configuration"
            ) from None
        build(sources, out, report, lists, limits)
        _prune(cache)
    os.utime(out)
    return out


def served_snapshot(
    sources: Sequence[Source],
    cache: Path,
    report: Report,
    lists: ListPaths = ListPaths(),
    limits: Limits = Limits(),
) -> Path:
    """The verified snapshot of these sources, in a file of our own.

    A snapshot that was given is copied into the cache: what the operator does
    to its file, even cutting it short in place, can't reach a mapped page.

    :raises DataError: see :func:`build`.
    """
    path = ensure_snapshot(sources, cache, report, lists, limits)
    if path.parent == cache:
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with temporary_beside(cache / path.name) as temporary:
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
        raise unreadable(source.path, error) from None


def _cache_key(sources: Sequence[Source], lists: ListPaths) -> str:
    """Names everything that the bytes of a snapshot depend on."""
    folder = Path(__file__).parents[1]
    code = [*sorted(folder.rglob("*.py")), folder / "gbt2260.tsv"]
    parts = [
        LAYOUT_VERSION,
        *(importlib.metadata.version(name) for name in ("babel", "numpy", "pycountry")),
        *(file_digest(path) for path in (*code, *lists.paths())),
        lists,
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

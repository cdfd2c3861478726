"""The folder in which snapshots are kept: ours alone, and one process at a time changes it."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ipquery.data.home import home
from ipquery.data.record import DataError

_FOLDER = "snapshots"

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def default_cache() -> Path:
    """The cache folder: systemd's if it gives one, else the user's (XDG base directories)."""
    given = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or home() / ".cache"
    return Path(base) / "ipquery"


def snapshots_folder(cache: Path) -> Path:
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


def ours(path: Path) -> os.stat_result | None:
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


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
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

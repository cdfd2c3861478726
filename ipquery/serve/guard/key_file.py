"""Writes files of API keys: a whole one in place of another, or none."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ipquery.data.build.parent import sync
from ipquery.errors import ConfigError
from ipquery.serve.guard.keys import NAME, Key, hash_of, make_key, parse_keys, read_text, to_text


def add_key(path: Path, name: str, created: str) -> str:
    """Add a new key to a file; if there is no file, make it.

    :param created: see :class:`~ipquery.serve.guard.keys.Key`.
    :returns: the key, which is nowhere else.
    :raises ConfigError: there is one of that name, or the file can't be read or written.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for a key: give up to 64 letters, digits, and . _ @ -, "
            "beginning with a letter or digit"
        )
    key = make_key()
    with _locked(path):
        keys = _read(path) if path.exists() else ()
        if any(one.name == name for one in keys):
            raise ConfigError(f"{path}: there is a key {name}; revoke it first, or take a new name")
        added = Key(name, hash_of(key.encode()).hex(), created)
        _replace(path, to_text((*keys, added)))
    return key


def revoke_key(path: Path, name: str) -> None:
    """Take a key out of a file.

    :raises ConfigError: there is none of that name, or the file can't be read or written.
    """
    with _locked(path):
        keys = _read(path)
        left = tuple(one for one in keys if one.name != name)
        if len(left) == len(keys):
            raise ConfigError(f"{path}: there is no key {name!r}")
        _replace(path, to_text(left))


def list_keys(path: Path) -> tuple[Key, ...]:
    """What is in a file.

    :raises ConfigError: it can't be read.
    """
    return _read(path)


def _read(path: Path) -> tuple[Key, ...]:
    return parse_keys(read_text(path))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Nobody else changes files of keys in this folder meanwhile.

    The folder is what is locked: the file itself is replaced.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{path}: can't open the folder: {error.strerror}") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _replace(path: Path, text: str) -> None:
    """Put a file in place of another.

    Whenever the machine fails, there is the old one or the new one, whole.
    """
    try:
        # With mode 0600.
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                _keep_owner(path, descriptor)
                os.fsync(descriptor)
            os.replace(name, path)
        finally:
            # Unless it is in place by now.
            Path(name).unlink(missing_ok=True)
        sync(path.parent)
    except OSError as error:
        raise ConfigError(f"{path}: can't write these API keys: {error.strerror}") from None


def _keep_owner(path: Path, descriptor: int) -> None:
    """Give a new file the old one's owner: root may change the file of the daemon's user."""
    with contextlib.suppress(FileNotFoundError):
        before, now = path.stat(), os.fstat(descriptor)
        if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            os.fchown(descriptor, before.st_uid, before.st_gid)

"""Files around databases: ``.gz``, ``.bz2``, ``.xz``, ``.zip``, and ``.tar`` in the first three.

Told by content. Names, sizes and kinds in an archive are whatever who made it wrote there:
members are written under numbers into a folder of ours, never under their names; what is
written is counted as it comes; and a name that leads elsewhere, a link, a device or an
archive inside another refuses the whole.
"""

import bz2
import errno
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

import attrs

from ipquery.address import shorten
from ipquery.data.record import DataError

MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"PK\x03\x04": "zip",
}
"""How each kind begins."""

_MOST_MEMBERS = 1000
_MOST_SHOWN = 8
_TAR_HEADER = 512
_CHUNK = 1 << 20

# Tables of text shrink to a twentieth, tables of zeros to a thousandth. A small file may
# do as it likes: this much is never a burden.
_LARGEST_RATIO = 200
_FREE_OF_RATIO = 64 << 20

# Errors of reading the archive or writing what is in it; others are made by jumping to
# places that a damaged archive names.
_OURS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES)

_BROKEN = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, tarfile.TarError)
_BROKEN_ZIP = (*_BROKEN, zipfile.BadZipFile, RuntimeError, NotImplementedError, IndexError)


@attrs.frozen
class Member:
    """A file out of an archive: where it was written, and its name there."""

    path: Path
    name: str


def kind_of(path: Path) -> str | None:
    """Which kind of archive a file is, ``None`` for none that is unpacked.

    :raises OSError: it can't be read.
    """
    with path.open("rb") as file:
        head = file.read(6)
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)


def unpack(path: Path, kind: str, folder: Path, limit: int) -> list[Member]:
    """Write the files in an archive into an empty folder.

    :param limit: bytes that they may have together.
    :raises DataError: the archive is damaged, holds what it shouldn't, or too much.
    :raises OSError: it can't be read, or the folder not be written.
    """
    into = _Folder(path, folder, _allowed(path, limit), limit)
    _unpack(path, kind, into)
    if not into.members:
        raise DataError(f"{path}: the archive holds no files; get it again")
    for member in into.members:
        if kind_of(member.path) is not None:
            raise _refused(path, member.name, "is an archive itself; unpack it first")
    return into.members


def extract(path: Path, wanted: str, folder: Path, limit: int) -> Path:
    """Write one file out of an archive into an empty folder; the others must be sound, too.

    :param wanted: its name in the archive, or the end of it from some folder on.
    :param limit: bytes that an archive may unpack to.
    :returns: where it is.
    :raises DataError: the archive is damaged, holds what it shouldn't, too much, or not
        exactly one file of this name.
    :raises OSError: it can't be read, or the folder not be written.
    """
    kind = kind_of(path)
    if kind is None:
        raise DataError(f"{path}: not an archive; get it again")

    def is_wanted(name: str) -> bool:
        return f"/{PurePosixPath(name)}".endswith(f"/{wanted}")

    into = _Folder(path, folder, _allowed(path, limit), limit, is_wanted)
    _unpack(path, kind, into)
    if len(into.members) != 1:
        found = [member.name for member in into.members] or into.names
        shown = ", ".join(shorten(name) for name in found[:_MOST_SHOWN])
        more = ", ..." if len(found) > _MOST_SHOWN else ""
        what = f"several files are called {wanted}" if into.members else f"no {wanted}"
        raise DataError(f"{path}: {what} in it; there are {shown}{more}")
    return into.members[0].path


def _allowed(path: Path, limit: int) -> int:
    return min(limit, max(_LARGEST_RATIO * path.stat().st_size, _FREE_OF_RATIO))


def _unpack(path: Path, kind: str, into: "_Folder") -> None:
    if kind == "zip":
        _unzip(path, into)
        return
    with path.open("rb") as file:
        _decompress(path, file, kind, into)


class _Folder:
    """Takes the members that are wanted, and counts."""

    def __init__(
        self,
        archive: Path,
        folder: Path,
        allowed: int,
        limit: int,
        is_wanted: Callable[[str], bool] = lambda name: True,
    ) -> None:
        self._archive = archive
        self._folder = folder
        self._allowed = allowed
        self._limit = limit
        self._names: set[str] = set()
        self._is_wanted = is_wanted
        self.members: list[Member] = []
        self.names: list[str] = []
        """Of all files, those that aren't wanted included."""

    def check(self, name: str) -> None:
        """:raises DataError: a member may not have this name, or is one too many."""
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
            raise _refused(self._archive, name, "has a name that leads out of the archive")
        if str(pure) in self._names:
            raise _refused(self._archive, name, "is in it twice")
        self._names.add(str(pure))
        if len(self._names) > _MOST_MEMBERS:
            raise DataError(
                f"{self._archive}: the archive holds more than {_MOST_MEMBERS} members; unpack it "
                "and name the databases in it"
            )

    def count(self, size: int) -> None:
        """:raises DataError: this many bytes more are too many."""
        self._allowed -= size
        if self._allowed >= 0:
            return
        raise DataError(
            f"{self._archive}: unpacks to more than {self._limit >> 20} MB, or to "
            f"{_LARGEST_RATIO} times its size; if it is sound, unpack it yourself, or raise "
            "`unpacked_limit_mb` under [build]"
        )

    def write(self, name: str, content: IO[bytes]) -> None:
        """Write the content as a member, if it is wanted.

        Reading it may raise what its kind raises.
        """
        self.names.append(name)
        if not self._is_wanted(name):
            return
        path = self._folder / str(len(self.members))
        with path.open("xb") as out:
            while chunk := content.read(_CHUNK):
                out.write(chunk)
        self.members.append(Member(path, name))


def _refused(archive: Path, name: str, what: str) -> DataError:
    return DataError(f"{archive}: {shorten(name)} in it {what}")


def _damaged(archive: Path, kind: str) -> DataError:
    return DataError(
        f"{archive}: the {kind} archive is damaged, cut short, or made in a way that ipquery "
        "doesn't unpack; get it again, or unpack it first"
    )


def _ours(error: Exception) -> OSError | None:
    """The error if it is of our disk, and not of what is in the archive."""
    ours = isinstance(error, OSError) and error.errno in _OURS
    return error if ours and isinstance(error, OSError) else None


def _unzip(path: Path, into: _Folder) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                into.check(info.filename)
                mode = info.external_attr >> 16
                if info.is_dir():
                    continue
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                    raise _refused(path, info.filename, "is a link or a device")
                with archive.open(info) as content:
                    into.write(info.filename, _counted(b"", content, into))
    except _BROKEN_ZIP as error:
        raise _ours(error) or _damaged(path, "zip") from None


def _decompress(path: Path, file: BinaryIO, kind: str, into: _Folder) -> None:
    try:
        with _OPEN[kind](file) as opened:
            head = opened.read(_TAR_HEADER)
            whole = _counted(head, opened, into)
            if head[257:262] == b"ustar":
                _untar(path, whole, into)
            else:
                into.write(path.stem, whole)
    except _BROKEN as error:
        raise _ours(error) or _damaged(path, kind) from None


_OPEN: dict[str, Callable[[BinaryIO], Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}


def _untar(path: Path, stream: IO[bytes], into: _Folder) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for info in archive:
            into.check(info.name)
            if info.isdir():
                continue
            content = archive.extractfile(info) if info.isreg() else None
            if content is None or info.issparse():
                raise _refused(path, info.name, "is a link or a device")
            into.write(info.name, content)


def _counted(head: bytes, rest: IO[bytes], into: _Folder) -> IO[bytes]:
    """A stream of which every byte counts: of tar, names and padding, too.

    :param head: what was read of it already.
    """
    return io.BufferedReader(_Counted(head, rest, into), _CHUNK)


class _Counted(io.RawIOBase):
    def __init__(self, head: bytes, rest: IO[bytes], into: _Folder) -> None:
        self._head = head
        self._rest = rest
        self._into = into

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        # The base class says any buffer, which has no length to mypy.
        part = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(buffer) :]
        self._into.count(len(part))
        buffer[: len(part)] = part
        return len(part)

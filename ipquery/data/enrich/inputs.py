"""What is read: standard input or files, compressed or not, told by how they begin."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import select
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from ipquery.data.record import DataError

SIZE = 1 << 22
"""Bytes of a block: enough for arithmetic on columns to pay, and for the caches to hold."""

_IDLE = 0.1
"""Seconds without more after which what has come is passed on: somebody may be waiting for it."""

_HEAD = 6
PARQUET = b"PAR1"


def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        return None
    return zstd


def _open_zstd(raw: BinaryIO) -> BinaryIO:
    zstd = _zstd()
    if zstd is None:
        raise DataError("zstd needs another package: pip install 'ipquery[zstd]'")
    return cast(BinaryIO, zstd.ZstdFile(raw))


def _open_xz(raw: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, lzma.LZMAFile(raw))  # whoever calls closes it


_Opener = Callable[[BinaryIO], BinaryIO]

_COMPRESSED: dict[bytes, tuple[str, _Opener]] = {
    b"\x1f\x8b": ("gzip", lambda raw: cast(BinaryIO, gzip.GzipFile(fileobj=raw))),
    b"BZh": ("bzip2", lambda raw: cast(BinaryIO, bz2.BZ2File(raw))),
    b"\xfd7zXZ\0": ("xz", _open_xz),
    b"\x28\xb5\x2f\xfd": ("zstd", _open_zstd),
}


class _Raw(io.RawIOBase):
    """The bytes of a file or a pipe, which counts them, and has looked at the first ones."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.head = b""
        while len(self.head) < _HEAD and (more := os.read(handle, _HEAD - len(self.head))):
            self.head += more
        self._left = self.head
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        got = self._left[: len(buffer)] or os.read(self._handle, len(buffer))
        self._left = self._left[len(got) :]
        buffer[: len(got)] = got
        self.position += len(got)
        return len(got)

    def is_idle(self) -> bool:
        """Whether nothing comes for a moment."""
        return not self._left and not select.select([self._handle], [], [], _IDLE)[0]


class Input:
    """One file, or standard input; its errors tell which."""

    def __init__(self, path: Path | None) -> None:
        """
        :param path: ``None`` is standard input.
        :raises DataError: it can't be read.
        """
        self.path = path
        self.name = "standard input" if path is None else str(path)
        with self.errors():
            self._handle = os.dup(0) if path is None else os.open(path, os.O_RDONLY)
        try:
            with self.errors():
                self._raw = _Raw(self._handle)
                self.size = os.fstat(self._handle).st_size
        except BaseException:  # Ctrl-C too: nobody else knows of the descriptor
            os.close(self._handle)
            raise

    @property
    def is_parquet(self) -> bool:
        return self._raw.head.startswith(PARQUET)

    @property
    def position(self) -> int:
        """How many bytes have been read of it, as it is stored."""
        return self._raw.position

    def passed(self, share: float) -> None:
        """Say how much of it somebody else has read, 0 to 1."""
        self._raw.position = round(self.size * share)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """
        :raises DataError: instead of what reading raises.
        """
        try:
            yield
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from None
        except OSError as error:
            raise DataError(f"{self.name}: can't read it: {error.strerror or error}") from None

    def chunks(self, size: int) -> Iterator[bytes]:
        """Its content, so many bytes at a time. After fewer, as more may take a while, comes an
        empty one.

        :raises DataError: it can't be read, or what is compressed is damaged.
        """
        with self.errors():
            for magic, (name, opener) in _COMPRESSED.items():
                if self._raw.head.startswith(magic):
                    yield from _decompressed(name, opener, self._raw, size)
                    return
            yield from self._plain(size)

    def _plain(self, size: int) -> Iterator[bytes]:
        parts: list[bytes] = []
        got = 0
        while part := self._raw.read(size - got):
            parts.append(part)
            got += len(part)
            if got == size or self._raw.is_idle():
                yield b"".join(parts)
                if got < size:
                    yield b""
                parts, got = [], 0
        if parts:
            yield b"".join(parts)

    def close(self) -> None:
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _decompressed(name: str, opener: _Opener, raw: _Raw, size: int) -> Iterator[bytes]:
    zstd = _zstd()
    errors: tuple[type[Exception], ...] = (
        EOFError,
        gzip.BadGzipFile,
        lzma.LZMAError,
        zlib.error,
        ValueError,
    )
    if zstd is not None:
        errors = (*errors, zstd.ZstdError)
    try:
        with opener(cast(BinaryIO, io.BufferedReader(raw, 1 << 20))) as stream:
            while chunk := stream.read(size):
                yield chunk
    except errors:
        raise DataError(f"damaged, or cut short ({name})") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise DataError(f"damaged ({name})") from None  # bz2 has no error of its own

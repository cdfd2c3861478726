"""One module a database format.

Each has ``NAME``, ``COLUMNS`` (what its text columns mean if nobody says
otherwise), ``sniff`` and ``read``. Database files are hostile input: a reader
checks every offset before it follows it, and runs only in a child process
(:mod:`ipquery.data.build`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ipquery.data.formats import ipip_dat, xdb
from ipquery.data.ranges import RangeTable
from ipquery.data.record import DataError


class Format(Protocol):
    """What a format module offers."""

    NAME: str

    def sniff(self, head: bytes, size: int) -> bool:
        """Whether a file of ``size`` bytes that begins with ``head`` is of this format."""

    def read(self, path: Path, columns: Sequence[str] | None = None) -> RangeTable:
        """Read a whole file.

        :param columns: what each text column holds, see :data:`texts.COLUMN_NAMES`;
            the format's usual order if ``None``.
        :raises DataError: the file is damaged or not of this format.
        :raises OSError: it can't be read.
        """


FORMATS: dict[str, Format] = {module.NAME: module for module in (ipip_dat, xdb)}

# 64 KiB: more than any format's header; ipip_dat looks at its first index.
_HEAD_BYTES = 65536


def recognise(path: Path) -> Format:
    """Which format a file is of, by its content.

    :raises DataError: none that is known.
    :raises OSError: the file can't be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for known in FORMATS.values():
        if known.sniff(head, size):
            return known
    raise DataError(
        f"{path}: not a database ipquery can read{_resemblance(head)}; "
        f"formats: {', '.join(FORMATS)}"
    )


def _resemblance(head: bytes) -> str:
    """What a foreign file looks like, for the message."""
    text = head[:512].lstrip().lower()
    if not head:
        return ": the file is empty; get it again"
    if not head.strip(b"\0"):
        return ": it begins with nothing but zero bytes; get it again"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return ": it is a web page, so the download went wrong; get it again"
    for magic, what in (
        (b"\x1f\x8b", "gzip"),
        (b"PK\x03\x04", "zip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
    ):
        if head.startswith(magic):
            return f": it is compressed ({what}); unpack it first"
    return ": damaged, cut short, or of another format"

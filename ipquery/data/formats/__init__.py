"""One module a database format.

Each has ``NAME``, ``sniff`` and ``read``, see :class:`Format`. Database files
are hostile input: a reader checks every offset before it follows it, and runs
only in a child process (:mod:`ipquery.data.build`).
"""

from pathlib import Path
from typing import Protocol

from ipquery.data.formats import csv_file, ip2location, ipdb, ipip_dat, ipip_datx, mmdb, qqwry, xdb
from ipquery.data.formats.options import ReadOptions
from ipquery.data.ranges import RangeTable
from ipquery.data.record import DataError


class Format(Protocol):
    """What a format module offers."""

    NAME: str

    def sniff(self, head: bytes, tail: bytes, size: int) -> bool:
        """Whether a file is of this format.

        :param head: its first :data:`END_BYTES`, or all of it.
        :param tail: its last :data:`END_BYTES`, or all of it.
        :param size: of the file in bytes.
        """

    def read(self, path: Path, options: ReadOptions = ReadOptions()) -> RangeTable:
        """Read a whole file.

        :raises DataError: the file is damaged or not of this format.
        :raises OSError: it can't be read.
        """


END_BYTES = 1 << 17
"""128 KiB: more than any format's header, and where MaxMind's readers look for the
metadata at the end (MaxMind DB file format specification 2.0)."""

FORMATS: dict[str, Format] = {
    module.NAME: module
    for module in (
        ipip_dat,
        ipip_datx,
        ipdb,
        xdb,
        mmdb,
        qqwry,
        ip2location,
        csv_file,
    )
}


def recognise(path: Path) -> Format:
    """Which format a file is of, by its content.

    :raises DataError: none that is known.
    :raises OSError: the file can't be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(END_BYTES)
        file.seek(max(size - END_BYTES, 0))
        tail = file.read(END_BYTES)
    for known in FORMATS.values():
        if known.sniff(head, tail, size):
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

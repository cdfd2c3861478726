"""The compiled file: every answer already serialised, found by two bisections.

Layout, integers in the byte order that the header names::

    0   8    magic
    8   u32  layout version
    12  u32  0x01020304, to tell the byte order
    16  u64  size of the file in bytes
    24  u64  size of the directory in bytes
    32  32   BLAKE2b-256 of everything else: the snapshot's identity
    64  ...  directory, JSON: {"sections": {name: [position, bytes, item]}, "about": {...}}
             item is a code of the struct module
    ...      sections, each on a multiple of 64 bytes

Sections::

    v4.index      u32 x 65537  number of the steps that begin below k << 16
    v4.first.low  u16 a step   lower half of each step's first address; the upper
                               half is the k that it stands under in the index
    v4.answer     a step       answer number of the step, 0 = no record; one more in
                               front, so that a bisection's result is the place
    v6.first.high u64 a step   upper and
    v6.first.low  u64 a step   lower half of each step's first address
    v6.answer     a step       likewise
    answer.end    u32 an answer number   where its text ends; number 0 is empty
    answer.text   the contract's JSON arrays, one after the other

Answer numbers are u16 where that is enough. Small matters more than simple here:
a look-up waits for memory longer than it computes.

A snapshot is never changed in place, so a mapped page can't vanish: a new one
is written beside it and renamed over it.
"""

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

# PNG's trick: a transfer that changes line ends or strips the eighth bit shows.
MAGIC = b"\x89IPQ\r\n\x1a\n"
LAYOUT_VERSION = 1

BYTE_ORDER = 0x01020304
HEADER = struct.Struct("=8sIIQQ32s")
DIGEST_AT = 32
_ALIGNMENT = 64
_CHUNK = 1 << 20

COLUMNS = (
    "v4.index",
    "v4.first.low",
    "v4.answer",
    "v6.first.high",
    "v6.first.low",
    "v6.answer",
    "answer.end",
)


def write(
    file: BinaryIO, sections: Mapping[str, bytes | memoryview], about: Mapping[str, Any]
) -> None:
    """Write a snapshot into an empty file opened for reading and writing, and sync it.

    The same sections and the same ``about`` give the same bytes, so that
    nodes which build from the same databases share one identity.
    """
    given = {name: memoryview(section) for name, section in sections.items()}
    items = {name: view.format for name, view in given.items()}
    views = {name: view.cast("B") for name, view in given.items()}
    directory = _directory(views, items, about)
    file.write(bytes(HEADER.size) + directory)
    for view in views.values():
        file.write(bytes(-file.tell() % _ALIGNMENT))
        file.write(view)
    size = file.tell()
    header = HEADER.pack(MAGIC, LAYOUT_VERSION, BYTE_ORDER, size, len(directory), b"")
    digest = hashlib.blake2b(header[:DIGEST_AT], digest_size=32)
    file.seek(HEADER.size)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    file.seek(0)
    file.write(header[:DIGEST_AT] + digest.digest())
    file.flush()
    os.fsync(file.fileno())


def _directory(
    views: Mapping[str, memoryview], items: Mapping[str, str], about: Mapping[str, Any]
) -> bytes:
    """The directory; its own length moves the sections, so it is padded to a fixed one."""

    def encode(position: int) -> bytes:
        places = {}
        for name, view in views.items():
            position += -position % _ALIGNMENT
            places[name] = [position, len(view), items[name]]
            position += len(view)
        return json.dumps({"sections": places, "about": about}, ensure_ascii=False).encode()

    # 20 digits hold any position, whatever the directory's length makes of it.
    room = len(encode(0)) + 20 * len(views)
    return encode(HEADER.size + room).ljust(room)


def is_snapshot(path: Path) -> bool:
    """Whether a file begins as a snapshot does.

    :raises OSError: it can't be read.
    """
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC

"""The compiled file: every answer already serialised, in halves, found by index and bisection.

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

Steps cut both address spaces where the answer changes. An answer is a pair of a place
and an owner::

    v4.slots       a slot       a place in v4.answer, or where to look for it, see below
    v4.first       u32 a step   first address of each step
    v4.answer      a step       number of its answer, 0 = no record; one more in
                                front, so that a bisection's result is the place
    v6.first.high  u64 a step   upper and
    v6.first.low   u64 a step   lower half of each step's first address
    v6.answer      a step       likewise
    pair.place     an answer    number of its place and
    pair.owner     an answer    of its owner, 0 = not known

Slots cut the IPv4 space into equal parts, of which there are a power of two. If no step
begins inside a slot, it is the place of the one answer that all of it has. Else it is the
number of places plus a place from which a bisection finds the answer of each of its
addresses, mostly among the next :data:`WINDOW`. Of the default blend's 4,194,304 slots of
1,024 addresses three in four have one answer, and one in 8,000 needs more than the window.

A place is a region (country and province), a city, and what it has alone::

    place.region, place.city    a place
    place.sources, owner.sources    a place, an owner: which sources say which field

Texts are JSON in UTF-8, ready to be joined. ``.end`` (u32, one more in front) says where
each ends in ``.text``::

    region.array    [country, country_code, province, province_code,
    city.array      city, city_code,
    owner.array     org, isp]           -- together the contract's array
    region.names    members of an object: "country", "country_code", "province", "province_code"
    city.names      "city", "city_code"
    owner.names     "org", "isp"
    region.details  "continent_code", "subdivision_code"
    city.details    "district", "time_zone"
    place.details   "postal_code", "latitude", "longitude", "accuracy_radius"
    owner.details   "asn", "as_org"
    sources.place   "country": the name of the source that says it, and so each field that
                    is known of a place;
    sources.owner   likewise of an owner
    names.en        a JSON object of its own: the English names of the codes that occur, of
                    ISO 3166-1, ISO 3166-2 and GB/T 2260; no ``.end``, nor ``.text``
    names.zh        likewise the Chinese ones

Columns of which no size is said are u8, u16 or u32, whichever is enough. Small matters more
than simple here: a look-up waits for memory longer than it computes. Of DB-IP of 2026-06
with AS numbers and ip2region there are 8.1 million steps, 1,197,132 answers, 567,225
places, 105,738 owners, but only 3,936 regions and 174,359 cities. Whole objects would take
400 MB for the answers, or 170 MB for the places.

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
LAYOUT_VERSION = 3

WINDOW = 8
"""Steps that a bisection from a slot takes first, or all if they are fewer."""

BYTE_ORDER = 0x01020304
HEADER = struct.Struct("=8sIIQQ32s")
DIGEST_AT = 32
_ALIGNMENT = 64
_CHUNK = 1 << 20

COLUMNS = (
    "v4.slots",
    "v4.first",
    "v4.answer",
    "v6.first.high",
    "v6.first.low",
    "v6.answer",
    "pair.place",
    "pair.owner",
    "place.region",
    "place.city",
    "place.sources",
    "owner.sources",
)
"""Names of the sections that are columns of numbers."""

POOLS = (
    "region.array",
    "city.array",
    "owner.array",
    "region.names",
    "city.names",
    "owner.names",
    "region.details",
    "city.details",
    "place.details",
    "owner.details",
    "sources.place",
    "sources.owner",
)
"""Names of the texts, without ``.end`` and ``.text``."""

LANGUAGES = ("en", "zh")
"""Languages in which codes have names; those of one are in the section ``names.`` of it."""


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

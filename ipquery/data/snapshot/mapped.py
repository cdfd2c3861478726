"""MappedFile: a snapshot's file, verified, mapped, and taken apart into its sections."""

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from ipquery.data.record import DataError
from ipquery.data.snapshot.layout import (
    BYTE_ORDER,
    COLUMNS,
    DIGEST_AT,
    HEADER,
    LANGUAGES,
    LAYOUT_VERSION,
    MAGIC,
    POOLS,
)

# Of the struct module; which of them is used where is the writer's choice.
_ITEMS = frozenset("BHILQ")

# Names that count the same things, and how many more the first column has.
_SAME_LENGTH = (
    (1, "v4.answer", "v4.first"),
    (1, "v6.answer", "v6.first.high", "v6.first.low"),
    (0, "pair.place", "pair.owner"),
    (0, "place.region", "place.city", "place.sources", "place.details"),
    (0, "region.array", "region.names", "region.details"),
    (0, "city.array", "city.names", "city.details"),
    (0, "owner.sources", "owner.array", "owner.names", "owner.details"),
)


@attrs.frozen(eq=False)
class Pool:
    """Texts one after the other."""

    end: memoryview
    whole: memoryview

    def text(self, number: int) -> memoryview:
        """
        :raises IndexError: there is no such number.
        """
        return self.whole[self.end[number] : self.end[number + 1]]


class MappedFile:
    """The pages are shared by all processes that map the file."""

    def __init__(self, path: Path, verify: bool) -> None:
        """
        :param verify: whether to read all of it for its checksum.
        :raises DataError: it is damaged, of another layout, or no snapshot.
        :raises OSError: it can't be read.
        """
        self.path = path
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < HEADER.size:
                raise DataError(f"{path}: too short for a snapshot; build it again")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._views: list[memoryview] = []
        try:
            digest, directory_size = _verify_header(path, self._map[: HEADER.size], size)
            if verify:
                self._verify_digest(digest)
            self.identity = digest.hex()
            self._take_apart(directory_size)
        except BaseException:
            self.close()
            raise

    def _take_apart(self, directory_size: int) -> None:
        try:
            directory = json.loads(self._map[HEADER.size : HEADER.size + directory_size])
            self.about: Mapping[str, Any] = {**directory["about"]}
            entries = directory["sections"]
            self.columns = {name: self._column(entries[name]) for name in COLUMNS}
            self.pools = {name: self._pool(entries, name) for name in POOLS}
            self.names = {one: self._column(entries[f"names.{one}"]) for one in LANGUAGES}
            _verify_lengths(self.columns, self.pools)
        # A file whose checksum is right and which yet makes no sense was written by
        # somebody who meant harm.
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            raise DataError(
                f"{self.path}: the snapshot's directory doesn't fit its content; build it again"
            ) from None

    def _column(self, entry: Any) -> memoryview:
        position, size, item = entry
        if item not in _ITEMS:
            raise ValueError("unknown item")
        with memoryview(self._map) as whole:
            if not HEADER.size <= position <= position + size <= len(whole):
                raise ValueError("section out of bounds")
            part = whole[position : position + size]
        self.keep(part)
        view = part.cast(item)
        self.keep(view)
        return view

    def _pool(self, entries: Mapping[str, Any], name: str) -> Pool:
        end, whole = self._column(entries[f"{name}.end"]), self._column(entries[f"{name}.text"])
        if whole.format != "B" or end[0] != 0 or end[-1] != len(whole):
            raise ValueError("texts of another size")
        return Pool(end, whole)

    def _verify_digest(self, digest: bytes) -> None:
        content = hashlib.blake2b(self._map[:DIGEST_AT], digest_size=32)
        with memoryview(self._map) as whole, whole[HEADER.size :] as rest:
            content.update(rest)
        if content.digest() != digest:
            raise DataError(f"{self.path}: the snapshot is damaged (checksum); build it again")

    def keep(self, view: memoryview) -> None:
        """Release a view when the file is closed: until then it can't be unmapped."""
        self._views.append(view)

    def close(self) -> None:
        """Unmap the file. Whatever reads it fails afterwards."""
        for view in reversed(self._views):
            view.release()
        self._views.clear()
        self._map.close()


def _verify_lengths(columns: Mapping[str, memoryview], pools: Mapping[str, Pool]) -> None:
    """
    :raises ValueError: sections that count the same things don't fit each other.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    lengths |= {name: len(pool.end) - 1 for name, pool in pools.items()}
    for more, first, *others in _SAME_LENGTH:
        if any(lengths[name] != lengths[first] - more for name in others):
            raise ValueError("sections of different sizes")
    slots = lengths["v4.slots"]
    if min(lengths.values()) < 1 or slots & (slots - 1) or slots > 1 << 32:
        raise ValueError("sections of the wrong size")


def _verify_header(path: Path, header: bytes, size: int) -> tuple[bytes, int]:
    """Digest and size of the directory.

    :raises DataError: another kind, layout or byte order, or cut short.
    """
    magic, layout, order, stated, directory_size, digest = HEADER.unpack(header)
    if magic != MAGIC:
        raise DataError(f"{path}: not an ipquery snapshot; make one with `ipquery build`")
    if order != BYTE_ORDER:
        raise DataError(f"{path}: built on a machine of other byte order; build it again here")
    if layout != LAYOUT_VERSION:
        raise DataError(
            f"{path}: snapshot layout {layout}, this ipquery reads {LAYOUT_VERSION}; build it again"
        )
    if stated != size:
        raise DataError(
            f"{path}: {size} bytes instead of {stated}: the snapshot is cut short; build it again"
        )
    return digest, directory_size

"""Snapshot: an open file, and look-ups in it."""

import hashlib
import itertools
import json
import mmap
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from socket import AF_INET, inet_pton
from types import TracebackType
from typing import Any, Self

from ipquery.address import parse, unpack_halves
from ipquery.data.record import DataError, Record
from ipquery.data.snapshot.layout import (
    BYTE_ORDER,
    COLUMNS,
    DIGEST_AT,
    HEADER,
    LAYOUT_VERSION,
    MAGIC,
)

_V6_LOW = 2**64 - 1
# About 40 MB of them, in a process that looks up records; serving uses bytes.
_KEPT_RECORDS = 65536
# About 10 MB of responses in each serving process, if so many are asked for.
_KEPT_ANSWERS = 50_000


class Snapshot:
    """An open snapshot: the mapped file and views of its sections.

    The pages are shared by all processes that map the file.
    """

    identity: str
    """Hexadecimal BLAKE2b-256: the same for the same content, on every node."""

    about: Mapping[str, Any]
    """Sources, counts and coverage, as written when it was built."""

    def __init__(self, path: Path, verify: bool = True) -> None:
        """Map a snapshot.

        :param verify: whether to read all of it for its checksum. Only for a
            file that another process has just verified may that be left out.
        :raises DataError: it is damaged, of another layout, or no snapshot.
        :raises OSError: it can't be read.
        """
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < HEADER.size:
                raise DataError(f"{path}: too short for a snapshot; build it again")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._views: list[memoryview] = []
        try:
            self._open(path, size, verify)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, size: int, verify: bool) -> None:
        digest, directory_size = _verify_header(path, self._map[: HEADER.size], size)
        if verify:
            self._verify_digest(path, digest)
        self.identity = digest.hex()
        try:
            directory = json.loads(self._map[HEADER.size : HEADER.size + directory_size])
            self.about = directory["about"]
            whole = memoryview(self._map)
            self._views.append(whole)
            sections = {
                name: self._section(whole, *directory["sections"][name]) for name in COLUMNS
            }
            self._texts_at, texts_size, _ = directory["sections"]["answer.text"]
            if not (
                self._texts_at + texts_size <= size
                and len(sections["v4.first.low"]) == len(sections["v4.answer"]) - 1 > 0
                and len(sections["v4.index"]) == 65537
                and len(sections["v6.first.high"]) == len(sections["v6.first.low"])
                and len(sections["v6.first.low"]) == len(sections["v6.answer"]) - 1 > 0
            ):
                raise ValueError("sections of the wrong size")
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{path}: the snapshot's directory doesn't fit its content; build it again"
            ) from None
        self._v4_low = sections["v4.first.low"]
        self._v4_answer = sections["v4.answer"]
        self._v4_index = sections["v4.index"]
        self._v6_high = sections["v6.first.high"]
        self._v6_low = sections["v6.first.low"]
        self._v6_answer = sections["v6.answer"]
        self._answer_end = sections["answer.end"]
        self._records: dict[int, Record] = {}

    def _section(self, whole: memoryview, position: int, size: int, item: Any) -> memoryview:
        if not HEADER.size <= position <= position + size <= len(whole):
            raise ValueError("section out of bounds")
        part = whole[position : position + size]
        view = part.cast("B").cast(item)
        self._views += [part, view]
        return view

    def _verify_digest(self, path: Path, digest: bytes) -> None:
        content = hashlib.blake2b(self._map[:DIGEST_AT], digest_size=32)
        with memoryview(self._map) as whole, whole[HEADER.size :] as rest:
            content.update(rest)
        if content.digest() != digest:
            raise DataError(f"{path}: the snapshot is damaged (checksum); build it again")

    def answer_number(self, version: int, number: int) -> int:
        """The number of the answer for an address, 0 where there is no record."""
        if version == 4:
            slot = number >> 16
            index = self._v4_index
            step = bisect_right(self._v4_low, number & 0xFFFF, index[slot], index[slot + 1])
            return self._v4_answer[step]
        high = number >> 64
        # Steps with the same upper half are told apart by the lower one; with
        # none, both ends are one past the step that holds the address.
        begin = bisect_left(self._v6_high, high)
        end = bisect_right(self._v6_high, high, begin)
        step = bisect_right(self._v6_low, number & _V6_LOW, begin, end)
        return self._v6_answer[step]

    def ranges(self, version: int) -> Iterator[tuple[int, int, int]]:
        """All of an address space in order: first and last address, answer number."""
        if version == 4:
            starts, answers, end = self._v4_starts(), self._v4_answer, 2**32
        else:
            halves = zip(self._v6_high, self._v6_low, strict=True)
            starts, answers, end = (h << 64 | low for h, low in halves), self._v6_answer, 2**128
        first = next(starts)
        for after, number in zip(itertools.chain(starts, [end]), answers[1:], strict=True):
            yield first, after - 1, number
            first = after

    def _v4_starts(self) -> Iterator[int]:
        for slot, (begin, end) in enumerate(itertools.pairwise(self._v4_index)):
            for step in range(begin, end):
                yield slot << 16 | self._v4_low[step]

    def answer(self, number: int) -> bytes:
        """The contract's JSON array with an answer number."""
        ends = self._answer_end
        begin = self._texts_at
        return self._map[begin + ends[number - 1] : begin + ends[number]]

    def finder(self, prepare: Callable[[bytes], bytes]) -> Callable[[bytes], bytes | None]:
        """A look-up for the hot path: from the bytes of an address to its prepared answer.

        :param prepare: makes of a contract's JSON array what the look-up returns.
            What it returns is kept, for up to :data:`_KEPT_ANSWERS` answers.
        :returns: a function that returns ``None`` if there is no record, or it
            was given no address.
        """
        index, lows, answers = self._v4_index, self._v4_low, self._v4_answer
        index_end = index[1:]
        self._views.append(index_end)
        # A list, as the numbers are dense: an index into it takes 30 ns where
        # slicing the map takes 240.
        prepared: list[bytes | None] = [None] * len(self._answer_end)
        kept = 0

        def fill(number: int) -> bytes | None:
            nonlocal kept
            if not number:
                return None
            found = prepare(self.answer(number))
            if kept < _KEPT_ANSWERS:
                kept += 1
                prepared[number] = found
            return found

        def find_other(ip: bytes) -> bytes | None:
            try:
                number = self.answer_number(*parse(ip.decode()))
            except ValueError:
                return None
            return prepared[number] or fill(number)

        # Locals and no inner calls: 0.6 us instead of 1.1.
        def find(ip: bytes) -> bytes | None:
            try:
                slot, low = unpack_halves(inet_pton(AF_INET, ip.decode()))
            except (OSError, ValueError):
                return find_other(ip)
            step = bisect_right(lows, low, index[slot], index_end[slot])
            number = answers[step]
            return prepared[number] or fill(number)

        return find

    def _record(self, number: int) -> Record:
        # All at once: keeping the order of use, as lru_cache does, would double
        # the time of a hit.
        if len(self._records) >= _KEPT_RECORDS:
            self._records.clear()
        record = self._records[number] = Record.from_answer(self.answer(number))
        return record

    def find(self, ip: str) -> Record | None:
        """What is known about an address, ``None`` if there is no record.

        :param ip: IPv4 or IPv6 text; an IPv4-mapped IPv6 address gets its IPv4 answer.
        :raises ValueError: ``ip`` is not an address.
        """
        # The steps of parse(), answer_number() and _record() in one body for
        # IPv4: 0.6 us a call instead of 0.9, three calls being the difference.
        try:
            slot, low = unpack_halves(inet_pton(AF_INET, ip))
        except (OSError, ValueError):
            number = self.answer_number(*parse(ip))
        else:
            index = self._v4_index
            step = bisect_right(self._v4_low, low, index[slot], index[slot + 1])
            number = self._v4_answer[step]
        if not number:
            return None
        try:
            return self._records[number]
        except KeyError:
            return self._record(number)

    def close(self) -> None:
        """Unmap the file. Look-ups fail afterwards."""
        for view in reversed(self._views):
            view.release()
        self._views.clear()
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


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


def open_snapshot(path: str | os.PathLike[str]) -> Snapshot:
    """Open a snapshot made by ``ipquery build``.

    :raises DataError: it is damaged, of another layout, or no snapshot.
    :raises OSError: it can't be read.
    """
    return Snapshot(Path(path))

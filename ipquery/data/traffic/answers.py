"""The addresses of rows, looked up: here, or by several processes at once."""

import contextlib
from collections.abc import Generator, Iterable
from functools import lru_cache, partial
from pathlib import Path

import attrs

from ipquery.data.enrich.work import by_processes, enough_for_several
from ipquery.data.ranges import Column
from ipquery.data.snapshot.reader import Snapshot
from ipquery.data.traffic.kinds import Kinds
from ipquery.data.traffic.rows import InLines, InParts, Lines, Part
from ipquery.data.traffic.times import Times


@attrs.frozen(eq=False)
class Answers:
    """Of some rows, in their order: ``numbers`` of the answers, and ``seconds`` as
    :class:`~ipquery.data.traffic.rows.Part` has them; how many addresses there are of each kind;
    how many rows were of another form."""

    numbers: Column
    seconds: Column | None
    kinds: Column
    odd: int


class _Lookup:
    """Looks rows up in an open snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        """
        :raises DataError: the snapshot contradicts itself.
        """
        self._index, self._kinds = snapshot.index(), Kinds()

    def of(self, part: Part) -> Answers:
        numbers = self._index.find_batches(part.addresses)
        kinds = sum(map(self._kinds.of, part.addresses), self._kinds.none)
        return Answers(numbers, part.seconds, kinds, part.odd)


def answers(
    snapshot: Snapshot, source: InLines | InParts, processes: int
) -> contextlib.closing[Generator[Answers, None, None]]:
    """The answers to all rows, in order, whoever looks them up. To be closed.

    :param processes: how many look lines up; Parquet is read by one.
    :raises DataError: something can't be read or made sense of; also while answers are read.
    """
    if isinstance(source, InParts):
        return contextlib.closing(_here(snapshot, source.parts))
    several, blocks = enough_for_several(source.blocks)
    if processes > 1 and several:
        work = partial(_work, _Order(snapshot.path, source.lines))
        return contextlib.closing(by_processes(work, blocks, processes))
    times = Times()
    parts = (source.lines.part(block, times) for block in blocks if block)
    return contextlib.closing(_here(snapshot, parts))


def _here(snapshot: Snapshot, parts: Iterable[Part]) -> Generator[Answers, None, None]:
    yield from map(_Lookup(snapshot).of, parts)


@attrs.frozen
class _Order:
    """What another process does with all blocks."""

    snapshot: Path
    lines: Lines


class _Worker:
    """Looks blocks up in a process of its own, for as long as that lives."""

    def __init__(self, order: _Order) -> None:
        # Whoever gave the order has verified it.
        self._lookup = _Lookup(Snapshot(order.snapshot, verify=False))
        self._lines, self._times = order.lines, Times()

    def work(self, block: bytes) -> Answers:
        return self._lookup.of(self._lines.part(block, self._times))


# Of the process that this runs in: there is one order in its life.
_worker = lru_cache(1)(_Worker)


def _work(order: _Order, block: bytes) -> Answers:
    return _worker(order).work(block)

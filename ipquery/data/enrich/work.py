"""What is done with blocks of lines: here, or by several processes at once."""

import contextlib
import itertools
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import attrs
import numpy as np

from ipquery.data.columns.batch import Batch
from ipquery.data.columns.given import batches
from ipquery.data.columns.numbers import NO_RECORD, NOT_AN_ADDRESS
from ipquery.data.columns.texts import Texts, read
from ipquery.data.enrich.located import Block, Format, Located
from ipquery.data.enrich.options import BAD, OK, UNKNOWN
from ipquery.data.enrich.places import PLACES, keys_of, place_of
from ipquery.data.enrich.prefixes import Prefixes
from ipquery.data.enrich.totals import Totals
from ipquery.data.record import DataError
from ipquery.data.snapshot.reader import POOLS, Parts, Snapshot, members_values

_T = TypeVar("_T")

_KEPT = 1 << 19
"""Texts of records; about 100 MB."""


@attrs.frozen
class Order:
    """What to do with all blocks of a run."""

    snapshot: Path
    format: Format
    fields: tuple[str, ...]
    anonymise: bool


@attrs.frozen
class Done:
    """A block that is ready to be written."""

    data: bytes
    totals: Totals


class _Pieces(dict[int, tuple[bytes, ...]]):
    """What is added for the fields that are in one pool of the snapshot, by number of the part."""

    def __init__(self, snapshot: Snapshot, pool: str, order: Order) -> None:
        super().__init__()
        self._text = snapshot.pool_text(pool)
        self._piece = order.format.piece
        self.fields = [
            (place, order.fields.index(name))
            for place, name in enumerate(POOLS[pool])
            if name in order.fields
        ]

    def __missing__(self, part: int) -> tuple[bytes, ...]:
        if len(self) >= _KEPT:
            self.clear()
        values = members_values(self._text(part))
        pieces = tuple(self._piece(number, values[place]) for place, number in self.fields)
        self[part] = pieces
        return pieces


class _Additions(dict[int, bytes]):
    """What is added to rows, by number of the answer.

    Answers are put together of parts that many of them have: 3 us for one that is new, where
    :meth:`Snapshot.record` and a line of it take 20.
    """

    def __init__(self, snapshot: Snapshot, order: Order) -> None:
        super().__init__()
        self._snapshot, self._format = snapshot, order.format
        self._status = len(order.fields)
        # The numbers of the parts stand in the order of their names in Parts.
        self._pools = [
            (Parts._fields.index(pool.partition(".")[0]), _Pieces(snapshot, pool, order))
            for pool, names in POOLS.items()
            if {*names} & {*order.fields}
        ]
        given = [number for _, pieces in self._pools for _, number in pieces.fields]
        given += [number for number, name in enumerate(order.fields) if name in PLACES]
        self._order = [given.index(number) for number in range(self._status)]

    def __missing__(self, number: int) -> bytes:
        if len(self) >= _KEPT:
            self.clear()
        text = self[number] = self.made(number, [])
        return text

    def made(self, number: int, placed: Sequence[bytes]) -> bytes:
        """
        :param placed: what is added of :data:`PLACES`, if the answer says anything.
        """
        if number <= NO_RECORD:
            pieces = [self._format.piece(field, None) for field in range(self._status)]
            status = BAD if number == NOT_AN_ADDRESS else UNKNOWN
        else:
            pieces, status = self._known(number, placed), OK
        pieces.append(self._format.piece(self._status, status))
        return self._format.addition(b"".join(pieces))

    def _known(self, number: int, placed: Sequence[bytes]) -> list[bytes]:
        parts = self._snapshot.parts(number)
        try:
            found = [piece for at, pieces in self._pools for piece in pieces[parts[at]]]  # type: ignore[index]  # the sources, last, are of no pool
        except (IndexError, ValueError, TypeError, AttributeError):
            raise DataError("the snapshot contradicts itself; build it again") from None
        found += placed
        return [found[at] for at in self._order]


class _Placed(dict[tuple[int, int], bytes]):
    """What is added to rows if that depends on where the address is, too: by number of the answer
    and :func:`keys_of`."""

    def __init__(self, snapshot: Snapshot, order: Order, additions: _Additions) -> None:
        super().__init__()
        self._named = [(at, name) for at, name in enumerate(order.fields) if name in PLACES]
        self._snapshot, self._piece, self._additions = snapshot, order.format.piece, additions

    def __missing__(self, which: tuple[int, int]) -> bytes:
        if len(self) >= _KEPT:
            self.clear()
        number, key = which
        said = place_of(self._snapshot, key)
        pieces = [self._piece(at, said.get(name)) for at, name in self._named]
        text = self[which] = self._additions.made(number, pieces)
        return text


class Worker:
    """Enriches blocks; what has been looked up before is kept."""

    def __init__(self, order: Order) -> None:
        """
        :raises DataError: the snapshot can't be used.
        :raises OSError: it can't be read.
        """
        # Whoever gave the order has verified it.
        self._snapshot = Snapshot(order.snapshot, verify=False)
        self._index = self._snapshot.index()
        self._order = order
        self._additions = _Additions(self._snapshot, order)
        self._placed: _Placed | None = None
        if {*order.fields} & {*PLACES}:
            self._placed = _Placed(self._snapshot, order, self._additions)
        self._prefixes = Prefixes()

    def work(self, data: bytes) -> Done:
        """
        :param data: whole rows.
        """
        block = Block.of(data)
        located = self._order.format.locate(block)
        given = [*batches_of(block, located)]
        numbers = self._index.find_batches(given)
        if self._placed is None:
            additions = [*map(self._additions.__getitem__, numbers.tolist())]
        else:
            keys = [key for batch in given for key in keys_of(batch)]
            which = zip(numbers.tolist(), keys, strict=True)
            additions = [*map(self._placed.__getitem__, which)]
        for row, change in located.changes.items():
            additions[row] = change(additions[row])
        if self._order.anonymise:
            prefixes = [text for batch in given for text in self._prefixes.of(batch)]
            made = _anonymised(data, located, prefixes, additions)
        else:
            made = _joined(data, located, additions)
        bad = int(np.count_nonzero(numbers == NOT_AN_ADDRESS))
        unknown = int(np.count_nonzero(numbers == NO_RECORD))
        return Done(made, Totals(len(numbers), unknown, bad, located.odd))

    def close(self) -> None:
        self._snapshot.close()


def batches_of(block: Block, located: Located) -> Iterator[Batch]:
    """The addresses of a block, one for each row."""
    if located.addresses is not None:
        return batches(located.addresses)
    length = np.maximum(located.length, 0)
    return iter([read(Texts(block.column, located.start, length))])


def _joined(data: bytes, located: Located, additions: list[bytes]) -> bytes:
    """All that there was, with the additions in between."""
    insert = located.insert.tolist()
    begins = [0, *insert]
    # By slices of a list: with iterators all the way it takes half as long again.
    woven = [data[begins[-1] :]] * (2 * len(insert) + 1)
    woven[:-1:2] = [data[first:after] for first, after in zip(begins, insert, strict=False)]
    woven[1::2] = additions
    return b"".join(woven)


def _anonymised(
    data: bytes, located: Located, prefixes: list[bytes], additions: list[bytes]
) -> bytes:
    """Likewise, with prefixes where addresses stood."""
    for row, text in located.rewritten.items():
        prefixes[row] = text
    nowhere = located.length < 0
    for row in np.flatnonzero(nowhere).tolist():
        prefixes[row] = b""
    start = np.where(nowhere, located.insert, located.start).tolist()
    after = np.where(nowhere, located.insert, located.start + located.length).tolist()
    insert = located.insert.tolist()
    begins = [0, *insert]
    woven = [data[begins[-1] :]] * (4 * len(insert) + 1)
    woven[:-1:4] = [data[one:other] for one, other in zip(begins, start, strict=False)]
    woven[1::4] = prefixes
    woven[2::4] = [data[one:other] for one, other in zip(after, insert, strict=True)]
    woven[3::4] = additions
    return b"".join(woven)


def here(order: Order, blocks: Iterable[bytes]) -> Generator[Done, None, None]:
    """Work on blocks in this process."""
    with contextlib.closing(Worker(order)) as worker:
        yield from map(worker.work, filter(None, blocks))


def enough_for_several(blocks: Iterator[bytes]) -> tuple[bool, Iterator[bytes]]:
    """Whether there is more than one block, and all of them: other processes take a second to
    start, which isn't worth it for what is done by then."""
    first = [*itertools.islice(blocks, 2)]
    return len(first) > 1, itertools.chain(first, blocks)


def by_processes(
    work: Callable[[bytes], _T], blocks: Iterable[bytes], processes: int
) -> Generator[_T, None, None]:
    """Work on blocks in several processes, each of which maps the same snapshot.

    :param work: can be sent to another process.
    :param blocks: an empty one says that the next one may take long: those before it are waited
        for.
    :raises DataError: a process has ended.
    """
    pool = ProcessPoolExecutor(
        processes,
        get_context("spawn"),
        # Ctrl-C is the parent's.
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    # One to work on and one that waits, for each.
    most = 2 * processes
    under_way: deque[Future[_T]] = deque()
    try:
        for block in blocks:
            if block:
                under_way.append(pool.submit(work, block))
            while under_way and (len(under_way) >= most or not block):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool:
        raise DataError("a process that worked on it has ended; is there enough memory?") from None
    finally:
        pool.shutdown(cancel_futures=True)


# Of the process that this runs in: there is one order in its life.
_worker: Callable[[Order], Worker] = lru_cache(1)(Worker)


def work_on(order: Order, block: bytes) -> Done:
    """Work on a block in a process of its own."""
    return _worker(order).work(block)

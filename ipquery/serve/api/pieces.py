"""Pieces: what a rendition says of an answer, made of what it says of the answer's parts.

Hundreds of thousands of answers have the same few thousand regions, cities and owners. What is
said of those is kept, so an answer that isn't kept takes a few look-ups, and is
seldom parsed and encoded again.
"""

import itertools
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from ipquery.data.record import DataError
from ipquery.data.snapshot import Snapshot
from ipquery.data.snapshot.objects import ENTRY_BYTES, Kept
from ipquery.data.snapshot.reader import POOLS, Parts, members_values
from ipquery.serve.api.negotiation import Media
from ipquery.serve.api.rendition import CODES_OF, DEPENDS, SOURCES, Rendition, Run, translate

_Say = Callable[[int, Parts], bytes]

_PART_OF = {field: pool.partition(".")[0] for pool, fields in POOLS.items() for field in fields}

_POOL_OF = {fields: pool for pool, fields in POOLS.items()}


def make_pieces_of(
    snapshot: Snapshot, rendition: Rendition, kept: Kept
) -> Callable[[int], tuple[bytes, ...]]:
    """What makes the pieces of the answer with a number.

    They are those of :meth:`Rendition.pieces`.

    :param kept: where what is said of parts is kept, and where there is room for the pieces.
    """
    says = [
        _of_sources(snapshot, rendition, run, kept)
        if DEPENDS.get(run[0][0]) == SOURCES
        else _of_record(snapshot, rendition, run, kept)
        for run in rendition.runs
    ]

    def pieces_of(answer: int) -> tuple[bytes, ...]:
        parts = snapshot.parts(answer)
        try:
            return tuple([say(answer, parts) for say in says])
        except (IndexError, ValueError, AttributeError):
            raise DataError("the snapshot contradicts itself; build it again") from None

    return pieces_of


def _of_sources(snapshot: Snapshot, rendition: Rendition, run: Run, kept: Kept) -> _Say:
    """Of sources there are some ten different combinations."""
    said = kept.store()

    def say(answer: int, parts: Parts) -> bytes:
        found = said.get(parts.sources)
        if found is None:
            values = {"sources": snapshot.sources(answer), "snapshot": snapshot.identity}
            found = rendition.say(run, values).encode()
            kept.make_room(len(found) + ENTRY_BYTES)
            said[parts.sources] = found
        return found

    return say


def _of_record(snapshot: Snapshot, rendition: Rendition, run: Run, kept: Kept) -> _Say:
    between = rendition.between
    says = [
        (attrgetter(part), _of_part(snapshot, rendition, part, [*names], kept))
        for part, names in itertools.groupby(run, lambda one: _PART_OF[one[0]])
    ]

    def say(answer: int, parts: Parts) -> bytes:
        found = between.join([say_part(number(parts)) for number, say_part in says])
        kept.make_room(len(found))
        return found

    return say


def _of_part(
    snapshot: Snapshot, rendition: Rendition, part: str, run: Run, kept: Kept
) -> Callable[[int], bytes | memoryview]:
    language = rendition.selection.language
    fields = tuple(name for name, _ in run)
    pool = _POOL_OF.get(fields)
    is_translated = language is not None and not CODES_OF.keys().isdisjoint(fields)
    if pool is not None and rendition.media is Media.JSON and not is_translated:
        return snapshot.pool_text(pool)  # as it stands there
    pools = [name for name in POOLS if name.startswith(f"{part}.")]
    reads = [(POOLS[name], snapshot.pool_text(name)) for name in pools]
    names = snapshot.names(language) if is_translated and language is not None else {}
    said = kept.store()

    def say(number: int) -> bytes:
        found = said.get(number)
        if found is None:
            values: dict[str, Any] = {}
            for fields, read in reads:
                values.update(zip(fields, members_values(read(number)), strict=True))
            translate(values, names)
            found = rendition.say(run, values).encode()
            kept.make_room(len(found) + ENTRY_BYTES)
            said[number] = found
        return found

    return say

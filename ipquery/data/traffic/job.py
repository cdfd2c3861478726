"""A run: what is read is counted, and nothing of it is kept."""

from collections.abc import Callable, Sequence
from typing import Any

from ipquery.data.enrich.inputs import SIZE, Input
from ipquery.data.enrich.options import Options
from ipquery.data.snapshot.reader import Snapshot
from ipquery.data.traffic.answers import answers
from ipquery.data.traffic.rows import read
from ipquery.data.traffic.tally import Tally

_OF_SOURCES = ("name", "format", "date", "licence", "attribution")


def count(
    snapshot: Snapshot,
    inputs: Sequence[Input],
    options: Options,
    time: str | None,
    top: int,
    report: Callable[[int], None],
    processes: int = 1,
    size: int = SIZE,
) -> dict[str, Any]:
    """Count the rows of all inputs: what ``ipquery report --json`` has.

    :param options: without fields.
    :param time: see :func:`ipquery.data.traffic.rows.read`.
    :param top: how many countries and so on to name.
    :param report: is told how many rows there have been.
    :param processes: how many look lines up.
    :param size: bytes of a block of lines.
    :raises DataError: something can't be read or made sense of.
    """
    source = read(inputs, options, time, size)
    tally = Tally(snapshot, timed=source.time is not None)
    with answers(snapshot, source, processes) as found:
        for some in found:
            tally.add(some)
            report(tally.rows)
    return {
        **tally.told(top),
        "sources": [
            {name: one.get(name) for name in _OF_SOURCES} for one in snapshot.about["sources"]
        ],
    }

"""What batches cost others: how long look-ups wait beside them, and the worker's memory.

Look-ups come at a fixed rate on connections of their own, first alone and then beside batches
of 10,000 whole objects, the largest answers there are. How long the event loop is held shows
in what the slowest of them wait.
"""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs

from loadgen.bench.bare import ask_bare
from loadgen.bench.rounds import Contender, Row, measure, ratio
from loadgen.peers.cores import LOAD_CORE
from loadgen.peers.servers import IPQUERY, Running, Server
from loadgen.report.tables import Table
from loadgen.report.tally import Tally
from loadgen.tools.wrk import replay_with_wrk

CONNECTIONS = 16
RATE = 2000
"""Look-ups a second: a tenth of what a worker can, so that batches are what they wait for."""
BATCHES = 8
MOST_BATCHES = 64
MOST_P99 = 2.0
"""At most this ratio of p99s, with batches to without."""


@attrs.frozen
class Neighbours:
    """What was found."""

    alone: Row
    beside: Row
    memory_before: int
    """Bytes that the worker had before there were batches, at most."""
    memory: int
    """Bytes it had at most while :data:`MOST_BATCHES` of them came at the same time."""


def measure_neighbours(
    look_ups: Path,
    batches: Path,
    running: Running,
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
) -> Neighbours:
    """Send look-ups at a rate in turns without and with batches; then only batches.

    :param look_ups: a file of requests, and
    :param batches: another.
    """
    alone, beside = measure(
        [
            Contender("look-ups alone", IPQUERY, partial(_look_up, look_ups)),
            Contender("look-ups beside batches", IPQUERY, partial(_beside, look_ups, batches)),
        ],
        running,
        rounds,
        seconds,
        say,
    )
    running.forget_peaks(IPQUERY)
    before = running.worker_peak(IPQUERY)
    replay_with_wrk(IPQUERY.port, batches, MOST_BATCHES, seconds, LOAD_CORE)
    return Neighbours(alone, beside, before, running.worker_peak(IPQUERY))


def _look_up(file: Path, server: Server, seconds: float) -> Tally:
    return ask_bare(server, file, CONNECTIONS, seconds, rate=RATE)


def _beside(look_ups: Path, batches: Path, server: Server, seconds: float) -> Tally:
    # A second more on either side, so that no look-up is alone.
    send = partial(replay_with_wrk, server.port, batches, BATCHES, seconds + 2, LOAD_CORE)
    thread = threading.Thread(target=send)
    thread.start()
    try:
        return _look_up(look_ups, server, seconds)
    finally:
        thread.join()


def table(found: Neighbours) -> Table:
    """Latencies of look-ups, and memory."""
    rows: list[tuple[str, ...]] = [
        (f"look-ups at {RATE:,}/s", "p50 ms", "p99 ms", "p99.9 ms", "errors")
    ]
    for row in (found.alone, found.beside):
        times = [row.median(of) for of in (_p50, _p99, _p999)]
        rows.append((row.contender.name, *(f"{one * 1e3:.2f}" for one in times), str(row.errors)))
    p99 = ratio(found.beside, found.alone, _p99)
    rows.append((f"ratio of p99s (at most {MOST_P99:g})", "", f"{p99:.2f}", "", ""))
    megabytes = [f"{size / 1e6:.0f} MB" for size in (found.memory_before, found.memory)]
    told = f"worker's memory before and with {MOST_BATCHES} batches of 10,000"
    return [*rows, (told, *megabytes, "", "")]


def _p50(one: Tally) -> float:
    return one.p50


def _p99(one: Tally) -> float:
    return one.p99


def _p999(one: Tally) -> float:
    return one.p999

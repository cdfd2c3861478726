"""How long callers with a connection for each request wait, at a rate that both servers hold."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import attrs

from loadgen.bench.bare import ask_bare
from loadgen.bench.rounds import Contender, Row, measure, ratio
from loadgen.bench.shapes import Pair
from loadgen.peers.servers import Running, Server
from loadgen.report.tables import Table
from loadgen.report.tally import Tally

NAME = "one-shot at a rate"
CALLERS = 64
SHARE = 0.8
"""Of the highest rate of the slower one."""
MOST_P99 = 2.0
"""At most this ratio of p99s, ipquery to nginx."""


@attrs.frozen
class Steady:
    """What was found."""

    rate: float
    """Requests a second that both were sent."""
    ours: Row
    peer: Row

    @property
    def ratio(self) -> float:
        """Of p99s."""
        return ratio(self.ours, self.peer, lambda one: one.p99)


def _ask(file: Path, rate: float, server: Server, seconds: float) -> Tally:
    return ask_bare(server, file, CALLERS, seconds, anew=True, rate=rate)


def measure_steady(
    highest: Pair,
    file: Path,
    running: Running,
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
) -> Steady:
    """Send both servers the same rate, in turns.

    :param highest: what both did without a rate.
    :param file: the requests.
    """
    slower = min(row.median(lambda one: one.rate) for row in (highest.ours, highest.peer))
    rate = SHARE * slower

    def contenders() -> Iterator[Contender]:
        for who, row in (("ipquery", highest.ours), ("nginx", highest.peer)):
            yield Contender(f"{NAME}, {who}", row.contender.server, partial(_ask, file, rate))

    return Steady(rate, *measure(list(contenders()), running, rounds, seconds, say))


def table(found: Steady) -> Table:
    """Both servers' latencies."""
    rows: list[tuple[str, ...]] = [("one-shot callers at a rate", "req/s", "p50 ms", "p99 ms")]
    for who, row in (("ipquery", found.ours), ("nginx, geoip2", found.peer)):
        times = (row.median(lambda one: one.p50), row.median(lambda one: one.p99))
        rows.append(
            (
                who,
                f"{row.median(lambda one: one.rate):,.0f}",
                *(f"{seconds * 1e3:.2f}" for seconds in times),
            )
        )
    rows.append((f"ratio of p99s (at most {MOST_P99:g})", "", "", f"{found.ratio:.2f}"))
    return rows

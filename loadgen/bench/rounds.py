"""Servers asked in turn, round by round, so that all of them see the same machine."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from loadgen.peers.servers import Running, Server
from loadgen.report.tally import Tally

Ask = Callable[[Server, float], Tally]
"""Puts a server under load for so many seconds."""


@attrs.frozen
class Contender:
    """A server, and how it is asked."""

    name: str
    server: Server
    ask: Ask


@attrs.define
class Row:
    """What all rounds found of a contender."""

    contender: Contender
    results: list[Tally] = attrs.field(factory=list)
    cpu: list[float] = attrs.field(factory=list)
    """Seconds of processor time of the server for a request."""
    pss: int = 0
    """Memory of its largest process, in bytes."""

    def median(self, of: Callable[[Tally], float]) -> float:
        """The middle of all rounds."""
        return statistics.median(map(of, self.results))

    @property
    def cpu_microseconds(self) -> float:
        """Processor time of the server for a request, the middle of all rounds."""
        return statistics.median(self.cpu) * 1e6

    @property
    def errors(self) -> int:
        """What failed in any round."""
        return sum(result.errors for result in self.results)

    def summary(self) -> dict[str, Any]:
        """The row, for JSON."""
        rates = [result.rate for result in self.results]
        return {
            "name": self.contender.name,
            "requests_per_second": statistics.median(rates),
            "lowest": min(rates),
            "highest": max(rates),
            "p50_seconds": self.median(lambda result: result.p50),
            "p99_seconds": self.median(lambda result: result.p99),
            "p999_seconds": self.median(lambda result: result.p999),
            "cpu_microseconds": self.cpu_microseconds,
            "pss_bytes": self.pss,
            "errors": self.errors,
            "refused": sum(result.refused for result in self.results),
            "generator_busy": self.median(lambda result: result.busy),
        }


def measure(
    contenders: Sequence[Contender],
    running: Running,
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
    when_started: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Ask each contender in turn, ``rounds`` times over.

    :param when_started: called before the first round.
    """
    rows = [Row(contender) for contender in contenders]
    for contender in contenders:
        say(f"starting {contender.server.name}: {contender.name}")
        running.start(contender.server)
        contender.ask(contender.server, 1)
    when_started()
    for number in range(1, rounds + 1):
        for row in rows:
            server = row.contender.server
            before = running.cpu_seconds(server)
            result = row.contender.ask(server, seconds)
            row.cpu.append((running.cpu_seconds(server) - before) / max(result.requests, 1))
            row.results.append(result)
            row.pss = running.worker_pss(server)
            running.truncate_logs()
            say(f"round {number} of {rounds}: {row.contender.name}: {result.rate:,.0f} requests/s")
    return rows


def ratio(over: Row, under: Row, of: Callable[[Tally], float] = lambda one: one.rate) -> float:
    """The middle of the rounds' ratios, each of two turns that saw the same machine."""
    pairs = zip(over.results, under.results, strict=True)
    return statistics.median(of(a) / of(b) for a, b in pairs)


def cpu_ratio(over: Row, under: Row) -> float:
    """The same of processor time for a request."""
    # A turn too short for the kernel's clock, 10 ms, may have none.
    pairs = zip(over.cpu, under.cpu, strict=True)
    return statistics.median(a / b if b else float("inf") for a, b in pairs)

"""Side by side: ipquery and its peers, in one run, on one core each.

    python -m loadgen.bench [--rounds 5] [--seconds 3] [--connections 64] [--only PATTERN]...

Machines are noisy: what is worth quoting are the ratios of one run.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import attrs
import click

from ipquery.data.build import default_cache, served_snapshot
from ipquery.data.sources import default_sources
from ipquery.net.limits import raise_open_files
from ipquery.progress import reporter
from loadgen.peers.servers import (
    CONSTANT,
    FASTAPI,
    GEOIP2,
    GRANIAN,
    IPQUERY,
    KLEIN,
    OLD,
    ROUTES,
    Running,
    Server,
)
from loadgen.report.tables import columns, markdown
from loadgen.tools.wrk import WrkResult, run_wrk

_SERVER_CORE, _LOAD_CORE = 0, 1


@attrs.frozen
class Subject:
    """A server, and how it is asked."""

    server: Server
    kind: str = "get"

    @property
    def name(self) -> str:
        """Its row's title."""
        suffix = {"get": "", "post": ", POST", "browser": ", ten browser headers"}[self.kind]
        return self.server.name + suffix


SUBJECTS = (
    Subject(IPQUERY),
    Subject(IPQUERY, "post"),
    Subject(IPQUERY, "browser"),
    Subject(ROUTES),
    Subject(KLEIN),
    Subject(OLD),
    Subject(FASTAPI),
    Subject(GRANIAN),
    Subject(GEOIP2),
    Subject(CONSTANT),
)

# What the project promises, as ratios of rates: title, of, to, at least.
AIMS = (
    ("ipquery / nginx with geoip2", SUBJECTS[0], SUBJECTS[8], 1.15),
    ("ipquery / nginx with a constant answer", SUBJECTS[0], SUBJECTS[9], 0.70),
    ("ipquery / stock Klein", SUBJECTS[0], SUBJECTS[4], 12),
    ("ipquery / the old design", SUBJECTS[0], SUBJECTS[5], 25),
    ("ipquery, POST / GET", SUBJECTS[1], SUBJECTS[0], 0.9),
    ("ipquery, browser headers / none", SUBJECTS[2], SUBJECTS[0], 0.75),
)


@attrs.define
class Row:
    """What all rounds found of a subject."""

    subject: Subject
    results: list[WrkResult] = attrs.field(factory=list)
    cpu: list[float] = attrs.field(factory=list)
    pss: int = 0

    def median(self, of: Callable[[WrkResult], float]) -> float:
        """The middle of all rounds."""
        return statistics.median(map(of, self.results))

    def summary(self) -> dict[str, Any]:
        """The row, for JSON."""
        rates = [result.rate for result in self.results]
        return {
            "name": self.subject.name,
            "requests_per_second": statistics.median(rates),
            "lowest": min(rates),
            "highest": max(rates),
            "p50_seconds": self.median(lambda result: result.p50),
            "p99_seconds": self.median(lambda result: result.p99),
            "p999_seconds": self.median(lambda result: result.p999),
            "cpu_microseconds": statistics.median(self.cpu) * 1e6,
            "pss_bytes": self.pss,
            "errors": sum(result.errors for result in self.results),
        }


def measure(
    subjects: Sequence[Subject],
    running: Running,
    rounds: int,
    seconds: float,
    connections: int,
    say: Callable[[str], None],
    when_started: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Ask each subject in turn, ``rounds`` times over.

    :param when_started: called before the first round.
    """
    rows = [Row(subject) for subject in subjects]
    for row in rows:
        say(f"starting {row.subject.server.name}")
        running.start(row.subject.server)
        run_wrk(row.subject.server.port, connections, 1, row.subject.kind, _LOAD_CORE)
    when_started()
    for number in range(1, rounds + 1):
        for row in rows:
            subject = row.subject
            before = running.cpu_seconds(subject.server)
            result = run_wrk(subject.server.port, connections, seconds, subject.kind, _LOAD_CORE)
            row.cpu.append((running.cpu_seconds(subject.server) - before) / result.requests)
            row.results.append(result)
            row.pss = running.worker_pss(subject.server)
            say(f"round {number} of {rounds}: {subject.name}: {result.rate:,.0f} requests/s")
    return rows


def ratios(rows: Sequence[Row]) -> list[tuple[str, float, float]]:
    """Title, median of the rounds' ratios, aim: of what was measured.

    The ratio is taken round by round, as its two parts saw the same machine then.
    """
    by_name = {row.subject.name: row.results for row in rows}
    found = []
    for title, over, under, aim in AIMS:
        if over.name in by_name and under.name in by_name:
            pairs = zip(by_name[over.name], by_name[under.name], strict=True)
            found.append((title, statistics.median(a.rate / b.rate for a, b in pairs), aim))
    return found


_HEADINGS = (
    "server",
    "req/s",
    "spread",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "CPU µs",
    "PSS MB",
    "errors",
)


def table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Headings and rows, as texts."""
    lines: list[tuple[str, ...]] = [_HEADINGS]
    for row in rows:
        found = row.summary()
        lines.append(
            (
                found["name"],
                f"{found['requests_per_second']:,.0f}",
                f"{found['lowest']:,.0f}-{found['highest']:,.0f}",
                f"{found['p50_seconds'] * 1e3:.2f}",
                f"{found['p99_seconds'] * 1e3:.2f}",
                f"{found['p999_seconds'] * 1e3:.2f}",
                f"{found['cpu_microseconds']:.1f}",
                f"{found['pss_bytes'] / 1e6:.0f}",
                str(found["errors"]),
            )
        )
    return lines


def _ratio_lines(found: Sequence[tuple[str, float, float]]) -> list[tuple[str, ...]]:
    return [
        ("ratio", "median", "aim"),
        *((title, f"{ratio:.2f}", f"{aim:.2f}") for title, ratio, aim in found),
    ]


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Turns that each server gets.")
@click.option("--seconds", default=3, show_default=True, help="How long a turn takes.")
@click.option("--connections", default=64, show_default=True, help="Open at the same time.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Only such names, as nginx*.")
@click.option("--mmdb", type=click.Path(path_type=Path), help="DB-IP City Lite, for nginx.")
@click.option("--out", default=Path("build"), type=click.Path(path_type=Path), show_default=True)
def main(
    rounds: int, seconds: int, connections: int, only: Sequence[str], mmdb: Path | None, out: Path
) -> None:
    """Measure ipquery and its peers; write bench.md and bench.json into OUT."""
    raise_open_files()

    def wanted(subject: Subject) -> bool:
        if mmdb is None and subject.server in (GEOIP2, CONSTANT):
            return False
        return not only or any(fnmatch(subject.name, pattern) for pattern in only)

    subjects = [subject for subject in SUBJECTS if wanted(subject)]
    snapshot = served_snapshot(default_sources(), default_cache(), reporter(sys.stderr))
    with (
        tempfile.TemporaryDirectory() as folder,
        Running(Path(folder), snapshot, mmdb and mmdb.absolute(), _SERVER_CORE) as running,
    ):
        # nginx's worker is somebody else.
        Path(folder).chmod(0o755)
        rows = measure(
            subjects,
            running,
            rounds,
            seconds,
            connections,
            lambda text: click.echo(text, err=True),
        )
    found = ratios(rows)
    click.echo(f"\n{connections} connections, {rounds} rounds of {seconds} s, medians\n")
    click.echo(columns(table(rows)))
    out.mkdir(parents=True, exist_ok=True)
    parts = [markdown(table(rows))]
    if found:
        click.echo(f"\n{columns(_ratio_lines(found))}")
        parts.append(markdown(_ratio_lines(found)))
    (out / "bench.md").write_text("\n\n".join(parts) + "\n")
    report = {
        "connections": connections,
        "rounds": rounds,
        "seconds": seconds,
        "servers": [row.summary() for row in rows],
        "ratios": {title: ratio for title, ratio, _ in found},
    }
    (out / "bench.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

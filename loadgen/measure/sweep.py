"""The service with other numbers of workers, transports and ways: rate and memory of each."""

import itertools
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from loadgen.peers.servers import Running, Server, ipquery_command
from loadgen.report.charts import Line, legend, lines
from loadgen.report.page import page
from loadgen.report.page import table as html_table
from loadgen.report.result import Result
from loadgen.report.tables import columns
from loadgen.report.text import bar, duration


@attrs.frozen
class Setting:
    """One choice of one dimension: flags of the daemon, and its environment.

    ``{folder}`` in either is the folder that the run may write to.
    """

    name: str
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = attrs.field(factory=dict)


UVLOOP = Setting("uvloop")
# Twisted's own transport, as on a machine where uvloop isn't installed.
STOCK = Setting("stock", environment={"PYTHONPATH": "{folder}/without-uvloop"})
TRANSPORTS = {one.name: one for one in (UVLOOP, STOCK)}

LANES = {"on": Setting("lane"), "off": Setting("no lane", ("--no-express",))}


NO_CACHE = "none"


def caches(redis: str | None) -> dict[str, Setting]:
    """What may be kept in this Redis, by scope; without one, nothing."""
    settings = {NO_CACHE: Setting("no cache")}
    if redis is not None:
        settings["fallback"] = Setting("cache fallback", ("--redis", redis))
        # The scope has no flag of its own.
        everything = ("--redis", redis, "--config", "{folder}/cache-all.toml")
        settings["all"] = Setting("cache all", everything)
    return settings


def workers(count: int) -> Setting:
    """So many workers."""
    return Setting(str(count), ("-w", str(count)))


@attrs.frozen
class Row:
    """One combination, and what it did."""

    settings: tuple[Setting, ...]
    """The number of workers first."""
    result: Result
    worker_bytes: int
    """Memory of the largest process, shared pages shared out (PSS)."""
    total_bytes: int
    """Memory of all processes."""

    @property
    def variant(self) -> str:
        """What is the same along a line of the plot."""
        return ", ".join(one.name for one in self.settings[1:])

    @property
    def worker_count(self) -> int:
        """How many workers."""
        return int(self.settings[0].name)


Drive = Callable[[int], Awaitable[Result]]
"""Puts a port under load."""


async def sweep(
    dimensions: Sequence[Sequence[Setting]],
    snapshot: Path,
    cores: str,
    drive: Drive,
    say: Callable[[str], None],
) -> list[Row]:
    """Measure every combination.

    :param dimensions: the numbers of workers first; another dimension, say what is
        cached, is another list of settings.
    :param cores: where the service runs, as taskset(1) has it.
    """
    rows = []
    for settings in itertools.product(*dimensions):
        title = " workers, ".join([settings[0].name, ", ".join(one.name for one in settings[1:])])
        say(title)
        with (
            tempfile.TemporaryDirectory() as folder,
            Running(Path(folder), snapshot, None, cores) as running,
        ):
            hidden = Path(folder) / "without-uvloop"
            hidden.mkdir()
            (hidden / "uvloop.py").write_text('raise ImportError("hidden for comparison")\n')
            (Path(folder) / "cache-all.toml").write_text("[cache]\nscope = 'all'\n")
            server = _server(title, settings)
            running.start(server)
            result = await drive(server.port)
            row = Row(settings, result, running.worker_pss(server), running.total_pss(server))
        rows.append(row)
        say(f"    {result.rate:,.0f} requests/s, {row.total_bytes / 1e6:.0f} MB")
    return rows


def _server(title: str, settings: Sequence[Setting]) -> Server:
    flags = [flag for one in settings for flag in one.flags]
    environment = {name: value for one in settings for name, value in one.environment.items()}
    return Server(title, ipquery_command("{snapshot}", *flags), environment)


_HEADINGS = ["workers", "settings", "req/s", "p50", "p99", "failed", "MB/worker", "MB"]


def _cells(row: Row) -> list[str]:
    latency = row.result.latency.percentiles
    return [
        str(row.worker_count),
        row.variant,
        f"{row.result.rate:,.0f}",
        duration(latency[50]),
        duration(latency[99]),
        f"{row.result.failed:,}",
        f"{row.worker_bytes / 1e6:.0f}",
        f"{row.total_bytes / 1e6:.0f}",
    ]


def as_text(rows: Sequence[Row]) -> str:
    """A table with bars, for a terminal."""
    most = max(row.result.rate for row in rows) or 1
    head, *body = columns([_HEADINGS, *map(_cells, rows)]).splitlines()
    drawn = [
        f"{line}  {bar(row.result.rate / most, 24)}" for line, row in zip(body, rows, strict=True)
    ]
    notes = sorted({warning for row in rows for warning in row.result.warnings})
    return "\n".join([head, *drawn, *(f"NOTE: {note}" for note in notes)])


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """For JSON."""
    return {
        "rows": [
            {
                "workers": row.worker_count,
                "settings": [one.name for one in row.settings[1:]],
                "worker_bytes": row.worker_bytes,
                "total_bytes": row.total_bytes,
                **row.result.as_json(),
            }
            for row in rows
        ]
    }


def as_html(rows: Sequence[Row]) -> str:
    """A page with plots over the number of workers."""
    variants = list(dict.fromkeys(row.variant for row in rows))
    counts = sorted({row.worker_count for row in rows})
    marks = [(float(count), str(count)) for count in counts]

    def plot(title: str, of: Callable[[Row], float]) -> str:
        drawn = [
            Line(name, [(row.worker_count, of(row)) for row in rows if row.variant == name])
            for name in variants
        ]
        return f"<h2>{title}</h2>{lines(drawn, marks, title=title)}"

    body = [
        plot("Requests/s by workers", lambda row: row.result.rate),
        plot("Memory by workers, MB", lambda row: row.total_bytes / 1e6),
        f'<p class="legend">{legend(variants)}</p>',
        html_table([_HEADINGS, *map(_cells, rows)]),
    ]
    return page("ipquery-load sweep", "\n".join(body))

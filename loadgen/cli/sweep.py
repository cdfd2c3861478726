"""``ipquery-load sweep``."""

import os
import shlex
from pathlib import Path
from typing import Any

import click

from ipquery.net.limits import raise_open_files
from loadgen.cli.output import Outputs, note, run_in_reactor
from loadgen.cli.parameters import DURATION, HTML, JSON, Parsed, snapshot_of
from loadgen.measure import sweep
from loadgen.measure.run import Run
from loadgen.report.result import Result
from loadgen.send.plan import Plan, PlanError, parse_target

_MOST_WORKERS = 64


def parse_counts(text: str) -> tuple[int, ...]:
    """Read ``1,2,4``.

    :raises PlanError: these aren't numbers of workers.
    """
    parts = text.split(",")
    if not all(part.isdecimal() and 1 <= int(part) <= _MOST_WORKERS for part in parts):
        raise PlanError(f"{text}: not numbers of workers; give for example 1,2,4")
    return tuple(map(int, parts))


def parse_variant(text: str) -> tuple[str, tuple[str, ...]]:
    """Read ``NAME=FLAGS``, as in ``cached=--redis redis://127.0.0.1``.

    :raises PlanError: there is no name.
    """
    name, _, flags = text.partition("=")
    if not name:
        raise PlanError(f"{text}: give NAME=FLAGS")
    return name, tuple(shlex.split(flags))


@click.command("sweep")
@click.option(
    "-w",
    "--workers",
    "counts",
    type=Parsed("counts", parse_counts),
    default="1,2,4,10",
    show_default=True,
    help="Numbers of workers.",
)
@click.option(
    "--transport",
    "transports",
    multiple=True,
    type=click.Choice(["uvloop", "stock"]),
    default=["uvloop"],
    show_default=True,
    help="The loop's own or Twisted's; both may be given.",
)
@click.option(
    "--lane",
    "lanes",
    multiple=True,
    type=click.Choice(["on", "off"]),
    default=["on", "off"],
    show_default=True,
    help="The express lane; both may be given.",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME=FLAGS",
    type=Parsed("variant", parse_variant),
    help="One more dimension: flags of `twistd ipquery`, as 'cached=--redis URL'. Several times.",
)
@click.option(
    "--cache",
    "scopes",
    multiple=True,
    type=click.Choice(["none", "fallback", "all"]),
    default=["none"],
    show_default=True,
    help="What is kept in Redis; several may be given.",
)
@click.option("--redis", metavar="URL", help="Where, as for `twistd ipquery --redis`.")
@click.option("--db", default="default", show_default=True, help="A snapshot or SOURCE.")
@click.option("-d", "--duration", "seconds", type=DURATION, default="5s", show_default=True)
@click.option("-c", "--connections", default=64, show_default=True, help="Open at the same time.")
@click.option("-t", "--processes", default=1, show_default=True, help="Processes to send from.")
@JSON
@HTML
def sweep_command(
    counts: tuple[int, ...],
    transports: tuple[str, ...],
    lanes: tuple[str, ...],
    variants: tuple[tuple[str, tuple[str, ...]], ...],
    scopes: tuple[str, ...],
    redis: str | None,
    db: str,
    seconds: float,
    connections: int,
    processes: int,
    json_to: str | None,
    html_to: Path | None,
) -> None:
    """Start the service in all these ways: rate, latency and memory of each.

    Servers run on all cores but the last, where the load comes from.
    """
    caches = sweep.caches(redis)
    if not set(scopes) <= set(caches):
        raise click.UsageError("to keep results in Redis, say where: --redis URL")
    path = snapshot_of(db)
    assert path is not None
    available = sorted(os.sched_getaffinity(0))
    raise_open_files()
    dimensions = [
        [sweep.workers(count) for count in counts],
        [sweep.TRANSPORTS[name] for name in dict.fromkeys(transports)],
        [sweep.LANES[name] for name in dict.fromkeys(lanes)],
    ]
    if set(scopes) != {sweep.NO_CACHE}:
        dimensions.append([caches[name] for name in dict.fromkeys(scopes)])
    if variants:
        dimensions.append([sweep.Setting(name, flags) for name, flags in variants])

    async def work(reactor: Any) -> list[sweep.Row]:
        async def drive(port: int) -> Result:
            plan = Plan(
                parse_target(f"http://127.0.0.1:{port}/"),
                connections=connections,
                processes=processes,
                seconds=seconds,
                cores=(available[-1],),
            )
            return await Run(reactor, plan).result()

        cores = ",".join(map(str, available[:-1] or available))
        return await sweep.sweep(dimensions, Path(path), cores, drive, note)

    rows: list[sweep.Row] = run_in_reactor(work)
    outputs = Outputs(json_to, html_to)
    outputs.write(sweep.as_text(rows), sweep.as_json(rows), sweep.as_html(rows))

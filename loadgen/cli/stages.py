"""``ipquery-load stages``."""

from pathlib import Path
from typing import Any

import click

from ipquery.net.limits import raise_open_files
from loadgen.cli.output import Outputs, note, run_in_reactor
from loadgen.cli.parameters import DURATION, HTML, JSON, snapshot_of
from loadgen.measure.run import Run
from loadgen.peers.cores import LOAD_CORE, SERVER_CORE
from loadgen.send.plan import Plan, parse_target


@click.command("stages")
@click.option("--db", default="default", show_default=True, help="A snapshot or SOURCE.")
@click.option("-d", "--duration", "seconds", type=DURATION, default="2s", show_default=True)
@click.option("-c", "--connections", default=64, show_default=True, help="Open at the same time.")
@JSON
@HTML
def stages_command(
    db: str, seconds: float, connections: int, json_to: str | None, html_to: Path | None
) -> None:
    """Measure each step of a request by itself, and name the bottleneck."""
    path = snapshot_of(db)
    assert path is not None
    raise_open_files()

    async def work(reactor: Any) -> None:
        from loadgen.measure import stages  # Klein, which it measures, imports the reactor

        async def drive(port: int) -> int:
            plan = Plan(
                parse_target(f"http://127.0.0.1:{port}/"),
                connections=connections,
                seconds=seconds,
                cores=(LOAD_CORE,),
            )
            return (await Run(reactor, plan).result()).answered

        found = await stages.measure(Path(path), drive, SERVER_CORE, note)
        outputs = Outputs(json_to, html_to)
        outputs.write(stages.as_text(found), stages.as_json(found), stages.as_html(found))

    run_in_reactor(work)

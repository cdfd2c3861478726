"""``ipquery-load run``, and with ``--ramp`` many runs."""

import os
import signal
import sys
from types import FrameType
from typing import Any

import attrs
import click

from ipquery.net.limits import raise_open_files
from loadgen.cli.output import Live, Outputs, run_in_reactor
from loadgen.cli.parameters import DURATION, WRITABLE, Parsed, snapshot_of
from loadgen.measure import ramp
from loadgen.measure.preflight import warnings
from loadgen.measure.run import Run
from loadgen.report.page import as_html
from loadgen.report.result import Result
from loadgen.report.text import as_text
from loadgen.send.addresses import NOTATION
from loadgen.send.plan import (
    MOST_RATE,
    MOST_REQUESTS,
    Plan,
    PlanError,
    parse_duration,
    parse_header,
    parse_mix,
    parse_target,
    readable,
)

# A step of a ramp has at least so many requests: of fewer, the slowest alone would be the p99.
_RAMP_REQUESTS = 20


def parse_p99(text: str) -> float:
    """Read the target of a ramp: ``p99=10ms`` or ``10ms``.

    :raises PlanError: neither.
    """
    return parse_duration(text.removeprefix("p99="))


@click.command("run")
@click.argument("url", metavar="URL")
@click.option("-c", "--connections", default=64, show_default=True, help="Open at the same time.")
@click.option(
    "-d",
    "--duration",
    "seconds",
    type=DURATION,
    default="10s",
    show_default=True,
    help="How long: 60s, 500ms, 2m; at most an hour.",
)
@click.option(
    "-t", "--processes", default=1, show_default=True, help="Processes to send from; wrk's threads."
)
@click.option("-n", "--requests", type=int, help="Stop after so many requests.")
@click.option(
    "--rate",
    type=float,
    help="Open loop: so many requests a second, whatever the server does. Latency counts from "
    "when a request was due.",
)
@click.option(
    "--ramp",
    "p99",
    metavar="p99=TIME",
    type=Parsed("p99", parse_p99),
    help="Find the highest rate that keeps a p99, from --rate up, -d for each step.",
)
@click.option(
    "--mix",
    "post_share",
    metavar="get=N,post=N",
    type=Parsed("mix", parse_mix),
    default="get=1",
    help="Methods in proportion.",
)
@click.option("--addresses", default="uniform", show_default=True, help=f"{NOTATION}.")
@click.option("--ipv6", "ipv6_share", default=0.0, show_default=True, help="Share of IPv6, 0 to 1.")
@click.option("--seed", default=1, show_default=True, help="The same seed asks the same.")
@click.option(
    "--no-keep-alive",
    "keep_alive",
    flag_value=False,
    default=True,
    type=bool,
    help="One connection for each request; latency holds the time to connect.",
)
@click.option("--pipeline", default=1, show_default=True, help="Requests in flight a connection.")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    type=Parsed("header", parse_header),
    help="Send a header field; several times.",
)
@click.option(
    "--timeout",
    type=DURATION,
    default="10s",
    show_default=True,
    help="A request without an answer for so long has failed.",
)
@click.option("--expect", metavar="DB", help="Check every answer against a snapshot or SOURCE.")
@click.option("--db", metavar="DB", help="Where --addresses country:CODE has its ranges from.")
@click.option("--ca", metavar="FILE", help="Certificates to trust instead of the system's (PEM).")
@click.option("--cores", metavar="N,N", default="", help="Keep the processes to these cores.")
@click.option(
    "--yes-i-own",
    "owned",
    multiple=True,
    metavar="HOST",
    help="Allow a target that isn't this machine.",
)
@click.option(
    "--json",
    "json_to",
    metavar="FILE|-",
    type=click.Path(allow_dash=True),
    help="Write the result as JSON; on standard output there is nothing else then.",
)
@click.option("--html", "html_to", metavar="FILE", type=WRITABLE, help="Write a page.")
def run_command(**given: Any) -> None:
    """Send look-ups to URL, as many as it takes or at a constant rate.

    Without a path in URL, /api/ip_query is asked. Exit status 1 if a request failed
    or an answer was wrong.
    """
    plan = _plan(given)
    outputs = Outputs(given["json_to"], given["html_to"])
    for warning in warnings(plan):
        click.echo(f"NOTE: {warning}", err=True)
    raise_open_files()
    if given["p99"] is not None:
        _ramp(plan, given["p99"], outputs)
        return
    live = Live(sys.stderr, plan.seconds)

    async def work(reactor: Any) -> Result:
        run = Run(reactor, plan, live.show)
        stop_on_interrupt(reactor, run)
        return await run.result()

    try:
        result: Result = run_in_reactor(work)
    finally:
        live.clear()
    outputs.write(as_text(result), result.as_json(), as_html(result))
    if result.failed or result.mismatches:
        raise SystemExit(1)


def _plan(given: dict[str, Any]) -> Plan:
    """The plan of the command line.

    :raises PlanError: it can't be done.
    """
    return Plan(
        target=parse_target(given["url"], given["owned"]),
        connections=given["connections"],
        processes=given["processes"],
        seconds=given["seconds"],
        requests=MOST_REQUESTS if given["requests"] is None else given["requests"],
        rate=given["rate"],
        post_share=given["post_share"],
        addresses=given["addresses"],
        ipv6_share=given["ipv6_share"],
        seed=given["seed"],
        keep_alive=given["keep_alive"],
        pipeline=given["pipeline"],
        timeout=given["timeout"],
        headers=tuple(given["headers"]),
        expect=snapshot_of(given["expect"]),
        database=snapshot_of(given["db"]),
        ca=readable(given["ca"]) if given["ca"] else None,
        cores=_cores(given["cores"]),
    )


def _cores(text: str) -> tuple[int, ...]:
    numbers = [part for part in text.split(",") if part]
    available = os.sched_getaffinity(0)
    for number in numbers:
        if not number.isdecimal() or int(number) not in available:
            raise PlanError(f"--cores {text}: give some of {','.join(map(str, sorted(available)))}")
    return tuple(map(int, numbers))


def stop_on_interrupt(reactor: Any, run: Run) -> None:
    """The first interrupt ends a run with what it has, the second at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        reactor.callFromThread(run.stop)

    signal.signal(signal.SIGINT, stop)


def _ramp(plan: Plan, p99: float, outputs: Outputs) -> None:
    start = plan.rate or ramp.START_RATE
    least = _RAMP_REQUESTS / plan.seconds
    live = Live(sys.stderr, plan.seconds)

    def say(step: ramp.Step) -> None:
        live.clear()
        click.echo(ramp.describe(step), err=True)

    async def work(reactor: Any) -> ramp.Ramp:
        async def run(rate: float) -> Result:
            one = Run(reactor, attrs.evolve(plan, rate=rate), live.show)
            return await one.result()

        return await ramp.find_highest(run, p99, start, MOST_RATE, least, say)

    try:
        found: ramp.Ramp = run_in_reactor(work)
    finally:
        live.clear()
    outputs.write(ramp.as_text(found), ramp.as_json(found), ramp.as_html(found))
    if found.highest is None:
        raise SystemExit(1)

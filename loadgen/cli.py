"""The ``ipquery-load`` command."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import attrs
import click
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ipquery import DataError
from ipquery.data.build import default_cache, ensure_snapshot
from ipquery.data.sources import parse_sources
from ipquery.net import reactor as loop_reactor
from ipquery.net.limits import raise_open_files
from ipquery.progress import reporter
from loadgen.measure import ramp, sweep
from loadgen.measure.preflight import warnings
from loadgen.measure.run import Progress, Run, RunError
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


class _Commands(click.Group):
    """``ipquery-load URL`` is ``ipquery-load run URL``; errors become one line."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "--version"):
            args = ["run", *args]
        return super().parse_args(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (PlanError, RunError, DataError) as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Commands)
@click.version_option(package_name="ipquery")
def main() -> None:
    """Produce load, honestly measured, and find what limits a service.

    `ipquery-load URL` is short for `ipquery-load run URL`; see
    `ipquery-load run --help` for its options.
    """


class _Parsed(click.ParamType[Any]):
    """A parameter that one of the plan's readers takes."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except PlanError as error:
            self.fail(str(error), param, ctx)


_RAMP_REQUESTS = 20
_MOST_WORKERS = 64

_DURATION = _Parsed("time", parse_duration)
_WRITABLE = click.Path(dir_okay=False, writable=True, path_type=Path)


def parse_p99(text: str) -> float:
    """Read the target of a ramp: ``p99=10ms`` or ``10ms``.

    :raises PlanError: neither.
    """
    return parse_duration(text.removeprefix("p99="))


def run_in_reactor(work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Do something with a reactor, to its end."""
    reactor = loop_reactor.install()
    ended: list[Any] = []

    def end(result: Any) -> None:
        ended.append(result)
        reactor.stop()

    async def begin() -> Any:
        return await work(reactor)

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(begin()).addBoth(end))
    reactor.run()
    if not ended:
        raise SystemExit(130)  # interrupted
    if isinstance(ended[0], Failure):
        ended[0].raiseException()
    return ended[0]


def snapshot_of(db: str | None) -> str | None:
    """The path of a snapshot for what the user calls a DB: one, or a source to build from."""
    if db is None:
        return None
    path = ensure_snapshot(parse_sources([db]), default_cache(), reporter(sys.stderr))
    return str(path.absolute())


class Live:
    """A line on a terminal that shows how far a run is; nothing elsewhere."""

    def __init__(self, terminal: TextIO, total: float) -> None:
        self._terminal = terminal if terminal.isatty() else None
        self._total = total

    def show(self, progress: Progress) -> None:
        """An interval is over."""
        self._write(
            f"{progress.seconds:6.1f} of {self._total:g} s  "
            f"{progress.answered / progress.length:>9,.0f} requests/s  "
            f"{progress.total:>12,} answered  {progress.failed:,} failed"
        )

    def clear(self) -> None:
        """The run is over."""
        self._write("")

    def _write(self, text: str) -> None:
        if self._terminal is not None:
            self._terminal.write(f"\r\x1b[K{text}")
            self._terminal.flush()


@main.command("run")
@click.argument("url", metavar="URL")
@click.option("-c", "--connections", default=64, show_default=True, help="Open at the same time.")
@click.option(
    "-d",
    "--duration",
    "seconds",
    type=_DURATION,
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
    type=_Parsed("p99", parse_p99),
    help="Find the highest rate that keeps a p99, from --rate up, -d for each step.",
)
@click.option(
    "--mix",
    "post_share",
    metavar="get=N,post=N",
    type=_Parsed("mix", parse_mix),
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
    type=_Parsed("header", parse_header),
    help="Send a header field; several times.",
)
@click.option(
    "--timeout",
    type=_DURATION,
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
@click.option("--html", "html_to", metavar="FILE", type=_WRITABLE, help="Write a page.")
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
        authority=readable(given["ca"]) if given["ca"] else None,
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


@attrs.frozen
class Outputs:
    """Where a result goes beside standard output."""

    json_to: str | None
    html_to: Path | None

    def write(self, text: str, content: Mapping[str, Any], html: str) -> None:
        """Write it everywhere it is wanted.

        :raises PlanError: a file can't be written.
        """
        encoded = json.dumps(content, ensure_ascii=False, indent=2)
        click.echo(encoded if self.json_to == "-" else text)
        if self.json_to not in (None, "-"):
            _write(Path(str(self.json_to)), encoded + "\n")
        if self.html_to is not None:
            _write(self.html_to, html)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise PlanError(f"{path}: can't write this file: {error.strerror}") from None


def _ramp(plan: Plan, p99: float, outputs: Outputs) -> None:
    start = plan.rate or ramp.START_RATE
    # Of fewer requests, the slowest one would decide.
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


def _two_cores() -> tuple[int, int]:
    """One for servers, another for load; the same if there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


_JSON = click.option(
    "--json", "json_to", metavar="FILE|-", type=click.Path(allow_dash=True), help="Write as JSON."
)
_HTML = click.option("--html", "html_to", metavar="FILE", type=_WRITABLE, help="Write a page.")


def _note(text: str) -> None:
    click.echo(text, err=True)


@main.command("stages")
@click.option("--db", default="default", show_default=True, help="A snapshot or SOURCE.")
@click.option("-d", "--duration", "seconds", type=_DURATION, default="2s", show_default=True)
@click.option("-c", "--connections", default=64, show_default=True, help="Open at the same time.")
@_JSON
@_HTML
def stages_command(
    db: str, seconds: float, connections: int, json_to: str | None, html_to: Path | None
) -> None:
    """Measure each step of a request by itself, and name the bottleneck."""
    path = snapshot_of(db)
    assert path is not None
    server_core, load_core = _two_cores()
    raise_open_files()

    async def work(reactor: Any) -> None:
        from loadgen.measure import stages  # Klein, which it measures, imports the reactor

        async def drive(port: int) -> int:
            plan = Plan(
                parse_target(f"http://127.0.0.1:{port}/"),
                connections=connections,
                seconds=seconds,
                cores=(load_core,),
            )
            return (await Run(reactor, plan).result()).answered

        found = await stages.measure(Path(path), drive, server_core, _note)
        outputs = Outputs(json_to, html_to)
        outputs.write(stages.as_text(found), stages.as_json(found), stages.as_html(found))

    run_in_reactor(work)


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


@main.command("sweep")
@click.option(
    "-w",
    "--workers",
    "counts",
    type=_Parsed("counts", parse_counts),
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
    type=_Parsed("variant", parse_variant),
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
@click.option("-d", "--duration", "seconds", type=_DURATION, default="5s", show_default=True)
@click.option("-c", "--connections", default=64, show_default=True, help="Open at the same time.")
@click.option("-t", "--processes", default=1, show_default=True, help="Processes to send from.")
@_JSON
@_HTML
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
        return await sweep.sweep(dimensions, Path(path), cores, drive, _note)

    rows: list[sweep.Row] = run_in_reactor(work)
    outputs = Outputs(json_to, html_to)
    outputs.write(sweep.as_text(rows), sweep.as_json(rows), sweep.as_html(rows))


if __name__ == "__main__":
    main()

"""Every load tool there is, in turn, on one core against the same server, side by side.

    python -m loadgen.tools [--seconds 5] [--connections 64] [--only NAME]...

A tool that isn't installed is named and left out.
"""

import csv
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import click

from ipquery.data.build import default_cache, served_snapshot
from ipquery.data.sources import default_sources
from ipquery.net.limits import raise_open_files
from ipquery.progress import reporter
from loadgen.peers.cores import LOAD_CORE, SERVER_CORE
from loadgen.peers.servers import IPQUERY, Running
from loadgen.report.tables import columns, markdown
from loadgen.report.text import duration
from loadgen.tools.wrk import SCRIPT

_FILES = Path(__file__).parent
_COMMANDS = Path(sys.executable).parent


@attrs.frozen
class Scenario:
    """The same for every tool: random addresses, kept connections, no pause."""

    port: int
    connections: int
    seconds: int
    folder: Path

    @property
    def url(self) -> str:
        """The service."""
        return f"http://127.0.0.1:{self.port}"


@attrs.frozen
class Found:
    """What a tool has said. Latencies in seconds; ``None`` where it says nothing."""

    rate: float
    p50: float | None
    p99: float | None
    errors: int


def _number(pattern: str, text: str) -> float:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise click.ClickException(f"no {pattern!r} in:\n{text[-2000:]}")
    return float(match[1])


def _output(command: Sequence[object], scenario: Scenario, cwd: Path | None = None) -> str:
    """Run a tool on its core; what it prints."""
    done = subprocess.run(
        ["taskset", "-c", str(LOAD_CORE), *map(str, command)],
        cwd=cwd or scenario.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=scenario.seconds + 120,
        env={**os.environ, "HOME": str(scenario.folder)},
    )
    return done.stdout


def run_ours(scenario: Scenario) -> Found:
    """ipquery-load."""
    out = scenario.folder / "ours.json"
    options = ["-c", scenario.connections, "-d", f"{scenario.seconds}s", "--json", out]
    _output([_COMMANDS / "ipquery-load", f"{scenario.url}/", *options], scenario)
    found = json.loads(out.read_text())
    latency = found["latency_seconds"]
    return Found(found["requests_per_second"], latency["p50"], latency["p99"], found["failed"])


def run_wrk_lua(scenario: Scenario, kind: str = "get") -> Found:
    """wrk with random addresses from Lua."""
    options = ["-t1", f"-c{scenario.connections}", f"-d{scenario.seconds}s", "-s", SCRIPT]
    said = _output(["wrk", *options, f"{scenario.url}/", "--", kind], scenario)
    found = json.loads(said.splitlines()[-1])
    errors = sum(found[name] for name in ("connect", "read", "write", "timeout"))
    return Found(found["requests"] / found["seconds"], found["p50"], found["p99"], errors)


def run_ab(scenario: Scenario, *more: object) -> Found:
    """ab, one address again and again, as it can do no other."""
    options = ["-q", "-k", "-c", scenario.connections, "-t", scenario.seconds, "-n", 10**8]
    path = "/api/ip_query" if more else "/api/ip_query?ip=123.12.23.45"
    said = _output(["ab", *options, *more, scenario.url + path], scenario)
    return Found(
        _number(r"^Requests per second: +([\d.]+)", said),
        _number(r"^ +50% +(\d+)", said) / 1e3,
        _number(r"^ +99% +(\d+)", said) / 1e3,
        int(_number(r"^Failed requests: +(\d+)", said)),
    )


def run_ab_post(scenario: Scenario) -> Found:
    """ab with a file to POST."""
    return run_ab(scenario, "-p", _FILES / "post.json", "-T", "application/json")


def run_locust(scenario: Scenario) -> Found:
    """Locust, its quick client."""
    options = ["--headless", "-u", scenario.connections, "-r", scenario.connections]
    options += ["-t", f"{scenario.seconds}s", "-H", scenario.url, "--csv", "locust"]
    program = shutil.which("locust") or str(_COMMANDS / "locust")
    said = _output([program, "-f", _FILES / "locustfile.py", *options], scenario)
    try:
        with (scenario.folder / "locust_stats.csv").open() as file:
            row = next(one for one in csv.DictReader(file) if one["Name"] == "look-up")
    except (OSError, StopIteration):
        raise click.ClickException(f"locust found nothing:\n{said[-2000:]}") from None
    return Found(
        float(row["Requests/s"]),
        float(row["50%"]) / 1e3,
        float(row["99%"]) / 1e3,
        int(row["Failure Count"]),
    )


def run_tsung(scenario: Scenario) -> Found:
    """Tsung."""
    text = (_FILES / "tsung.xml").read_text()
    for name, value in (
        ("HOST", "127.0.0.1"),
        ("PORT", scenario.port),
        ("CONNECTIONS", scenario.connections),
        ("SECONDS", scenario.seconds),
    ):
        text = text.replace(f"@{name}@", str(value))
    config = scenario.folder / "tsung.xml"
    config.write_text(text)
    said = _output(["tsung", "-f", config, "-l", scenario.folder / "tsung", "start"], scenario)
    logs = sorted((scenario.folder / "tsung").glob("*/tsung.log"))
    if not logs:
        raise click.ClickException(f"tsung wrote no log:\n{said[-2000:]}")
    return read_tsung(logs[-1].read_text(), scenario.seconds)


def read_tsung(log: str, seconds: int) -> Found:
    """What a log of Tsung has at its end.

    Each count, of a status or an error, is ``stats: NAME IN_THESE_SECONDS IN_ALL``
    there, every ten seconds and at the end.
    """
    lines = re.findall(r"^stats: (\w+) \d+ (\d+)$", log, re.MULTILINE)
    counts = {name: int(count) for name, count in lines}
    answers = sum(count for name, count in counts.items() if name.isdigit())
    good = counts.get("200", 0) + counts.get("501", 0)
    failed = sum(count for name, count in counts.items() if name.startswith("error_"))
    # Whoever is in the middle of something when the time is up counts as aborted.
    failed -= counts.get("error_abort", 0)
    return Found(answers / seconds, None, None, failed + answers - good)


def run_jmeter(scenario: Scenario) -> Found:
    """JMeter without its windows."""
    results = scenario.folder / "jmeter.csv"
    options = [f"-Jport={scenario.port}", f"-Jconnections={scenario.connections}"]
    options += [f"-Jseconds={scenario.seconds}", "-Jjmeter.save.saveservice.output_format=csv"]
    options += ["-Jjmeter.save.saveservice.print_field_names=true"]
    command = ["jmeter", "-n", "-t", _FILES / "look_up.jmx", "-l", results, *options]
    said = _output(command, scenario)
    try:
        with results.open() as file:
            rows = list(csv.DictReader(file))
    except OSError:
        raise click.ClickException(f"jmeter wrote no results:\n{said[-2000:]}") from None
    taken = sorted(int(row["elapsed"]) / 1e3 for row in rows)
    begins = [int(row["timeStamp"]) for row in rows]
    seconds = (max(begins) - min(begins)) / 1e3
    bad = sum(row["responseCode"] not in ("200", "501") for row in rows)
    return Found(
        len(rows) / seconds,
        statistics.median(taken),
        taken[min(int(len(taken) * 0.99), len(taken) - 1)],
        bad,
    )


@attrs.frozen
class Tool:
    """A load tool."""

    name: str
    program: str
    run: Callable[[Scenario], Found]


TOOLS = (
    Tool("ipquery-load", str(_COMMANDS / "ipquery-load"), run_ours),
    Tool("wrk, GET", "wrk", run_wrk_lua),
    Tool("wrk, POST", "wrk", lambda scenario: run_wrk_lua(scenario, "post")),
    Tool("ab, GET", "ab", run_ab),
    Tool("ab, POST", "ab", run_ab_post),
    Tool("tsung", "tsung", run_tsung),
    Tool("JMeter", "jmeter", run_jmeter),
    Tool("locust", str(_COMMANDS / "locust"), run_locust),
)


def _cells(tool: Tool, found: Found, ours: float | None) -> list[str]:
    def time(seconds: float | None) -> str:
        return "-" if seconds is None else duration(seconds)

    share = f"{found.rate / ours:.2f}" if ours else "-"
    errors = f"{found.errors:,}"
    return [tool.name, f"{found.rate:,.0f}", share, time(found.p50), time(found.p99), errors]


@click.command()
@click.option("--seconds", default=5, show_default=True, help="How long each tool takes.")
@click.option("--connections", default=64, show_default=True, help="Open at the same time.")
@click.option("--only", multiple=True, metavar="TEXT", help="Only tools whose name holds it.")
def main(seconds: int, connections: int, only: Sequence[str]) -> None:
    """Run the load tools that are installed, one after the other, on one core."""
    raise_open_files()
    chosen = [tool for tool in TOOLS if not only or any(text in tool.name for text in only)]
    snapshot = served_snapshot(default_sources(), default_cache(), reporter(sys.stderr))
    rows = [["tool", "req/s", "of ipquery-load", "p50", "p99", "errors"]]
    ours = None
    with (
        tempfile.TemporaryDirectory() as folder,
        Running(Path(folder), snapshot, None, SERVER_CORE) as running,
    ):
        running.start(IPQUERY)
        scenario = Scenario(IPQUERY.port, connections, seconds, Path(folder))
        for tool in chosen:
            if shutil.which(tool.program) is None:
                click.echo(f"{tool.name}: not installed; see loadgen/tools/README.md", err=True)
                continue
            click.echo(f"{tool.name} ...", err=True)
            try:
                found = tool.run(scenario)
            except click.ClickException as error:
                click.echo(f"{tool.name}: {error.message}", err=True)
                continue
            if tool.name == "ipquery-load":
                ours = found.rate
            rows.append(_cells(tool, found, ours))
    click.echo(columns(rows))
    Path("build").mkdir(exist_ok=True)
    Path("build/tools.md").write_text(markdown(rows) + "\n")


if __name__ == "__main__":
    main()

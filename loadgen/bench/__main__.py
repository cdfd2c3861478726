"""Side by side: ipquery and its peers, in one run, on one core each.

    python -m loadgen.bench [--rounds 5] [--seconds 3] [--connections 64] [--only PATTERN]...

Machines are noisy: what is worth quoting are the ratios of one run.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import attrs
import click

from ipquery import Snapshot
from ipquery.data.build import default_cache, served_snapshot
from ipquery.data.sources import default_sources
from ipquery.net.limits import raise_open_files
from ipquery.progress import reporter
from loadgen.bench import beside, counting, guards, objects, requests, shapes, steady, subjects
from loadgen.bench.beside import Compared
from loadgen.bench.rounds import measure
from loadgen.peers.cores import SERVER_CORE
from loadgen.peers.servers import CONSTANT, GEOIP2, TLS, Running
from loadgen.report.tables import Table, columns, markdown

_ONE_SHOT = "one-shot: the caller closes"


@attrs.frozen
class _Options:
    """What was asked for."""

    rounds: int
    seconds: float
    connections: int
    only: Sequence[str]
    has_nginx: bool

    def wanted(self, name: str) -> bool:
        """Whether a row of this name is to be measured."""
        return not self.only or any(fnmatchcase(name, pattern) for pattern in self.only)


@attrs.define
class _Report:
    """Tables as they are found, shown at once and written at the end."""

    tables: list[Table] = attrs.field(factory=list)
    content: dict[str, Any] = attrs.field(factory=dict)

    def add(self, table: Table) -> None:
        """Show a table."""
        click.echo(f"\n{columns(table)}")
        self.tables.append(table)

    def write(self, out: Path) -> None:
        """Write bench.md and bench.json."""
        out.mkdir(parents=True, exist_ok=True)
        (out / "bench.md").write_text("\n\n".join(map(markdown, self.tables)) + "\n")
        (out / "bench.json").write_text(json.dumps(self.content, indent=2) + "\n")


def _say(text: str) -> None:
    click.echo(text, err=True)


def _measure_subjects(options: _Options, running: Running, report: _Report) -> None:
    chosen = [
        one
        for one in subjects.contenders(options.connections, options.wanted)
        if options.has_nginx or one.server not in (GEOIP2, CONSTANT)
    ]
    if not chosen:
        return
    rows = measure(chosen, running, options.rounds, options.seconds, _say)
    found = subjects.ratios(rows)
    report.content["servers"] = [row.summary() for row in rows]
    report.content["ratios"] = {title: ratio for title, ratio, _ in found}
    report.add(subjects.table(rows))
    if found:
        report.add(subjects.ratio_table(found))


def _measure_objects(
    options: _Options, running: Running, report: _Report, snapshot: Path, folder: Path
) -> None:
    chosen = objects.measured([one for one in objects.VARIANTS if options.wanted(one.name)])
    if not chosen:
        return
    with Snapshot(snapshot) as opened:
        addresses = requests.draw_addresses(opened)
        count = objects.EVER_NEW_COUNT if any(one.ever_new for one in chosen) else 1
        ever_new = requests.draw_addresses(opened, count)
    contenders = list(objects.contenders(chosen, addresses, ever_new, folder, options.connections))
    rows = measure(contenders, running, options.rounds, options.seconds, _say)
    report.content["objects"] = [row.summary() for row in rows]
    report.add(objects.table(chosen, rows))


def _measure_beside(
    rows: Sequence[Compared],
    name: str,
    options: _Options,
    running: Running,
    report: _Report,
    snapshot: Path,
    folder: Path,
) -> None:
    chosen = beside.with_what_they_are_beside(rows, options.wanted)
    if not chosen:
        return
    with Snapshot(snapshot) as opened:
        addresses = requests.draw_addresses(opened)
    contenders = list(beside.contenders(chosen, addresses, folder, options.connections))
    found = measure(contenders, running, options.rounds, options.seconds, _say)
    report.content[name] = [row.summary() for row in found]
    report.add(beside.table(chosen, found))


def _takes_tls() -> bool:
    """Whether this daemon can be told to speak TLS."""
    command = [TLS.command[0], "ipquery", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "tls:" in done.stdout


def _measure_shapes(
    options: _Options, running: Running, report: _Report, snapshot: Path, folder: Path
) -> None:
    tls = _takes_tls()
    chosen = [
        shape
        for shape in shapes.SHAPES
        if options.wanted(shape.name) and (tls or not shape.ours.tls)
    ]
    if not chosen or not options.has_nginx:
        return
    with Snapshot(snapshot) as opened:
        addresses = requests.draw_addresses(opened)
    contenders = list(shapes.contenders(chosen, addresses, folder, options.connections))
    rows = measure(contenders, running, options.rounds, options.seconds, _say)
    pairs = shapes.pairs(chosen, rows)
    report.content["shapes"] = [shapes.summary(pair) for pair in pairs]
    report.add(shapes.table(pairs))
    for pair in pairs:
        if pair.shape.name == _ONE_SHOT:
            file = folder / "requests-at-a-rate"
            requests.write(file, requests.plain(addresses))
            found = steady.measure_steady(
                pair, file, running, options.rounds, options.seconds, _say
            )
            report.content["one_shot_at_a_rate"] = {
                "requests_per_second": found.rate,
                "p99_ratio": found.ratio,
                "at_most": steady.MOST_P99,
            }
            report.add(steady.table(found))


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Turns that each server gets.")
@click.option("--seconds", default=3, show_default=True, help="How long a turn takes.")
@click.option("--connections", default=64, show_default=True, help="Open at the same time.")
@click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Only rows of such names, as 'nginx*', 'one-shot*' or 'GET, one header'.",
)
@click.option("--mmdb", type=click.Path(path_type=Path), help="DB-IP City Lite, for nginx.")
@click.option("--out", default=Path("build"), type=click.Path(path_type=Path), show_default=True)
def main(
    rounds: int, seconds: int, connections: int, only: Sequence[str], mmdb: Path | None, out: Path
) -> None:
    """Measure ipquery and its peers; write bench.md and bench.json into OUT.

    First all servers with the same requests, then the objects of /v1 beside the array, then
    requests that pass a guard beside those that meet none, then counting beside a daemon that
    counts nothing, then ipquery beside nginx for every shape of request. Without --mmdb there is
    no nginx.
    """
    raise_open_files()
    options = _Options(rounds, seconds, connections, only, mmdb is not None)
    snapshot = served_snapshot(default_sources(), default_cache(), reporter(sys.stderr))
    report = _Report(content={"connections": connections, "rounds": rounds, "seconds": seconds})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Running(folder, snapshot, mmdb and mmdb.absolute(), SERVER_CORE) as running:
            _measure_subjects(options, running, report)
            _measure_objects(options, running, report, snapshot, folder)
            for name, beside_others in (("guards", guards.ROWS), ("counting", counting.ROWS)):
                _measure_beside(beside_others, name, options, running, report, snapshot, folder)
            _measure_shapes(options, running, report, snapshot, folder)
    click.echo(f"\n{connections} connections, {rounds} rounds of {seconds} s, medians")
    report.write(out)


if __name__ == "__main__":
    main()

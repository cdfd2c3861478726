"""What nginx in front costs, and what a second node brings.

    python -m loadgen.bench.nodes [--rounds 5] [--seconds 3] [--connections 64]

Two cores are enough, as figures are told apart by the processor time that each
program takes for a request. The servers share one core and wrk has the other, so
that two fast nodes can't be faster than one: they take turns on their core. What
they give on hosts of their own follows from the processor time. That two nodes
share the work is shown with slow ones (every request through the routes), on a
core each. nginx and wrk run where there is room: beside one node they have the
second core, beside two they take their time from the nodes. So the ratio can't
reach 2 here, and is given beside the ratio of processor time that nodes had.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs
import click

from ipquery.data.build import default_cache, served_snapshot
from ipquery.data.sources import default_sources
from ipquery.net.limits import raise_open_files
from ipquery.progress import reporter
from loadgen.peers.cores import LOAD_CORE, SERVER_CORE
from loadgen.peers.servers import Running, Server, ipquery_command
from loadgen.report.tables import columns, markdown
from loadgen.report.tally import Tally
from loadgen.tools.wrk import run_wrk

_CONF = Path(__file__).parents[2] / "conf/nginx"
_BOTH_CORES = f"{SERVER_CORE},{LOAD_CORE}"

# What the pair of the old service was to give, in requests a second.
_OLD_AIM = 5000


def _node(name: str, *flags: str) -> Server:
    also = ("-b", "unix:{folder}/{port}.sock")
    return Server(name, ipquery_command("{snapshot}", "-w", "1", *also, *flags))


ONE, OTHER = _node("node 1"), _node("node 2")
SLOW_ONE = _node("slow node 1", "--no-express")
SLOW_OTHER = _node("slow node 2", "--no-express")


@attrs.frozen
class Layout:
    """Some nodes, asked through nginx or directly."""

    name: str
    nodes: tuple[Server, ...]
    nginx: Server | None = None
    over_unix: bool = False
    apart: bool = False
    """Whether each node has a core, and nginx and wrk run on either."""

    @property
    def entry(self) -> Server:
        """Who is asked."""
        return self.nginx or self.nodes[0]


def _behind_nginx(name: str, *nodes: Server, **more: bool) -> Layout:
    nginx = Server(
        f"nginx, {name}", ("nginx", "-c", "{folder}/{port}/nginx.conf", "-g", "daemon off;")
    )
    return Layout(name, nodes, nginx, **more)


DIRECT = Layout("one node, no nginx", (ONE,))
SINGLE = _behind_nginx("nginx, one node", ONE)
PAIR = _behind_nginx("nginx, two nodes", ONE, OTHER)
UNIX_PAIR = _behind_nginx("nginx, two nodes, UNIX sockets", ONE, OTHER, over_unix=True)
SLOW_SINGLE = _behind_nginx("nginx, one slow node", SLOW_ONE, apart=True)
SLOW_PAIR = _behind_nginx("nginx, two slow nodes, a core each", SLOW_ONE, SLOW_OTHER, apart=True)
LAYOUTS = (DIRECT, SINGLE, PAIR, UNIX_PAIR, SLOW_SINGLE, SLOW_PAIR)


@attrs.define
class Row:
    """What all rounds found of a layout. Processor time in seconds a request."""

    layout: Layout
    results: list[Tally] = attrs.field(factory=list)
    nginx_cpu: list[float] = attrs.field(factory=list)
    node_cpu: list[float] = attrs.field(factory=list)

    @property
    def rate(self) -> float:
        """Requests a second, the middle of all rounds."""
        return statistics.median(result.rate for result in self.results)


class Cluster:
    """Everything started: nodes and nginx, each on its core."""

    def __init__(self, stack: ExitStack, folder: Path, snapshot: Path) -> None:
        self._folder = folder
        self._cores = {
            core: stack.enter_context(Running(folder, snapshot, None, core))
            for core in (SERVER_CORE, LOAD_CORE, _BOTH_CORES)
        }

    def start(self, layout: Layout) -> None:
        """Start what of a layout doesn't run yet."""
        for node in layout.nodes:
            self._of(node).start(node)
        if layout.nginx is not None:
            self._write_configuration(layout)
            self._of(layout.nginx).start(layout.nginx)

    def _of(self, server: Server) -> Running:
        if server is SLOW_OTHER:
            return self._cores[LOAD_CORE]
        if server in (SLOW_SINGLE.nginx, SLOW_PAIR.nginx):
            return self._cores[_BOTH_CORES]
        return self._cores[SERVER_CORE]

    def cpu_seconds(self, servers: Sequence[Server]) -> float:
        """Processor time that servers have used, together."""
        return sum(self._of(server).cpu_seconds(server) for server in servers)

    def _write_configuration(self, layout: Layout) -> None:
        """What is shipped, but for its places, and one worker as there is one core."""
        folder = self._folder / str(layout.entry.port)
        folder.mkdir(exist_ok=True)
        places = [self._place(node, layout.over_unix) for node in layout.nodes]
        replaced = {
            "worker_processes auto": "worker_processes 1",
            "pid /run/nginx.pid": f"pid {folder}/nginx.pid",
            "/var/log/nginx/error.log": f"{folder}/error.log",
            "listen 9000 ": f"listen 127.0.0.1:{layout.entry.port} ",
            "10.0.0.11:8080": places[0],
            "10.0.0.12:8080": places[-1],
        }
        for source in _CONF.glob("*.conf"):
            text = source.read_text()
            for before, after in replaced.items():
                text = text.replace(before, after)
            (folder / source.name).write_text(text)

    def _place(self, node: Server, over_unix: bool) -> str:
        if over_unix:
            return f"unix:{self._folder}/{node.port}.sock"
        return f"127.0.0.1:{node.port}"


def measure(
    cluster: Cluster,
    rounds: int,
    seconds: float,
    connections: int,
    say: Callable[[str], None],
    layouts: Sequence[Layout] = LAYOUTS,
) -> list[Row]:
    """Ask each layout in turn, ``rounds`` times over."""
    rows = [Row(layout) for layout in layouts]
    for row in rows:
        say(f"starting {row.layout.name}")
        cluster.start(row.layout)
        run_wrk(row.layout.entry.port, connections, 1, core=LOAD_CORE)
    for number in range(1, rounds + 1):
        for row in rows:
            layout = row.layout
            nginx = [layout.nginx] if layout.nginx else []
            before = cluster.cpu_seconds(nginx), cluster.cpu_seconds(layout.nodes)
            core = None if layout.apart else LOAD_CORE
            result = run_wrk(layout.entry.port, connections, seconds, core=core)
            row.results.append(result)
            row.nginx_cpu.append((cluster.cpu_seconds(nginx) - before[0]) / result.requests)
            row.node_cpu.append((cluster.cpu_seconds(layout.nodes) - before[1]) / result.requests)
            say(f"round {number} of {rounds}: {layout.name}: {result.rate:,.0f} requests/s")
    return rows


def table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Headings and rows, as texts."""
    lines: list[tuple[str, ...]] = [
        ("layout", "req/s", "p50 ms", "p99 ms", "nginx CPU µs", "node CPU µs", "errors")
    ]
    for row in rows:
        p50 = statistics.median(result.p50 for result in row.results)
        p99 = statistics.median(result.p99 for result in row.results)
        lines.append(
            (
                row.layout.name,
                f"{row.rate:,.0f}",
                f"{p50 * 1e3:.2f}",
                f"{p99 * 1e3:.2f}",
                f"{statistics.median(row.nginx_cpu) * 1e6:.1f}",
                f"{statistics.median(row.node_cpu) * 1e6:.1f}",
                str(sum(result.errors for result in row.results)),
            )
        )
    return lines


def _busy(row: Row) -> float:
    """Cores that the nodes of a layout kept busy."""
    pairs = zip(row.results, row.node_cpu, strict=True)
    return statistics.median(result.rate * cpu for result, cpu in pairs)


def ratios(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """What the figures say, as ratios; those of rates are taken round by round."""
    by_layout = {row.layout.name: row for row in rows}

    def rate(over: Layout, under: Layout) -> float:
        pairs = zip(by_layout[over.name].results, by_layout[under.name].results, strict=True)
        return statistics.median(a.rate / b.rate for a, b in pairs)

    pair = by_layout[PAIR.name]
    slow_pair, slow_single = by_layout[SLOW_PAIR.name], by_layout[SLOW_SINGLE.name]
    cost = statistics.median(
        nginx / node for nginx, node in zip(pair.nginx_cpu, pair.node_cpu, strict=True)
    )
    return [
        ("ratio", "median"),
        ("through nginx / directly, on one core", f"{rate(SINGLE, DIRECT):.2f}"),
        ("two nodes / one, behind nginx, on one core", f"{rate(PAIR, SINGLE):.2f}"),
        ("UNIX sockets / TCP, behind nginx", f"{rate(UNIX_PAIR, PAIR):.2f}"),
        ("two slow nodes / one, a core each", f"{rate(SLOW_PAIR, SLOW_SINGLE):.2f}"),
        ("processor time that these had", f"{_busy(slow_pair) / _busy(slow_single):.2f}"),
        ("processor time of a request, nginx / node", f"{cost:.1f}"),
        (f"the pair on one core / the old aim of {_OLD_AIM:,}", f"{pair.rate / _OLD_AIM:.1f}"),
    ]


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Turns that each layout gets.")
@click.option("--seconds", default=3, show_default=True, help="How long a turn takes.")
@click.option("--connections", default=64, show_default=True, help="Open at the same time.")
@click.option("--out", default=Path("build"), type=click.Path(path_type=Path), show_default=True)
def main(rounds: int, seconds: int, connections: int, out: Path) -> None:
    """Measure nginx and two nodes; write nodes.md into OUT."""
    raise_open_files()
    snapshot = served_snapshot(default_sources(), default_cache(), reporter(sys.stderr))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        cluster = Cluster(stack, Path(name), snapshot)
        rows = measure(
            cluster, rounds, seconds, connections, lambda text: click.echo(text, err=True)
        )
    click.echo(f"\n{connections} connections, {rounds} rounds of {seconds} s, medians\n")
    click.echo(columns(table(rows)))
    click.echo(f"\n{columns(ratios(rows))}")
    out.mkdir(parents=True, exist_ok=True)
    text = f"{markdown(table(rows))}\n\n{markdown(ratios(rows))}\n"
    (out / "nodes.md").write_text(text)


if __name__ == "__main__":
    main()

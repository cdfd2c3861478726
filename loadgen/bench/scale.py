"""What docs/scale.md is computed from, measured: ``python -m loadgen.bench.scale --out FILE``.

Processor time of a look-up, asked directly and behind nginx; how long answers take the more the
worker has to do; by how much a lone caller's answers take longer than usual; how long the daemon
takes to start, to replace a worker that died, and to take another snapshot over. The daemon has a
core, what asks it the other one. Of all rounds the best count, as whatever else runs on the machine
makes them worse only.

Two snapshots take turns at reloads: the default one, and that of ip2region alone.
"""

import datetime
import json
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs
import click
import numpy as np
from numpy.typing import NDArray

from ipquery import Snapshot
from ipquery.data.build import default_cache, ensure_snapshot, served_snapshot
from ipquery.data.sources import default_sources, ip2region_source
from ipquery.net.limits import raise_open_files
from ipquery.progress import reporter
from loadgen.bench import nodes, requests
from loadgen.bench.bare import ask_bare
from loadgen.peers.cores import SERVER_CORE
from loadgen.peers.servers import Running, Server, ipquery_command
from loadgen.report.text import duration

# Of the most that the worker does.
_SHARES = (0.25, 0.5, 0.7, 0.8, 0.9)

# Enough to see what happens once in ten thousand answers.
_ALONE = 200_000
# What is kept of them: in the middle of each thousandth.
_QUANTILES = (np.arange(1000) + 0.5) / 1000

_PATIENCE_SECONDS = 60
_RELOADED = "reloaded; answering"

_HEAD = """\
# What docs/scale.md is computed from, as it was measured; times in seconds. Written by
#
#     python -m loadgen.bench.scale --out loadgen/measure/scale/measured.toml
"""

_REQUEST = b"GET /api/ip_query?ip=%s HTTP/1.1\r\nHost: x\r\n\r\n"

_SERVER = Server(
    "ipquery",
    ipquery_command("{folder}/current.ipq", "-w", "1"),
    {"XDG_CACHE_HOME": "{folder}/cache"},
)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _alone(server: Server, ips: Sequence[bytes]) -> tuple[NDArray[np.float64], int]:
    """How long each answer took a lone caller, in seconds; the mean of their bytes, both ways."""
    taken, size = np.empty(_ALONE), 0
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(_ALONE):
            request = _REQUEST % ips[number % len(ips)]
            before = time.perf_counter()
            connection.sendall(request)
            size += len(request) + len(connection.recv(65536))
            taken[number] = time.perf_counter() - before
    return taken, round(size / _ALONE)


def _until_answered(server: Server) -> None:
    """Ask until there is an answer. Who waits in the queue of a worker that comes is patient."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
                connection.sendall(_REQUEST % b"114.114.114.114")
                if connection.recv(100).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            time.sleep(0.005)
    raise click.ClickException(f"{server.name} hasn't answered for {_PATIENCE_SECONDS} s")


def _starts(folder: Path, times: int) -> list[float]:
    """To a tenth of a second."""
    found = []
    for _ in range(times):
        with Running(folder, folder, None, SERVER_CORE) as running:
            before = time.monotonic()
            running.start(_SERVER)
            found.append(time.monotonic() - before)
    return found


def _replacements(running: Running, times: int) -> list[float]:
    found = []
    for _ in range(times):
        # A worker that dies within its first second is restarted after a pause only.
        time.sleep(1.5)
        workers = running.workers(_SERVER)
        before = time.monotonic()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        _until_answered(_SERVER)
        found.append(time.monotonic() - before)
    return found


def _reloads(running: Running, folder: Path, snapshots: Sequence[Path], times: int) -> list[float]:
    log = folder / f"{_SERVER.port}.log"
    found = []
    for number in range(1, times + 1):
        new = folder / "new.ipq"
        shutil.copyfile(snapshots[number % 2], new)
        new.replace(folder / "current.ipq")
        said = log.read_text(errors="replace").count(_RELOADED)
        before = time.monotonic()
        running.send_signal(_SERVER, signal.SIGHUP)
        while log.read_text(errors="replace").count(_RELOADED) == said:
            if time.monotonic() - before > _PATIENCE_SECONDS:
                raise click.ClickException(f"not reloaded after {_PATIENCE_SECONDS} s")
            time.sleep(0.01)
        found.append(time.monotonic() - before)
    return found


@attrs.frozen
class _Load:
    share: float
    utilisation: float
    p50: float
    p99: float


def _loads(
    running: Running, file: Path, connections: int, seconds: float, rounds: int
) -> tuple[float, list[_Load]]:
    """The most that the worker does, and what callers see at shares of it: the best rounds."""
    most = max(ask_bare(_SERVER, file, connections, seconds).rate for _ in range(rounds))
    found = []
    for share in _SHARES:
        rates = (share * most for _ in range(rounds))
        asked = [_ask(running, file, connections, seconds, share, rate) for rate in rates]
        best = min(asked, key=lambda one: one.p99)
        _say(f"{share:.0%} of {most:,.0f}/s: p50 {duration(best.p50)}, p99 {duration(best.p99)}")
        found.append(best)
    return most, found


def _ask(
    running: Running, file: Path, connections: int, seconds: float, share: float, rate: float
) -> _Load:
    before = running.cpu_seconds(_SERVER)
    tally = ask_bare(_SERVER, file, connections, seconds, rate=rate)
    used = running.cpu_seconds(_SERVER) - before
    return _Load(share, used / tally.seconds, tally.p50, tally.p99)


def _behind_nginx(snapshot: Path, rounds: int, seconds: float, connections: int) -> list[float]:
    """Processor time of a look-up: directly; of the node behind nginx; of nginx."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        cluster = nodes.Cluster(stack, Path(name), snapshot)
        layouts = (nodes.DIRECT, nodes.SINGLE)
        direct, single = nodes.measure(cluster, rounds, seconds, connections, _say, layouts)
    return [*map(min, (direct.node_cpu, single.node_cpu, single.nginx_cpu))]


def _toml(found: Mapping[str, object], loads: Sequence[_Load]) -> str:
    lines = [_HEAD]
    for name, value in found.items():
        lines.append(f"{name} = {json.dumps(value)}")
    for load in loads:
        lines += ["", "[[loads]]"]
        lines += [f"{name} = {value:.6g}" for name, value in attrs.asdict(load).items()]
    return "\n".join(lines) + "\n"


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Turns that each gets.")
@click.option("--seconds", default=2.0, show_default=True, help="How long a turn takes.")
@click.option("--connections", default=64, show_default=True, help="Open at the same time.")
@click.option("--times", default=10, show_default=True, help="Starts, deaths and reloads.")
@click.option("--out", default=Path("build/measured.toml"), type=click.Path(path_type=Path))
def main(rounds: int, seconds: float, connections: int, times: int, out: Path) -> None:
    """Measure what docs/scale.md is computed from, and write it to a file."""
    raise_open_files()
    progress = reporter(sys.stderr)
    default = served_snapshot(default_sources(), default_cache(), progress)
    other = ensure_snapshot([ip2region_source()], default_cache(), progress)
    machine = _machine()
    cpu = _behind_nginx(default, rounds, seconds, connections)
    with Snapshot(default) as opened:
        addresses = requests.draw_addresses(opened)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(default, folder / "current.ipq")
        file = folder / "requests"
        requests.write(file, requests.plain(addresses))
        # The first has no snapshot in its cache folder yet.
        starts = _starts(folder, times + 1)[1:]
        with Running(folder, folder, None, SERVER_CORE) as running:
            running.start(_SERVER)
            most, loads = _loads(running, file, connections, seconds, rounds)
            alone, size = _alone(_SERVER, addresses.v4)
            replacements = _replacements(running, times)
            reloads = _reloads(running, folder, [default, other], times)
    beyond = np.quantile(np.maximum(alone - np.median(alone), 0), _QUANTILES)
    date = datetime.datetime.now(datetime.UTC).date()
    found: dict[str, object] = {
        "provenance": f"python -m loadgen.bench.scale, {date}, {machine}",
        "most": round(most),
        "snapshot_bytes": default.stat().st_size,
        "answer_bytes": size,
    }
    found |= zip(("direct_cpu", "node_cpu", "nginx_cpu"), _rounded(cpu), strict=True)
    several: dict[str, Iterable[float]] = {
        "starts": starts,
        "replacements": replacements,
        "reloads": reloads,
        "beyond": beyond,
    }
    found |= {name: _rounded(values) for name, values in several.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(_toml(found, loads))
    _say(f"wrote {out}")


def _machine() -> str:
    """What it is measured on, and how much others did there before."""
    cores, version = len(os.sched_getaffinity(0)), platform.python_version()
    return f"{cores} cores with a load of {os.getloadavg()[0]:.1f} before, Python {version}"


if __name__ == "__main__":
    main()

"""What callers with a connection for each request lose while ipquery is disturbed.

    python -m loadgen.bench.losses OTHER [--rate 2000] [--callers 64] [--only NAME]...

Nothing stands in front that would ask again. ipquery is disturbed by reloads (another
database), replacements (another configuration, so that new workers take over from old ones),
another number of workers, and the death of a worker by TERM and by KILL. A reload or a
replacement must lose nothing: the exit status is 1 if one did. A worker that dies may lose
what it was answering. One worker less may lose a connection that the kernel had made and
nobody had accepted when its socket was closed, unless net.ipv4.tcp_migrate_req is 1 (ip-sysctl,
Linux 5.14): then the kernel hands it to another worker.

Two databases take turns, ip2region's (or --first) and OTHER.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import click

from ipquery.data.sources import ip2region_source
from ipquery.net.limits import raise_open_files
from loadgen.bench import requests
from loadgen.bench.bare import bare_command
from loadgen.peers.cores import LOAD_CORE
from loadgen.peers.servers import Running, Server, ipquery_command
from loadgen.report.tables import columns
from loadgen.report.text import duration

_WORKERS = 2
_PATIENCE_SECONDS = 60
_SERVER = Server("ipquery", ipquery_command("{folder}/current", "--config", "{folder}/c.toml"))
_MORE_SECONDS = 600
_ADDRESSES = tuple(b"114.114.%d.%d" % divmod(number, 256) for number in range(1 << 12))


@attrs.define
class Daemon:
    """The daemon, and what can be done to it."""

    running: Running
    folder: Path
    databases: Sequence[Path]
    _count: int = 0
    _worker_count: int = _WORKERS

    def configure(self) -> None:
        """Write a configuration that differs from the one before."""
        self._count += 1
        (self.folder / "c.toml").write_text(
            f"workers = {self._worker_count}\n[http]\nbody_bytes = {4096 + self._count}\n"
        )

    @property
    def workers(self) -> list[int]:
        """Its workers, draining ones among them."""
        return self.running.workers(_SERVER)

    def _said(self) -> int:
        log = (self.folder / f"{_SERVER.port}.log").read_text(errors="replace")
        return log.count("reloaded; answering")

    def _reload(self) -> None:
        before = self._said()
        self.running.send_signal(_SERVER, signal.SIGHUP)
        _until(lambda: self._said() > before)

    def reload(self) -> None:
        """Put another database in place, and have it taken over."""
        self._count += 1
        new = self.folder / "new"
        shutil.copyfile(self.databases[self._count % 2], new)
        new.replace(self.folder / "current")
        self._reload()

    def replace(self) -> None:
        """Have new workers take over from those there are, until these are gone."""
        before = set(self.workers)
        self.configure()
        self._reload()
        _until(lambda: not before & set(self.workers))

    def resize(self) -> None:
        """One worker more, or less again: the sockets of the one are opened, or closed."""
        self._worker_count = 2 * _WORKERS + 1 - self._worker_count
        self.replace()

    def end_worker(self, number: int) -> None:
        """Send a worker a signal, and wait for the one that takes its place."""
        victim = self.workers[0]
        os.kill(victim, number)
        _until(lambda: victim not in self.workers and len(self.workers) == _WORKERS)
        # A worker that dies within its first second is restarted after a pause only.
        time.sleep(1.2)


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise click.ClickException(f"nothing has come of it in {_PATIENCE_SECONDS} s")
        time.sleep(0.02)


@attrs.frozen
class Disturbance:
    """Something done to the daemon, some times over."""

    name: str
    times: int
    act: Callable[[Daemon], None]
    may_lose: bool = False


DISTURBANCES = (
    Disturbance("nothing", 1, lambda daemon: time.sleep(5)),
    Disturbance("reload", 20, Daemon.reload),
    Disturbance("replacement", 5, Daemon.replace),
    Disturbance("one worker more or less", 6, Daemon.resize, may_lose=True),
    Disturbance("worker ends by TERM", 5, lambda one: one.end_worker(signal.SIGTERM), True),
    Disturbance("worker ends by KILL", 5, lambda one: one.end_worker(signal.SIGKILL), True),
)


@attrs.frozen
class Lost:
    """What came of one of them."""

    disturbance: Disturbance
    requests: int
    p99: float
    longest: float
    reasons: Mapping[str, int]
    """Requests that failed, by what failed them."""

    @property
    def is_wrong(self) -> bool:
        """Whether something was lost that mustn't be."""
        return bool(self.reasons) and not self.disturbance.may_lose


def lose(
    disturbance: Disturbance, daemon: Daemon, port: int, file: Path, callers: int, rate: float
) -> Lost:
    """Disturb the daemon while it is asked.

    :param file: the requests.
    """
    command = bare_command(port, file, callers, _MORE_SECONDS, True, rate)
    asking = subprocess.Popen(
        ["taskset", "-c", str(LOAD_CORE), *command], stdout=subprocess.PIPE, text=True
    )
    try:
        time.sleep(1)
        for _ in range(disturbance.times):
            disturbance.act(daemon)
            time.sleep(0.2)
        time.sleep(0.5)
        asking.send_signal(signal.SIGINT)
        said, _ = asking.communicate(timeout=30)
    finally:
        asking.kill()
        asking.wait()
    found = json.loads(said)
    return Lost(disturbance, found["requests"], found["p99"], found["longest"], found["reasons"])


def _every_shape(ips: requests.Addresses) -> Iterator[bytes]:
    """Requests that say that the connection ends, and others, in turn."""
    shapes = (requests.plain, requests.closing, requests.ab, requests.posts)
    for one in zip(*(shape(ips) for shape in shapes), strict=True):
        yield from one


def _cells(lost: Lost) -> tuple[str, ...]:
    return (
        f"{lost.disturbance.name}, {lost.disturbance.times} x",
        f"{lost.requests:,}",
        str(sum(lost.reasons.values())),
        duration(lost.p99),
        duration(lost.longest),
    )


@click.command()
@click.argument("other", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--first", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Not ip2region's."
)
@click.option("--rate", default=2000.0, show_default=True, help="Requests a second.")
@click.option("--callers", default=64, show_default=True, help="At the same time.")
@click.option("--only", multiple=True, metavar="NAME", help="Only disturbances whose name has it.")
def main(other: Path, first: Path | None, rate: float, callers: int, only: Sequence[str]) -> None:
    """Count the requests that fail while ipquery is reloaded and its workers are replaced."""
    raise_open_files()
    databases = [first or ip2region_source().path, other]
    is_wrong = False
    rows: list[tuple[str, ...]] = [("disturbed by", "answered", "failed", "p99", "longest")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(databases[0], folder / "current")
        file = folder / "requests"
        requests.write(file, _every_shape(requests.Addresses(_ADDRESSES, (), ())))
        cores = f"{min(os.sched_getaffinity(0))}-{max(os.sched_getaffinity(0))}"
        with Running(folder, folder / "current", None, cores) as running:
            daemon = Daemon(running, folder, databases)
            daemon.configure()
            running.start(_SERVER)
            for one in DISTURBANCES:
                if only and not any(part in one.name for part in only):
                    continue
                lost = lose(one, daemon, _SERVER.port, file, callers, rate)
                rows.append(_cells(lost))
                is_wrong |= lost.is_wrong
                for reason, count in lost.reasons.items():
                    click.echo(f"{one.name}: {count} x {reason}", err=True)
    click.echo(columns(rows))
    if is_wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

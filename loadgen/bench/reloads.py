"""What reloads cost those who ask meanwhile: slowest answers with and without.

    python -m loadgen.bench.reloads OTHER [--rounds 3] [--seconds 15] [--connections 64]

The daemon, its builds and its one worker share a core that is never idle: the
worst there is. Two databases take turns, the default one and OTHER.
"""

import shutil
import signal
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ipquery.data.sources import ip2region_source
from loadgen.peers.cores import LOAD_CORE, SERVER_CORE
from loadgen.peers.servers import Running, Server, ipquery_command
from loadgen.report.tally import Tally
from loadgen.tools.wrk import run_wrk

_BETWEEN_SECONDS = 2

_SERVER = Server("ipquery", ipquery_command("{folder}/current", "-w", "1"))


@contextmanager
def _reloading(running: Running, current: Path, databases: list[Path]) -> Iterator[None]:
    """Put another database in place and say so, again and again."""
    done = threading.Event()

    def reload() -> None:
        number = 0
        while not done.wait(_BETWEEN_SECONDS):
            number += 1
            new = current.with_name("new")
            shutil.copyfile(databases[number % 2], new)
            new.replace(current)
            running.send_signal(_SERVER, signal.SIGHUP)

    thread = threading.Thread(target=reload)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@click.command()
@click.argument("other", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rounds", default=3, show_default=True, help="Turns with and without reloads.")
@click.option("--seconds", default=15, show_default=True, help="How long a turn takes.")
@click.option("--connections", default=64, show_default=True, help="Open at the same time.")
def main(other: Path, rounds: int, seconds: int, connections: int) -> None:
    """Compare answers during reloads with those of a quiet time."""
    databases = [ip2region_source().path, other]

    def ask() -> Tally:
        return run_wrk(_SERVER.port, connections, seconds, core=LOAD_CORE)

    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        current = folder / "current"
        shutil.copyfile(databases[0], current)
        with Running(folder, current, None, SERVER_CORE) as running:
            running.start(_SERVER)
            for number in range(1, rounds + 1):
                steady = ask()
                with _reloading(running, current, databases):
                    during = ask()
                found.append(during.p999 / steady.p999)
                for title, result in (("steady", steady), ("reloads", during)):
                    click.echo(
                        f"round {number}, {title}: {result.rate:,.0f} requests/s, p99 "
                        f"{result.p99 * 1e3:.2f} ms, p99.9 {result.p999 * 1e3:.2f} ms, "
                        f"{result.errors} errors"
                    )
            reloads = (folder / f"{_SERVER.port}.log").read_text().count("reloaded; answering")
    click.echo(f"{reloads} reloads; p99.9 with / without, median: {statistics.median(found):.2f}")


if __name__ == "__main__":
    main()

"""What a Redis cache costs and gains, beside doing without.

    python -m loadgen.bench.cache [--rounds 5] [--seconds 3] [--connections 64]

The daemon has a core; wrk and Redis share the other. One of the two Redis servers is stopped
when everything has started, some seconds before the first round: until then, the daemon's
circuit breakers have opened.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from ipquery.data.build import default_cache, served_snapshot
from ipquery.data.sources import default_sources
from ipquery.progress import reporter
from loadgen.bench.rounds import measure
from loadgen.bench.subjects import contender, table
from loadgen.peers.cores import LOAD_CORE, SERVER_CORE
from loadgen.peers.servers import Running, Server, ipquery_command, next_port
from loadgen.report.tables import columns

_REDIS, _STOPPED = next_port(), next_port()
_BREAKER_SECONDS = 3


def _server(name: str, *flags: str) -> Server:
    return Server(name, ipquery_command("{snapshot}", "-w", "1", *flags))


def _config(folder: Path, name: str, redis: str) -> str:
    path = folder / f"{name}.toml"
    path.write_text(f"[cache]\nredis = '{redis}'\nscope = 'all'\n")
    return str(path)


def _redis(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [
            *("taskset", "-c", str(LOAD_CORE), "redis-server", "--port", str(port)),
            *("--bind", "127.0.0.1", "--unixsocket", f"{folder}/{port}.sock", "--save", ""),
            *("--maxmemory", "500mb", "--maxmemory-policy", "allkeys-lru"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Turns that each gets.")
@click.option("--seconds", default=3, show_default=True, help="How long a turn takes.")
@click.option("--connections", default=64, show_default=True, help="Open at the same time.")
def main(rounds: int, seconds: int, connections: int) -> None:
    """Measure ipquery with and without a Redis cache, and with one that is stopped."""
    snapshot = served_snapshot(default_sources(), default_cache(), reporter(sys.stderr))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        up, stopped = _redis(folder, _REDIS), _redis(folder, _STOPPED)
        address, gone = f"redis://127.0.0.1:{_REDIS}", f"redis://127.0.0.1:{_STOPPED}"
        servers = [
            _server("no cache"),
            _server("no cache, --no-express", "--no-express"),
            _server("scope fallback", "--redis", address),
            _server("scope fallback, Redis stopped", "--redis", gone),
            _server("scope all", "--config", _config(folder, "all", address)),
            _server(
                "scope all, UNIX socket",
                "--config",
                _config(folder, "unix", f"unix:{folder}/{_REDIS}.sock"),
            ),
            _server("scope all, Redis stopped", "--config", _config(folder, "gone", gone)),
        ]

        def stop() -> None:
            stopped.terminate()
            stopped.wait()
            time.sleep(_BREAKER_SECONDS)

        try:
            with Running(folder, snapshot, None, SERVER_CORE) as running:
                rows = measure(
                    [contender(server, connections) for server in servers],
                    running,
                    rounds,
                    seconds,
                    lambda text: click.echo(text, err=True),
                    stop,
                )
        finally:
            for process in (up, stopped):
                process.terminate()
                process.wait()
    click.echo(f"\n{connections} connections, {rounds} rounds of {seconds} s, medians\n")
    click.echo(columns(table(rows)))


if __name__ == "__main__":
    main()

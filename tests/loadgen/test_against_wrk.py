"""Measurements beside wrk and others, on one machine, in one run: ratios, never figures."""

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen.wrk import run_wrk
from tests.data.files import xdb
from tests.integration.daemon import Daemon
from tests.loadgen.nginx import Nginx
from tests.programs import require

pytestmark = pytest.mark.soak

COMMAND = Path(sys.executable).parent / "ipquery-load"
ROUNDS = 5


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    (folder / "db.xdb").write_bytes(xdb([(0x01000000, 0xDFFFFFFF, "中国|0|河南省|商丘市|联通")]))
    environment = {"XDG_CACHE_HOME": str(folder)}
    # Every look-up by Klein: a server that is the limit for any generator.
    flags = ("-w", "1", "--db", "db.xdb", "--no-express")
    with Daemon(folder, *flags, environment=environment) as running:
        yield running.wait_until_up()


def _ours(port: int, *arguments: object) -> "dict[str, object]":
    done = subprocess.run(
        [COMMAND, f"http://127.0.0.1:{port}/", *map(str, arguments), "--json", "-"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def _figure(found: "dict[str, object]", name: str) -> float:
    value = found[name]
    assert isinstance(value, int | float)
    return float(value)


def _latency(found: "dict[str, object]", name: str) -> float:
    latency = found["latency_seconds"]
    assert isinstance(latency, dict)
    return float(latency[name])


def test_rates_agree_where_the_server_is_the_limit(daemon: Daemon) -> None:
    require("wrk", "wrk")
    ratios = []
    for _ in range(ROUNDS):
        wrk = run_wrk(daemon.port, 16, 3)
        ours = _ours(daemon.port, "-c", 16, "-d", "3s")
        ratios.append(_figure(ours, "requests_per_second") / wrk.rate)
    assert 0.9 < statistics.median(ratios) < 1.1


def test_latencies_agree_at_a_rate_that_both_hold(daemon: Daemon) -> None:
    require("wrk", "wrk")
    # One connection, one request at a time: no queue that either could build.
    ratios: dict[str, list[float]] = {"p50": [], "p99": []}
    for _ in range(ROUNDS):
        wrk = run_wrk(daemon.port, 1, 3)
        ours = _ours(daemon.port, "-c", 1, "-d", "3s")
        ratios["p50"].append(_latency(ours, "p50") / wrk.p50)
        ratios["p99"].append(_latency(ours, "p99") / wrk.p99)
    assert 0.8 < statistics.median(ratios["p50"]) < 1.25
    assert 0.6 < statistics.median(ratios["p99"]) < 1.6


def test_one_process_does_most_of_what_a_thread_of_wrk_does(tmp_path: Path) -> None:
    require("wrk", "wrk")
    with Nginx(require("nginx", "nginx-core"), tmp_path) as nginx:
        ratios = []
        for _ in range(ROUNDS):
            wrk = run_wrk(nginx.port, 64, 3, core=1)
            ours = _ours(nginx.port, "-c", 64, "-d", "3s", "--cores", 1)
            ratios.append(_figure(ours, "requests_per_second") / wrk.rate)
    assert statistics.median(ratios) > 0.8


def test_five_thousand_connections_hold_for_a_minute(tmp_path: Path) -> None:
    with Nginx(require("nginx", "nginx-core"), tmp_path) as nginx:
        found = _ours(nginx.port, "-c", 5000, "-d", "60s", "-t", 2)
    assert found["failed"] == found["failed_connects"] == 0
    assert _figure(found, "answered") > 100_000


def test_the_generator_is_known_to_be_the_limit(tmp_path: Path) -> None:
    with Nginx(require("nginx", "nginx-core"), tmp_path) as nginx:
        # A connection for each request costs us more than nginx.
        done = subprocess.run(
            [COMMAND, f"http://127.0.0.1:{nginx.port}/", "-d", "3s", "--no-keep-alive"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert re.search("The generator was the bottleneck", done.stdout)

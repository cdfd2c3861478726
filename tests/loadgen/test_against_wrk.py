"""Measurements beside wrk and others, on one machine, in one run: ratios, never figures."""

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from loadgen.measure.run import Run
from loadgen.report.tally import Tally
from loadgen.send.plan import Plan, parse_target
from loadgen.tools.wrk import run_wrk
from tests.data.files import xdb
from tests.integration.daemon import Daemon
from tests.loadgen.nginx import Nginx
from tests.loadgen.servers import Served, serving
from tests.programs import require

pytestmark = pytest.mark.soak

COMMAND = Path(sys.executable).parent / "ipquery-load"
ROUNDS = 7
# All addresses that are asked for have the answer that nginx gives.
EVERYWHERE = xdb([(0x01000000, 0xDFFFFFFF, "中国|0|河南省|商丘市|联通")])


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    (folder / "db.xdb").write_bytes(EVERYWHERE)
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


def test_rates_agree_where_the_server_is_the_limit(daemon: Daemon) -> None:
    require("wrk", "wrk")
    # In turns, and the best of each: whatever else the machine does only slows.
    wrk, ours = [], []
    for _ in range(3 * ROUNDS):
        wrk.append(run_wrk(daemon.port, 16, 1, core=1).rate)
        found = _ours(daemon.port, "-c", 16, "-d", "1s", "--cores", 1)
        ours.append(_figure(found, "requests_per_second"))
    assert 0.9 < max(ours) / max(wrk) < 1.1, (ours, wrk)


@pytest_twisted.ensureDeferred
async def test_latencies_agree_at_a_rate_that_both_hold() -> None:
    require("wrk", "wrk")

    # Nine of ten take 20 ms, and one 100: the rate is what 40 connections make of that.
    def act(connection: Served, number: int) -> None:
        connection.later(0.1 if number % 10 == 0 else 0.02)

    ratios: dict[str, list[float]] = {"rate": [], "p50": [], "p99": []}
    async with serving(act) as server:
        target = parse_target(server.url)
        for _ in range(ROUNDS):
            theirs: Deferred[Tally] = deferToThread(run_wrk, target.port, 40, 3)
            wrk = await theirs
            ours = await Run(reactor, Plan(target, connections=40, seconds=3)).result()
            ratios["rate"].append(ours.rate / wrk.rate)
            ratios["p50"].append(ours.latency.percentiles[50] / wrk.p50)
            ratios["p99"].append(ours.latency.percentiles[99] / wrk.p99)
    for found in ratios.values():
        assert 0.9 < statistics.median(found) < 1.1, ratios


@pytest.mark.parametrize("checks", [False, True], ids=["unchecked", "every answer checked"])
def test_one_process_does_most_of_what_a_thread_of_wrk_does(tmp_path: Path, checks: bool) -> None:
    require("wrk", "wrk")
    (tmp_path / "db.xdb").write_bytes(EVERYWHERE)
    options = ["-c", 64, "-d", "3s", "--cores", 1]
    if checks:
        options += ["--expect", tmp_path / "db.xdb"]
    with Nginx(require("nginx", "nginx-core"), tmp_path) as nginx:
        ratios = []
        for _ in range(ROUNDS):
            wrk = run_wrk(nginx.port, 64, 3, core=1)
            ours = _ours(nginx.port, *options)
            ratios.append(_figure(ours, "requests_per_second") / wrk.rate)
            assert ours["mismatches"] == 0
            assert _figure(ours, "checked") == (_figure(ours, "answered") if checks else 0)
    assert statistics.median(ratios) > 0.8, ratios


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

"""A real Prometheus scrapes the real daemon: nothing goes back, and nothing is missing."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import Daemons, until
from tests.integration.load import Load
from tests.integration.prometheus_server import Prometheus
from tests.nodes.front import CONF
from tests.programs import require

LOOKUPS = 'http_server_request_duration_seconds_count{http_route="/api/ip_query"}'
ANSWERED = f"sum({LOOKUPS})"


def _queries() -> list[str]:
    """Those of the dashboard, as Grafana asks them."""
    dashboard = json.loads((CONF / "grafana/ipquery.json").read_text())
    return [
        target["expr"].replace("$__rate_interval", "8s").replace("$instance", ".*")
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]


# What there is nothing of without a cache, a remote source, a log that can't be written, a
# database that tells its date, a caller who wants too much, or a reload that is refused.
SILENT = (
    "cache_requests",
    "fallback_requests",
    "breaker_workers",
    "lines_dropped",
    "limits_hit",
    "source_timestamp",
    "reload_refusals",
)


def _wait_until_told(prometheus: Prometheus, least: float) -> float:
    """What it has counted, once that is so many."""
    until(lambda: prometheus.number(ANSWERED) >= least, 15)
    return prometheus.number(ANSWERED)


def _silent(prometheus: Prometheus) -> list[str]:
    """Queries of the dashboard that come to nothing, and shouldn't."""
    empty = [query for query in _queries() if not prometheus.ask(query)]
    return [query for query in empty if not any(name in query for name in SILENT)]


def _resets(prometheus: Prometheus) -> list[Any]:
    """Counters that went back."""
    return [
        series
        for metric in ("http_server_request_duration_seconds_count", "ipquery_sent_bytes_total",
                       "ipquery_lookups_total", "ipquery_worker_restarts_total")
        for series in prometheus.ask(f"resets({metric}[10m]) > 0")
    ]  # fmt: skip


def test_a_node_is_scraped_while_its_workers_are_killed_and_replaced(
    daemons: Daemons, tmp_path: Path, dat_path: Path
) -> None:
    require("prometheus", "prometheus")
    daemon = daemons.start("--db", dat_path, "-w", 2)
    with Prometheus(tmp_path, [daemon.port]) as prometheus:
        with Load(daemon.port) as load:
            prometheus.wait_for(f"{ANSWERED} > 100")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for_log("reloaded; answering")
        answered = load.result.answered
        assert not load.result.lost
        assert _wait_until_told(prometheus, answered) == answered
        os.kill(daemon.workers[0], signal.SIGKILL)
        restarts = "sum(ipquery_worker_restarts_total)"
        prometheus.wait_for(f"{restarts} == 1")
        prometheus.wait_for('ipquery_workers{state="ready"} == 2')
        with Load(daemon.port) as again:
            # So that rates have something to tell.
            until(lambda: again.result.answered > 1000)
        answered += again.result.answered
        assert _wait_until_told(prometheus, answered) == answered
        assert _resets(prometheus) == []
        batch = b'["1.2.3.4"]'
        head = b"POST /v1/batch HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
        asked = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(batch), batch)
        # Rates are told of the last seconds only: until all are, there is something to tell.
        until(lambda: daemon.ask(asked).status == 200 and not _silent(prometheus))
        assert prometheus.ask('ALERTS{alertstate="firing", severity="critical"}') == []


@pytest.mark.soak
def test_two_nodes_are_scraped_for_a_minute_under_load_reloads_and_kills(
    daemons: Daemons, tmp_path: Path, dat_path: Path
) -> None:
    require("prometheus", "prometheus")
    config = "[http]\nbody_bytes = {}\n"
    nodes = [daemons.start("--db", dat_path, "-w", 2, config=config.format(5000)) for _ in range(2)]
    ends = time.monotonic() + 60
    with Prometheus(tmp_path, [node.port for node in nodes]) as prometheus:
        killed = 0
        with Load(nodes[0].port, pause=0.002) as first, Load(nodes[1].port, pause=0.002) as second:
            while time.monotonic() < ends:
                for place, node in enumerate(nodes):
                    if killed % 2:
                        # Something else than before: all workers are replaced.
                        path = tmp_path / f"daemon{place}/c.toml"
                        path.write_text(config.format(5000 + killed))
                    node.process.send_signal(signal.SIGHUP)
                    time.sleep(2)
                os.kill(nodes[killed % 2].workers[0], signal.SIGKILL)
                killed += 1
                time.sleep(3)
        for load, node in zip((first.result, second.result), nodes, strict=True):
            told = f'sum({LOOKUPS[:-1]}, instance="127.0.0.1:{node.port}"}})'
            # Of each worker that was killed the last second is missing, and who lost an answer
            # doesn't know whether it was counted.
            rate = load.answered / 60
            time.sleep(3)
            assert load.answered - rate * 1.5 * killed <= prometheus.number(told)
            assert prometheus.number(told) <= load.answered + len(load.lost)
        assert _resets(prometheus) == []
        restarts = prometheus.number("sum(ipquery_worker_restarts_total)")
        print(f"{first.result.answered + second.result.answered} answers, {killed} workers killed, "
              f"{restarts:.0f} told")  # fmt: skip
        # One that was on its way out anyway had none to follow it.
        assert 0 < restarts <= killed

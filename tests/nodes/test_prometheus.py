"""What conf/prometheus has: read by promtool, and each alert fired and cleared."""

import re
import subprocess
from pathlib import Path

from ipquery.metrics import METRICS
from tests.nodes.front import CONF
from tests.programs import require

RULES = CONF / "prometheus/alerts.yml"
CASES = Path(__file__).parent / "alerts.test.yml"


# How alerts.yml says for how many days databases may be old.
_DAYS = "record: ipquery:database_days:most\n        expr: vector({})\n"

_FRESH = """
rule_files: [ALERTS]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'up{job="ipquery", instance="a"}', values: '1x300'}
      - series: 'ipquery_source_timestamp_seconds{source="x", instance="a"}'
        values: '-150000000x300'
    alert_rule_test:
      - {alertname: IpquerySnapshotOld, eval_time: 30m}
      - {alertname: IpquerySnapshotOld, eval_time: 3h}
"""


def _promtool(*arguments: object) -> None:
    promtool = require("promtool", "prometheus")
    done = subprocess.run(
        [promtool, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_configuration() -> None:
    _promtool("check", "config", CONF / "prometheus/prometheus.yml")


def test_every_alert_fires_and_clears(tmp_path: Path) -> None:
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    cases = CASES.read_text()
    assert alerts == set(re.findall(r"alertname: (\w+)", cases))
    # Not yet, then, and no more.
    for alert in alerts:
        assert cases.count(f"alertname: {alert}") == 3
    rules = tmp_path / "alerts.yml"
    shipped = RULES.read_text()
    assert shipped.count(_DAYS.format(0)) == 1
    rules.write_text(shipped.replace(_DAYS.format(0), _DAYS.format(120)))
    (tmp_path / "cases.yml").write_text(cases.replace("ALERTS", str(rules)))
    _promtool("test", "rules", tmp_path / "cases.yml")


def test_nobody_is_called_for_a_fresh_install(tmp_path: Path) -> None:
    """Its databases are years old by design."""
    (tmp_path / "cases.yml").write_text(_FRESH.replace("ALERTS", str(RULES)))
    _promtool("test", "rules", tmp_path / "cases.yml")


def test_alerts_and_the_dashboard_ask_for_what_is_there() -> None:
    there = {metric.name + ("_total" if metric.kind == "counter" else "") for metric in METRICS}
    there |= {
        f"{metric.name}_{part}"
        for metric in METRICS
        if metric.kind in ("histogram", "info")
        for part in ("bucket", "count", "sum", "info")
    }
    for path in (RULES, CONF / "grafana/ipquery.json"):
        asked = set(re.findall(r"\b(?:ipquery|http_server)_\w+", path.read_text()))
        assert asked, path
        assert asked <= there, path

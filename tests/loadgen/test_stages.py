"""What is made of measurements: steps, sweeps and ramps. To measure is for commands."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from loadgen.measure import ramp, sweep
from loadgen.measure.stages import Stage, Stages, Way, as_html, as_json, as_text
from loadgen.report.latencies import histogram, summarise
from loadgen.report.result import Result
from loadgen.send.plan import Plan, Target

COMMAND = Path(sys.executable).parent / "ipquery-load"
PLAN = Plan(Target("127.0.0.1", 80, "127.0.0.1"))


def _result(latency: float, **more: Any) -> Result:
    """A result in which everything took as long."""
    found = histogram()
    found.record_value(round(latency * 1e6), 1000)
    given: dict[str, Any] = {
        "plan": PLAN, "seconds": 1.0, "sent": 1000, "answered": 1000, "failures": {},
        "reasons": {}, "statuses": {}, "in_flight": 0, "unsent": 0, "oldest": 0.0,
        "connections": 64, "failed_connects": 0, "bytes_read": 0, "mismatches": 0, "samples": [],
        "latency": summarise(found), "histogram": found, "moments": [], "busy": [0.5],
        "late": summarise(histogram()),
    }  # fmt: skip
    return Result(**(given | more))


# Stages

LANE = Way(
    "lane", [Stage("read", 2, "recv"), Stage("find", 5, "bisect"), Stage("write", 3, "send")], 12.5
)
FOUND = Stages([LANE], Stage("accept", 20, "accept"), echo=10, kernel=5)


def test_the_bottleneck_is_the_step_that_takes_most() -> None:
    assert LANE.bottleneck.name == "find"
    assert LANE.total == 10
    assert LANE.stages[0].capacity == 500_000
    text = as_text(FOUND)
    assert "the bottleneck is find (bisect), 5.00 of 10.00 us" in text
    assert "The whole service took 12.50 us: 80,000 requests/s a core." in text
    assert "80% of a bare echo" in text
    assert "40% of the kernel's loopback (200,000/s)" in text
    bars = [line.count("█") for line in text.splitlines() if "█" in line]
    assert bars == [16, 40, 24]


def test_stages_as_json_and_as_a_page() -> None:
    found = json.loads(json.dumps(as_json(FOUND)))
    assert found["bottlenecks"] == {"lane": "find"}
    assert found["share_of_kernel"] == {"lane": 0.4}
    page = as_html(FOUND)
    assert page.count("<rect") == 3
    assert "the bottleneck is find" in page


# Sweeps


def test_a_sweep_as_text_and_as_a_page() -> None:
    rows = [
        sweep.Row(
            (sweep.workers(count), sweep.UVLOOP, lane),
            _result(0.001, answered=1000 * count),
            47_000_000,
            47_000_000 * count,
        )
        for count in (1, 2)
        for lane in sweep.LANES.values()
    ]
    text = sweep.as_text(rows)
    assert re.search(r"^2 +uvloop, no lane +2,000 .* 47 +94 +█{24}$", text, re.MULTILINE)
    assert sweep.as_html(rows).count("<polyline") == 4
    assert [row["workers"] for row in sweep.as_json(rows)["rows"]] == [1, 1, 2, 2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-w", "0"],
        ["-w", "x"],
        ["-w", "1,,2"],
        ["--lane", "maybe"],
        ["--variant", "=x"],
        ["--cache", "all"],
    ],
)
def test_a_sweep_of_nothing_is_refused(arguments: list[str]) -> None:
    done = subprocess.run(
        [COMMAND, "sweep", *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


# Ramps


async def _ramp(limit: float, start: float, **more: Any) -> ramp.Ramp:
    """Against a server that keeps a p99 of 1 ms up to a rate, and 50 ms above."""

    good, bad = _result(0.001, **more), _result(0.05, **more)

    async def run(rate: float) -> Result:
        return good if rate <= limit else bad

    return await ramp.find_highest(run, 0.01, start, 1_000_000)


@pytest_twisted.ensureDeferred
async def test_a_ramp_finds_the_highest_rate() -> None:
    for limit, start in ((17_300, 1000), (900, 1000), (1000, 1000), (64_000, 100)):
        found = await _ramp(limit, start)
        assert found.highest is not None
        assert 0.94 * limit <= found.highest.rate <= limit
        assert len(found.steps) < 20


@pytest_twisted.ensureDeferred
async def test_a_ramp_that_finds_none_or_no_end() -> None:
    assert (await _ramp(0, 1000)).highest is None
    endless = await _ramp(10**9, 1000)
    assert endless.highest is not None
    assert endless.highest.rate == 1_000_000


@pytest_twisted.ensureDeferred
async def test_failures_and_wrong_answers_break_a_rate() -> None:
    for more in ({"failures": {"closed": 1}}, {"mismatches": 1}, {"answered": 0}, {"unsent": 100}):
        assert (await _ramp(10**9, 1000, **more)).highest is None


def test_the_generators_own_limit_is_said() -> None:
    tired = _result(0.001, busy=[0.5, 0.99])
    assert tired.generator_limit
    assert any("The generator was the bottleneck" in warning for warning in tired.warnings)
    assert _result(0.001).warnings == []
    late = histogram()
    late.record_value(20_000, 100)
    paced = Plan(PLAN.target, rate=1000)
    assert _result(0.001, plan=paced, late=summarise(late)).generator_limit
    assert not _result(0.001, plan=paced, busy=[0.99]).generator_limit

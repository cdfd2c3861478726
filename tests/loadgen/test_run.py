"""Whole runs, with real processes, against servers whose behaviour is known."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from ipquery.net.sockets import Bind, open_sockets
from loadgen.measure.run import Progress, Run, RunError
from loadgen.report.result import Result
from loadgen.report.tally import Tally
from loadgen.send.plan import Plan, PlanError, parse_target
from loadgen.tools.wrk import run_wrk
from tests.loadgen.certificate import Certified
from tests.loadgen.servers import Act, Served, answer, serving
from tests.programs import require


def _plan(url: str, **more: Any) -> Plan:
    given: dict[str, Any] = {"connections": 8, "seconds": 0.4} | more
    return Plan(parse_target(url), **given)


def _run(
    plan: Plan, report: Callable[[Progress], None] = lambda progress: None
) -> Deferred[Result]:
    return Deferred.fromCoroutine(Run(reactor, plan, report).result())


async def _against(act: Act, **more: Any) -> tuple[Result, Any]:
    """A result, and the server it is of."""
    async with serving(act) as server:
        result: Result = await _run(_plan(server.url, **more))
        # What was sent last may still be on its way in.
        await deferLater(reactor, 0.05)
    assert result.sent == result.answered + result.failed + result.in_flight
    assert result.latency.count == result.answered
    assert sum(result.reasons.values()) == result.failed
    for name in ("sent", "answered", "failed"):
        assert sum(getattr(one, name) for one in result.moments) <= getattr(result, name)
    return result, server


def at_once(connection: Served, number: int) -> None:
    connection.write()


@pytest.mark.parametrize(
    "more",
    [{"processes": 2}, {"pipeline": 5}, {"keep_alive": False},
     {"rate": 500.0, "keep_alive": False}, {"rate": 2000.0, "pipeline": 3, "processes": 2}],
    ids=str,
)  # fmt: skip
@pytest_twisted.ensureDeferred
async def test_counts_add_up_and_are_the_servers(more: dict[str, Any]) -> None:
    result, server = await _against(at_once, **more)
    assert result.answered > 50
    assert not result.failed
    connecting = result.plan.connections if not result.plan.keep_alive else 0
    # A request counts as sent from when its connection is begun.
    assert result.sent - connecting <= server.requests <= result.sent
    if result.plan.keep_alive:
        assert server.connections == 8
        assert result.in_flight <= 8 * result.plan.pipeline
    else:
        assert server.connections >= server.requests


@pytest_twisted.ensureDeferred
async def test_latencies_are_those_of_the_server() -> None:
    # Nine of ten take 20 ms, and one 100.
    def act(connection: Served, number: int) -> None:
        connection.later(0.1 if number % 10 == 0 else 0.02)

    for rate in (None, 200.0):
        # A busy machine makes some late; never each time.
        for _attempt in range(5):
            result, _ = await _against(act, connections=40, seconds=1, rate=rate)
            assert result.answered > 150
            found = result.latency
            # No answer can be early.
            assert found.least >= 0.0199
            assert found.percentiles[50] >= 0.0199
            assert found.percentiles[95] >= 0.0999
            assert found.mean > 0.028 - 0.003
            at_most = {50: 0.04, 75: 0.09, 95: 0.15}
            late = {one for one, most in at_most.items() if found.percentiles[one] >= most}
            if not late and found.mean < 0.05:
                break
        assert not late
        assert found.mean < 0.05


@pytest_twisted.ensureDeferred
async def test_an_open_loop_keeps_its_rate() -> None:
    # A busy machine makes the generator late now and then, which it says; never each time.
    for _attempt in range(5):
        result, _ = await _against(at_once, seconds=1, rate=500.0)
        assert result.sent + result.unsent == 500
        if result.generator_limit is None:
            break
    assert result.generator_limit is None
    assert result.answered >= 450


def _stalling(begin: float, end: float) -> Act:
    """Answers at once, but not from ``begin`` to ``end`` seconds after the first request."""
    started: list[float] = []

    def act(connection: Served, number: int) -> None:
        now = time.monotonic()
        if not started:
            started.append(now)
        since = now - started[0]
        connection.later(end - since) if begin <= since < end else connection.write()

    return act


@pytest_twisted.ensureDeferred
async def test_a_stall_is_seen_by_the_open_loop_and_not_by_the_closed_one() -> None:
    async with serving(_stalling(1, 2)) as server:
        plan = _plan(server.url, connections=10, seconds=3)
        both = [_run(plan), _run(attrs.evolve(plan, rate=200.0))]
        closed, opened = await gatherResults(both)
    # A third of all requests were due in that second, and waited for its rest.
    assert opened.latency.percentiles[95] > 0.6
    assert opened.latency.percentiles[90] > 0.4
    assert opened.sent + opened.unsent == 600
    assert closed.latency.percentiles[99] < 0.1, "ten requests of thousands"


@pytest_twisted.ensureDeferred
async def test_a_stall_that_a_run_ends_in_is_seen_by_the_open_loop_and_not_by_wrk() -> None:
    # wrk fills in what it has not asked during a stall that is over ("stats_correct"
    # in its source), but it says nothing of answers that it still waits for.
    require("wrk", "wrk")
    async with serving(_stalling(1.2, 6)) as server:
        theirs: Deferred[Tally] = deferToThread(run_wrk, parse_target(server.url).port, 10, 2)
        wrk = await theirs
    async with serving(_stalling(1, 6)) as server:
        ours = await _run(_plan(server.url, connections=10, seconds=2, rate=200.0))
    assert wrk.errors == 0
    assert wrk.p99 < 0.1
    assert ours.unsent > 150
    assert ours.oldest > 0.9
    assert any("had waited for up to" in warning for warning in ours.warnings)
    assert not ours.keeps_up


@pytest_twisted.ensureDeferred
async def test_what_could_not_be_sent_is_said() -> None:
    def act(connection: Served, number: int) -> None:
        connection.later(0.1)

    result, _ = await _against(act, connections=2, seconds=1, rate=100.0)
    assert result.sent <= 22
    assert result.sent + result.unsent == 100
    assert not result.keeps_up
    assert any("does not keep up" in warning for warning in result.warnings)
    assert result.latency.most > 0.5, "counted from when they were due"


@pytest_twisted.ensureDeferred
async def test_a_server_that_never_answers() -> None:
    result, _ = await _against(lambda connection, number: None, rate=50.0, seconds=1.2)
    assert (result.answered, result.in_flight) == (0, 8)
    assert result.oldest > 1
    assert any("had waited for up to" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("act", "kind", "keep_alive"),
    [
        (lambda connection, number: connection.close(), "closed", True),
        (lambda connection, number: connection.write(b"nonsense\r\n\r\n"), "protocol", True),
        (lambda connection, number: connection.write(answer(b"", "503 Busy")), "status", True),
        (lambda connection, number: None, "timeout", True),
        (lambda connection, number: None, "timeout", False),
    ],
)
@pytest_twisted.ensureDeferred
async def test_failures_are_told_apart(act: Act, kind: str, keep_alive: bool) -> None:
    result, _ = await _against(act, keep_alive=keep_alive, timeout=0.1)
    assert result.failed > 0
    assert set(result.failures) == {kind}
    assert result.answered == 0


@pytest_twisted.ensureDeferred
async def test_a_server_that_closes_now_and_then_gets_new_connections() -> None:
    def act(connection: Served, number: int) -> None:
        if number % 50:
            connection.write()
        else:
            connection.write(answer(b"", "200 OK", "Connection: close"))
            connection.close()

    result, server = await _against(act)
    assert not result.failed
    assert server.connections > 10


@pytest_twisted.ensureDeferred
async def test_no_more_requests_than_wanted() -> None:
    result, server = await _against(at_once, requests=101, processes=2, seconds=20)
    assert server.requests == result.sent == result.answered == 101
    assert result.seconds < 5


@pytest_twisted.ensureDeferred
async def test_mismatches_are_found_under_load(ip2region_path: Path) -> None:
    result, _ = await _against(at_once, expect=str(ip2region_path))
    assert result.checked == result.answered > 0
    assert result.mismatches == result.checked
    assert 0 < len(result.samples) <= 10
    assert {sample["got"] for sample in result.samples} == {'["here"]'}


@pytest_twisted.ensureDeferred
async def test_progress_is_reported() -> None:
    seen: list[Progress] = []
    async with serving(at_once) as server:
        result = await _run(_plan(server.url, processes=2), seen.append)
    assert len(seen) >= 4
    assert 0 < seen[-1].total <= result.answered
    assert [one.total for one in seen] == sorted(one.total for one in seen)


@pytest_twisted.ensureDeferred
async def test_a_run_can_be_stopped() -> None:
    async with serving(at_once) as server:

        def stop_once_answered(progress: Progress) -> None:
            if progress.total:
                run.stop()

        run = Run(reactor, _plan(server.url, seconds=60), stop_once_answered)
        result = await Deferred.fromCoroutine(run.result())
    assert result.answered > 0
    assert result.seconds < 60


@pytest_twisted.ensureDeferred
async def test_nobody_listens() -> None:
    (bound,) = open_sockets([Bind("127.0.0.1")])
    port = bound.getsockname()[1]
    for keep_alive in (True, False):
        with pytest.raises(PlanError, match="can't connect: .*refused"):
            await _run(_plan(f"http://127.0.0.1:{port}/", keep_alive=keep_alive))
    bound.close()


@pytest.mark.parametrize("more", [{"addresses": "file:/missing"}, {"expect": "/missing"}])
@pytest_twisted.ensureDeferred
async def test_a_plan_that_a_process_refuses(more: dict[str, Any]) -> None:
    async with serving(at_once) as server:
        with pytest.raises(PlanError, match="missing"):
            await _run(_plan(server.url, **more))


@pytest_twisted.ensureDeferred
async def test_a_process_that_dies_is_an_error_and_ends_the_others() -> None:
    async with serving(at_once) as server:
        run = Run(reactor, _plan(server.url, processes=2, seconds=30))
        done = Deferred.fromCoroutine(run.result())
        deferLater(reactor, 2, lambda: os.kill(run.pids[0], 9))
        pids: list[int] = []
        deferLater(reactor, 1, lambda: pids.extend(run.pids))
        begun = time.monotonic()
        with pytest.raises(RunError, match="has died"):
            await done
        assert time.monotonic() - begun < 15
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# TLS


@pytest_twisted.ensureDeferred
async def test_tls_with_a_verified_certificate(certified: Certified) -> None:
    async with serving(at_once, certified.options) as server:
        plan = _plan(server.url, ca=str(certified.path))
        result = await _run(plan)
    assert result.answered > 10
    assert not result.failed


@pytest_twisted.ensureDeferred
async def test_tls_with_a_certificate_that_nobody_vouches_for(certified: Certified) -> None:
    async with serving(at_once, certified.options) as server:
        with pytest.raises(PlanError, match="can't connect: .*certificate verify failed"):
            await _run(_plan(server.url))


@pytest_twisted.ensureDeferred
async def test_tls_with_a_certificate_of_another_host(certified: Certified) -> None:
    async with serving(at_once, certified.options) as server:
        plan = _plan(server.url, ca=str(certified.path))
        plan = attrs.evolve(plan, target=attrs.evolve(plan.target, host="127.0.0.1"))
        with pytest.raises(PlanError, match="not for this host"):
            await _run(plan)


@pytest_twisted.ensureDeferred
async def test_certificates_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    with pytest.raises(PlanError, match="no certificates"):
        await _run(_plan("https://127.0.0.1:1/", ca=str(path)))

"""The highest rate that keeps a p99: double until it breaks, then halve what is between."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from loadgen.report.charts import Line, lines, plain
from loadgen.report.page import figures, page
from loadgen.report.page import table as html_table
from loadgen.report.result import Result
from loadgen.report.tables import columns
from loadgen.report.text import duration

START_RATE = 1000.0
"""Requests a second of the first step, unless told otherwise."""

# The search ends when the highest rate that kept the p99 and the lowest that didn't differ
# by at most this share.
_NEAR = 0.05
_MOST_STEPS = 25


@attrs.frozen
class Step:
    """One rate, and what came of it."""

    rate: float
    result: Result
    kept: bool
    why_not: str


@attrs.frozen
class Ramp:
    """All steps, and the highest rate that kept the target."""

    target: float
    steps: tuple[Step, ...]

    @property
    def highest(self) -> Step | None:
        """The step with the highest rate that kept it, if any did."""
        return max((one for one in self.steps if one.kept), key=lambda one: one.rate, default=None)

    @property
    def generator_limit(self) -> str | None:
        """Why rates above are the generator's limit and not the server's."""
        broken = min(
            (one for one in self.steps if not one.kept), key=lambda one: one.rate, default=None
        )
        return broken.result.generator_limit if broken else None


def why_not(result: Result, target: float) -> str:
    """Why a run doesn't keep a p99; empty if it does."""
    p99 = result.latency.percentiles[99]
    if not result.answered:
        return "no answers"
    if result.failed:
        return f"{result.failed:,} failed"
    if result.mismatches:
        return f"{result.mismatches:,} mismatches"
    if not result.keeps_up:
        return f"{result.unsent:,} due and not sent"
    if p99 > target:
        return f"p99 {p99 * 1e3:,.2f} ms"
    return ""


async def find_highest(
    run: Callable[[float], Awaitable[Result]],
    target: float,
    start: float,
    most: float,
    least: float = 1,
    say: Callable[[Step], None] = lambda step: None,
) -> Ramp:
    """Find the highest rate that keeps a p99.

    :param run: runs the load at a rate.
    :param target: the p99 to keep, in seconds.
    :param start: the rate to begin with.
    :param most: no rate above.
    :param least: if a rate as low as this isn't kept, none is.
    """
    steps: list[Step] = []
    kept, broken = 0.0, None
    rate = start
    while len(steps) < _MOST_STEPS:
        result = await run(rate)
        reason = why_not(result, target)
        steps.append(Step(rate, result, not reason, reason))
        say(steps[-1])
        if reason:
            broken = rate
        else:
            kept = rate
        if broken is None:
            if rate >= most:
                break
            rate = min(rate * 2, most)
            continue
        if broken - kept <= _NEAR * broken or (not kept and broken <= least):
            break
        rate = (kept + broken) / 2
    return Ramp(target, tuple(steps))


def describe(step: Step) -> str:
    """A step, in a line."""
    found = "kept" if step.kept else f"not kept: {step.why_not}"
    p99 = duration(step.result.latency.percentiles[99])
    return f"{step.rate:>10,.0f} requests/s  p99 {p99:>9}  {found}"


def _said(ramp: Ramp) -> str:
    best = ramp.highest
    target = f"p99 of at most {duration(ramp.target)}"
    if best is None:
        return f"No rate kept a {target}."
    said = f"Highest rate with a {target}: {best.rate:,.0f} requests/s."
    limit = ramp.generator_limit
    if limit:
        said += f" Above it the generator was the limit, not the server: {limit}."
    return said


def _rows(ramp: Ramp) -> list[list[str]]:
    rows = [["rate", "answered/s", "p50", "p99", "failed", "kept"]]
    for step in sorted(ramp.steps, key=lambda one: one.rate):
        found = step.result
        rows.append(
            [
                f"{step.rate:,.0f}",
                f"{found.rate:,.0f}",
                duration(found.latency.percentiles[50]),
                duration(found.latency.percentiles[99]),
                f"{found.failed:,}",
                "yes" if step.kept else step.why_not,
            ]
        )
    return rows


def as_text(ramp: Ramp) -> str:
    """For a terminal."""
    return f"{columns(_rows(ramp))}\n{_said(ramp)}"


def as_json(ramp: Ramp) -> dict[str, Any]:
    """For JSON: the figures of the highest rate that kept the target, and all steps."""
    best = ramp.highest
    steps = [
        {"rate": one.rate, "kept": one.kept, "why_not": one.why_not, **one.result.as_json()}
        for one in ramp.steps
    ]
    return {
        "target_p99_seconds": ramp.target,
        "highest_rate": best.rate if best else None,
        "generator_was_the_limit": ramp.generator_limit is not None,
        **({} if best is None else best.result.as_json()),
        "steps": steps,
    }


def as_html(ramp: Ramp) -> str:
    """A page."""
    ordered = sorted(ramp.steps, key=lambda one: one.rate)
    points = [(one.rate, one.result.latency.percentiles[99]) for one in ordered]
    end = ordered[-1].rate
    marks = [(end * part / 4, plain(end * part / 4)) for part in range(5)]
    best = ramp.highest
    body = [
        f"<p>{_said(ramp)}</p>",
        figures([("requests/s", f"{best.rate:,.0f}" if best else "none")]),
        "<h2>p99 by rate, requests/s</h2>",
        lines([Line("p99", points)], marks, duration, "p99 by rate"),
        html_table(_rows(ramp)),
    ]
    return page("ipquery-load: highest rate", "\n".join(body))

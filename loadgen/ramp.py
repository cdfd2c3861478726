"""The highest rate that keeps a p99: double until it breaks, then halve what is between."""

from collections.abc import Awaitable, Callable

import attrs

from loadgen.result import Result

# The last rate that kept it and the first that didn't are so near at the end.
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
    say: Callable[[Step], None] = lambda step: None,
) -> Ramp:
    """Find the highest rate that keeps a p99.

    :param run: runs the load at a rate.
    :param target: the p99 to keep, in seconds.
    :param start: the rate to begin with.
    :param most: no rate above.
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
        if broken - kept <= _NEAR * broken or broken < 1:
            break
        rate = (kept + broken) / 2
    return Ramp(target, tuple(steps))

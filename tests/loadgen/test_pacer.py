"""A constant rate, in steps of a kernel timer."""

import os
import select
import time

from hypothesis import example, given
from hypothesis import strategies as st

from loadgen.send.pacer import Schedule, Timer


@given(st.floats(0.1, 1e6), st.lists(st.integers(1, 500), max_size=20))
def test_by_any_time_as_many_are_due_as_the_rate_has_it(rate: float, jumps: list[int]) -> None:
    due: list[tuple[int, int]] = []
    schedule = Schedule(rate, 1e6, 1_000, lambda when, count: due.append((when, count)))
    steps = 0
    for jump in jumps:
        assert schedule.advance(jump) == 1_000 + (steps + 1) * schedule.period
        steps += jump
        total = sum(count for _, count in due)
        assert abs(total - rate * steps * schedule.period / 1e9) <= 1.001
    times = [when for when, _ in due]
    assert times == sorted(set(times))
    assert all((when - 1_000) % schedule.period == 0 for when in times)


def test_slow_rates_have_a_step_for_each_request() -> None:
    due: list[tuple[int, int]] = []
    schedule = Schedule(10, 60, 0, lambda when, count: due.append((when, count)))
    schedule.advance(5)
    assert due == [(100_000_000 * number, 1) for number in range(1, 6)]


@given(st.floats(1, 1e6), st.floats(0.1, 10))
@example(28, 1)  # its period is rounded up, so 28 of them take longer
def test_nothing_is_due_after_the_end(rate: float, seconds: float) -> None:
    due: list[tuple[int, int]] = []
    schedule = Schedule(rate, seconds, 0, lambda when, count: due.append((when, count)))
    schedule.advance(10**6)
    schedule.advance(10**6)
    assert all(when <= seconds * 1e9 + 1 for when, _ in due)
    # One step's requests may be missing where the end is within a step.
    step = rate * schedule.period / 1e9
    assert seconds * rate - step - 1.001 <= sum(count for _, count in due) <= seconds * rate + 1


def test_a_timer_counts_the_times_that_have_passed() -> None:
    begin = time.monotonic_ns()
    timer = Timer(begin, 5_000_000)
    try:
        assert timer.passed() == 0
        total = 0
        while total < 20:
            select.select([timer], [], [], 5)
            total += timer.passed()
            elapsed = (time.monotonic_ns() - begin) // 5_000_000
            assert total <= elapsed <= total + 20, "absolute times: what is missed is made up for"
    finally:
        timer.close()
    assert not _is_open(timer.fileno())


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True

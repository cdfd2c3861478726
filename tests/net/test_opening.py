"""Connections that aren't open yet: bounded in number and in time."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from ipquery.net.opening import Openings


class Waiting:
    def __init__(self) -> None:
        self.aborted = 0

    def abort(self) -> None:
        self.aborted += 1


def _openings(most: int = 3, seconds: float = 10) -> tuple[Any, Clock]:
    clock = Clock()
    return Openings(clock, most, seconds), clock


def test_each_has_its_own_time() -> None:
    openings, clock = _openings()
    first, second, third = Waiting(), Waiting(), Waiting()
    openings.add(first)
    clock.advance(4)
    openings.add(second)
    openings.add(third)
    openings.done(third)
    clock.advance(5.9)
    assert (first.aborted, len(openings)) == (0, 2)
    clock.advance(0.2)
    assert (first.aborted, second.aborted) == (1, 0)
    clock.advance(4)
    assert (second.aborted, third.aborted) == (1, 0)
    assert not clock.getDelayedCalls()


def test_one_too_many_costs_the_oldest_its_place() -> None:
    openings, _ = _openings(most=3)
    waiting = [Waiting() for _ in range(5)]
    for one in waiting:
        openings.add(one)
    assert [one.aborted for one in waiting] == [1, 1, 0, 0, 0]
    assert len(openings) == 3


def test_there_is_one_timer_for_all_of_them() -> None:
    openings, clock = _openings(most=1000)
    for _ in range(1000):
        openings.add(Waiting())
        clock.advance(0.001)
    assert len(clock.getDelayedCalls()) == 1


def test_each_reason_is_said_once() -> None:
    openings, _ = _openings()
    with capturedLogs() as logs:
        for number in range(100):
            openings.refuse("it sent nonsense", ("192.0.2.1", number))
            openings.refuse("it sent garbage", ("192.0.2.2", number))
    said = [formatEvent(event) for event in logs]
    assert len(said) == 2
    assert "192.0.2.1" in said[0]
    assert "it sent nonsense" in said[0]


def test_draining_waits_for_those_there_are() -> None:
    openings, clock = _openings()
    one, other = Waiting(), Waiting()
    openings.add(one)
    openings.add(other)
    drained: list[None] = []
    Deferred.fromCoroutine(openings.drain()).addCallback(drained.append)
    openings.done(one)
    assert not drained
    openings.done(other)
    assert drained
    assert (one.aborted, other.aborted) == (0, 0)
    assert not clock.getDelayedCalls()


def test_draining_ends_by_itself() -> None:
    openings, clock = _openings(seconds=60)
    one = Waiting()
    openings.add(one)
    drained: list[None] = []
    Deferred.fromCoroutine(openings.drain()).addCallback(drained.append)
    clock.advance(2)
    assert one.aborted == 1
    assert drained
    assert not clock.getDelayedCalls()


def test_with_none_there_is_nothing_to_drain() -> None:
    openings, _ = _openings()
    drained: list[None] = []
    Deferred.fromCoroutine(openings.drain()).addCallback(drained.append)
    assert drained

"""Connections that aren't open yet: bounded in number and in time."""

from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from ipquery.net.opening import Openings


class ClockLoop:
    """What of an asyncio loop tells the time, by a clock that the test sets."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.time = self.clock.seconds
        self.call_later = self.clock.callLater

    def call_at(self, when: float, call: Any) -> Any:
        return self.clock.callLater(when - self.time(), call)


class Waiting:
    def __init__(self) -> None:
        self.aborted = 0

    def abort(self) -> None:
        self.aborted += 1


def _openings(most: int = 3, seconds: float = 10) -> tuple[Any, ClockLoop]:
    loop: Any = ClockLoop()
    return Openings(loop, most, seconds), loop


def test_each_has_its_own_time() -> None:
    openings, loop = _openings()
    first, second, third = Waiting(), Waiting(), Waiting()
    openings.add(first)
    loop.clock.advance(4)
    openings.add(second)
    openings.add(third)
    openings.done(third)
    loop.clock.advance(5.9)
    assert (first.aborted, len(openings)) == (0, 2)
    loop.clock.advance(0.2)
    assert (first.aborted, second.aborted) == (1, 0)
    loop.clock.advance(4)
    assert (second.aborted, third.aborted) == (1, 0)
    assert not loop.clock.getDelayedCalls()


def test_one_too_many_costs_the_oldest_its_place() -> None:
    openings, _ = _openings(most=3)
    waiting = [Waiting() for _ in range(5)]
    for one in waiting:
        openings.add(one)
    assert [one.aborted for one in waiting] == [1, 1, 0, 0, 0]
    assert len(openings) == 3


def test_there_is_one_timer_for_all_of_them() -> None:
    openings, loop = _openings(most=1000)
    for _ in range(1000):
        openings.add(Waiting())
        loop.clock.advance(0.001)
    assert len(loop.clock.getDelayedCalls()) == 1


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


@pytest_twisted.ensureDeferred
async def test_draining_waits_for_those_there_are() -> None:
    running: Any = reactor
    openings = Openings(running.loop, 10, 60)
    await Deferred.fromCoroutine(openings.drain())
    one = Waiting()
    openings.add(one)
    drained = Deferred.fromFuture(running.loop.create_task(openings.drain()))
    running.callLater(0.05, openings.done, one)
    await drained
    assert one.aborted == 0


@pytest_twisted.ensureDeferred
async def test_draining_ends_by_itself() -> None:
    running: Any = reactor
    openings = Openings(running.loop, 10, 60)
    one = Waiting()
    openings.add(one)
    await Deferred.fromFuture(running.loop.create_task(openings.drain()))
    assert one.aborted == 1

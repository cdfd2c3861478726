"""A run: starts its processes, lets them begin together, and adds up what they say."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ipquery.messages import Reader
from loadgen.report.result import Result, combine
from loadgen.send.messages import (
    CODEC,
    READ_FROM,
    WRITE_TO,
    Begin,
    Connected,
    Done,
    Interval,
    Prepare,
    Refused,
    Stop,
)
from loadgen.send.plan import Plan, PlanError

_MODULE = "loadgen.send.worker"
# What a process may take to import its modules, read addresses and make its connections.
_PREPARE_SECONDS = 120
# The common begin lies so far ahead that every process has been told by then.
_BEGIN_AFTER = 0.05
# What a process may take to say what it found, after its time is up.
_GRACE_SECONDS = 15
# What it may take to end then, before it is killed.
_END_SECONDS = 5


class RunError(Exception):
    """A run that failed. The message is one line for the user."""


@attrs.frozen
class Progress:
    """How far a run is."""

    seconds: float
    length: float
    """Of the interval that the other figures are of."""
    sent: int
    answered: int
    failed: int
    total: int
    """Answers since the beginning."""


Report = Callable[[Progress], None]


def _silent(progress: Progress) -> None:
    """Nobody is looking."""


class _Process(ProcessProtocol):
    """One process of a run, from our side."""

    def __init__(self, heard: Callable[["_Process", Interval], None]) -> None:
        self._heard = heard
        self._messages = Reader(CODEC)
        self._errors = b""
        self.up: Deferred[Connected] = Deferred()
        self.done: Deferred[Done] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self.intervals: list[Interval] = []

    def say(self, message: Any) -> None:
        """Tell it."""
        pipes: Any = self.transport
        pipes.writeToChild(READ_FROM, CODEC.encode(message))

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """It says something."""
        if childFD != WRITE_TO:
            self._errors = (self._errors + data)[-4000:]
            return
        for message in self._messages.feed(data):
            self._take(message)

    def _take(self, message: Any) -> None:
        match message:
            case Interval():
                self.intervals.append(message)
                self._heard(self, message)
            case Connected():
                self.up.callback(message)
            case Refused(reason=reason):
                self.up.errback(Failure(PlanError(reason)))
            case Done():
                self.done.callback(message)

    def processEnded(self, reason: Failure) -> None:
        """It is gone; before it was done, that is a failure."""
        errors = self._errors.decode(errors="replace").strip()
        lost = RunError(
            f"a process of the generator has died: {reason.getErrorMessage()}"
            + (f"\n{errors}" if errors else "")
        )
        self.fail(lost)
        self.ended.callback(None)

    def fail(self, error: RunError) -> None:
        """Nothing is to be expected of it any more."""
        for waiting in (self.up, self.done):
            if not waiting.called:
                waiting.errback(Failure(error))

    @property
    def pid(self) -> int:
        """Its number, 0 when it is gone."""
        pipes: Any = self.transport
        return pipes.pid or 0

    def hang_up(self) -> None:
        """Close its pipe, which tells it to end."""
        pipes: Any = self.transport
        if pipes.pid:
            pipes.closeChildFD(READ_FROM)

    def kill(self) -> None:
        """End it, whatever it does."""
        pipes: Any = self.transport
        if pipes.pid:
            pipes.signalProcess("KILL")


class Run:
    """One run of a plan."""

    def __init__(self, reactor: Any, plan: Plan, report: Report = _silent) -> None:
        """
        :param report: is told of every interval.
        """
        self._reactor = reactor
        self._plan = plan
        self._report = report
        # A hundred intervals, but at most ten a second, as each is a message of every
        # process, and at least one a second, as somebody watches.
        self._interval = min(max(plan.seconds / 100, 0.1), 1.0)
        self._processes: list[_Process] = []
        self._reported = 0
        self._answered = 0

    async def result(self) -> Result:
        """Do it.

        :raises PlanError: it can't be done: nobody answers at the target, or what the
            plan names can't be used.
        :raises RunError: a process of the generator has failed.
        """
        for number in range(self._plan.processes):
            self._spawn(number)
        connected = gatherResults([one.up for one in self._processes], consumeErrors=True)
        done = gatherResults([one.done for one in self._processes], consumeErrors=True)
        try:
            made = await self._within(_PREPARE_SECONDS, connected)
            usable = sum(one.usable for one in made)
            if not usable:
                raise PlanError(f"{self._plan.target.url}: can't connect: {made[0].reason}")
            at = time.monotonic_ns() + int(_BEGIN_AFTER * 1e9)
            for process in self._processes:
                process.say(Begin(at))
            patience = self._plan.seconds + _GRACE_SECONDS
            found = await self._within(patience, done)
        finally:
            done.addErrback(lambda _: None)
            await self._end()
        intervals = [one.intervals for one in self._processes]
        return combine(self._plan, usable, self._interval, intervals, found)

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return [one.pid for one in self._processes]

    def stop(self) -> None:
        """End it before its time; the result is of what was until now."""
        for process in self._processes:
            if process.up.called and not process.done.called:
                process.say(Stop())

    def _spawn(self, number: int) -> None:
        process = _Process(self._hear)
        self._processes.append(process)
        self._reactor.spawnProcess(
            process,
            sys.executable,
            [sys.executable, "-m", _MODULE],
            env=dict(os.environ),
            childFDs={0: "w", 1: "r", 2: "r", READ_FROM: "w", WRITE_TO: "r"},
        )
        process.say(Prepare(self._plan.of_process(number).encode(), self._interval))

    def _hear(self, process: _Process, interval: Interval) -> None:
        """An interval is over when every process has said so."""
        number = self._reported
        if any(len(one.intervals) <= number for one in self._processes):
            return
        parts = [one.intervals[number] for one in self._processes]
        self._reported += 1
        answered = sum(part.answered for part in parts)
        self._answered += answered
        self._report(
            Progress(
                self._reported * self._interval,
                self._interval,
                sum(part.sent for part in parts),
                answered,
                sum(part.failed for part in parts),
                self._answered,
            )
        )

    async def _within(self, seconds: float, gathered: Deferred[Any]) -> Any:
        """Wait for all of them, so long at most; the first failure is raised."""
        limit = self._reactor.callLater(seconds, self._give_up)
        try:
            return await gathered
        except FirstError as error:
            failure: Any = error.subFailure
            failure.raiseException()
        finally:
            if limit.active():
                limit.cancel()

    def _give_up(self) -> None:
        lost = RunError("the generator's processes don't answer; is the machine overloaded?")
        for process in self._processes:
            process.fail(lost)

    async def _end(self) -> None:
        for process in self._processes:
            process.hang_up()
        limit = self._reactor.callLater(_END_SECONDS, self._kill)
        await gatherResults([one.ended for one in self._processes])
        if limit.active():
            limit.cancel()

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

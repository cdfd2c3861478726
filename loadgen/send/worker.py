"""One process of a run; :mod:`loadgen.measure.run` starts it."""

import gc
import os
import signal
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure

from ipquery import DataError, open_snapshot
from ipquery.messages import Reader
from ipquery.net import reactor as loop_reactor
from ipquery.net.limits import raise_open_files
from loadgen.send.addresses import drawing
from loadgen.send.connections import Connections, open_connections
from loadgen.send.counts import Counts
from loadgen.send.load import Load, clock
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
from loadgen.send.pacer import Schedule, Timer
from loadgen.send.plan import Plan, PlanError, decode
from loadgen.send.requests import Requests

# How often it is looked whether a request is overdue, and whether all are answered.
_LOOK_SECONDS = 0.05
# A stop waits so long, as a begin that came before it may have to wait for its time; what
# hasn't begun has nothing to report.
_STOP_SECONDS = 0.2


def _scheduled() -> tuple[int, int]:
    """Nanoseconds that this process ran, and that it waited for a core (proc(5), schedstat)."""
    ran, waited, _ = Path("/proc/self/schedstat").read_text().split()
    return int(ran), int(waited)


class Worker(Protocol):
    """The worker's end of the pipes, and its run."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._messages = Reader(CODEC)
        self._plan: Plan
        self._load: Load
        self._connections: Connections
        self._timer: Timer | None = None
        self._schedule: Schedule
        self._interval = 1.0
        self._reports = 0
        self._reported = (0, 0, 0)
        self._late: array[int] = array("q")
        self._lateness = Counts()
        self._done = False

    def dataReceived(self, data: bytes) -> None:
        """Do what we are told."""
        for message in self._messages.feed(data):
            match message:
                case Prepare():
                    self._prepare(message)
                case Begin(at=at):
                    self._reactor.callLater(max(at - clock(), 0) / 1e9, self._begin, at)
                case Stop():
                    self._reactor.callLater(_STOP_SECONDS, self._finish)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Whoever started us is gone, so nobody wants the load."""
        self._reactor.stop()

    def _say(self, message: Any) -> None:
        pipe: Any = self.transport
        pipe.write(CODEC.encode(message))

    def _prepare(self, prepare: Prepare) -> None:
        plan = self._plan = decode(prepare.plan)
        self._interval = prepare.interval
        if plan.cores:
            os.sched_setaffinity(0, plan.cores)
        try:
            find = None
            if plan.expect is not None:
                snapshot = open_snapshot(plan.expect)
                find = snapshot.finder(lambda answer: answer)
            requests = Requests(plan, drawing(plan))
            self._load = Load(requests, plan.requests, find, plan.rate is not None)
            self._connections = open_connections(self._reactor, plan, self._load)
        except (PlanError, DataError, OSError) as error:
            self._say(Refused(str(error)))
            return
        self._connections.connect().addCallback(lambda _: self._connected())

    def _connected(self) -> None:
        made = self._connections
        self._load.refill()
        # What was made so far is needed to the end, and what is made from now on has no
        # cycles: a garbage collection would free nothing, and delay answers.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 20)
        self._say(Connected(made.usable, made.failed, made.first_failure))

    def _begin(self, at: int) -> None:
        plan = self._plan
        self._began = at
        self._ran, self._waited = _scheduled()
        if plan.rate is not None:
            schedule = Schedule(plan.rate, plan.seconds, at, self._load.pace)
            self._timer, self._schedule = Timer(at, schedule.period), schedule
            self._reactor.loop.add_reader(self._timer.fileno(), self._tick)
        self._connections.start()
        left = plan.seconds - (clock() - at) / 1e9
        self._reactor.callLater(max(left, 0), self._finish)
        self._reactor.callLater(_LOOK_SECONDS, self._look)
        self._reactor.callLater(self._interval, self._report)

    def _tick(self) -> None:
        now = clock()
        steps = self._timer.passed() if self._timer is not None else 0
        if steps:
            self._late.append(now - self._schedule.advance(steps))

    def _look(self) -> None:
        if self._done:
            return
        now, timeout = clock(), int(self._plan.timeout * 1e9)
        for connection in self._connections.each():
            connection.look(now, timeout)
        if self._load.dry_since is not None and not self._connections.in_flight:
            self._finish()
            return
        self._reactor.callLater(_LOOK_SECONDS, self._look)

    def _report(self) -> None:
        if self._done:
            return
        self._say(self._next_interval())
        # Counted from the beginning, so that all processes report at the same times.
        due = self._began / 1e9 + (self._reports + 1) * self._interval
        self._reactor.callLater(max(due - time.monotonic(), 0), self._report)

    def _next_interval(self) -> Interval:
        load = self._load
        load.count()
        self._lateness.add(self._late)
        self._late = array("q")
        total = (load.sent, load.answered, load.failed)
        sent, answered, failed = (
            now - before for now, before in zip(total, self._reported, strict=True)
        )
        self._reported = total
        self._reports += 1
        return Interval(self._reports - 1, sent, answered, failed, load.counts.take())

    def _finish(self) -> None:
        if self._done:
            return
        self._done = True
        # The timer's last times may have passed without the loop having come to them.
        self._tick()
        now = clock()
        load, connections = self._load, self._connections
        load.stop()
        connections.stop()
        if self._timer is not None:
            self._reactor.loop.remove_reader(self._timer.fileno())
            self._timer.close()
        in_flight, unsent = connections.in_flight, len(load.due)
        waiting = [one.asked[0][0] for one in connections.each() if one.asked]
        waiting += [load.due[0]] if load.due else []
        oldest = (now - min(waiting)) / 1e9 if waiting else 0
        # If all that was to be asked (-n) was answered earlier, the run ended then.
        dry = load.dry_since
        end = dry if dry is not None and not in_flight and dry < now else now
        ran, waited = _scheduled()
        elapsed = max(end - self._began, 1)
        self._say(self._next_interval())
        self._say(
            Done(
                seconds=elapsed / 1e9,
                sent=load.sent,
                answered=load.answered,
                failures=load.failures,
                reasons=load.reasons,
                statuses={str(status): count for status, count in load.statuses.items()},
                in_flight=in_flight,
                unsent=unsent,
                oldest=oldest,
                failed_connects=connections.failed,
                bytes_read=load.bytes_read,
                mismatches=load.mismatches,
                samples=load.mismatch_samples,
                busy=(ran - self._ran) / elapsed,
                waited=(waited - self._waited) / elapsed,
                late=self._lateness.take(),
            )
        )
        pipe: Any = self.transport
        pipe.loseConnection()


def main() -> None:
    """Run until the run is over, or whoever started it is gone."""
    # An interrupt from the terminal reaches us, too; who started us will say what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reactor = loop_reactor.install()
    errors = FilteringLogObserver(
        textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(LogLevel.error)]
    )
    globalLogBeginner.beginLoggingTo([errors], redirectStandardIO=False)
    raise_open_files()
    from twisted.internet import stdio

    pipes: Any = stdio.StandardIO  # to mypy it is the one of Windows
    pipes(Worker(reactor), stdin=READ_FROM, stdout=WRITE_TO, reactor=reactor)
    reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()

"""One process without a supervisor, and how late its event loop is."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ipquery.metrics import LAG, LATE_SECONDS, LIMITS
from ipquery.serve.alone import Alone
from ipquery.serve.http.counts import Counts
from ipquery.serve.http.lag import Lag
from ipquery.serve.totals import HandedOver, Told


def _told(asked: "Deferred[Told]") -> Told:
    seen: list[Told] = []
    asked.addCallback(seen.append)
    return seen[0]


def test_one_process_adds_up_by_itself() -> None:
    clock, counts = Clock(), Counts()
    alone = Alone(clock, lambda: HandedOver(counts.take(), []))
    alone.start()
    for _ in range(3):
        counts.add(LIMITS, ("connections",))
        clock.advance(1)
    counts.add(LIMITS, ("connections",))
    told = _told(alone.ask())
    assert (LIMITS.name, ("connections",), 4) in told.entries
    assert told.recent.seconds == 3
    alone.stop()
    assert clock.getDelayedCalls() == []


def test_a_loop_that_is_late_is_told() -> None:
    clock, counts = Clock(), Counts()
    lag = Lag(clock, counts)
    lag.start()
    clock.advance(0.1)  # in time
    clock.advance(0.1 + 0.2)
    ((name, _, values),) = counts.take()
    assert name == LAG.name
    assert isinstance(values, list)
    assert values[0] == 1
    assert values[LATE_SECONDS.index(0.25)] == 1
    lag.stop()
    assert clock.getDelayedCalls() == []

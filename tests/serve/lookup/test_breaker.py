"""The circuit breaker."""

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from ipquery.serve.lookup.breaker import Breaker


def _fail(breaker: Breaker, times: int = 5) -> None:
    for _ in range(times):
        breaker.failed("no answer")


def test_it_opens_after_five_failures_in_a_row() -> None:
    breaker = Breaker("it", Clock().seconds)
    for _ in range(3):
        _fail(breaker, 4)
        assert breaker.allows()
        breaker.succeeded()
    _fail(breaker)
    assert breaker.state == "open"
    assert not breaker.allows()


def test_after_the_pause_one_tries() -> None:
    clock = Clock()
    breaker = Breaker("it", clock.seconds)
    _fail(breaker)
    clock.advance(0.99)
    assert not breaker.allows()
    clock.advance(0.01)
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    assert breaker.state == "half-open"
    breaker.succeeded()
    assert breaker.state == "closed"
    assert breaker.allows()


def test_pauses_grow_up_to_half_a_minute_and_begin_anew() -> None:
    clock = Clock()
    breaker = Breaker("it", clock.seconds)
    _fail(breaker)
    pauses = []
    for _ in range(7):
        pauses.append(breaker.pause)
        clock.advance(breaker.pause)
        assert breaker.allows()
        _fail(breaker, 1)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    clock.advance(30)
    assert breaker.allows()
    breaker.succeeded()
    _fail(breaker)
    assert breaker.pause == 1


def test_outcomes_from_before_it_opened_change_nothing() -> None:
    clock = Clock()
    breaker = Breaker("it", clock.seconds)
    _fail(breaker)
    breaker.succeeded()
    _fail(breaker)
    assert breaker.state == "open"
    clock.advance(1)
    assert breaker.allows()


def test_the_log_says_each_reason_once_and_when_it_is_over() -> None:
    clock = Clock()
    breaker = Breaker("it", clock.seconds)
    with capturedLogs() as logged:
        _fail(breaker)
        for reason in ("no answer", "another", "another"):
            clock.advance(breaker.pause)
            assert breaker.allows()
            breaker.failed(reason)
        clock.advance(breaker.pause)
        assert breaker.allows()
        breaker.succeeded()
        breaker.succeeded()
    assert [formatEvent(event) for event in logged] == [
        "it is left alone for now: no answer",
        "it is left alone for now: another",
        "it answers again",
    ]


def test_the_first_reason_is_the_one_that_is_said() -> None:
    """What follows is often only its consequence."""
    breaker = Breaker("it", Clock().seconds)
    breaker.failed("an accident")
    breaker.succeeded()
    with capturedLogs() as logged:
        for reason in ("no answer", *["not connected"] * 4):
            breaker.failed(reason)
    (event,) = logged
    assert formatEvent(event) == "it is left alone for now: no answer"


def test_one_that_begins_open_is_tried_at_once_and_says_nothing_when_well() -> None:
    breaker = Breaker("it", Clock().seconds, is_open=True)
    assert breaker.state == "open"
    with capturedLogs() as logged:
        assert breaker.allows()
        breaker.succeeded()
    assert logged == []
    assert breaker.state == "closed"

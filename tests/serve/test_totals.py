"""What workers have counted, added up: never less than before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.messages import MessageError
from ipquery.metrics import CONNECTIONS, DURATION, LIMITS
from ipquery.serve.http.counts import Entry, Value
from ipquery.serve.totals import (
    HandedOver,
    Recent,
    Totals,
    decode_handed_over,
    decode_told,
    encode_handed_over,
    encode_told,
)

ROUTE = "GET", "/", "200"
WIDTH = len(DURATION.bounds) + 2


def limit(name: str, count: float = 1) -> Entry:
    return LIMITS.name, (name,), count


def durations(count: float) -> Entry:
    return DURATION.name, ROUTE, [count, *[0.0] * (WIDTH - 2), count / 2]


def connections(count: float) -> Entry:
    return CONNECTIONS.name, (), count


def told(totals: Totals) -> dict[tuple[str, tuple[str, ...]], Value]:
    return {(name, labels): value for name, labels, value in totals.told().entries}


def test_what_workers_count_is_added_up() -> None:
    totals = Totals()
    totals.take(1, HandedOver([limit("a"), durations(3)], [connections(5)]))
    totals.take(2, HandedOver([limit("a", 2), limit("b"), durations(4)], [connections(7)]))
    totals.take(1, HandedOver([durations(1)], [connections(6)]))
    assert sorted(totals.told().entries) == sorted(
        [limit("a", 3), limit("b"), durations(8), connections(13)]
    )


def test_what_a_worker_has_counted_stays_when_it_is_gone() -> None:
    totals = Totals()
    totals.take(1, HandedOver([limit("a")], [connections(5)]))
    totals.forget(1)
    assert totals.told().entries == [limit("a")]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 5), st.integers(0, 5)),
        max_size=30,
    )
)
def test_nothing_goes_back_whatever_happens(events: list[tuple[int, bool, int, int]]) -> None:
    totals, before = Totals(), dict[tuple[str, tuple[str, ...]], Value]()
    for worker, ends, count, open_now in events:
        if ends:
            totals.forget(worker)
        else:
            counted = [limit("a", count), durations(count)]
            totals.take(worker, HandedOver(counted, [connections(open_now)]))
        now = told(totals)
        for key, value in before.items():
            if key[0] != CONNECTIONS.name:
                assert now[key] >= value  # type: ignore[operator] # of one kind
        before = now
    assert sum(count for _, ends, count, _ in events if not ends) == (
        before.get((LIMITS.name, ("a",)), 0)
    )


def test_rates_are_of_the_last_ten_seconds() -> None:
    totals = Totals()
    assert totals.told().recent == Recent(0.0, [])
    for second in range(30):
        totals.take(1, HandedOver([durations(second)], []))
        totals.tick(100.0 + second)
    recent = totals.told().recent
    assert recent.seconds == 10
    assert recent.durations[0] == sum(range(20, 30))


VALUES = st.integers(0, 10**9) | st.lists(st.floats(0, 1e9), min_size=3, max_size=3)
ENTRIES = st.lists(st.tuples(st.text(), st.lists(st.text()).map(tuple), VALUES))


@given(ENTRIES, ENTRIES)
def test_what_is_handed_over_comes_as_it_was(counted: list[Entry], gauges: list[Entry]) -> None:
    one = HandedOver(counted, gauges)
    assert decode_handed_over(encode_handed_over(one)) == one


def test_what_is_told_comes_as_it_was() -> None:
    totals = Totals()
    totals.take(1, HandedOver([limit("a"), durations(3)], [connections(5)]))
    totals.tick(1.0)
    totals.tick(2.0)
    assert decode_told(encode_told(totals.told())) == totals.told()


@pytest.mark.parametrize("text", ["", "1", "[]", "[1]", "[1, 2]", "[[1], []]", '[["a", 1, 2], []]'])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(MessageError):
        decode_handed_over(text)

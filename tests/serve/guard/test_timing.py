"""How long it takes to check a key says nothing of the keys that there are.

What could tell: a comparison that ends at the first difference takes longer the more of a guess
is right. So keys are never compared as text, which the first tests show; the last one looks
for it with a clock, as dudect does (Reparaz, Balasch and Verbauwhede, 2017): guesses of two
kinds in random order, and Welch's t of the times.
"""

import math
import random
import string
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean, variance
from typing import cast

import attrs
import pytest

from ipquery.serve.guard.keys import Keys, to_text
from ipquery.serve.guard.settings import GuardSettings
from ipquery.serve.http.limits import HttpLimits
from tests.serve.guard.test_keys import GUARD, KEY, OTHER, STRANGE, TARGETS, entry
from tests.serve.http.connection import Server, get

_CHARACTERS = string.ascii_letters + string.digits
_PEER = ("192.0.2.7", 4711)


class ComparedError(Exception):
    """A key was compared with another text."""


class Untouchable(bytes):
    """A key that nothing may be compared with."""

    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        raise ComparedError


def guess(right: int, chance: random.Random) -> str:
    """A text as long as the key, with so many first characters of it, and another behind them."""
    other = next(one for one in chance.sample(_CHARACTERS, 2) if one != KEY[right])
    return KEY[:right] + other + "".join(chance.choices(_CHARACTERS, k=len(KEY) - right - 1))


def every_guess() -> list[str]:
    chance = random.Random(1)  # the same again is what is wanted
    return [guess(right, chance) for right in range(len(KEY))]


def ask(key: str) -> bytes:
    return get(TARGETS[0], f"X-Api-Key: {key}")


def test_a_key_is_looked_for_by_its_hash() -> None:
    keys = Keys([entry("one", KEY)])
    keys._hashes = frozenset(map(Untouchable, keys._hashes))
    for text in [*every_guess(), STRANGE, KEY + "x", ""]:
        assert not keys.admit({b"x-api-key": text.encode()})
    with pytest.raises(ComparedError):
        keys.admit({b"x-api-key": KEY.encode()})


@pytest.mark.parametrize("at_first", [False, True])
def test_nor_is_one_compared_with_that_of_the_request_before(at_first: bool) -> None:
    server = Server(guard=GUARD)
    connection = server.connect()

    def status_of(key: str) -> int:
        if at_first:
            answer = server.site.answer_first(ask(key), _PEER)
            assert answer is not None
            return int(answer[0].split()[1])
        return connection.ask(ask(key)).status

    assert server.guard is not None
    passage = server.guard.passage({b"x-api-key": KEY.encode()})
    assert passage is not None
    kept = cast(set[bytes], passage.values)
    for text in [*every_guess(), STRANGE]:
        kept.clear()
        assert [status_of(KEY) for _ in range(3)] == [200] * 3
        assert kept == {KEY.encode()}
        kept.clear()
        kept.add(Untouchable(KEY.encode()))
        assert status_of(text) == 401
    kept.clear()
    assert [status_of(KEY) for _ in range(3)] == [200] * 3
    kept.clear()
    kept.add(Untouchable(KEY.encode()))
    with pytest.raises(ComparedError):
        status_of(KEY)


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """Welch's t of two samples."""
    spread = variance(one) / len(one) + variance(other) / len(other)
    return (fmean(one) - fmean(other)) / math.sqrt(spread)


def cropped(one: Sequence[float], other: Sequence[float]) -> tuple[list[float], list[float]]:
    """Without what took longest of both, when something else came between."""
    most = sorted([*one, *other])[(len(one) + len(other)) * 9 // 10]
    return [value for value in one if value <= most], [value for value in other if value <= most]


def test_welch_s_t() -> None:
    assert welch([1, 2, 3, 4], [1, 2, 3, 4]) == 0
    # Means 3 and 6, variances 2.5 and 10, of five each.
    assert welch([1, 2, 3, 4, 5], [2, 4, 6, 8, 10]) == pytest.approx(-3 / math.sqrt(2.5))


_SAMPLES = 20_000
# Of two samples of the same, one pair in 100,000 has more.
_MOST = 4.5


@attrs.frozen
class Way:
    """A way to a check."""

    make: Callable[[str], bytes]
    """What is checked, of a key."""
    check: Callable[[bytes], object]
    prepare: Callable[[], object] = lambda: None
    """Before each."""

    def t(self, one: Callable[[], str], other: Callable[[], str]) -> float:
        """Welch's t of the times that it takes for two kinds of keys."""
        chance = random.Random(2)
        # Made beforehand and in the same way: else what was in the processor's caches from that
        # would be what is measured.
        order = [chance.randrange(2) for _ in range(_SAMPLES)]
        sent = [self.make((one, other)[kind]()) for kind in order]
        times: tuple[list[float], list[float]] = ([], [])
        for kind, given in zip(order, sent, strict=True):
            self.prepare()
            begun = time.perf_counter_ns()
            self.check(given)
            times[kind].append(time.perf_counter_ns() - begun)
        return welch(*cropped(*times))


def _is_key_by_text(text: bytes) -> bool:
    """How it must not be done."""
    return all(one == other for one, other in zip(text, KEY.encode(), strict=True))


@pytest.mark.soak
def test_times_of_checks_are_the_same_for_all_keys() -> None:
    chance = random.Random(3)
    limits = HttpLimits(requests_per_connection=10**9)
    # Of two keys one was revoked.
    guard = GuardSettings(keys=to_text([entry("one", KEY)]))
    server = Server(guard=guard, limits=limits)
    connection = server.connect()
    channel, site, usual = connection.channel, server.site, ask(KEY)

    def learn() -> None:
        """The last requests had the key, so that the next is first held against it."""
        for _ in range(3):
            channel.dataReceived(usual)
        connection.transport.sent = b""

    def learn_first() -> None:
        for _ in range(3):
            site.answer_first(usual, _PEER)

    keys = Keys([entry("one", KEY), entry("other", OTHER)])
    by_hash = Way(str.encode, lambda text: keys.admit({b"x-api-key": text}))
    found = {}
    for name, way in {
        "hash": by_hash,
        "connection": Way(ask, channel.dataReceived, learn),
        "first": Way(ask, lambda request: site.answer_first(request, _PEER), learn_first),
    }.items():
        # So many that no guess comes twice: heads that came before are parsed sooner.
        for right in (len("ipq_"), len(KEY) // 2, len(KEY) - 8):
            kinds = (partial(guess, number, chance) for number in (0, right))
            found[f"{name}, {right} characters right"] = way.t(*kinds)
        if way is not by_hash:
            found[f"{name}, revoked"] = way.t(lambda: STRANGE, lambda: OTHER)
    # How these differ from what isn't known, the answer tells anyway.
    found["hash, both known"] = by_hash.t(lambda: KEY, lambda: OTHER)
    for name, t in found.items():
        print(f"{name}: t = {t:.2f}")
    leaks = Way(str.encode, _is_key_by_text).t(
        partial(guess, 0, chance), partial(guess, len(KEY) - 1, chance)
    )
    print(f"compared as text: t = {leaks:.2f}")
    # That it would be seen.
    assert abs(leaks) > 10
    assert {name: t for name, t in found.items() if abs(t) > _MOST} == {}

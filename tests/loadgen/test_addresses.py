"""Addresses to ask for: what is drawn, in what proportion, and the same for the same seed."""

import json
from collections import Counter
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipquery import open_snapshot
from ipquery.address import V4_LAST, parse, to_text
from loadgen.send.addresses import drawing, of_ranges_v4, of_ranges_v6, random_of, v4_texts, zipf
from loadgen.send.plan import Plan, PlanError, Target
from loadgen.send.requests import Requests

PLAN = Plan(Target("127.0.0.1", 80, "127.0.0.1"))


def _draw(count: int, **more: Any) -> list[bytes]:
    return drawing(attrs.evolve(PLAN, **more))(count)


@given(st.lists(st.integers(0, V4_LAST), min_size=1, max_size=50))
def test_texts_are_those_of_the_numbers(numbers: list[int]) -> None:
    assert v4_texts(np.array(numbers, dtype=np.int64)) == [
        to_text(4, number).encode() for number in numbers
    ]


# A population of 100,000 is drawn each time.
@settings(max_examples=3)
@given(st.sampled_from(["uniform", "zipf", "zipf:1.5"]), st.integers(0, 2**40), st.integers(0, 9))
def test_the_same_seed_draws_the_same(kind: str, seed: int, number: int) -> None:
    one: dict[str, Any] = {"addresses": kind, "seed": seed, "number": number, "ipv6_share": 0.3}
    first = _draw(50, **one)
    assert first == _draw(50, **one)
    assert first != _draw(50, **{**one, "seed": seed + 1})
    assert first != _draw(50, **{**one, "number": number + 1})


def test_how_many_are_drawn_at_once_changes_nothing_of_what_they_are() -> None:
    draw = drawing(PLAN)
    assert [*draw(10), *draw(90)] == _draw(100)


def test_uniform_addresses_are_hosts_and_do_not_repeat() -> None:
    drawn = _draw(100_000)
    firsts = Counter(int(text.partition(b".")[0]) for text in drawn)
    assert set(firsts) == set(range(1, 224))
    # 448 expected of each, with a standard deviation of 21
    assert 300 < min(firsts.values()) <= max(firsts.values()) < 600
    # 100,000 of 3.7 thousand million: one or two pairs
    assert len(set(drawn)) > 99_980


@given(st.floats(0, 1))
def test_ipv6_has_its_share(share: float) -> None:
    drawn = _draw(400, ipv6_share=share)
    six = sum(b":" in text for text in drawn)
    assert abs(six - 400 * share) <= 60  # six standard deviations
    for text in drawn:
        version, number = parse(text.decode())
        assert version == (6 if b":" in text else 4)
        assert version == 4 or number >> 125 == 1, "2000::/3"


def test_zipf_has_few_often_and_many_seldom() -> None:
    population = [b"%d" % number for number in range(1000)]
    drawn = Counter(zipf(random_of(1), 1.0, population)(200_000))
    # The harmonic number of 1000 is 7.485.
    for rank in (1, 2, 10, 100):
        expected = 200_000 / rank / 7.485
        assert abs(drawn[population[rank - 1]] - expected) < 6 * expected**0.5
    assert len(drawn) > 990


def test_all_processes_find_the_same_addresses_popular() -> None:
    tops = [
        Counter(_draw(20_000, addresses="zipf", number=number)).most_common(1)[0][0]
        for number in range(3)
    ]
    assert len(set(tops)) == 1


_RANGES = st.lists(
    st.tuples(st.integers(0, V4_LAST), st.integers(0, 1000)), min_size=1, max_size=20
).map(lambda pairs: [(first, min(first + more, V4_LAST)) for first, more in pairs])


@given(_RANGES)
def test_addresses_of_ranges_are_in_them(ranges: list[tuple[int, int]]) -> None:
    for family, draw in ((AF_INET, of_ranges_v4), (AF_INET6, of_ranges_v6)):
        for text in draw(random_of(1), ranges)(50):
            number = int.from_bytes(inet_pton(family, text.decode()), "big")
            assert any(first <= number <= last for first, last in ranges)


def test_both_ends_of_a_range_are_drawn() -> None:
    drawn = Counter(of_ranges_v4(random_of(1), [(5, 6), (10, 10)])(3000))
    assert set(drawn) == {b"0.0.0.5", b"0.0.0.6", b"0.0.0.10"}
    assert all(850 < count < 1150 for count in drawn.values())


def test_addresses_of_a_country(ip2region_path: Path) -> None:
    drawn = _draw(300, addresses="country:jp,KR", database=str(ip2region_path))
    with open_snapshot(ip2region_path) as snapshot:
        codes = {
            json.loads(snapshot.answer(snapshot.answer_number(*parse(text.decode()))))[1]
            for text in drawn
        }
    assert codes == {"JP", "KR"}


def test_addresses_of_a_file_all_come_before_any_comes_again(tmp_path: Path) -> None:
    texts = [f"1.2.3.{number}" for number in range(50)] + ["2001:db8::1"]
    path = tmp_path / "addresses"
    path.write_text("# a comment\n\n" + "\n".join(texts) + "\n")
    for number in range(2):
        drawn = _draw(102, addresses=f"file:{path}", number=number)
        assert sorted(drawn[:51]) == sorted(drawn[51:]) == sorted(text.encode() for text in texts)
        assert drawn[:51] != drawn[51:], "in another order"


@pytest.mark.parametrize(
    ("addresses", "content", "said"),
    [
        ("nonsense", "", "uniform, zipf"),
        ("zipf:x", "", "exponent"),
        ("zipf:-1", "", "exponent"),
        ("country:CN", "", "--db"),
        ("file:", "", "uniform, zipf"),
        ("file:/missing", "", "No such file"),
        ("file:{path}", "\n# nothing\n", "no addresses"),
        ("file:{path}", "1.2.3.4\n1.2.3\n", "line 2: not an IP address: '1.2.3'"),
    ],
)
def test_what_cannot_be_drawn_is_named(
    addresses: str, content: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    with pytest.raises(PlanError, match=said):
        _draw(1, addresses=addresses.format(path=path))


def test_a_country_that_nobody_is_in(ip2region_path: Path) -> None:
    with pytest.raises(PlanError, match="no IPv4 addresses"):
        _draw(1, addresses="country:XX", database=str(ip2region_path))
    with pytest.raises(PlanError, match="no IPv6 addresses"):
        _draw(1, addresses="country:CN", database=str(ip2region_path), ipv6_share=1.0)


# Requests


def _requests(count: int, **more: Any) -> list[tuple[bytes, bytes]]:
    plan = attrs.evolve(PLAN, **more)
    asks = Requests(plan, drawing(plan)).take(count, bytes.upper)
    assert all(expected == address.upper() for _, address, expected in asks)
    return [(request, address) for request, address, _ in asks]


def test_a_get() -> None:
    ((request, address),) = _requests(1, headers=(("X-A", "b"),), keep_alive=False)
    assert request == (
        b"GET /api/ip_query?ip=" + address + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n"
        b"Connection: close\r\n\r\n"
    )


def test_a_post_says_how_long_it_is() -> None:
    for request, address in _requests(100, post_share=1, ipv6_share=0.5):
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /api/ip_query HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert head.endswith(b"Content-Length: %d" % len(body))
        assert json.loads(body) == {"ip": address.decode()}


@given(st.floats(0.01, 0.99))
def test_methods_have_their_share(share: float) -> None:
    posts = sum(request.startswith(b"POST") for request, _ in _requests(400, post_share=share))
    assert abs(posts - 400 * share) <= 60

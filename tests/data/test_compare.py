"""Comparing sources: held against a model that looks at one address after the other."""

import ipaddress
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.data.blend.claims import LEVELS
from ipquery.data.blend.compare import WITHIN, Space, compare
from ipquery.data.codes.china import prefecture_of
from ipquery.data.ranges import KEY, to_key
from ipquery.data.record import Record
from ipquery.data.sizes import Sizes
from ipquery.data.sphere import kilometres
from ipquery.special import PUBLIC, V4_BLOCKS, V6_BLOCKS, kind_of
from tests.data.blending import Given, everywhere, given_of, source
from tests.data.tables import LAST, Rows, rows_of, search


@attrs.frozen
class Said:
    """A record, and what it means: keys that are equal where records agree."""

    record: Record
    country: str | None = None
    province: str | None = None
    city: str | None = None
    chinese_city: bool = False
    """It has a Chinese name and no code."""


SAID = (
    Said(Record(country="中国", province="浙江省", city="金华市"), "CN", "CN-ZJ", "330700"),
    Said(
        Record(country="China", country_code="CN", province="Zhejiang", city="Yiwu", latitude=29.3,
               longitude=120.1, org="a"),
        "CN", "CN-ZJ", "330700",
    ),
    Said(Record(country="中国", province="浙江", city="杭州", isp="电信"), "CN", "CN-ZJ", "330100"),
    Said(Record(country="中国", province="北京", city="北京市"), "CN", "CN-BJ", "110000"),
    Said(
        Record(country_code="CN", province="Beijing", city="Jinrongjie (Xicheng District)",
               latitude=39.9, longitude=116.4),
        "CN", "CN-BJ", "110000",
    ),
    Said(Record(country="中国", province="北京", city="某地"), "CN", "CN-BJ", "110000"),
    Said(Record(country="中国", city="金华市"), "CN", None, "x金华市", chinese_city=True),
    Said(Record(country="美国", province="加利福尼亚州", city="洛杉矶", postal_code="9"),
         "US", "US-CA", "x洛杉矶", chinese_city=True),
    Said(Record(country_code="US", province="California", city="Los Angeles", latitude=34.0,
                longitude=-118.2, time_zone="America/Los_Angeles"),
         "US", "US-CA", "los angeles"),
    Said(Record(country_code="US", city="los angeles", asn=1, as_org="b"),
         "US", None, "los angeles"),
    Said(Record(country_code="US", province="New York", city="Los Angeles", latitude=42.0,
                longitude=-74.0), "US", "US-NY", "los angeles"),
    Said(Record(country="中国", province="香港"), "HK"),
    Said(Record(country_code="HK", latitude=22.3, longitude=114.2, city="Kowloon"),
         "HK", None, "kowloon"),
    Said(Record(country="GOOGLE", as_org="Google")),
    Said(Record(country="-", city="unknown")),
)  # fmt: skip
MEANT = {one.record: one for one in SAID}


class Model:
    """All public addresses, in pieces within which no source changes."""

    def __init__(self, given: Sequence[Given], version: int) -> None:
        self.given, self.version = given, version
        ends = {0, LAST[version] + 1}
        for one in given:
            for first, last, _ in one.rows[version]:
                ends |= {first, last + 1}
        ends |= set(_where_kinds_change(version))
        self.pieces = [
            (first, after)
            for first, after in itertools.pairwise(sorted(ends))
            if kind_of(version, first) == PUBLIC
        ]

        self._said = {
            (number, first): self._at(number, first)
            for number in range(len(given))
            for first, _ in self.pieces
        }

    def _at(self, number: int, address: int) -> Said | None:
        found = search(self.given[number].rows[self.version], address)
        return None if found is None else MEANT[self.given[number].records[found]]

    def at(self, number: int, address: int) -> Said | None:
        """What a source says of an address."""
        key = number, address
        return self._said[key] if key in self._said else self._at(*key)

    def addresses(self, test: Callable[[int], bool]) -> int:
        return sum(after - first for first, after in self.pieces if test(first))

    def ranges(self, number: int, test: Callable[[int], bool]) -> int:
        return sum(
            any(a <= last and after > first and test(a) for a, after in self.pieces)
            for first, last, _ in self.given[number].rows[self.version]
        )


def _where_kinds_change(version: int) -> Iterator[int]:
    for block in V4_BLOCKS if version == 4 else V6_BLOCKS:
        network = ipaddress.ip_network(block.network)
        yield int(network.network_address)
        yield int(network.broadcast_address) + 1


KNOWN: dict[str, Callable[[Said], bool]] = {
    "country": lambda said: said.country is not None,
    "province": lambda said: said.record.province is not None,
    "city": lambda said: said.record.city not in (None, "unknown"),
    "district": lambda said: False,
    "postal_code": lambda said: said.record.postal_code is not None,
    "coordinates": lambda said: said.record.latitude is not None,
    "time_zone": lambda said: said.record.time_zone is not None,
    "provider": lambda said: bool(said.record.org or said.record.isp),
    "asn": lambda said: said.record.asn is not None,
    "owner": lambda said: bool(said.record.org or said.record.isp or said.record.as_org),
}


def _check_coverage(model: Model, space: Space) -> None:
    for number, found in enumerate(space.coverage):

        def knows(
            first: int, field: str | None = None, country: str | None = None, number: int = number
        ) -> bool:
            said = model.at(number, first)
            if said is None or (country is not None and said.country != country):
                return False
            if field is not None:
                return KNOWN[field](said)
            return any(test(said) for test in KNOWN.values())

        assert found.whole.all.addresses == model.addresses(knows)
        assert found.whole.all.ranges == model.ranges(number, knows)
        of_countries: list[tuple[str | None, Any]] = [(None, found.whole), *found.countries.items()]
        for country, coverage in of_countries:
            assert coverage.known.keys() == KNOWN.keys()
            for field, count in coverage.known.items():

                def test(first: int, field: str = field, country: str | None = country) -> bool:
                    return knows(first, field, country)

                assert count.addresses == model.addresses(test), (country, field)
                assert count.ranges == model.ranges(number, test), (country, field)
        spoken = {said.country for a, _ in model.pieces if (said := model.at(number, a))}
        assert set(found.countries) == spoken - {None}


def _agreement(level: str, left: Said, right: Said) -> tuple[bool, bool, bool]:
    """Whether both know the level, whether it can be told if they agree, and if they do."""
    pair = (getattr(left, level), getattr(right, level))
    both = None not in pair
    untold = (left.chinese_city, right.chinese_city)
    told = both and (level != "city" or untold[0] == untold[1])
    same = told and pair[0] == pair[1] and left.country == right.country
    if level == "city":
        provinces = (left.province, right.province)
        same = same and (None in provinces or provinces[0] == provinces[1])
    return both, told, same


def _check_pairs(model: Model, space: Space) -> None:
    count = len(model.given)
    assert [(pair.left, pair.right) for pair in space.pairs] == list(
        itertools.combinations(range(count), 2)
    )
    for pair in space.pairs:
        both = [
            (after - first, left, right)
            for first, after in model.pieces
            if (left := model.at(pair.left, first)) and (right := model.at(pair.right, first))
        ]
        for level in LEVELS:
            found = pair.levels[level]
            sums = [0, 0, 0]
            for size, left, right in both:
                for place, true in enumerate(_agreement(level, left, right)):
                    sums[place] += size * true
            assert [found.both, found.told, found.same] == sums, level
        largest = Counter[tuple[str | None, str | None]]()
        for size, left, right in both:
            if left.country and right.country and left.country != right.country:
                largest[left.country, right.country] += size
        assert [one.addresses for one in pair.levels["country"].disagreements] == [
            size for _, size in largest.most_common(10)
        ]
        apart = sorted(
            (_kilometres(left.record, right.record), size)
            for size, left, right in both
            if left.record.latitude is not None and right.record.latitude is not None
        )
        assert pair.distance.addresses == sum(size for _, size in apart)
        assert pair.distance.median == pytest.approx(_quantile(apart, 5))
        assert pair.distance.p90 == pytest.approx(_quantile(apart, 9))
        for km in WITHIN:
            assert pair.distance.within[km] == sum(size for far, size in apart if far <= km)


def _kilometres(one: Record, other: Record) -> float:
    """By the spherical law of cosines, not the haversine."""
    assert one.latitude is not None and other.latitude is not None  # noqa: PT018
    if (one.latitude, one.longitude) == (other.latitude, other.longitude):
        return 0
    north, other_north = math.radians(one.latitude), math.radians(other.latitude)
    east = math.radians((other.longitude or 0) - (one.longitude or 0))
    return 6371.0088 * math.acos(
        math.sin(north) * math.sin(other_north)
        + math.cos(north) * math.cos(other_north) * math.cos(east)
    )


def _quantile(apart: Sequence[tuple[float, int]], tenths: int) -> float | None:
    total = sum(size for _, size in apart)
    reached = 0
    for far, size in apart:
        reached += size
        if reached * 10 >= total * tenths:
            return far
    return None


def _compare(given: Sequence[Given]) -> list[Space]:
    tables = [one.table() for one in given]
    return compare([one.source for one in given], tables, [False] * len(given))


# Where public addresses are.
PUBLIC_FIRST = {4: 1 << 24, 6: 0x2A00 << 112}


@st.composite
def _ends(draw: st.DrawFn, version: int) -> Rows:
    """Ranges among public addresses, most of them small: there quantiles are decided."""
    rows: Rows = []
    first = PUBLIC_FIRST[version]
    for size, gap in draw(
        st.lists(
            st.tuples(st.sampled_from((1, 1, 2, 3, 1000)), st.sampled_from((0, 0, 1))),
            min_size=1,
            max_size=12,
        )
    ):
        rows.append((first, first + size - 1, 0))
        first += size + gap
    return rows


@st.composite
def sources(draw: st.DrawFn) -> list[Given]:
    """Up to three sources whose ranges begin at the same addresses, and one of its own."""
    # A few of the records: so it happens that two of them stand at many addresses.
    records = draw(
        st.lists(st.sampled_from([one.record for one in SAID]), min_size=1, max_size=5, unique=True)
    )
    ends = {version: draw(_ends(version) | rows_of(version)) for version in (4, 6)}
    given = []
    for name in ("a", "b", "c")[: draw(st.integers(1, 3))]:
        rows: dict[int, Rows] = {}
        for version, ranges in ends.items():
            said = draw(
                st.lists(
                    st.none() | st.integers(0, len(records) - 1),
                    min_size=len(ranges),
                    max_size=len(ranges),
                )
            )
            rows[version] = [
                (first, last, record)
                for (first, last, _), record in zip(ranges, said, strict=True)
                if record is not None
            ]
        given.append(Given(source(name), records, rows))
    if draw(st.booleans()):
        given.append(draw(given_of(st.sampled_from(records), "d")))
    return given


@given(sources())
def test_counts_are_those_of_a_look_at_every_address(given: list[Given]) -> None:
    spaces = _compare(given)
    assert [space.version for space in spaces] == [4, 6]
    for space in spaces:
        model = Model(given, space.version)
        assert space.public == model.addresses(lambda first: True)
        _check_coverage(model, space)
        _check_pairs(model, space)


def test_every_pair_of_meanings() -> None:
    records = [one.record for one in SAID]
    pairs = list(itertools.product(range(len(records)), repeat=2))
    given = [
        Given(
            source(name),
            records,
            {
                version: [
                    # Some larger than others, and none beside the next.
                    (at := first + 4 * number, at + number % 3, pair[side])
                    for number, pair in enumerate(pairs)
                ]
                for version, first in PUBLIC_FIRST.items()
            },
        )
        for side, name in enumerate(("left", "right"))
    ]
    for space in _compare(given):
        model = Model(given, space.version)
        _check_coverage(model, space)
        _check_pairs(model, space)


def test_half_of_an_odd_number_of_addresses_is_the_larger_half() -> None:
    point = Record(country_code="US", city="a", latitude=0.0, longitude=9.0)
    records = [attrs.evolve(point, longitude=float(degrees)) for degrees in (9, 10, 11)]
    rows: dict[int, Rows] = {4: [(1 << 24, (1 << 24) + 2, 0)]}
    apart: dict[int, Rows] = {4: [((1 << 24) + k, (1 << 24) + k, k) for k in range(3)]}
    (pair,) = _compare(
        [Given(source("left"), [records[0]], rows), Given(source("right"), records, apart)]
    )[0].pairs
    degree = math.radians(1) * 6371.0088
    assert pair.distance.median == pytest.approx(degree)
    assert pair.distance.p90 == pytest.approx(2 * degree)
    assert [pair.distance.within[km] for km in (1, 100, 250)] == [1, 1, 3]


def test_a_country_apart_is_no_disagreement_on_the_city() -> None:
    left = everywhere(Record(country_code="US", province="California", city="a"), "left")
    right = everywhere(Record(country_code="CA", province="Ontario", city="b"), "right")
    (pair,) = _compare([left, right])[0].pairs
    assert len(pair.levels["country"].disagreements) == 1
    assert not pair.levels["province"].disagreements
    assert not pair.levels["city"].disagreements


@given(sources())
def test_disagreements_are_real_and_the_largest_come_first(given: list[Given]) -> None:
    for space in _compare(given):
        model = Model(given, space.version)
        for pair in space.pairs:
            for level in LEVELS:
                found = pair.levels[level]
                sizes = [one.addresses for one in found.disagreements]
                assert sizes == sorted(sizes, reverse=True)
                assert sum(sizes) <= found.told - found.same
                if level == "country" and len(sizes) < 10:
                    assert sum(sizes) == found.told - found.same
                for one in found.disagreements:
                    assert sum(example.addresses for example in one.examples) <= one.addresses
                    for example in one.examples:
                        first, last = (
                            int(ipaddress.ip_address(end)) for end in (example.first, example.last)
                        )
                        assert example.addresses == last - first + 1
                        for number in (first, last):
                            left, right = model.at(pair.left, number), model.at(pair.right, number)
                            assert left is not None
                            assert right is not None
                            assert _agreement(level, left, right) == (True, True, False)
                        left, right = model.at(pair.left, first), model.at(pair.right, first)
                        assert left is not None
                        assert right is not None
                        assert example.left == _told(left.record)
                        assert example.right == _told(right.record)


def _told(record: Record) -> dict[str, Any]:
    return {name: value for name, value in attrs.asdict(record).items() if value is not None}


@given(sources())
def test_a_source_agrees_with_itself(given: list[Given]) -> None:
    one = given[0]
    for space in _compare([one, attrs.evolve(one, source=source("again"))]):
        (pair,) = space.pairs
        assert space.coverage[0] == space.coverage[1]
        for level in LEVELS:
            found = pair.levels[level]
            assert found.both == found.told == found.same
            assert not found.disagreements
        assert pair.distance.median in (0, None)
        assert pair.distance.p90 in (0, None)


def test_a_disagreement_says_both_in_their_own_words() -> None:
    left = everywhere(Record(country="中国", province="浙江省", city="杭州市"), "left")
    right = everywhere(Record(country="China", province="Zhejiang", city="Ningbo"), "right")
    (pair,) = _compare([left, right])[0].pairs
    assert not pair.levels["province"].disagreements
    (found,) = pair.levels["city"].disagreements
    assert (found.left, found.right) == ("中国 / 浙江省 / 杭州市", "China / Zhejiang / Ningbo")
    assert (found.examples[0].first, found.examples[0].last) == ("11.0.0.0", "100.63.255.255")


def test_special_purpose_addresses_are_not_counted() -> None:
    private = Given(
        source("private"), [Record(country_code="US")], {4: [(10 << 24, (11 << 24) - 1, 0)]}
    )
    space = _compare([private])[0]
    assert (space.public, space.known) == (3_702_258_432, 0)
    assert space.coverage[0].whole.all.ranges == 0


def test_what_stands_for_unknown_is_not_known() -> None:
    (found,) = _compare([everywhere(Record(country="-", city="N/A", latitude=0, longitude=0))])[
        0
    ].coverage
    assert not any(count.addresses for count in found.whole.known.values())


@pytest.mark.parametrize(
    ("code", "prefecture"),
    [
        ("330782", "330700"),
        ("330700", "330700"),
        ("110108", "110000"),
        ("500000", "500000"),
        ("419001", "419001"),
        ("810000", "810000"),
    ],
)
def test_the_prefecture_of_a_division(code: str, prefecture: str) -> None:
    assert prefecture_of(code) == prefecture


def test_distances_known_from_elsewhere() -> None:
    # A quarter of the circle, half of it, and no distance at all.
    quarter = 6371.0088 * math.pi / 2
    found = kilometres(
        np.array([0.0, 0.0, 51.5]),
        np.array([0.0, 0.0, -0.1]),
        np.array([90.0, 0.0, 51.5]),
        np.array([0.0, 180.0, -0.1]),
    )
    assert found.tolist() == pytest.approx([quarter, 2 * quarter, 0])


@given(st.data())
def test_sizes_are_exact(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from((4, 6)))
    most = LAST[version]
    pairs = data.draw(
        st.lists(st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted), min_size=1)
    )
    first, last = (
        np.array([to_key(version, pair[end]) for pair in pairs], KEY[version]) for end in (0, 1)
    )
    sizes = Sizes.between(first, last)
    expected = [pair[1] - pair[0] + 1 for pair in pairs]
    assert sizes.total() == sum(expected)
    assert [sizes.running()(count) for count in range(len(pairs) + 1)] == [
        sum(expected[:count]) for count in range(len(pairs) + 1)
    ]
    groups = [data.draw(st.integers(0, 3)) for _ in pairs]
    assert sizes.totals(np.array(groups), 4) == [
        sum(size for size, group in zip(expected, groups, strict=True) if group == number)
        for number in range(4)
    ]


@pytest.mark.parametrize(
    ("first", "last"),
    [(2**64 - 1, 2**64), (5, 2**64 + 3), (2**64, 2**65 - 1), (0, 2**127), (7, 7), (0, LAST[6])],
)
def test_sizes_across_the_halves_of_an_ipv6_address(first: int, last: int) -> None:
    ends = (np.array([to_key(6, number)], KEY[6]) for number in (first, last))
    assert Sizes.between(*ends).total() == last - first + 1

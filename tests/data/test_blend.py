"""The blend: what holds whatever the sources say, and a model that does it by hand."""

import datetime
import itertools
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.data.answers import NO_SOURCE, Owner, Place
from ipquery.data.blend.policy import METHODS, Policy
from ipquery.data.record import UNKNOWN, Record
from tests.data.blending import Given, Lookup, answer_of, blended, everywhere, given_of, source
from tests.data.tables import addresses_of_interest, search
from tests.data.worlds import CHINESE, ENGLISH, FORMS, Meant, World, worlds
from tests.examples import many

# The model: one address at a time, in plain words.


def _order(world: World, method: str) -> list[int]:
    order = list(range(len(world.given)))
    if method == "vote":
        order.sort(key=lambda k: world.given[k].source.name)
        order.sort(key=lambda k: str(world.given[k].date or ""), reverse=True)
        order.sort(key=lambda k: world.given[k].source.weight, reverse=True)
    return order


def _city_source(said: list[Meant | None], agreeing: Sequence[int]) -> int:
    """The source of the city level among those that agree on the province, in order."""
    ones = [(k, one) for k in agreeing if (one := said[k]) is not None]
    placed = [(k, one) for k, one in ones if one.record.latitude is not None]
    for k, one in ones:
        if one.city:
            return next((p for p, other in placed if other.city == one.city), k)
    finer = [k for k, one in ones if any(_finer(one.record))]
    return next((k for k, _ in placed), next(iter(finer), NO_SOURCE))


def _model(world: World, method: str, said: list[Meant | None]) -> dict[str, int]:
    """The number of the source of each level."""
    if method == "first":
        said = [
            one if number == next((k for k, it in enumerate(said) if it), None) else None
            for number, one in enumerate(said)
        ]
    settings_of = [one.source for one in world.given]
    order = _order(world, method)
    present = [k for k in order if said[k] is not None]

    def decide(claims: dict[int, Any], leads: Any) -> int:
        """The source whose claim it is; ``leads`` tells of one whether it leads."""
        queue = sorted(claims, key=lambda k: (not leads(k), order.index(k)))
        if method != "vote" or not claims:
            return queue[0] if queue else NO_SOURCE
        votes: dict[Any, float] = {}
        voted = set()
        for k in order:
            family = settings_of[k].family or k
            if k in claims and family not in voted:
                voted.add(family)
                votes[claims[k]] = votes.get(claims[k], 0) + settings_of[k].weight
        most = max(votes.values())
        return next(k for k in queue if votes.get(claims[k], 0) == most)

    def first(known: Any, leads: Any, among: Sequence[int]) -> int:
        queue = sorted(among, key=lambda k: (not leads(k), order.index(k)))
        return next((k for k in queue if known(said[k])), NO_SOURCE)

    countries = {k: said[k].country for k in present if said[k].country}  # type: ignore[union-attr] # present
    # A bare country doesn't lead if the source names provinces elsewhere.
    names_provinces = [
        any(world.meanings[record].province for record in one.records) for one in world.given
    ]

    def leads_itself(k: int) -> bool:
        one = said[k]
        assert one is not None
        placed = one.province or one.city or not names_provinces[k]
        return countries[k] in settings_of[k].leads and bool(placed)

    by_country = decide(countries, leads_itself)
    country = countries.get(by_country)

    def leads(k: int) -> bool:
        return country in settings_of[k].leads

    agreeing = [k for k in present if countries.get(k) == country]
    provinces = {k: said[k].province for k in agreeing if said[k].province}  # type: ignore[union-attr] # present
    by_province = decide(provinces, leads)
    province = provinces.get(by_province)
    agreeing = [k for k in agreeing if provinces.get(k) == province]
    agreeing.sort(key=lambda k: (not leads(k), order.index(k)))
    by_city = _city_source(said, agreeing)
    by_asn = first(lambda one: one.record.asn, leads, present)
    if by_asn == NO_SOURCE:
        by_asn = first(lambda one: one.record.as_org, leads, present)
    return {
        "country_from": by_country,
        "province_from": by_province,
        "city_from": by_city,
        "org_from": first(lambda one: one.record.org, leads, present),
        "isp_from": first(lambda one: one.record.isp, leads, present),
        "asn_from": by_asn,
    }


FINER = ("city", "district", "postal_code", "latitude", "longitude", "accuracy_radius", "time_zone")


def _finer(record: Record) -> list[Any]:
    return [getattr(record, name) for name in FINER]


FIELDS_FROM = {
    "country_from": ("country", "country_code"),
    "province_from": ("province",),
    "city_from": FINER,
    "org_from": ("org",),
    "isp_from": ("isp",),
    "asn_from": ("asn", "as_org"),
}


# 100 missed two faults that 2,500 found; `make soak` draws as many.
@many(9)
@given(worlds(), st.sampled_from(METHODS))
def test_the_blend_is_the_models_at_every_boundary(world: World, method: str) -> None:
    lookup = Lookup(blended(world.given, Policy(method)))
    for version, number in world.addresses():
        place, owner = lookup.at(version, number)
        said = world.at(version, number)
        wanted = _model(world, method, said)
        chosen = {name: getattr(place, name, getattr(owner, name, None)) for name in wanted}
        assert chosen == wanted
        for name, fields in FIELDS_FROM.items():
            by = said[wanted[name]] if wanted[name] != NO_SOURCE else None
            answer = place if name in ("country_from", "province_from", "city_from") else owner
            for field in fields:
                value = getattr(by.record, field) if by else None
                # Codes and names that a source hasn't are put in.
                if value is not None or field not in ("country", "country_code", "province"):
                    assert getattr(answer, field) == value
        country = said[place.country_from]
        if place.country_from != NO_SOURCE and country is not None:
            assert place.country_code == country.country
        province = said[place.province_from]
        if place.province_from != NO_SOURCE and province is not None:
            assert place.subdivision_code == province.province


@given(worlds(), st.sampled_from(METHODS))
def test_no_field_is_of_a_source_that_disagrees_on_a_coarser_level(
    world: World, method: str
) -> None:
    lookup = Lookup(blended(world.given, Policy(method)))
    for version, number in world.addresses():
        place, _ = lookup.at(version, number)
        said = world.at(version, number)
        for by in (place.province_from, place.city_from):
            if by != NO_SOURCE:
                one = said[by]
                assert one is not None
                assert one.country == place.country_code
        if place.city_from != NO_SOURCE:
            one = said[place.city_from]
            assert one is not None
            assert one.province == place.subdivision_code


def _without_sources(place: Place, owner: Owner) -> Record:
    fields = place._asdict() | owner._asdict()
    return Record(**{name: value for name, value in fields.items() if not name.endswith("_from")})


TEXTS = st.sampled_from(
    (None, "a", "-", "0", "N/A", "中国", "香港", "河南", "Henan", "Xi'an", "TW")
)
RECORDS = st.builds(
    Record,
    country=TEXTS,
    country_code=st.sampled_from((None, "CN", "HK", "TW", "US", "XX")),
    province=TEXTS,
    city=TEXTS,
    org=TEXTS,
    isp=TEXTS,
    district=TEXTS,
    latitude=st.sampled_from((None, 0.0, 1.0)),
    longitude=st.sampled_from((None, 0.0, 1.0)),
    asn=st.sampled_from((None, 0, 5)),
    as_org=TEXTS,
    time_zone=TEXTS,
    continent_code=st.sampled_from((None, "AS")),
)


@given(given_of(RECORDS, "alone"), st.sampled_from(METHODS))
def test_one_source_alone_blends_to_itself(one: Given, method: str) -> None:
    lookup = Lookup(blended([one], Policy(method)))
    for version in (4, 6):
        for number in addresses_of_interest(version, one.rows[version]):
            record = search(one.rows[version], number)
            wanted = UNKNOWN if record is None else one.records[record]
            found = _without_sources(*lookup.at(version, number))
            for field in attrs.asdict(wanted):
                # Codes are found for names.
                if not field.endswith("_code") or getattr(wanted, field) is not None:
                    assert getattr(found, field) == getattr(wanted, field), field


@given(worlds(), st.sampled_from(METHODS), st.integers(2, 3))
def test_the_blend_of_a_table_with_itself_is_itself(world: World, method: str, copies: int) -> None:
    one = world.given[0]
    alone = Lookup(blended([one], Policy(method)))
    names = [f"copy {number}" for number in range(copies)]
    twice = [attrs.evolve(one, source=attrs.evolve(one.source, name=name)) for name in names]
    lookup = Lookup(blended(twice, Policy(method)))
    for version in (4, 6):
        for number in addresses_of_interest(version, one.rows[version]):
            wanted = _without_sources(*alone.at(version, number))
            found = _without_sources(*lookup.at(version, number))
            # A name that the table hasn't is put in, for its code.
            named = {
                name: getattr(found, name)
                for name in ("country", "province")
                if getattr(wanted, name) is None
            }
            assert attrs.evolve(wanted, **named) == found


@given(given_of(FORMS, "one"), st.sampled_from(METHODS))
def test_what_has_many_forms_stays_in_the_form_that_its_source_has(one: Given, method: str) -> None:
    """Hong Kong and the like, with no language and no form asked for."""
    other = attrs.evolve(one, source=attrs.evolve(one.source, name="two"))
    lookup = Lookup(blended([one, other], Policy(method)))
    for version in (4, 6):
        for number in addresses_of_interest(version, one.rows[version]):
            record = search(one.rows[version], number)
            wanted = UNKNOWN if record is None else one.records[record]
            found = _without_sources(*lookup.at(version, number))
            for field in ("country", "province", "city", "isp"):
                assert getattr(found, field) == getattr(wanted, field)


@given(worlds(), st.data())
def test_in_a_vote_the_order_of_equal_sources_does_not_matter(
    world: World, data: st.DataObject
) -> None:
    equal = [
        attrs.evolve(one, source=attrs.evolve(one.source, weight=1.0), date=None)
        for one in world.given
    ]
    shuffled = data.draw(st.permutations(equal))
    one, other = (Lookup(blended(order, Policy("vote"))) for order in (equal, shuffled))
    for version, number in world.addresses():
        found = [
            _named(order, *lookup.at(version, number))
            for order, lookup in ((equal, one), (shuffled, other))
        ]
        assert found[0] == found[1]


def _named(order: Sequence[Given], place: Place, owner: Owner) -> dict[str, Any]:
    """An answer with the names of sources instead of their numbers."""
    names = [*(one.source.name for one in order), None]
    return {
        name: names[value] if name.endswith("_from") else value
        for name, value in (place._asdict() | owner._asdict()).items()
    }


# By example


def test_a_source_with_coordinates_gives_the_city_that_another_names() -> None:
    place, owner = answer_of([everywhere(CHINESE), everywhere(ENGLISH)], Policy(language="zh"))
    assert (place.country, place.province, place.city) == ("中国", "河南省", "商丘市")
    assert (place.country_from, place.province_from, place.city_from) == (0, 0, 1)
    assert (place.latitude, place.time_zone) == (34.45, "Asia/Shanghai")
    assert place.city_code == "411400"
    assert place.subdivision_code == "CN-HA"
    assert (owner.isp, owner.isp_from, owner.asn, owner.asn_from) == ("联通", 0, 4837, 1)


def test_a_province_may_be_named_by_its_code_alone() -> None:
    coded = everywhere(Record(country="中国", province_code="410000", postal_code="476000"))
    place, _ = answer_of([everywhere(Record(country="China", province="Henan")), coded])
    assert (place.province, place.postal_code, place.city_from) == ("Henan", "476000", 1)


def test_a_city_is_not_placed_by_a_source_that_names_another() -> None:
    elsewhere = attrs.evolve(ENGLISH, city="Zhengzhou")
    place, _ = answer_of([everywhere(CHINESE), everywhere(elsewhere)])
    assert (place.city, place.latitude, place.time_zone) == ("商丘市", None, None)


def test_names_in_either_language() -> None:
    for given_sources in itertools.permutations([everywhere(CHINESE), everywhere(ENGLISH)]):
        for language, wanted in (
            ("zh", ("中国", "河南省", "商丘市")),
            ("en", ("China", "Henan", "Shangqiu")),
        ):
            place, _ = answer_of(given_sources, Policy(language=language))
            assert (place.country, place.province, place.city) == wanted


def test_one_spelling_that_of_the_first_source_in_the_language() -> None:
    short = everywhere(Record(country="中国", province="河南", city="商丘"), "short")
    place, _ = answer_of([everywhere(ENGLISH), short], Policy(language="zh"))
    assert (place.province, place.city) == ("河南", "商丘")
    assert place.country_from == 0


def test_without_a_language_that_of_the_first_source_that_states_one() -> None:
    place, _ = answer_of([everywhere(ENGLISH), everywhere(CHINESE, language="zh")])
    assert (place.country, place.province) == ("中国", "河南省")
    place, _ = answer_of([everywhere(ENGLISH), everywhere(CHINESE)])
    assert (place.country, place.province) == ("China", "Henan")


def test_a_bare_country_does_not_lead_unless_the_source_knows_no_more_anywhere() -> None:
    american = everywhere(Record(country_code="US", province="California"))
    bare = Record(country="中国")
    rows: dict[int, Any] = {4: [(0, 2**31 - 1, 0), (2**31, 2**32 - 1, 1)]}
    leading = source("leading", leads=("CN",))
    detailed = Given(leading, [bare, Record(country="中国", province="河南省")], rows)
    lookup = Lookup(blended([american, detailed]))
    assert lookup.at(4, 0)[0].country_code == "US"
    assert lookup.at(4, 2**31)[0].country_code == "CN"
    countries_only = Given(leading, [bare, Record(country="日本")], rows)
    lookup = Lookup(blended([american, countries_only]))
    assert lookup.at(4, 0)[0].country_code == "CN"
    assert lookup.at(4, 2**31)[0].country_code == "US"


def test_a_source_leads_in_a_country_that_it_names_itself() -> None:
    american = everywhere(Record(country_code="US", province="California", isp="x"))
    chinese = everywhere(CHINESE, leads=("CN",))
    place, owner = answer_of([american, chinese])
    assert (place.country_from, place.province_from, owner.isp_from) == (1, 1, 1)
    place, _ = answer_of([american, attrs.evolve(chinese, source=source("s", leads=("US",)))])
    assert place.country_from == 0


def test_votes_are_weighed_and_a_family_has_one() -> None:
    def by(code: str, name: str, **settings: Any) -> Given:
        return everywhere(Record(country_code=code), name, **settings)

    def country(*given_sources: Given) -> str | None:
        return answer_of(given_sources, Policy("vote"))[0].country_code

    assert country(by("US", "a"), by("GB", "b"), by("GB", "c")) == "GB"
    assert country(by("US", "a"), by("GB", "b", family="f"), by("GB", "c", family="f")) == "US"
    assert country(by("US", "a", weight=3), by("GB", "b"), by("GB", "c")) == "US"
    # Its vote weighs what that of the one that speaks for it does.
    family = by("US", "a", weight=3, family="f"), by("GB", "b", family="f")
    assert country(*family, by("GB", "c", weight=2)) == "US"
    assert country(everywhere(Record(isp="x"), "a", weight=9), by("GB", "b"), by("US", "c")) == "GB"
    # A tie goes to the one that leads, else to the newer one, else by name.
    assert country(by("US", "a"), by("GB", "b", leads=("GB",))) == "GB"
    newer = attrs.evolve(by("GB", "b"), date=datetime.date(2026, 1, 1))
    assert country(by("US", "a"), newer) == "GB"
    assert country(by("GB", "b"), by("US", "a")) == "US"


HONG_KONG = [
    Record(country="中国", province="香港", isp="x"),
    Record(country="香港"),
    Record(country="Hong Kong", country_code="HK", city="Kowloon"),
]


@pytest.mark.parametrize("order", list(itertools.permutations(HONG_KONG)))
def test_hong_kong_is_one_place_to_all(order: Sequence[Record]) -> None:
    given_sources = [everywhere(record) for record in order]
    place, owner = answer_of(given_sources, Policy("fill", "zh"))
    assert (place.country, place.country_code) == ("中国", "CN")
    assert (place.province_code, place.subdivision_code) == ("810000", "CN-HK")
    assert place.city == "Kowloon"
    assert owner.isp == "x"
    assert place.province == "香港"
    place, _ = answer_of(given_sources, Policy("fill", "zh", "regions"))
    assert (place.country, place.country_code, place.province) == ("香港", "HK", None)
    place, _ = answer_of(given_sources, Policy("fill", "en"))
    assert (place.country, place.country_code, place.province) == ("Hong Kong", "HK", None)
    place, _ = answer_of(given_sources, Policy("fill", "en", "provinces"))
    assert (place.country, place.country_code, place.province) == ("China", "CN", "Hong Kong")


def test_hong_kong_as_a_province_is_from_the_source_of_the_country() -> None:
    bare = everywhere(Record(country="Hong Kong", country_code="HK"), "bare")
    finer = everywhere(Record(country_code="HK", province="Kowloon City", city="Mong Kok"), "finer")
    place, _ = answer_of([bare, finer], Policy(hk_mo_tw="provinces"))
    assert (place.province, place.city) == ("Hong Kong", "Mong Kok")
    assert (place.country_from, place.province_from, place.city_from) == (0, 0, 1)
    place, _ = answer_of([bare, finer], Policy(hk_mo_tw="regions"))
    assert (place.province, place.city) == ("Kowloon City", "Mong Kok")
    assert (place.country_from, place.province_from, place.city_from) == (0, 1, 1)


def test_taiwan_agrees_on_its_cities_in_both_forms() -> None:
    chinese = everywhere(Record(country="中国", province="台湾省", city="台北", isp="中华电信"))
    english = everywhere(
        Record(country_code="TW", province="Taiwan", city="Taipei", latitude=25.0, longitude=121.5)
    )
    place, _ = answer_of([chinese, english], Policy(language="zh"))
    assert (place.country, place.province, place.city) == ("中国", "台湾省", "台北市")
    place, _ = answer_of([english, chinese], Policy(language="en"))
    assert (place.country, place.country_code) == ("Taiwan", "TW")
    assert place.latitude == 25.0


def test_placeholders_are_not_known() -> None:
    nothing = Record(
        country="-", country_code="ZZ", province="N/A", city="0", isp="unknown",
        latitude=0.0, longitude=0.0, time_zone="-",
    )  # fmt: skip
    place, owner = answer_of([everywhere(nothing), everywhere(ENGLISH), everywhere(CHINESE)])
    assert (place.country_from, place.province_from, place.city_from) == (1, 1, 1)
    assert (owner.isp, owner.isp_from) == ("联通", 2)


def test_the_middle_of_a_country_is_no_place() -> None:
    middle = Record(country_code="US", latitude=37.751, longitude=-97.822)
    exact = attrs.evolve(middle, latitude=40.7, longitude=-74.0)
    town = attrs.evolve(middle, city="Cheney")
    rows = [(0, 0, 0), (1, 1, 1), (2, 2, 0), (3, 3, 2), (4, 4, 0)]
    first = Given(source("first"), [middle, exact, town], {4: rows})
    lookup = Lookup(blended([first, everywhere(Record(country="US"))]))
    assert [lookup.at(4, number)[0].latitude for number in range(5)] == [
        None, 40.7, None, 37.751, None,
    ]  # fmt: skip
    alone = Lookup(blended([first]))
    assert alone.at(4, 0)[0].latitude == 37.751


def test_a_part_of_the_region_that_another_names() -> None:
    kent = everywhere(Record(country="英国", province="Kent", isp="x"), leads=("GB",))
    england = everywhere(Record(country_code="GB", province="England", city="Dover"))
    place, _ = answer_of([kent, england])
    # The town's source names both, so that no town stands in another's county.
    assert (place.province, place.city, place.province_from) == ("England", "Dover", 1)
    assert answer_of([kent])[0].subdivision_code == "GB-KEN"


def test_an_owner_in_the_country_column_is_no_country() -> None:
    place, _ = answer_of([everywhere(Record(country="GOOGLE")), everywhere(ENGLISH)])
    assert place.country_from == 1
    place, _ = answer_of([everywhere(Record(country="GOOGLE")), everywhere(Record(org="a"))])
    assert place.country == "GOOGLE"


def test_owners_in_the_country_column_are_different_places() -> None:
    placed = everywhere(Record(country="ANYCAST", city="Paris", latitude=48.9, longitude=2.4))
    place, _ = answer_of([everywhere(Record(country="GOOGLE")), placed])
    assert (place.country, place.city, place.latitude) == ("GOOGLE", None, None)


def test_a_continent_is_told_without_a_country() -> None:
    continent = everywhere(Record(continent_code="EU", isp="x"))
    place, _ = answer_of([everywhere(Record(isp="y")), continent])
    assert (place.continent_code, place.country_from, place.country) == ("EU", 1, None)
    place, _ = answer_of([continent, everywhere(Record(country_code="FR"))])
    assert (place.country_code, place.continent_code, place.country_from) == ("FR", None, 1)


@pytest.mark.parametrize("method", METHODS)
def test_a_town_of_that_name_in_another_county_is_another(method: str) -> None:
    in_kent = everywhere(Record(country_code="GB", province="Kent", city="Newport"), "a")
    in_essex = everywhere(
        Record(country_code="GB", province="Essex", city="Newport", latitude=52.0, longitude=0.2),
        "b",
    )
    place, _ = answer_of([in_kent, in_essex], Policy(method))
    assert (place.province, place.city, place.latitude) == ("Kent", "Newport", None)


def test_fields_that_are_not_trusted_are_not_heard() -> None:
    one = everywhere(ENGLISH, fields=("country", "asn"))
    place, owner = answer_of([one, everywhere(CHINESE)])
    assert (place.country, place.country_code, place.continent_code) == ("China", "CN", "AS")
    assert (place.province_from, place.city_from) == (1, 1)
    assert (owner.asn, owner.as_org) == (4837, None)
    assert answer_of([one])[0].province is None

"""Sources that say the same and other things in several languages, and what they mean by it."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from hypothesis import strategies as st

from ipquery.data.record import UNKNOWN, Record
from tests.data.blending import Given, given_of, source
from tests.data.tables import addresses_of_interest, search

# How sources of the world write the same.
COUNTRIES: dict[str, list[dict[str, str]]] = {
    "CN": [{"country": "中国"}, {"country": "China", "country_code": "CN"}, {"country_code": "CN"}],
    "US": [{"country": "美国"}, {"country": "United States"}, {"country_code": "US"}],
    "GB": [{"country": "英国"}, {"country": "United Kingdom", "country_code": "GB"}],
}

PROVINCES: dict[str, dict[str, list[dict[str, str]]]] = {
    "CN": {
        "CN-HA": [{"province": "河南省"}, {"province": "Henan"}, {"province_code": "410000"}],
        "CN-SX": [{"province": "山西"}, {"province": "Shanxi", "subdivision_code": "CN-SX"}],
    },
    "US": {
        "US-CA": [{"province": "加利福尼亚州"}, {"province": "California"}],
        "US-NY": [{"province": "纽约"}, {"province": "New York", "subdivision_code": "US-NY"}],
    },
    "GB": {
        "GB-ENG": [{"province": "英格兰"}, {"province": "England"}],
        "GB-SCT": [{"province": "Scotland"}],
    },
}

CITIES = {
    "CN-HA": [["商丘市", "Shangqiu", "商丘"], ["郑州", "Zhengzhou Shi"]],
    "CN-SX": [["太原", "Taiyuan"]],
}

OTHER_CITIES = [["Springfield", "springfield"], ["Newport"]]


@attrs.frozen
class Meant:
    """What a record says, whatever the words: keys of each level, ``None`` if unknown."""

    record: Record
    country: str | None
    province: str | None
    city: str | None


@st.composite
def meant(draw: st.DrawFn) -> Meant:
    country = draw(st.sampled_from((None, *COUNTRIES)))
    province = city = None
    fields: dict[str, Any] = {}
    if country is not None:
        fields |= draw(st.sampled_from(COUNTRIES[country]))
        province = draw(st.sampled_from((None, *PROVINCES[country])))
    if country is not None and province is not None:
        fields |= draw(st.sampled_from(PROVINCES[country][province]))
    if draw(st.booleans()):
        words = draw(st.sampled_from(CITIES.get(province or "", OTHER_CITIES)))
        city = words[0]
        fields["city"] = draw(st.sampled_from(words))
        # Without a city they might be those of the whole country.
        fields |= draw(
            st.sampled_from(({}, {"latitude": 1.5, "longitude": 2.5, "accuracy_radius": 7}))
        )
    fields |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "postal_code": st.sampled_from("12"),
                "time_zone": st.just("Europe/London"),
                "district": st.just("here"),
                "org": st.sampled_from("ab"),
                "isp": st.sampled_from("cd"),
                "asn": st.integers(1, 2),
                "as_org": st.sampled_from("ef"),
            },
        )
    )
    if country is None:
        fields.pop("city", None)
        city = None
    return Meant(Record(**fields), country, province, city)


@attrs.frozen(eq=False)
class World:
    """Sources, and what their records mean."""

    given: Sequence[Given]
    meanings: Mapping[Record, Meant]

    def at(self, version: int, number: int) -> list[Meant | None]:
        """What each source says of an address."""
        found: list[Meant | None] = []
        for one in self.given:
            record = search(one.rows[version], number)
            said = None if record is None else self.meanings[one.records[record]]
            found.append(None if said is None or said.record == UNKNOWN else said)
        return found

    def addresses(self) -> list[tuple[int, int]]:
        return [
            (version, number)
            for version in (4, 6)
            for number in addresses_of_interest(version, *(one.rows[version] for one in self.given))
        ]


@st.composite
def worlds(draw: st.DrawFn, most: int = 4) -> World:
    pool = draw(st.lists(meant(), min_size=1, max_size=8))
    meanings = {one.record: one for one in pool}
    records = st.sampled_from(list(meanings))
    names = draw(st.permutations(["one", "two", "three", "four"][:most]))
    sources = []
    for name in names[: draw(st.integers(2, most))]:
        one = draw(given_of(records, name))
        setting = source(
            name,
            leads=tuple(draw(st.sets(st.sampled_from(("CN", "US"))))),
            weight=draw(st.sampled_from((1.0, 1.0, 0.5, 2.0))),
            family=draw(st.sampled_from((None, None, "f"))),
        )
        date = draw(st.sampled_from((None, datetime.date(2022, 1, 1), datetime.date(2026, 1, 1))))
        sources.append(attrs.evolve(one, source=setting, date=date))
    return World(sources, meanings)


FORMS = st.sampled_from(
    (
        Record(country="中国", province="香港", isp="a"),
        Record(country="中国", province="台湾省", city="台北"),
        Record(country="Taiwan", country_code="TW", province="Taiwan", city="Taipei"),
        Record(country="香港", country_code="HK", province="Central and Western"),
        Record(country="Macao", country_code="MO"),
        Record(country="GOOGLE"),
        Record(country="英国", province="Kent", city="Dover"),
        Record(country="中国", province="北京", city="某地"),
    )
)

CHINESE = Record(country="中国", province="河南省", city="商丘市", isp="联通")

ENGLISH = Record(
    country="China",
    country_code="CN",
    continent_code="AS",
    province="Henan",
    city="Shangqiu",
    latitude=34.45,
    longitude=115.65,
    time_zone="Asia/Shanghai",
    asn=4837,
    as_org="China Unicom",
)

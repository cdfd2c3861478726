"""Places and owners from the parts that were chosen: codes, and names in one language."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from ipquery.data.answers import Place
from ipquery.data.blend.names import (
    PROVINCES,
    REGIONS,
    Names,
    standard_country,
    standard_province,
    standard_subdivision,
)
from ipquery.data.blend.policy import Policy
from ipquery.data.blend.said import Parts, Said, Vocabulary
from ipquery.data.codes.china import (
    city_code,
    division_code,
    name_of_china_division,
    to_subdivision,
)
from ipquery.data.codes.countries import name_of_country
from ipquery.data.codes.lists import OperatorLists
from ipquery.data.codes.subdivisions import HAN, name_of_subdivision, subdivision_code

Spellings = Mapping[str, str]
"""Names in the language of the blend, by ISO 3166-1, ISO 3166-2 or GB/T 2260 code."""


def spellings(
    language: str | None, order: Sequence[int], said: Sequence[Said], words: Vocabulary
) -> Spellings:
    """How the sources spell names in a language.

    One spelling for each code: the most frequent one of the first source that has any in
    that language. So what one Chinese source calls 河南省, no answer calls 河南.
    """
    found: dict[str, str] = {}
    if language is None:
        return found
    codes = [_coded_names(Names(*parts)) if parts else [] for parts in words.names.values()]
    for number in order:
        for code, texts in _spelt(said[number], codes).items():
            fitting = [text for text, _ in texts.most_common() if is_in(text, language)]
            if fitting:
                found.setdefault(code, fitting[0])
    return found


def _spelt(one: Said, codes: Sequence[Sequence[tuple[str, str]]]) -> dict[str, Counter[str]]:
    """By code the names that a source has for it, with the ranges that they stand at."""
    counts: dict[str, Counter[str]] = {}
    ranges = np.bincount(one.column("names"), one.ranges, len(codes))
    for named, count in zip(codes, ranges.tolist(), strict=True):
        if count:
            for code, text in named:
                counts.setdefault(code, Counter())[text] += count
    for (city, name), count in zip(one.city_texts, one.ranges.tolist(), strict=True):
        if city is not None and name is not None:
            counts.setdefault(city, Counter())[name] += count
    return counts


def _coded_names(names: Names) -> list[tuple[str, str]]:
    """The codes that the names of a country and province have, with them."""
    country = standard_country(names.country_code, names.country)
    pairs = []
    if names.country is not None and country is not None:
        pairs.append((country, names.country))
    subdivision = standard_subdivision(country, names)
    if names.province is not None and subdivision is not None:
        pairs.append((subdivision, names.province))
    return pairs


def is_in(text: str, language: str) -> bool:
    """Whether a text is in a language, by its script: Chinese characters, or none."""
    return bool(HAN.search(text)) == (language == "zh")


_NO_CITY: Parts = (None,) * 8


@attrs.frozen
class _Head:
    """The upper levels of a place. ``chinese`` is the GB/T 2260 code of its province,
    ``region`` HK, MO or TW. ``merged`` is whether the province is the country's source's:
    Hong Kong, answered as a province.
    """

    country: str | None
    country_code: str | None
    province: str | None
    province_code: str | None
    continent_code: str | None
    subdivision_code: str | None
    chinese: str | None = None
    region: str | None = None
    merged: bool = False


_FORM_OF_LANGUAGE = {"zh": "provinces", "en": "regions"}


@attrs.frozen(eq=False)
class PlaceMaker:
    """Makes places; what is the same for many of them is made once.

    ``alone`` is whether there is one source: then names that it hasn't aren't put in.
    """

    policy: Policy
    lists: OperatorLists
    spellings: Spellings
    alone: bool
    _heads: dict[tuple[Any, ...], _Head] = attrs.field(factory=dict, init=False)
    _cities: dict[tuple[Any, ...], tuple[str | None, str | None]] = attrs.field(
        factory=dict, init=False
    )

    def place(
        self,
        named_country: Parts | None,
        named_province: Parts | None,
        province: Any,
        parts: Parts | None,
        sources: tuple[int, int, int],
    ) -> Place:
        """The place whose levels come from these fields.

        :param named_country: the fields of :class:`Names` that the country's source has.
        :param named_province: those of the province's source.
        :param province: what that province means.
        :param parts: the city level of its source, see :data:`~ipquery.data.blend.said.CITY`.
        :param sources: the numbers of the three sources.
        """
        key = (named_country, named_province, province)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._head(*key)
        city = code = None
        text, own_code, district, postal_code, latitude, longitude, radius, time_zone = (
            parts or _NO_CITY
        )
        if text is not None or own_code is not None:
            city, code = self._city(head, text, own_code)
        country_from, province_from, city_from = sources
        return Place(
            head.country,
            head.country_code,
            head.province,
            head.province_code,
            city,
            code,
            head.continent_code,
            head.subdivision_code,
            district,
            postal_code,
            latitude,
            longitude,
            radius,
            time_zone,
            country_from,
            country_from if head.merged else province_from,
            city_from,
        )

    def _head(
        self, named_country: Parts | None, named_province: Parts | None, province: Any
    ) -> _Head:
        country = Names(*named_country) if named_country else Names()
        code = standard_country(country.country_code, country.country)
        chinese = standard_province(country) if code == "CN" else None
        region = REGIONS.get(chinese or "") or (code if code in PROVINCES else None)
        if region is None:
            return self._plain_head(country, code, _of_province(named_province, province))
        own_form = "regions" if region == code else "provinces"
        form = self.policy.hk_mo_tw or _FORM_OF_LANGUAGE.get(self.policy.language or "") or own_form
        if form == "regions":
            if own_form != form:
                country = Names(None, region, country.continent_code)
            head = self._plain_head(country, region, _of_province(named_province, province))
            return attrs.evolve(head, region=region)
        if own_form != form:
            # What language the answer is in must show in it somewhere
            words = self.policy.language or ("zh" if HAN.search(country.country or "") else "en")
            country = Names(
                name_of_country("CN", words),
                "CN",
                country.continent_code,
                name_of_china_division(PROVINCES[region], words),
            )
        head = self._plain_head(country, "CN", country)
        return attrs.evolve(head, region=region, merged=True)

    def _plain_head(self, country: Names, code: str | None, province: Names) -> _Head:
        chinese = standard_province(province) if code == "CN" else None
        subdivision = standard_subdivision(code, province)
        country_name = self._named(country.country, code, name_of_country)
        province_name = self._named(province.province, subdivision, name_of_subdivision)
        lists = self.lists
        return _Head(
            country_name,
            _choose(lists.countries, (country.country, country_name), code, lists.only),
            province_name,
            _choose(
                lists.provinces,
                (province.province, province_name),
                province.province_code or chinese,
                lists.only,
            ),
            country.continent_code,
            subdivision or to_subdivision(chinese or ""),
            chinese,
        )

    def _named(
        self, text: str | None, code: str | None, name_of: Callable[[str, str], str | None]
    ) -> str | None:
        """A name in the language of the blend, if it is known by its code; else as it is."""
        if code is None:
            return text
        language = self.policy.language
        if language is not None:
            return self.spellings.get(code) or name_of(code, language) or text
        if text is None and not self.alone:
            return name_of(code, "en")
        return text

    def _city(
        self, head: _Head, text: str | None, own_code: str | None
    ) -> tuple[str | None, str | None]:
        """Name and code of a city."""
        key = (head.chinese, head.province_code, head.region, text, own_code)
        found = self._cities.get(key)
        if found is None:
            found = self._cities[key] = self._make_city(head, text, own_code)
        return found

    def _make_city(
        self, head: _Head, text: str | None, own_code: str | None
    ) -> tuple[str | None, str | None]:
        name = text
        if text is not None and head.chinese is not None:
            name = self._named(text, division_code(head.chinese, text), name_of_china_division)
        if text is not None and head.region == "TW":
            name = self._named(text, subdivision_code("TW", text), name_of_subdivision)
        standard = own_code
        if standard is None and text is not None:
            province = head.chinese or head.province_code
            standard = None if province is None else city_code(province, text)
        lists = self.lists
        listed = lists.city(head.province_code, text or "")
        listed = listed or lists.city(head.province_code, name or "")
        return name, listed if listed is not None or lists.only else standard


def _of_province(named: Parts | None, province: Any) -> Names:
    """The names of a province, from a source that may have 台湾 for it and mean 台北."""
    names = Names(*named) if named else Names()
    country = standard_country(names.country_code, names.country)
    if country != "CN" or standard_province(names) not in REGIONS:
        return names
    if not isinstance(province, str):
        return Names()
    return Names(
        province=name_of_subdivision(province, "zh" if HAN.search(names.province or "") else "en"),
        subdivision_code=province,
    )


def _choose(
    listed: Mapping[str, str], names: tuple[str | None, ...], standard: str | None, only: bool
) -> str | None:
    """The code that the operator's list has for a name, as the source or we spell it."""
    found = next((listed[name] for name in names if name is not None and name in listed), None)
    return found if found is not None or only else standard

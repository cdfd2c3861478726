"""One meaning for the many names of one place, so that sources can be compared.

Agreement is by code where names have one: ISO 3166-1 for countries, ISO 3166-2 for
provinces, GB/T 2260 for Chinese cities; else by the name without accents, case,
punctuation and kind of division.
"""

from collections.abc import Hashable

import attrs

from ipquery.data.codes.china import (
    division_code,
    from_subdivision,
    province_code,
    to_subdivision,
)
from ipquery.data.codes.countries import country_code, normal
from ipquery.data.codes.subdivisions import is_subdivision, plain, region_of, subdivision_code

_NOTHING = ("-", "--", "?", "0", "n/a", "xx", "zz", "unknown", "null", "undefined", "未知")

PLACEHOLDERS = frozenset(
    spell(text) for text in _NOTHING for spell in (str.lower, str.upper, str.capitalize)
)
"""Texts that databases write where they know nothing."""

REGIONS = {"810000": "HK", "820000": "MO", "710000": "TW"}
"""GB/T 2260 and ISO 3166-1 codes of what is a province to some and a region to others."""

PROVINCES = {region: province for province, region in REGIONS.items()}


@attrs.frozen
class Names:
    """The fields of a record that name its country and province, as a source has them."""

    country: str | None = None
    country_code: str | None = None
    continent_code: str | None = None
    province: str | None = None
    province_code: str | None = None
    subdivision_code: str | None = None


@attrs.frozen
class Meaning:
    """What :class:`Names` mean: keys that are equal where sources agree, ``None`` if unknown.

    ``coded`` is whether ``country`` is a country: owners and parts of the world stand in
    that column, too. ``province`` is the division that is named, ``region`` the one of the
    first level that it lies in: Kent in England. ``chinese`` is the GB/T 2260 code of a
    Chinese province, ``as_province`` whether Hong Kong, Macao or Taiwan is named as one.
    """

    country: Hashable | None
    coded: bool
    province: Hashable | None
    region: Hashable | None
    chinese: str | None = None
    as_province: bool = False


def meaning(names: Names, city: str | None) -> Meaning:
    """What a record's country and province mean.

    :param city: looked at for Taiwan only, where Chinese databases name 台湾, then 台北,
        and others Taipei twice.
    """
    code = standard_country(names.country_code, names.country)
    chinese = standard_province(names) if code == "CN" else None
    if chinese in REGIONS:
        region = REGIONS[chinese]
        found = _subdivision(region, city)
        return Meaning(region, True, found, found, None, as_province=True)
    if code in PROVINCES and _names_itself(code, names.province):
        found = names.subdivision_code or _subdivision(code, city)
        return Meaning(code, True, found, found)
    country: Hashable | None = code
    if code is None and names.country is not None:
        country = ("text", normal(names.country))
    province = _province(code, chinese, names)
    region_code = region_of(province) if isinstance(province, str) else province
    return Meaning(country, code is not None, province, region_code, chinese)


def standard_country(code: str | None, name: str | None) -> str | None:
    """ISO 3166-1 alpha-2: a source's own code, or that of the name."""
    return code.upper() if code is not None else country_code(name or "")


def standard_province(names: Names) -> str | None:
    """GB/T 2260 code of a Chinese province."""
    return (
        from_subdivision(names.subdivision_code or "")
        or province_code(names.province or "")
        or names.province_code
    )


def standard_subdivision(country: str | None, names: Names) -> str | None:
    """ISO 3166-2 code: a source's own, or that of the province's name."""
    if names.subdivision_code is not None:
        return names.subdivision_code
    return None if country is None else _subdivision(country, names.province)


def _subdivision(country: str, name: str | None) -> str | None:
    return None if name is None else subdivision_code(country, name)


def _names_itself(region: str, province: str | None) -> bool:
    """Whether the province of Hong Kong, Macao or Taiwan is only its own name again."""
    return province is not None and (
        country_code(province) == region or province_code(province) == PROVINCES[region]
    )


def _province(code: str | None, chinese: str | None, names: Names) -> Hashable | None:
    found = standard_subdivision(code, names) or to_subdivision(chinese or "")
    if found is not None and is_subdivision(found):
        return found
    if names.province is not None:
        return ("text", plain(names.province))
    # A code of the database's own: nothing else tells what it means.
    own = names.subdivision_code or names.province_code
    return None if own is None else ("code", own)


def city_meaning(chinese: str | None, city: str | None, city_code: str | None) -> Hashable | None:
    """What a city means within its province.

    :param chinese: GB/T 2260 code of the province, ``None`` outside China.
    """
    if city is None:
        return city_code
    code = division_code(chinese, city) if chinese is not None else None
    return code if code is not None else ("text", plain(city))

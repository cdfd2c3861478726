"""What a source says of each of its records, in numbers that other sources share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data.blend.said import CITY, Said, Vocabulary, is_placed, listen
from ipquery.data.codes.china import MUNICIPALITIES, prefecture_of, to_subdivision
from ipquery.data.codes.subdivisions import HAN
from ipquery.data.ranges import RangeTable
from ipquery.data.sources import Source

Mask = NDArray[np.bool_]

LEVELS = ("country", "province", "city")
"""Levels of a place, coarse before fine."""

FIELDS = (
    *LEVELS,
    "district",
    "postal_code",
    "coordinates",
    "time_zone",
    "provider",
    "asn",
    "owner",
)
"""What a source may know: a provider is an organisation or an ISP, an owner one of these or
an AS or its organisation."""

_DISTRICT, _POSTAL_CODE, _LATITUDE, _LONGITUDE, _TIME_ZONE = (
    CITY.index(name) for name in ("district", "postal_code", "latitude", "longitude", "time_zone")
)


@attrs.frozen(eq=False)
class Claims:
    """The claims of one source, an entry for each record; entry 0 is for where it has none.

    ``means`` has for each of :data:`LEVELS` the number of what the names mean, 0 if that
    isn't known: numbers are equal where sources agree. A city is that of the prefecture,
    see :func:`~ipquery.data.codes.china.prefecture_of`. ``untold`` is whether it is a
    Chinese name that has no code: whether it means the same as a name in other letters can't
    be told. ``known`` has for each of :data:`FIELDS` whether the source knows it.
    ``latitude`` and ``longitude`` are degrees, NaN if unknown.
    """

    table: RangeTable
    means: Mapping[str, NDArray[np.int32]]
    untold: Mapping[str, Mask]
    known: Mapping[str, Mask]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]


def claims_of(
    sources: Sequence[Source], tables: Sequence[RangeTable], cleaned: Sequence[bool]
) -> tuple[list[Claims], list[str]]:
    """What each source claims.

    :param cleaned: for each source whether placeholders have been taken out of it already.
    :returns: the claims, and the ISO 3166-1 alpha-2 code of each number of a country; it is
        empty for number 0.
    """
    words = Vocabulary()
    said = [
        listen(source, table, words, clean=not done)
        for source, table, done in zip(sources, tables, cleaned, strict=True)
    ]
    shared = _Shared.of(words)
    return [_claims(one, shared) for one in said], shared.codes


@attrs.frozen(eq=False)
class _Shared:
    """What the numbers of the vocabulary say, a column for each question."""

    codes: list[str]
    countries: NDArray[np.int32]
    """0 where what stands in the country's column is none."""
    cities: NDArray[np.int32]
    """Of the first one in the same prefecture."""
    municipality: NDArray[np.int32]
    """By number of a province that of the city that it is, 0 for most."""
    untold_provinces: Mask
    untold_cities: Mask
    names_province: Mask
    parts: Mapping[str, Mask]
    """By field whether the fields of the city level hold it."""
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    has_asn: Mask

    @classmethod
    def of(cls, words: Vocabulary) -> "_Shared":
        whole = {to_subdivision(code): words.cities.of(code) for code in sorted(MUNICIPALITIES)}
        provinces, cities = words.provinces.values(), words.cities.values()
        prefectures = _prefectures(cities)
        countries = words.countries.values()
        coded = [isinstance(country, str) for country in countries]
        parts = words.city_parts.values()
        tests: dict[str, Callable[[Any], bool]] = {
            "city": lambda part: part[0] is not None or part[1] is not None,
            "district": lambda part: part[_DISTRICT] is not None,
            "postal_code": lambda part: part[_POSTAL_CODE] is not None,
            "coordinates": is_placed,
            "time_zone": lambda part: part[_TIME_ZONE] is not None,
        }
        placed = [part if part is not None and is_placed(part) else None for part in parts]
        return cls(
            [country if known else "" for country, known in zip(countries, coded, strict=True)],
            np.where(coded, np.arange(len(countries)), 0).astype(np.int32),
            prefectures,
            prefectures[[whole.get(province, 0) for province in provinces]],
            _untold(provinces),
            _untold(cities),
            np.array([names is not None and any(names[3:]) for names in words.names.values()]),
            {
                field: np.array([part is not None and test(part) for part in parts])
                for field, test in tests.items()
            },
            np.array([part[_LATITUDE] if part else np.nan for part in placed]),
            np.array([part[_LONGITUDE] if part else np.nan for part in placed]),
            np.array([one is not None and one[0] is not None for one in words.systems.values()]),
        )


def _or(numbers: NDArray[np.int32], others: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.where(numbers != 0, numbers, others)


def _untold(meanings: Sequence[Any]) -> Mask:
    """Which of these are Chinese names without a code."""
    return np.array([isinstance(one, tuple) and bool(HAN.search(one[1])) for one in meanings])


def _prefectures(cities: Sequence[Any]) -> NDArray[np.int32]:
    """For each number of a city that of the first one in the same prefecture."""
    first: dict[Any, int] = {}
    return np.array(
        [
            first.setdefault(
                prefecture_of(city) if isinstance(city, str) and len(city) == 6 else city, number
            )
            for number, city in enumerate(cities)
        ],
        np.int32,
    )


def _claims(said: Said, shared: _Shared) -> Claims:
    parts, system = said.column("city_parts"), said.column("system")
    region, city = said.column("region"), said.column("city")
    # Whatever place in Beijing is named, the city is Beijing.
    municipality = np.where(city == 0, 0, shared.municipality[region])
    country = shared.countries[said.column("country")]
    provider = (said.column("org") != 0) | (said.column("isp") != 0)
    return Claims(
        said.table,
        {"country": country, "province": region, "city": _or(municipality, shared.cities[city])},
        {
            "country": np.zeros(len(country), bool),
            "province": shared.untold_provinces[region],
            "city": shared.untold_cities[city] & (municipality == 0),
        },
        {
            "country": country != 0,
            "province": shared.names_province[said.column("names")],
            **{field: mask[parts] for field, mask in shared.parts.items()},
            "provider": provider,
            "asn": shared.has_asn[system],
            "owner": provider | (system != 0),
        },
        shared.latitude[parts],
        shared.longitude[parts],
    )

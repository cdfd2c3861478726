"""What a record of a MaxMind DB looks like: as GeoIP2's, or flat.

GeoIP2's names are those of dev.maxmind.com, "City binary database fields" and "ISP binary
database fields". Its names of places are by language. A text of a snapshot is in one language,
which isn't stated: Chinese if it has Chinese characters, else taken for English. What its code is
called in the other language is put beside it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from ipquery.data.export.mmdb_data import Uint16
from ipquery.data.record import FIELDS

SHAPES = ("city", "flat")

NOT_OF_CITY = ("province_code", "city_code")
"""Fields that GeoIP2 has no place for: codes of GB/T 2260."""

# By GeoIP2's word for a language: that of a snapshot.
_LANGUAGES = {"en": "en", "zh-CN": "zh"}

# Unified and compatibility ideographs.
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")

_CODES_OF = {
    "country": ("country_code",),
    "province": ("subdivision_code", "province_code"),
    "city": ("city_code",),
    # It is written without the country that it begins with.
    "subdivision_code": ("country_code",),
}
"""Fields that must be known to write others."""


@attrs.frozen
class Member:
    """A member of a record's map. ``make`` gets the values of ``fields``, and makes its value:
    nothing is written if that is ``None`` or empty.

    With ``is_shared`` many records have it, and it is written once.
    """

    key: str
    fields: tuple[str, ...]
    make: Callable[..., Any]
    is_shared: bool = False


def fields_read(fields: Sequence[str], shape: str) -> tuple[str, ...]:
    """The fields that must be read from a snapshot to write some."""
    needed = {*fields}
    if shape == "city":
        needed.update(*(_CODES_OF[field] for field in fields if field in _CODES_OF))
    return tuple(field for field in FIELDS if field in needed)


def flat(fields: Sequence[str]) -> list[Member]:
    """The fields by their names."""

    def kept(field: str) -> Callable[[Any], Any]:
        return lambda value: None if value is None else _typed(field, value)

    return [Member(field, (field,), kept(field)) for field in fields]


def _typed(field: str, value: Any) -> Any:
    if field in ("latitude", "longitude"):
        return float(value)
    return Uint16(value) if field == "accuracy_radius" else value


class City:
    """GeoIP2's nested records."""

    def __init__(self, fields: Sequence[str], names: Mapping[str, Mapping[str, str]]) -> None:
        """
        :param fields: those to tell.
        :param names: those of codes, by language of a snapshot.
        """
        self._shown = frozenset(fields)
        self._names = names
        self.languages: set[str] = set()
        """Those that names were written in so far."""

    def members(self) -> list[Member]:
        parts = [
            Member("continent", ("continent_code",), lambda code: _known(code=code), True),
            Member("country", ("country", "country_code"), self._country, True),
            Member(
                "subdivisions",
                ("province", "subdivision_code", "province_code", "country_code", "district"),
                self._subdivisions,
                True,
            ),
            Member("city", ("city", "city_code"), self._city, True),
            *(_own(key, named, self._shown) for key, named in _OWN.items()),
        ]
        return [part for part in parts if self._shown & {*part.fields}]

    def _country(self, country: str | None, code: str | None) -> Mapping[str, Any]:
        shown = code if "country_code" in self._shown else None
        return _known(iso_code=shown, names=self._named("country", country, code))

    def _subdivisions(
        self,
        province: str | None,
        subdivision: str | None,
        division: str | None,
        country: str | None,
        district: str | None,
    ) -> Sequence[Mapping[str, Any]]:
        shown = subdivision if "subdivision_code" in self._shown else None
        if shown and country:
            shown = shown.removeprefix(f"{country}-")
        names = self._named("province", province, subdivision, division)
        first = _known(iso_code=shown, names=names)
        second = _known(names=self._named("district", district))
        if second:
            return [first, second]
        return [first] if first else []

    def _city(self, city: str | None, code: str | None) -> Mapping[str, Any]:
        return _known(names=self._named("city", city, code))

    def _named(self, field: str, text: str | None, *codes: str | None) -> Mapping[str, str]:
        """By language what it is called: the text as it stands, and what its codes are called."""
        if field not in self._shown or text is None:
            return {}
        own = "zh-CN" if _HAN.search(text) else "en"
        found = {own: text}
        for language, ours in _LANGUAGES.items():
            named = (self._names[ours].get(code) for code in codes if code)
            name = next(filter(None, named), None)
            if language != own and name:
                found[language] = name
        self.languages |= {*found}
        return dict(sorted(found.items()))


def _known(**parts: Any) -> dict[str, Any]:
    return {name: part for name, part in parts.items() if part}


_OWN: Mapping[str, Mapping[str, str]] = {
    "location": {name: name for name in ("accuracy_radius", "latitude", "longitude", "time_zone")},
    "postal": {"code": "postal_code"},
    "traits": {
        "autonomous_system_number": "asn",
        "autonomous_system_organization": "as_org",
        "isp": "isp",
        "organization": "org",
    },
}
"""Parts that need no more than some fields: the names in them, and the fields."""


def _own(key: str, named: Mapping[str, str], shown: frozenset[str]) -> Member:
    names = [name for name, field in named.items() if field in shown]
    fields = tuple(named[name] for name in names)

    def make(*values: Any) -> Mapping[str, Any]:
        return {
            name: _typed(field, value)
            for name, field, value in zip(names, fields, values, strict=True)
            if value is not None
        }

    # What a network's owner is called is said of many places.
    return Member(key, fields, make, is_shared=key == "traits")

"""Names to codes: ISO 3166-1 for countries, GB/T 2260 for Chinese divisions.

Used when a snapshot is built, never while serving.
"""

import gettext
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import attrs
import pycountry
from babel import Locale

from ipquery.data.record import DataError, Record

# Spellings in databases that neither ISO 3166-1 (pycountry) nor CLDR (Babel)
# has. Kosovo is XK: ISO 3166-1 leaves XA to XZ to its users, and this is what
# CLDR, the EU and the other databases use.
_COUNTRY_ALIASES = {
    "ascension island": "SH",
    "阿森松岛": "SH",
    "bosnia": "BA",
    "波黑": "BA",
    "brunei": "BN",
    "burma": "MM",
    "cape verde": "CV",
    "congo (brazzaville)": "CG",
    "congo (kinshasa)": "CD",
    "democratic republic of the congo": "CD",
    "刚果金": "CD",
    "刚果民主共和国": "CD",
    "刚果布": "CG",
    "刚果共和国": "CG",
    "republic of the congo": "CG",
    "czech republic": "CZ",
    "多米尼加": "DO",
    "east timor": "TL",
    "great britain": "GB",
    "holland": "NL",
    "荷兰加勒比": "BQ",
    "法国南部领地": "TF",
    "法属南部领地": "TF",
    "hong kong": "HK",
    "香港": "HK",
    "ivory coast": "CI",
    "科索沃": "XK",
    "kosovo": "XK",
    "留尼汪岛": "RE",
    "留尼旺": "RE",
    "macao": "MO",
    "macau": "MO",
    "澳门": "MO",
    "macedonia": "MK",
    "马其顿": "MK",
    "马提尼克岛": "MQ",
    "蒙塞拉特岛": "MS",
    "南乔治亚岛和南桑威奇群岛": "GS",
    "纽埃岛": "NU",
    "palestine": "PS",
    "russia": "RU",
    "saint martin": "MF",
    "圣马丁": "MF",
    "swaziland": "SZ",
    "台湾": "TW",
    "taiwan": "TW",
    "托克劳群岛": "TK",
    "turkey": "TR",
    "uk": "GB",
    "usa": "US",
    "vatican": "VA",
    "瓦利斯和富图纳群岛": "WF",
    "中非": "CF",
}

_MUNICIPALITIES = {"110000", "120000", "310000", "500000"}
"""Beijing, Tianjin, Shanghai, Chongqing: no prefecture level below the province's."""

_CITY_PROVINCES = _MUNICIPALITIES | {"810000", "820000"}
"""Provinces that are a city themselves, so that a city column may repeat their name."""

_PROVINCE_SUFFIX = re.compile("(特别行政区|自治区|省|市)$")
# Peoples as they stand in the names of autonomous areas.
_PEOPLE = (
    "朝鲜|土家|苗|藏|羌|彝|布依|侗|哈尼|壮|傣|白|景颇|傈僳|回|蒙古|柯尔克孜|哈萨克|维吾尔|满|瑶|"
    "黎|畲|土|撒拉|东乡|保安|裕固|锡伯|塔吉克|达斡尔|鄂温克|鄂伦春|纳西|普米|怒|独龙|拉祜|佤|布朗|"
    "仡佬|水|仫佬|毛南|各"
)
_AUTONOMOUS = re.compile(f"(?:(?:{_PEOPLE})族?)*(?:自治州|自治县|自治旗|自治区)$")
_DIVISION_SUFFIX = re.compile("(自治州|地区|州|盟|市|林区|区|县|旗)$")


def _normal(name: str) -> str:
    """One spelling for widths of brackets and letters, accents, case and spaces."""
    plain = unicodedata.normalize("NFKD", name.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).casefold().split())


def _division_forms(name: str) -> Iterator[str]:
    """The name of a division and the shorter ones databases use for it.

    延边朝鲜族自治州: itself, 延边. 锡林郭勒盟: itself, 锡林郭勒.
    """
    yield name
    short = _AUTONOMOUS.sub("", name)
    if short == name:
        short = _DIVISION_SUFFIX.sub("", name)
    # One character is no name: 县 names like 赵县 are never shortened.
    if len(short) > 1 and short != name:
        yield short


@cache
def _country_names() -> Mapping[str, str]:
    """Country names, Chinese and English, to ISO 3166-1 alpha-2."""
    codes: dict[str, str] = {}
    chinese = gettext.translation("iso3166-1", pycountry.LOCALES_DIR, ["zh_CN"])
    for country in pycountry.countries:
        for kind in ("name", "official_name", "common_name"):
            # Attributes of a record depend on the country.
            name = getattr(country, kind, None)
            if name is not None:
                codes[_normal(name)] = codes[_normal(chinese.gettext(name))] = country.alpha_2
    official = frozenset(codes.values())
    for language in ("zh", "en"):
        for code, name in Locale(language).territories.items():
            if code in official:
                codes[_normal(name)] = code
    return codes | _COUNTRY_ALIASES


@attrs.frozen
class _Divisions:
    """GB/T 2260, by name."""

    provinces: Mapping[str, str]
    within: Mapping[tuple[str, str], str | None]
    """(first two digits, name) to code; ``None`` where two divisions share the name."""


@cache
def _divisions() -> _Divisions:
    provinces: dict[str, str] = {}
    within: dict[tuple[str, str], str | None] = {}
    lines = resources.files("ipquery.data").joinpath("gbt2260.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in lines.splitlines() if not line.startswith("#")]
    for code, name in rows:
        if code.endswith("0000"):
            # 广西壮族自治区 is 广西, but 内蒙古自治区 is not 内.
            forms = {name, _PROVINCE_SUFFIX.sub("", name), _AUTONOMOUS.sub("", name)}
            provinces.update((form, code) for form in forms if len(form) > 1)
    # A whole name before a shortened one, a prefecture before a county: 吉林
    # is 吉林市, 邢台 is 邢台市 and not 邢台县.
    below = [row for row in rows if not row[0].endswith("0000")]
    prefectures = [row for row in below if row[0].endswith("00")]
    cities = [row for row in below if not row[0].endswith("00") and row[1].endswith("市")]
    counties = [row for row in below if not row[0].endswith("00") and not row[1].endswith("市")]
    for tier in (prefectures, cities, counties):
        named: dict[tuple[str, str], set[str]] = {}
        for code, name in tier:
            for form in _division_forms(name):
                named.setdefault((code[:2], form), set()).add(code)
        for key, codes in named.items():
            within.setdefault(key, codes.pop() if len(codes) == 1 else None)
    return _Divisions(provinces, within)


def country_code(name: str) -> str | None:
    """ISO 3166-1 alpha-2 of a country's Chinese or English name.

    Owners and regions standing in a country column (GOOGLE, 亚太地区) have none.
    """
    return _country_names().get(_normal(name))


def province_code(name: str) -> str | None:
    """GB/T 2260 code of a province-level division, with or without 省, 市, 自治区…"""
    provinces = _divisions().provinces
    return provinces.get(name) or provinces.get(_PROVINCE_SUFFIX.sub("", name))


def city_code(province: str, name: str) -> str | None:
    """GB/T 2260 code of a division within a province.

    :param province: the province's code.
    :param name: a prefecture-level or county-level division, with or without
        its suffix. In a municipality every place falls back to the province's
        own code, as there is no prefecture level.
    """
    if province in _CITY_PROVINCES and province_code(name) == province:
        return province
    within = _divisions().within
    for form in _division_forms(name):
        code = within.get((province[:2], form))
        if code is not None:
            return code
    return province if province in _MUNICIPALITIES else None


@attrs.frozen
class OperatorLists:
    """The operator's own names and codes, in the layout of the old service.

    A name in a list gets the list's code; for other names the built-in codes
    stand, unless ``only`` is set.
    """

    countries: Mapping[str, str] = attrs.field(factory=dict)
    provinces: Mapping[str, str] = attrs.field(factory=dict)
    cities: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    """More than one code where a name stands more than once."""
    only: bool = False

    def city(self, province: str | None, name: str) -> str | None:
        """The code of a city; among several the one that begins as the province's does."""
        codes = self.cities.get(name, ())
        for code in codes:
            if province is not None and code[:2] == province[:2]:
                return code
        return codes[0] if codes else None


def load_lists(
    countries: Path | None, provinces: Path | None, cities: Path | None, only: bool = False
) -> OperatorLists:
    """Read the operator's lists: tab-separated, UTF-8.

    Countries ``name⇥code``; provinces ``code⇥…⇥name``, the name third; cities
    ``code⇥…⇥…⇥name``, the name fourth. Blank lines and lines that begin with
    ``#`` are left out.

    :raises DataError: a list can't be read, or a line has too few columns.
    """
    city_codes: dict[str, tuple[str, ...]] = {}
    for name, code in _pairs(cities, name_at=3, code_at=0):
        city_codes[name] = (*city_codes.get(name, ()), code)
    return OperatorLists(
        dict(_pairs(countries, name_at=0, code_at=1)),
        dict(_pairs(provinces, name_at=2, code_at=0)),
        city_codes,
        only,
    )


def _pairs(path: Path | None, name_at: int, code_at: int) -> Iterable[tuple[str, str]]:
    if path is None:
        return
    try:
        # utf-8-sig: lists edited on Windows begin with a byte order mark
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise DataError(f"{path}: can't read this list of codes: {reason}") from None
    wanted = max(name_at, code_at) + 1
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = [column.strip() for column in line.split("\t")]
        if len(columns) < wanted or not columns[name_at] or not columns[code_at]:
            raise DataError(
                f"{path}: line {number} needs {wanted} tab-separated columns with the name in "
                f"column {name_at + 1} and the code in column {code_at + 1}"
            )
        yield columns[name_at], columns[code_at]


def fill(record: Record, lists: OperatorLists) -> Record:
    """Give a record the codes of its names; a code the database has stands.

    The operator's lists come before both.
    """
    country = _choose(
        lists.countries.get(record.country or ""),
        record.country_code or country_code(record.country or ""),
        lists.only,
    )
    return attrs.evolve(record, country_code=country, **_division_codes(record, lists))


def _division_codes(record: Record, lists: OperatorLists) -> dict[str, Any]:
    """Province and city code. GB/T 2260 knows China only: 海南 is no place elsewhere."""
    standard_province = record.province_code
    standard_city = record.city_code
    chinese = (record.country_code or country_code(record.country or "")) == "CN"
    if chinese and standard_province is None and record.province:
        standard_province = province_code(record.province)
    if standard_province is not None and standard_city is None and record.city:
        standard_city = city_code(standard_province, record.city)
    province = _choose(lists.provinces.get(record.province or ""), standard_province, lists.only)
    city = _choose(lists.city(province, record.city or ""), standard_city, lists.only)
    return {"province_code": province, "city_code": city}


def _choose(listed: str | None, standard: str | None, only: bool) -> str | None:
    return listed if listed is not None or only else standard

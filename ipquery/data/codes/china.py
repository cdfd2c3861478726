"""Names of Chinese divisions to GB/T 2260 codes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources

from ipquery.data.codes.countries import normal

MUNICIPALITIES = frozenset({"110000", "120000", "310000", "500000"})
"""Beijing, Tianjin, Shanghai, Chongqing: no prefecture level below the province's."""

_CITY_PROVINCES = MUNICIPALITIES | {"810000", "820000"}
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
_LATIN_SUFFIX = re.compile(
    r" (?:autonomous (?:region|prefecture|county)|special administrative region|zizhi(?:qu|zhou)|"
    r"new area|municipality|province|prefecture|sheng|shi|city|diqu|qu|district|xian|county|meng|"
    r"league|zhou)$"
)


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


def _rows(name: str) -> list[list[str]]:
    lines = resources.files(__package__ or "").joinpath(name).read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


@cache
def _chinese() -> Sequence[tuple[str, str]]:
    """Code and name of all divisions; one that was renamed has both, its present name first."""
    return [(code, name) for code, name in _rows("gbt2260.tsv")]


@cache
def _chinese_names() -> Mapping[str, str]:
    """Code to present name."""
    return dict(reversed(_chinese()))


@cache
def _latin() -> Mapping[str, list[str]]:
    """Code to romanised names, of all divisions."""
    latin: dict[str, list[str]] = {}
    for code, names in _rows("gbt2260.latin.tsv"):
        latin.setdefault(code, []).extend(names.split(";"))
    return latin


@cache
def _provinces() -> Mapping[str, str]:
    """Name to code."""
    provinces: dict[str, str] = {}
    for code, name in _chinese():
        if code.endswith("0000"):
            # 广西壮族自治区 is 广西, but 内蒙古自治区 is not 内.
            forms = {name, _PROVINCE_SUFFIX.sub("", name), _AUTONOMOUS.sub("", name)}
            provinces.update((form, code) for form in forms if len(form) > 1)
            provinces.update((normal(name), code) for name in _latin()[code])
    return provinces


# By province, as most builds are of a few: all of them take 0.04 s.
@cache
def _within(province: str) -> Mapping[str, str | None]:
    """Name to code of the divisions within a province; ``None`` where two share the name.

    :param province: the first two digits of its code.
    """
    within: dict[str, str | None] = {}
    latin = _latin()
    # A whole name before a shortened one, a prefecture before a county: 吉林
    # is 吉林市, 邢台 is 邢台市 and not 邢台县.
    below = [
        row for row in _chinese() if row[0].startswith(province) and not row[0].endswith("0000")
    ]
    prefectures = [row for row in below if row[0].endswith("00")]
    cities = [row for row in below if not row[0].endswith("00") and row[1].endswith("市")]
    counties = [row for row in below if not row[0].endswith("00") and not row[1].endswith("市")]
    for tier in (prefectures, cities, counties):
        named: dict[str, set[str]] = {}
        for code, name in tier:
            plain = [normal(given) for given in latin[code]]
            bare = (given.replace("'", "") for given in plain)
            for form in (*_division_forms(name), *plain, *bare):
                named.setdefault(form, set()).add(code)
        for form, codes in named.items():
            within.setdefault(form, codes.pop() if len(codes) == 1 else None)
    return within


@cache
def province_code(name: str) -> str | None:
    """GB/T 2260 code of a province-level division: 河南, 河南省, Henan, Henan Sheng."""
    provinces = _provinces()
    found = provinces.get(name) or provinces.get(_PROVINCE_SUFFIX.sub("", name))
    if found is not None or not _is_latin(name):
        return found
    return next((provinces[form] for form in _latin_forms(name) if form in provinces), None)


def _is_latin(name: str) -> bool:
    return normal(name).isascii()


def _latin_forms(name: str) -> Iterator[str]:
    """A romanised name, and the shorter forms of it: Xianyangshi, Xi'an Shi, Jinan (Lixia)."""
    whole = normal(name)
    yield whole
    bare = re.sub(r"\s*\(.*", "", whole)
    short = _LATIN_SUFFIX.sub("", bare)
    yield from (bare, short, short.replace("'", ""), bare.removesuffix("shi"))


@cache
def division_code(province: str, name: str) -> str | None:
    """GB/T 2260 code of a division within a province, Chinese or romanised.

    :param province: the province's code.
    :param name: a prefecture-level or county-level division, with or without
        its suffix, or the name of a province that is a city itself.
    """
    if province in _CITY_PROVINCES and province_code(name) == province:
        return province
    within = _within(province[:2])
    forms = _latin_forms(name) if _is_latin(name) else _division_forms(name)
    found = (within.get(form) for form in forms)
    return next((code for code in found if code is not None), None)


def city_code(province: str, name: str) -> str | None:
    """GB/T 2260 code of a city: like :func:`division_code`, but in a municipality every place
    falls back to the province's own code, as there is no prefecture level.
    """
    found = division_code(province, name)
    if found is None and province in MUNICIPALITIES:
        return province
    return found


def prefecture_of(code: str) -> str:
    """The city, at the level of the prefecture, that a GB/T 2260 code lies in: 330782
    (Yiwu) in 330700 (Jinhua).

    A municipality is one city; what a province administers itself (xx90xx) is in none.
    """
    if f"{code[:2]}0000" in MUNICIPALITIES:
        return f"{code[:2]}0000"
    return code if code[2:4] == "90" else f"{code[:4]}00"


def name_of_china_division(code: str, language: str) -> str | None:
    """The name of a GB/T 2260 code: 商丘市 in ``zh``, Shangqiu in ``en``."""
    if language == "zh":
        return _chinese_names().get(code)
    romanised = _latin().get(code)
    return romanised[0] if romanised and language == "en" else None


# ISO 3166-2:CN, in the order of GB/T 2260.
_SUBDIVISIONS = {
    "110000": "CN-BJ", "120000": "CN-TJ", "130000": "CN-HE", "140000": "CN-SX", "150000": "CN-NM",
    "210000": "CN-LN", "220000": "CN-JL", "230000": "CN-HL", "310000": "CN-SH", "320000": "CN-JS",
    "330000": "CN-ZJ", "340000": "CN-AH", "350000": "CN-FJ", "360000": "CN-JX", "370000": "CN-SD",
    "410000": "CN-HA", "420000": "CN-HB", "430000": "CN-HN", "440000": "CN-GD", "450000": "CN-GX",
    "460000": "CN-HI", "500000": "CN-CQ", "510000": "CN-SC", "520000": "CN-GZ", "530000": "CN-YN",
    "540000": "CN-XZ", "610000": "CN-SN", "620000": "CN-GS", "630000": "CN-QH", "640000": "CN-NX",
    "650000": "CN-XJ", "710000": "CN-TW", "810000": "CN-HK", "820000": "CN-MO",
}  # fmt: skip
_PROVINCES = {subdivision: province for province, subdivision in _SUBDIVISIONS.items()}


def to_subdivision(province: str) -> str | None:
    """ISO 3166-2 of a province's GB/T 2260 code: 410000 is CN-HA."""
    return _SUBDIVISIONS.get(province)


def from_subdivision(code: str) -> str | None:
    """GB/T 2260 code of a province's ISO 3166-2: CN-HA is 410000."""
    return _PROVINCES.get(code)

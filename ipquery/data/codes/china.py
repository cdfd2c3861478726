"""Names of Chinese divisions to GB/T 2260 codes."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources

import attrs

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
    lines = resources.files(__package__ or "").joinpath("gbt2260.tsv").read_text("utf-8")
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

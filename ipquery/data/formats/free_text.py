"""Places and owners as qqwry writes them, in one piece: taken apart into fields.

The words stay the database's own; only what they mean is worked out here. Places
in China are known by GB/T 2260, countries by their Chinese names (see
:mod:`ipquery.data.codes`), other places by the endings of their kinds.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache

from ipquery.data.codes import city_code, country_code, province_code
from ipquery.data.formats.ipip_columns import is_municipality

_SEPARATORS = re.compile("[–—]")
"""Newer editions put a dash between levels: 中国–河南–商丘."""

_LEVELS = ("country", "province", "city", "district")
_CHINA = "中国"
_LONGEST_NAME = 16
"""Characters; the longest Chinese names of countries and divisions have 15."""

_SELF_GOVERNED = ("81", "82")
"""Hong Kong and Macao: what stands behind their names is a district."""

_TAIWAN = "710000"
"""GB/T 2260 has nothing below it."""

# Words that stand in names of owners and in no name of a place.
_OWNER = re.compile(
    "大学|学院|学校|中学|小学|研究|科学院|公司|集团|企业|银行|医院|局$|中心|网吧|宿舍|节点|机房|服务器|骨干网"
)
_ENDINGS = ("市", "州", "区", "县", "盟", "旗")
_DISTRICT = re.compile("[^/]{1,7}?(?:区|县|旗|市|州(?![市区县])|镇|乡|岛)")
_CITY = re.compile("[^/]{2,8}?(?:市|自治州|州|地区|盟)")
_TAIWAN_CITY = re.compile("[^/]{2}[市县]")

_STATE = re.compile("[^/]{1,12}?(?:州|省|邦|大区)")
_STATE_IN = {
    "日本": re.compile("[^/]{2,4}?[都道府县]"),
    "韩国": re.compile("[^/]{2,6}?(?:特别自治道|道|广域市|特别自治市|特别市)"),
    "泰国": re.compile("[^/]{2,8}?府"),
    "英国": re.compile("英格兰|苏格兰|威尔士|北爱尔兰"),
}
_COUNTY = re.compile("([^/]{2,12}?[县郡])(.*)")

_PROVIDER_NAMES = """
电信 联通 移动 铁通 中移铁通 网通 教育网 教育信息网 电子政务网 广电网 广电网络 广电
有线电视 科技网 长城宽带 鹏博士 鹏博士宽带 鹏博士长城宽带 华数 华数宽带 歌华有线
歌华宽带 方正宽带 珠江宽频 天威视讯 天威有线宽带 东方有线 艾普宽带 电信通 中电飞华
中信网络 盈联宽带 北龙中网 皓宽网络 中华电信 HiNet TANet 远传电信 台湾固网
台湾大哥大 台湾大宽频 亚太电信 新世纪资通 电讯盈科 和记环球电讯 香港宽频
"""
_PROVIDERS = frozenset(_PROVIDER_NAMES.split())
"""Those who sell access, as the database names them. Everybody else is an owner."""

_PROVIDERS_PLANT = re.compile(
    r"[(（]|IDC|BGP|ADSL|DNS|CDN|骨干网|互联节点|节点|机房|(?:互联网)?数据中心|数据上网|全省|全国|城域网"
)
"""What may follow a provider's name and leave the provider who it is: 联通骨干网 is
联通, 电信实业公司 is not 电信."""


def place(text: str) -> Mapping[str, str]:
    """Country, province, city, district, owner and provider that a place's text names.

    ``河南省商丘市夏邑县`` is 中国, 河南省, 商丘市, 夏邑县; ``美国`` and ``北美地区``
    are a ``country``, ``南京理工大学`` is an ``org``.

    :returns: texts by name of the record's field.
    """
    parts = [part.strip() for part in _SEPARATORS.split(text)]
    if len(parts) == 1 and "-" in text:
        by_hyphen = [part.strip() for part in text.split("-")]
        # A hyphen also stands in names: it only parts what a country begins.
        if country_code(by_hyphen[0]) is not None:
            parts = by_hyphen
    if len(parts) > 1:
        return _parted(parts)
    return _chinese(text) or _abroad(text) or _unknown(text)


def owner(text: str) -> Mapping[str, str]:
    """Provider (``isp``) and owner (``org``) that an owner's text names.

    ``电信`` and ``中国电信`` are providers, ``电信/IDC机房`` is the provider 电信 and
    the owner IDC机房, ``联通骨干网`` the provider 联通 and itself.
    """
    if not text:
        return {}
    head, *behind = re.split("[/ ]", text, maxsplit=1)
    provider = _provider(head)
    if provider is not None:
        rest = "".join(behind).strip("/ ")
        return {"isp": provider, "org": rest} if rest else {"isp": provider}
    for size in range(min(len(text), 8), 1, -1):
        provider = _provider(text[:size])
        if provider is not None and _PROVIDERS_PLANT.match(text, size):
            return {"isp": provider, "org": text}
    return {"org": text}


def _provider(name: str) -> str | None:
    short = name.removeprefix(_CHINA)
    return short if short in _PROVIDERS else None


def _parted(parts: list[str]) -> Mapping[str, str]:
    """A place whose levels are parted: 中国–北京–朝阳区 leaves out the city that repeats."""
    country, *below = parts
    code = province_code(below[0]) if country == _CHINA else None
    if code and is_municipality(code) and len(below) > 1 and province_code(below[1]) != code:
        below.insert(1, below[0])
    return {level: part for level, part in zip(_LEVELS, (country, *below), strict=False) if part}


def _chinese(text: str) -> Mapping[str, str]:
    """A place in China; empty if it is none."""
    rest = text.removeprefix(_CHINA)
    province = _prefix_of(rest, province_code)
    if not province:
        # The name of an owner keeps the 中国 that it begins with.
        return {} if rest in (text, "") else {"country": _CHINA, **owner(text)}
    code = province_code(province)
    assert code is not None
    below = rest[len(province) :]
    found = _below(code, province, below)
    if found is None:
        # 四川大学 begins like a place but is none; nor is every 西藏民族大学 in 西藏.
        return {"country": _CHINA, "org": rest}
    return {"country": _CHINA, "province": province, **found}


def _below(code: str, province: str, rest: str) -> Mapping[str, str] | None:
    """City, district and owner behind a province's name; ``None`` if it wasn't one."""
    city, begin, district = "", 0, ""
    if is_municipality(code):
        city = province
        district = _district(code, rest)
    elif code == _TAIWAN:
        city = _match(_TAIWAN_CITY, rest)
        begin = len(city)
        district = _district(code, rest[begin:])
    elif code[:2] in _SELF_GOVERNED:
        district = "" if _OWNER.search(rest) else rest
    else:
        city = _known(code, rest) or _match(_CITY, rest)
        if rest[len(city) :].startswith("/"):
            return {}  # 南宁/桂林市: one of two
        begin = len(city)
        district = _district(code, rest[begin:])
        if _is_county(city):
            city, district = "", city + district
    left = rest[begin + len(district) if begin else len(district) :]
    whole = province[-1] in "省市区" and len(province) > 2
    owned = owner(left) if _OWNER.search(left) or "isp" in owner(left) else {}
    if city and left == owned.get("org") and not city.endswith(_ENDINGS):
        owned = {"org": city + left}  # 九江学院
    if left and left == rest and not whole and "isp" not in owned:
        return None
    return {name: text for name, text in (("city", city), ("district", district)) if text} | dict(
        owned
    )


def _is_county(name: str) -> bool:
    return name.endswith(("县", "区", "旗")) and not name.endswith("地区")


def _district(code: str, rest: str) -> str:
    """The district that ``rest`` begins with, also one that GB/T 2260 no longer has."""
    return _known(code, rest) or ("" if _OWNER.search(rest) else _match(_DISTRICT, rest))


def _known(code: str, rest: str) -> str:
    """The division in a province that ``rest`` begins with."""
    return _prefix_of(rest, lambda name: _division(code, name))


@cache
def _division(province: str, name: str) -> str | None:
    """The code of a division below a province."""
    code = city_code(province, name)
    return None if code == province else code


def _prefix_of(text: str, code_of: Callable[[str], str | None]) -> str:
    """The longest beginning of a text that is a name; ``""`` if none is.

    :param code_of: returns ``None`` for what is no name.
    """
    for size in range(min(len(text), _LONGEST_NAME), 1, -1):
        if code_of(text[:size]) is not None:
            return text[:size]
    return ""


def _match(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.match(text)
    return found[0] if found else ""


def _abroad(text: str) -> Mapping[str, str]:
    """A place in another country; empty if the text begins with none."""
    country = _prefix_of(text, country_code)
    rest = text[len(country) :]
    if not country or (rest[:1].isalnum() and rest[0].isascii() and country[-1].isascii()):
        return {}
    if "/" in rest:
        return {"country": country}  # 缅因州/新罕布什尔州: one of two
    state = _match(_STATE_IN[country], rest) if country in _STATE_IN else _match(_STATE, rest)
    rest = rest[len(state) :]
    county = _COUNTY.fullmatch(rest) if country != "日本" else None
    district, city = ("", rest) if county is None else (county[1], county[2])
    found = {"country": country, "province": state}
    if _OWNER.search(city):
        found["org"] = city
    elif city:
        found["city"] = city
    else:
        found["district"] = district
    return {name: part for name, part in found.items() if part}


def _unknown(text: str) -> Mapping[str, str]:
    """What is no place: an owner, or something that stands in place of a country."""
    if not text:
        return {}
    return owner(text) if _OWNER.search(text) or _provider(text) else {"country": text}

"""Names of countries to ISO 3166-1 codes."""

import gettext
import unicodedata
from collections.abc import Mapping
from functools import cache

import pycountry
from babel import Locale

# Spellings in databases that neither ISO 3166-1 (pycountry) nor CLDR (Babel)
# has. Kosovo is XK: ISO 3166-1 leaves XA to XZ to its users, and this is what
# CLDR, the EU and the other databases use.
_COUNTRY_ALIASES = {
    "ascension island": "SH",
    "阿森松岛": "SH",
    "奥兰": "AX",
    "澳洲": "AU",
    "百慕大群岛": "BM",
    "博奈尔": "BQ",
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
    "格陵兰岛": "GL",
    "瓜德罗普岛": "GP",
    "赫德岛和麦克唐纳岛": "HM",
    "hong kong": "HK",
    "香港": "HK",
    "ivory coast": "CI",
    "科科斯群岛": "CC",
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
    "美国小离岛": "UM",
    "蒙塞拉特": "MS",
    "蒙塞拉特岛": "MS",
    "南乔治亚岛和南桑威奇群岛": "GS",
    "纽埃岛": "NU",
    "palestine": "PS",
    "russia": "RU",
    "沙特": "SA",
    "saint martin": "MF",
    "圣马丁": "MF",
    "斯瓦巴和扬马延": "SJ",
    "swaziland": "SZ",
    "台湾": "TW",
    "taiwan": "TW",
    "托克劳群岛": "TK",
    "turkey": "TR",
    "uk": "GB",
    "usa": "US",
    "vatican": "VA",
    "瓦利斯和富图纳群岛": "WF",
    # 新加坡, as qqwry.dat misspells it.
    "新加披": "SG",
    "印尼": "ID",
    "中非": "CF",
}


def normal(name: str) -> str:
    """One spelling for widths of brackets and letters, accents, case and spaces."""
    if name.isascii():
        return " ".join(name.casefold().split())
    plain = unicodedata.normalize("NFKD", name.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).casefold().split())


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
                codes[normal(name)] = codes[normal(chinese.gettext(name))] = country.alpha_2
    official = frozenset(codes.values())
    for language in ("zh", "en"):
        for code, name in Locale(language).territories.items():
            if code in official:
                codes[normal(name)] = code
    return codes | _COUNTRY_ALIASES


@cache
def country_code(name: str) -> str | None:
    """ISO 3166-1 alpha-2 of a country's Chinese or English name.

    Owners and regions standing in a country column (GOOGLE, 亚太地区) have none.
    """
    return _country_names().get(normal(name))


@cache
def name_of_country(code: str, language: str) -> str | None:
    """The everyday name of an ISO 3166-1 alpha-2 code (CLDR), ``None`` if there is none.

    :param language: ``zh`` or ``en``.
    """
    name: str | None = _SHORT_NAMES.get((code, language)) or Locale(language).territories.get(code)
    return name


# CLDR: "Hong Kong SAR China", 中国香港特别行政区, "Myanmar (Burma)".
_SHORT_NAMES = {
    ("HK", "en"): "Hong Kong",
    ("HK", "zh"): "香港",
    ("MO", "en"): "Macao",
    ("MO", "zh"): "澳门",
    ("MM", "en"): "Myanmar",
}

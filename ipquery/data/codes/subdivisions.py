"""Names of subdivisions, worldwide, to ISO 3166-2 codes and back.

The names are pycountry's (ISO 3166-2 as its maintenance agency publishes it, and the
translations of iso-codes), and what databases write instead, in ``subdivisions.tsv``.
"""

import gettext
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import attrs
import pycountry

from ipquery.data.codes import china
from ipquery.data.codes.countries import normal

HAN = re.compile("[\u3400-\u9fff]")
"""A Chinese character: CJK Unified Ideographs and Extension A."""

# What kind of division it is: databases write it, leave it out, or translate it.
_KINDS = {
    "administrative", "area", "autonomous", "avtonomnyy", "canton", "city", "comunidad", "county",
    "de", "department", "district", "division", "do", "emirate", "fu", "governorate", "gwangyeoksi",
    "judetul", "ken", "krai", "kray", "lan", "land", "muhafazat", "municipality", "oblast", "of",
    "okrug", "parish", "prefecture", "province", "region", "republic", "respublika", "state",
    "territory", "teukbyeoljachido", "teukbyeoljachisi", "teukbyeolsi", "the", "voivodeship",
    "wilaya",
}  # fmt: skip
_CHINESE_KINDS = re.compile(
    "(?:特别行政区|特别市|广域市|直辖市|自治区|自治州|边疆区|共和国|大区|地区|州|省|县|郡|府|都|道|邦|区|市)$"
)
# Sverdlovskaya oblast' is Sverdlovsk Oblast, Khabarovskiy kray Khabarovsk.
_RUSSIAN_ENDING = re.compile(r"sk(?:aya|iy|oy|ii|y)\b")


@attrs.frozen
class _Names:
    """The subdivisions of a country."""

    codes: Mapping[str, str | None]
    """Form of a name to code; ``None`` where two subdivisions share the form."""
    parents: Mapping[str, str]
    names: Mapping[tuple[str, str], str]
    """(code, language) to name."""


def _words(name: str) -> str:
    """A name without what differs from database to database: case, accents, punctuation."""
    return " ".join(re.sub(r"['`\u02b9\u2032]", "", re.sub(r"[-.,·/]", " ", normal(name))).split())


@cache
def plain(name: str) -> str:
    """The shortest form of a subdivision's name: without its kind, accents and punctuation."""
    words = _words(name)
    if HAN.search(words):
        words = words.replace(" ", "")
        short = _CHINESE_KINDS.sub("", words)
        return short if len(short) > 1 else words
    parts = _RUSSIAN_ENDING.sub("sk", words).split()
    while len(parts) > 1 and parts[-1] in _KINDS:
        parts.pop()
    while len(parts) > 1 and parts[0] in _KINDS:
        parts.pop(0)
    return " ".join(parts)


def _written(name: str) -> Iterator[str]:
    """The names in an entry of ISO 3166-2, which may add another one or an inverted part."""
    bare = re.sub(r"\s*[\[(*].*", "", name).strip()
    yield bare
    yield bare.removesuffix("s län")  # Dalarnas län
    head, comma, tail = bare.partition(", ")
    if comma:
        yield f"{tail} {head}"
        yield head


_Own = tuple[str, list[str], list[str]]


@cache
def _own_names() -> Mapping[str, Sequence[_Own]]:
    """Code, English names and Chinese names of ``subdivisions.tsv``, by country."""
    text = resources.files(__package__ or "").joinpath("subdivisions.tsv").read_text("utf-8")
    found: dict[str, list[_Own]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            code, english, chinese = line.split("\t")
            own = code, _listed(english), _listed(chinese)
            found.setdefault(code[:2], []).append(own)
    return found


def _listed(names: str) -> list[str]:
    return [name for name in names.split(";") if name]


@cache
def _official() -> Mapping[str, Sequence[Any]]:
    """pycountry's entries, by country."""
    found: dict[str, list[Any]] = {}
    for entry in pycountry.subdivisions:
        found.setdefault(entry.code[:2], []).append(entry)
    return found


@cache
def _translation() -> gettext.NullTranslations:
    return gettext.translation("iso3166-2", pycountry.LOCALES_DIR, ["zh_CN"])


# By country, as most builds are of a few countries: all forms of all names take 0.12 s.
@cache
def _names(country: str) -> _Names:
    translated = _translation()
    known = {entry.code: entry for entry in _official().get(country, ())}
    parents = {code: entry.parent_code for code, entry in known.items() if entry.parent_code}
    names: dict[tuple[str, str], str] = {}
    own: list[tuple[str, str]] = []
    for code, english, chinese in _own_names().get(country, ()):
        if code not in known:
            continue  # IN-OR became IN-OD: which of them there is depends on pycountry
        own += [(code, name) for name in (*english, *chinese)]
        for language, given in (("en", english), ("zh", chinese)):
            if given:
                names[code, language] = given[0]
    official: list[tuple[str, str]] = []
    for code, entry in known.items():
        chinese_name = translated.gettext(entry.name)
        official += [(code, name) for name in _written(entry.name)]
        names.setdefault((code, "en"), next(_written(entry.name)))
        if HAN.search(chinese_name):
            official.append((code, chinese_name))
            names.setdefault((code, "zh"), chinese_name)
    codes: dict[str, str | None] = {}
    roots = [pair for pair in official if pair[0] not in parents]
    children = [pair for pair in official if pair[0] in parents]
    # A whole name before a shortened one, what is in our table before what is official, a
    # region before its parts: Berlin is the state.
    for form in (_words, plain):
        for tier in (own, roots, children):
            _add(codes, ((code, form(name)) for code, name in tier))
    return _Names(codes, parents, names)


def _add(codes: dict[str, str | None], named: Iterable[tuple[str, str]]) -> None:
    """Add forms that aren't there yet; one of two subdivisions has none."""
    found: dict[str, set[str]] = {}
    for code, form in named:
        found.setdefault(form, set()).add(code)
    for form, meant in found.items():
        codes.setdefault(form, meant.pop() if len(meant) == 1 else None)


@cache
def subdivision_code(country: str, name: str) -> str | None:
    """ISO 3166-2 code of a subdivision's Chinese or English name.

    :param country: ISO 3166-1 alpha-2.
    """
    if country == "CN":
        province = china.province_code(name)
        return None if province is None else china.to_subdivision(province)
    codes = _names(country).codes
    return codes.get(_words(name)) or codes.get(plain(name))


def is_subdivision(code: str) -> bool:
    """Whether ISO 3166-2 has this code."""
    if code.startswith("CN-"):
        return china.from_subdivision(code) is not None
    return (code, "en") in _names(code[:2]).names


@cache
def region_of(code: str) -> str:
    """The subdivision of the first level that a code of ISO 3166-2 is in: GB-KEN is in GB-ENG."""
    parents = _names(code[:2]).parents
    while code in parents:
        code = parents[code]
    return code


@cache
def name_of_subdivision(code: str, language: str) -> str | None:
    """The name of an ISO 3166-2 code, ``None`` if it isn't known in that language.

    :param language: ``zh`` or ``en``.
    """
    if code.startswith("CN-"):
        province = china.from_subdivision(code)
        return None if province is None else china.name_of_china_division(province, language)
    return _names(code[:2]).names.get((code, language))

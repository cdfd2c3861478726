"""What a comparison is told in, on a terminal and on a page: names, shares and distances."""

from collections.abc import Mapping, Sequence
from typing import Any

LEVELS = ("country", "province", "city")

FIELD_NAMES = {
    "country": "country",
    "province": "province",
    "city": "city",
    "district": "district",
    "postal_code": "postal code",
    "coordinates": "coordinates",
    "time_zone": "time zone",
    "provider": "organisation or ISP",
    "asn": "AS number",
    "owner": "any owner",
}
"""The fields of a coverage, as they are called."""

_COUNTRIES = 8


def letter(number: int) -> str:
    """What a source is called in tables: A to Z, then A1."""
    return chr(ord("A") + number % 26) + (str(number // 26) if number >= 26 else "")


def pair_name(pair: Mapping[str, Any]) -> str:
    return f"{letter(pair['left'])} and {letter(pair['right'])}"


def base_of(version: str, space: Mapping[str, Any]) -> int:
    """What shares are of. Of IPv6 hardly anything is in use, so of what any source knows."""
    base: int = space["public"] if version == "ipv4" else space["known"]
    return base


def percent(part: int, whole: int) -> str:
    if not part or not whole:
        return "-"
    # A float of the quotient of whole numbers: IPv6 has more than a float can count.
    share = part / whole
    # What is more than nothing doesn't look like nothing, and what isn't all not like all.
    if share < 0.00005:
        return "< 0.01 %"
    return "> 99.99 %" if 0.99995 <= share < 1 else f"{100 * share:.2f} %"


def short(count: int) -> str:
    """A count in five characters at most: 3.27M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def distance(kilometres: float | None) -> str:
    if kilometres is None:
        return "-"
    return f"{kilometres:.1f} km" if kilometres < 100 else f"{kilometres:,.0f} km"


def chosen_countries(space: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
    """The countries to tell of: those that are wanted, or those with most addresses."""
    most: dict[str, int] = {}
    for source in space["coverage"]:
        for code, coverage in source["countries"].items():
            most[code] = max(most.get(code, 0), coverage["all"]["addresses"])
    if wanted:
        return [code for code in wanted if code in most]
    return sorted(most, key=lambda code: (-most[code], code))[:_COUNTRIES]

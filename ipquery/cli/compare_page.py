"""A comparison as one HTML page, see :mod:`ipquery.cli.page`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ipquery.cli.page import WIDTH, colour_of, escaped, framed, label, linked, svg, swatch, table
from ipquery.cli.shares import (
    FIELD_NAMES,
    LEVELS,
    base_of,
    chosen_countries,
    distance,
    letter,
    pair_name,
    percent,
    short,
)

_VERSIONS = {"ipv4": "IPv4", "ipv6": "IPv6"}


def page(found: Mapping[str, Any], countries: Sequence[str] = ()) -> str:
    """The page.

    :param found: what :func:`ipquery.data.build.compare` returns.
    :param countries: to tell the coverage of, ISO 3166-1 codes; without any, those with
        most addresses.
    """
    return framed("ipquery compare", "\n".join(_parts(found, countries)))


def _parts(found: Mapping[str, Any], countries: Sequence[str]) -> Iterator[str]:
    items = "".join(_source(number, one) for number, one in enumerate(found["sources"]))
    yield f'<ul class="sources">{items}</ul>'
    for version, shown in _VERSIONS.items():
        space = found[version]
        if not space["known"]:
            continue
        base = base_of(version, space)
        of = (
            f"all {base:,} public addresses"
            if version == "ipv4"
            else "the public addresses that at least one source knows"
        )
        yield f"<h2>{shown}</h2>\n<p>Shares are of {of}.</p>"
        yield from _coverage(space, base)
        yield from _countries(space, countries)
        yield from _agreement(space)
        yield from _disagreements(space, base)


def _key(number: int) -> str:
    return f'<span class="key" style="background:{colour_of(number)}">{letter(number)}</span>'


def _source(number: int, source: Mapping[str, Any]) -> str:
    ranges = source["ranges"]
    facts = (
        source["format"],
        source["date"] or "date unknown",
        f"{ranges['ipv4']:,} ranges of IPv4, {ranges['ipv6']:,} of IPv6",
        source["licence"] or "licence not stated",
    )
    return (
        f"<li>{_key(number)}<b>{escaped(source['name'])}</b><br>"
        f"{linked(source['attribution'] or 'attribution not stated')}<br>"
        f'<span class="small">{escaped("; ".join(facts))}</span></li>'
    )


def _coverage(space: Mapping[str, Any], base: int) -> Iterator[str]:
    sources = [source["whole"] for source in space["coverage"]]
    fields = [
        field
        for field in FIELD_NAMES
        if any(source["known"][field]["addresses"] for source in sources)
    ]
    yield "<h3>What each knows</h3>"
    yield _bars(
        [
            (
                FIELD_NAMES[field],
                [
                    (letter(number), source["known"][field]["addresses"], base, colour_of(number))
                    for number, source in enumerate(sources)
                ],
            )
            for field in fields
        ],
        "Coverage by field",
    )
    rows = [["ranges", *map(_key, range(len(sources)))]]
    rows.append(["all", *(short(source["all"]["ranges"]) for source in sources)])
    rows += (
        [FIELD_NAMES[field], *(short(source["known"][field]["ranges"]) for source in sources)]
        for field in fields
    )
    yield f"<details><summary>Counted by ranges</summary>{table(rows)}</details>"


_OF_COUNTRIES = ("province", "city", "owner")


def _countries(space: Mapping[str, Any], wanted: Sequence[str]) -> Iterator[str]:
    codes = chosen_countries(space, wanted)
    if not codes:
        return
    rows = [["", *(FIELD_NAMES[field].rsplit(" ", 1)[-1] for field in _OF_COUNTRIES)]]
    for code in codes:
        for number, source in enumerate(space["coverage"]):
            place = source["countries"].get(code)
            if place is not None:
                count = place["all"]["addresses"]
                shares = (percent(place["known"][f]["addresses"], count) for f in _OF_COUNTRIES)
                rows.append([f"{_key(number)}{escaped(code)}", *map(escape, shares)])
    yield "<h3>What each knows of the addresses that it puts in a country</h3>"
    yield table(rows)


def _agreement(space: Mapping[str, Any]) -> Iterator[str]:
    pairs = [
        (colour_of(number), pair)
        for number, pair in enumerate(space["pairs"])
        if pair["levels"]["country"]["both"]
    ]
    if not pairs:
        return
    yield "<h3>Where both know it, they agree for</h3>"
    yield _bars(
        [
            (
                level,
                [
                    (
                        pair_name(pair),
                        pair["levels"][level]["same"],
                        pair["levels"][level]["told"],
                        colour,
                    )
                    for colour, pair in pairs
                ],
            )
            for level in LEVELS
        ],
        "Agreement by level",
    )
    yield (
        '<p class="small">Names outside China that are Chinese in one and not in the other, and '
        "have no code, can't be compared and don't count.</p>"
    )
    placed = [(colour, pair) for colour, pair in pairs if pair["distance"]["addresses"]]
    if not placed:
        return
    yield "<h3>Share of addresses placed no further apart than</h3>"
    yield _lines(placed)
    rows = [["", "median", "nine tenths within"]]
    rows += (
        [
            f"{swatch(colour)}{pair_name(pair)}",
            distance(pair["distance"]["median"]),
            distance(pair["distance"]["p90"]),
        ]
        for colour, pair in placed
    )
    yield table(rows)


def _disagreements(space: Mapping[str, Any], base: int) -> Iterator[str]:
    for pair in space["pairs"]:
        for level in LEVELS:
            largest = pair["levels"][level]["disagreements"]
            if not largest:
                continue
            items = "".join(_disagreement(one, pair, base) for one in largest)
            yield (
                f"<details><summary>{pair_name(pair)}: the largest disagreements on the {level}"
                f'</summary><ul class="cases">{items}</ul></details>'
            )


def _disagreement(one: Mapping[str, Any], pair: Mapping[str, Any], base: int) -> str:
    examples = "; ".join(f"{escaped(e['first'])} – {escaped(e['last'])}" for e in one["examples"])
    return (
        f"<li><p>{_key(pair['left'])}{escaped(one['left'])}</p>"
        f"<p>{_key(pair['right'])}{escaped(one['right'])}</p>"
        f'<p class="small">{escape(percent(one["addresses"], base))}, such as {examples}</p></li>'
    )


# Drawings

_Bar = tuple[str, int, int, str]
"""Name, part, whole, colour."""

_BAR, _GROUP = 18, 24
_NAME, _SHARE = 64, 66


def _bars(groups: Sequence[tuple[str, Sequence[_Bar]]], title: str) -> str:
    """Bars of shares, in groups that have a name."""
    parts = []
    y = 0
    room = WIDTH - _NAME - _SHARE
    for name, bars in groups:
        parts.append(label(0, y + 16, name))
        y += _GROUP
        for bar, part, whole, colour in bars:
            share = part / whole if whole else 0
            parts.append(label(8, y + 12, bar))
            parts.append(
                f'<rect x="{_NAME}" y="{y + 2}" width="{room * share:.1f}" height="12" '
                f'fill="{colour}"/>'
            )
            parts.append(label(WIDTH, y + 12, percent(part, whole), "end"))
            y += _BAR
    return svg(parts, y + 4, title)


_HEIGHT, _LEFT, _TOP, _BOTTOM = 200, 40, 10, 24


def _lines(pairs: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Of each pair, with its colour, the share of addresses within a distance. That has a
    logarithmic axis."""
    marks = [int(km) for km in pairs[0][1]["distance"]["within"]]
    begin, end = math.log10(marks[0]), math.log10(marks[-1])

    def across(km: float) -> float:
        return _LEFT + (math.log10(km) - begin) / (end - begin) * (WIDTH - _LEFT - 20)

    def up(share: float) -> float:
        return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH}" y1="{up(share):.1f}" y2="{up(share):.1f}"/>'
        + label(_LEFT - 6, up(share) + 4, f"{share:.0%}", "end")
        for share in (0, 0.25, 0.5, 0.75, 1)
    ]
    parts += (
        label(across(km), _HEIGHT - 6, f"{km:,}" + (" km" if km == marks[0] else ""), "middle")
        for km in marks
        if math.log10(km).is_integer() or km == marks[-1]
    )
    for colour, pair in pairs:
        apart = pair["distance"]
        points = " ".join(
            f"{across(int(km)):.1f},{up(count / apart['addresses']):.1f}"
            for km, count in apart["within"].items()
        )
        parts.append(f'<polyline points="{points}" stroke="{colour}"/>')
    return svg(parts, _HEIGHT, "Share of addresses by distance")

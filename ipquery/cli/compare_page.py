"""A comparison as one HTML page that needs nothing else, and fits a phone.

Whatever comes out of a database is escaped, there is no script, and the page may load
nothing: what is in a file that somebody sent can't reach beyond it.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

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
from ipquery.cli.text import printable

# Told apart on white and on black, and by those who don't see red and green apart
# (Okabe and Ito's colours, but for black and yellow).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem;
  overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
svg { width: 100%; max-width: 34rem; height: auto; display: block; font-size: 12px; }
svg text { fill: currentColor; } svg .grid { stroke: currentColor; opacity: .2; }
svg polyline { fill: none; stroke-width: 2; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
th, td { text-align: right; padding: .15rem .2rem; border-bottom: 1px solid #8884;
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
.sources { padding: 0; list-style: none; } .sources li { margin: .5rem 0; }
.key { display: inline-block; min-width: 1.3rem; text-align: center; color: #fff;
  border-radius: .2rem; margin-right: .4rem; font-weight: bold; }
.cases { padding: 0; list-style: none; } .cases li { margin: .7rem 0; }
.cases p { margin: 0; } .small { font-size: .85rem; opacity: .8; }
summary { cursor: pointer; margin: .8rem 0 .2rem; }
"""

_VERSIONS = {"ipv4": "IPv4", "ipv6": "IPv6"}

_WIDTH = 340
"""Pixels of a phone that a drawing takes: its texts keep their size there."""


def page(found: Mapping[str, Any], countries: Sequence[str] = ()) -> str:
    """The page.

    :param found: what :func:`ipquery.data.build.compare` returns.
    :param countries: to tell the coverage of, ISO 3166-1 codes; without any, those with
        most addresses.
    """
    title = "ipquery compare"
    body = "\n".join(_parts(found, countries))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


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


def _text(text: object) -> str:
    return escape(printable(str(text)))


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _key(number: int) -> str:
    return f'<span class="key" style="background:{_colour(number)}">{letter(number)}</span>'


def _source(number: int, source: Mapping[str, Any]) -> str:
    ranges = source["ranges"]
    facts = (
        source["format"],
        source["date"] or "date unknown",
        f"{ranges['ipv4']:,} ranges of IPv4, {ranges['ipv6']:,} of IPv6",
        source["licence"] or "licence not stated",
    )
    return (
        f"<li>{_key(number)}<b>{_text(source['name'])}</b><br>"
        f"{_linked(source['attribution'] or 'attribution not stated')}<br>"
        f'<span class="small">{_text("; ".join(facts))}</span></li>'
    )


_LINK = re.compile(r"https://[A-Za-z0-9.-]+(?:/[A-Za-z0-9._~/-]*)?")


def _linked(text: str) -> str:
    """The text, its addresses as links: publishers ask for them."""
    parts = []
    end = 0
    for match in _LINK.finditer(text):
        address = match[0].rstrip(".")
        parts.append(_text(text[end : match.start()]))
        parts.append(f'<a href="{address}" rel="noreferrer">{address}</a>')
        end = match.start() + len(address)
    return "".join([*parts, _text(text[end:])])


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are escaped already; the first row is its head."""
    head, *rest = rows
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rest)
    return f"<table>{''.join(lines)}</table>"


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
                    (letter(number), source["known"][field]["addresses"], base, _colour(number))
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
    yield f"<details><summary>Counted by ranges</summary>{_table(rows)}</details>"


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
                rows.append([f"{_key(number)}{_text(code)}", *map(escape, shares)])
    yield "<h3>What each knows of the addresses that it puts in a country</h3>"
    yield _table(rows)


def _agreement(space: Mapping[str, Any]) -> Iterator[str]:
    pairs = [
        (_colour(number), pair)
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
            f"{_swatch(colour)}{pair_name(pair)}",
            distance(pair["distance"]["median"]),
            distance(pair["distance"]["p90"]),
        ]
        for colour, pair in placed
    )
    yield _table(rows)


def _swatch(colour: str) -> str:
    return f'<span class="key" style="background:{colour}">&nbsp;</span>'


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
    examples = "; ".join(f"{_text(e['first'])} – {_text(e['last'])}" for e in one["examples"])
    return (
        f"<li><p>{_key(pair['left'])}{_text(one['left'])}</p>"
        f"<p>{_key(pair['right'])}{_text(one['right'])}</p>"
        f'<p class="small">{escape(percent(one["addresses"], base))}, such as {examples}</p></li>'
    )


# Drawings

_Bar = tuple[str, int, int, str]
"""Name, part, whole, colour."""

_BAR, _GROUP = 18, 24
_NAME, _SHARE = 64, 66


def _svg(parts: Sequence[str], height: int, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _label(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_text(text)}</text>'


def _bars(groups: Sequence[tuple[str, Sequence[_Bar]]], title: str) -> str:
    """Bars of shares, in groups that have a name."""
    parts = []
    y = 0
    room = _WIDTH - _NAME - _SHARE
    for name, bars in groups:
        parts.append(_label(0, y + 16, name))
        y += _GROUP
        for bar, part, whole, colour in bars:
            share = part / whole if whole else 0
            parts.append(_label(8, y + 12, bar))
            parts.append(
                f'<rect x="{_NAME}" y="{y + 2}" width="{room * share:.1f}" height="12" '
                f'fill="{colour}"/>'
            )
            parts.append(_label(_WIDTH, y + 12, percent(part, whole), "end"))
            y += _BAR
    return _svg(parts, y + 4, title)


_HEIGHT, _LEFT, _TOP, _BOTTOM = 200, 40, 10, 24


def _lines(pairs: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Of each pair, with its colour, the share of addresses within a distance. That has a
    logarithmic axis."""
    marks = [int(km) for km in pairs[0][1]["distance"]["within"]]
    begin, end = math.log10(marks[0]), math.log10(marks[-1])

    def across(km: float) -> float:
        return _LEFT + (math.log10(km) - begin) / (end - begin) * (_WIDTH - _LEFT - 20)

    def up(share: float) -> float:
        return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{up(share):.1f}" y2="{up(share):.1f}"/>'
        + _label(_LEFT - 6, up(share) + 4, f"{share:.0%}", "end")
        for share in (0, 0.25, 0.5, 0.75, 1)
    ]
    parts += (
        _label(across(km), _HEIGHT - 6, f"{km:,}" + (" km" if km == marks[0] else ""), "middle")
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
    return _svg(parts, _HEIGHT, "Share of addresses by distance")

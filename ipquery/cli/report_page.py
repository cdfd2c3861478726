"""A report as one HTML page, see :mod:`ipquery.cli.page`."""

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ipquery.cli.page import WIDTH, colour_of, escaped, framed, label, linked, svg, swatch, table
from ipquery.cli.shares import percent, short

_STYLE = """
.share { display: block; height: .3rem; background: #0072b2; min-width: 1px; }
.legend { padding: 0; list-style: none; font-size: .85rem; }
.legend li { display: inline-block; margin-right: 1rem; }
"""

_OTHERS, _UNKNOWN = "#767676", "#b0b0b0"


def country_name(one: Mapping[str, Any]) -> str:
    """A country by its code and its name, as far as they are known."""
    return " ".join(part for part in (one["country_code"], one["country"]) if part)


def _place_name(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _province_name(one: Mapping[str, Any]) -> str:
    return _place_name(one["province"], country_name(one))


def _city_name(one: Mapping[str, Any]) -> str:
    return _place_name(one["city"], one["province"], country_name(one))


def _network_name(one: Mapping[str, Any]) -> str:
    number = None if one["asn"] is None else f"AS{one['asn']}"
    return " ".join(part for part in (number, one["as_org"]) if part)


TABLES: Sequence[tuple[str, str, Callable[[Mapping[str, Any]], str]]] = (
    ("countries", "country", country_name),
    ("provinces", "province", _province_name),
    ("cities", "city", _city_name),
    ("providers", "provider", lambda one: str(one["provider"])),
    ("networks", "network", _network_name),
)
"""What is ranked: its key in a report, what it is called, and the name of one of it."""


def summary(found: Mapping[str, Any]) -> Iterator[str]:
    """What was counted, and what couldn't be, in sentences."""
    yield f"{found['addresses']:,} of {_rows(found['rows'])} {_has(found['rows'])} an address."
    if found["no_record"]:
        yield f"Nothing is known of {found['no_record']:,} of these."
    time = found["time"]
    if time is None:
        yield "It isn't known where rows tell their time; --time names it."
    elif time["no_time"]:
        yield f"{_rows(time['no_time'])} with an address {_has(time['no_time'])} no time."
    if found["other_form"]:
        yield f"{_rows(found['other_form'])} had another form than the rest."


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def rest(ranking: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The requests of those that aren't named, by what to call them."""
    more = ranking["different"] - len(ranking["top"])
    rows = [(f"{more:,} other{'s' if more > 1 else ''}", ranking["others"])]
    rows.append(("unknown", ranking["unknown"]))
    return [row for row in rows if row[1]]


def page(found: Mapping[str, Any]) -> str:
    """The page.

    :param found: what :func:`ipquery.data.traffic.job.count` returns.
    """
    return framed("ipquery report", "\n".join(_parts(found)), _STYLE)


def _parts(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"<p>{escaped(' '.join(summary(found)))}</p>"
    time = found["time"]
    if time is not None and time["starts"]:
        yield from _over_time(time)
    whole = found["addresses"]
    for key, title, name_of in TABLES:
        ranking = found[key]
        if not ranking["top"]:
            continue
        yield f"<h2>By {title}</h2>"
        rows = [(name_of(one), one["requests"]) for one in ranking["top"]]
        yield _ranking(title, rows, rest(ranking), whole)
    if found["kinds"]:
        yield "<h2>By kind of address</h2>"
        kinds = [(one["kind"], one["requests"]) for one in found["kinds"]]
        yield _ranking("kind", kinds, [], whole)
    yield "<h2>Databases</h2>"
    yield f'<ul class="sources">{"".join(map(_source, found["sources"]))}</ul>'


def _source(source: Mapping[str, Any]) -> str:
    facts = (
        source["format"],
        source["date"] or "date unknown",
        source["licence"] or "licence not stated",
    )
    return (
        f"<li><b>{escaped(source['name'])}</b><br>"
        f"{linked(source['attribution'] or 'attribution not stated')}<br>"
        f'<span class="small">{escaped("; ".join(filter(None, facts)))}</span></li>'
    )


_Row = tuple[str, int]
"""A name, and the number of its requests."""


def _ranking(title: str, rows: Sequence[_Row], others: Sequence[_Row], whole: int) -> str:
    """A table, in which ``rows`` have bars."""
    cells = [[title, "requests", "share"]]
    most = max(count for _, count in rows)
    for name, count in rows:
        bar = f'<span class="share" style="width:{100 * count / most:.1f}%"></span>'
        cells.append([escaped(name) + bar, f"{count:,}", escaped(percent(count, whole))])
    cells += (
        [escaped(name), f"{count:,}", escaped(percent(count, whole))] for name, count in others
    )
    return table(cells)


_HEIGHT, _LEFT, _TOP, _BOTTOM = 220, 44, 10, 24


def _over_time(time: Mapping[str, Any]) -> Iterator[str]:
    series = [
        (country_name(one), colour_of(number), one["requests"])
        for number, one in enumerate(time["countries"])
    ]
    series.append(("others", _OTHERS, time["others"]))
    series.append(("unknown", _UNKNOWN, time["unknown"]))
    drawn = [one for one in series if any(one[2])]
    yield "<h2>Over time</h2>"
    long = datetime.timedelta(seconds=time["interval_seconds"])
    yield (
        f"<p>From {_moment(time['first'])} to {_moment(time['last'])} (UTC), "
        f"by intervals of {_duration(long)}.</p>"
    )
    yield _stacked(time["starts"], drawn)
    items = (f"<li>{swatch(colour)}{escaped(name)}</li>" for name, colour, _ in drawn)
    yield f'<ul class="legend">{"".join(items)}</ul>'
    rows = [["from", "requests", *(escaped(name) for name, *_ in drawn)]]
    for number, start in enumerate(time["starts"]):
        if time["requests"][number]:
            cells = (short(counts[number]) for *_, counts in drawn)
            rows.append([_moment(start), f"{time['requests'][number]:,}", *cells])
    yield f"<details><summary>As a table</summary>{table(rows)}</details>"


def _moment(timestamp: str) -> str:
    return escaped(timestamp.replace("T", " ").removesuffix("Z"))


def _duration(long: datetime.timedelta) -> str:
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        count, rest = divmod(int(long.total_seconds()), size)
        if count and not rest:
            return f"{count:,} {unit}{'s' if count > 1 else ''}"
    seconds = int(long.total_seconds())
    return f"{seconds} second{'s' if seconds > 1 else ''}"


def _stacked(starts: Sequence[str], series: Sequence[tuple[str, str, Sequence[int]]]) -> str:
    """Areas one above the other, with a step for each interval."""
    count = len(starts)
    most = max(map(sum, zip(*(counts for *_, counts in series), strict=True)))
    step = (WIDTH - _LEFT - 4) / count

    def up(requests: float) -> float:
        return _TOP + (1 - requests / most) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH}" y1="{up(value):.1f}" y2="{up(value):.1f}"/>'
        + label(_LEFT - 6, up(value) + 4, short(value), "end")
        for value in sorted({0, most // 2, most})
    ]
    below = [0] * count
    for _, colour, counts in series:
        above = [low + more for low, more in zip(below, counts, strict=True)]
        parts.append(f'<path fill="{colour}" d="{_area(below, above, step, up)}"/>')
        below = above
    parts.append(label(_LEFT, _HEIGHT - 6, _short_moment(starts[0])))
    if count > 1:
        parts.append(label(WIDTH, _HEIGHT - 6, _short_moment(starts[-1]), "end"))
    return svg(parts, _HEIGHT, "Requests over time, by country")


def _area(
    below: Sequence[int], above: Sequence[int], step: float, up: Callable[[float], float]
) -> str:
    """A path along the upper edge, and back along the lower one."""
    count = len(below)
    there = (f"V{up(above[n]):.1f}H{_LEFT + (n + 1) * step:.1f}" for n in range(count))
    back = (f"V{up(below[n]):.1f}H{_LEFT + n * step:.1f}" for n in reversed(range(count)))
    return f"M{_LEFT} {up(below[0]):.1f}{''.join(there)}{''.join(back)}Z"


def _short_moment(timestamp: str) -> str:
    return timestamp[:16].replace("T", " ")

"""The guard: a new snapshot is compared with the one that serves, and refused where it differs
more than databases do from one edition to the next.

What serves is loaded here only when there is something to compare: numpy, and gigabytes for
large databases.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from ipquery.data.record import DataError
from ipquery.data.snapshot import Snapshot

if TYPE_CHECKING:
    from ipquery.data.snapshot.diff import Change, Diff

_FEWER_RANGES = 0.5
"""The share of the ranges before that there must be."""

BOUNDED = ("country", "province", "city")
"""Levels of which a change can be bounded."""


@attrs.frozen
class MaxChange:
    """How much a new snapshot may differ, in percent of an address space's addresses.

    ``country``, ``province`` and ``city`` are of those for which both snapshots know the level:
    for how many it may be another. ``coverage`` is of those known before: by how many fewer
    there may be, at all, with a country, and with the levels that are bounded. ``None`` is no
    bound.
    """

    country: float | None = 5.0
    coverage: float | None = 2.0
    province: float | None = None
    city: float | None = None


@attrs.frozen
class Expectation:
    """What the operator knows of an address: fields of its record, and what they must be."""

    ip: str
    fields: tuple[tuple[str, str | int | float], ...]


@attrs.frozen
class Guard:
    """What a new snapshot is held against."""

    max_change: MaxChange = MaxChange()
    expect: tuple[Expectation, ...] = ()


def objection(serving: Path, new: Path, guard: Guard) -> str | None:
    """Why a new snapshot isn't to take the place of the one that serves, in one line with the
    figures; ``None`` if nothing is against it.

    :raises DataError: the new one can't be read.
    """
    try:
        with Snapshot(new, verify=False) as opened:
            about = opened.about
            found = [*_disappointed(opened, guard.expect)]
    except OSError as error:
        raise DataError(f"{new}: can't read this snapshot: {error.strerror}") from None
    before = _about(serving)
    if before is None:
        # Of another layout, as after an upgrade, or damaged: the new one is no worse.
        return "; ".join(found) or None
    found += [*_shrunk(before, about), *_older(before, about)]
    # Here, so that numpy isn't loaded by those who only name a guard.
    from ipquery.data.snapshot.diff import diff

    figures = diff(serving, new)
    found += _too_different(figures, guard.max_change)
    return f"{'; '.join(found)}. {_told(figures)}" if found else None


def _about(path: Path) -> Mapping[str, Any] | None:
    try:
        with Snapshot(path) as snapshot:
            return snapshot.about
    except (OSError, DataError):
        return None


def _disappointed(snapshot: Snapshot, expectations: tuple[Expectation, ...]) -> Iterator[str]:
    for one in expectations:
        record = snapshot.find(one.ip)
        for field, expected in one.fields:
            found = getattr(record, field, None)
            if found != expected:
                said = "unknown" if found is None else found
                yield f"{field} of {one.ip} is {said}, [[expect]] says {expected}"


def _shrunk(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for space, name in (("ipv4", "IPv4"), ("ipv6", "IPv6")):
        had, has = (one.get("ranges", {}).get(space, 0) for one in (before, after))
        if has < had * _FEWER_RANGES:
            yield f"{name} has {has:,} ranges, less than half of {had:,}"


def _older(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Sources of which there was a newer edition, by their names."""
    had: dict[str, str] = {}
    for source in before["sources"]:
        if source.get("date"):
            had[source["name"]] = max(source["date"], had.get(source["name"], ""))
    for source in after["sources"]:
        name, date = source["name"], source.get("date")
        # ISO 8601: in order as texts.
        if date and date < had.get(name, ""):
            yield f"{name} is of {date}, older than that of {had[name]}"


def _too_different(figures: "Diff", bounds: MaxChange) -> Iterator[str]:
    limits = {level: getattr(bounds, level) for level in BOUNDED}
    for space, levels in (("IPv4", figures.ipv4.levels), ("IPv6", figures.ipv6.levels)):
        for level, most in limits.items():
            share = 100 * levels[level].changed_share
            if most is not None and share > most:
                yield (
                    f"{space} has another {level} for {share:.2f} % of the addresses, and "
                    f"`{level}` under [max_change] allows {most:g} %"
                )
        if bounds.coverage is None:
            continue
        for level, change in levels.items():
            if level not in ("answer", "country") and limits.get(level) is None:
                continue
            share = -100 * change.coverage_change
            if share > bounds.coverage:
                what = "any record" if level == "answer" else f"a {level}"
                yield (
                    f"{space} has {what} for {share:.2f} % fewer addresses, and "
                    f"`coverage` under [max_change] allows {bounds.coverage:g} %"
                )


def _told(figures: "Diff") -> str:
    """What ``ipquery diff`` tells of each level, in one line."""
    spaces = []
    for space, levels in (("IPv4", figures.ipv4.levels), ("IPv6", figures.ipv6.levels)):
        told = [f"{level} {text}" for level, change in levels.items() if (text := _shares(change))]
        spaces.append(f"{space}: {', '.join(told) or 'no change'}")
    return "; ".join(spaces)


def _shares(change: "Change") -> str:
    """Changed, lost and gained, in percent of the addresses for which the level was known."""
    whole = change.known_before
    amounts = [
        (amount.addresses, word)
        for amount, word in (
            (change.changed, "changed"),
            (change.lost, "lost"),
            (change.gained, "gained"),
        )
        if amount.addresses
    ]
    if not whole:
        return "new" if amounts else ""
    return " ".join(f"{100 * addresses / whole:.2f} % {word}" for addresses, word in amounts)

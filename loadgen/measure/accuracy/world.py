"""Databases laid over each other, and how they agree."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data.blend.claims import LEVELS, Claims, claims_of
from ipquery.data.blend.compare import Laid, agreement, coverage, distance, lay
from ipquery.data.ranges import RangeTable
from ipquery.data.sources import Source

Mask = NDArray[np.bool_]
"""For each range of a world, whether it belongs to a selection."""


@attrs.frozen(eq=False)
class World:
    """Sources laid over each other, by name, in one IP version."""

    laid: Laid
    names: Sequence[str]
    claims: Sequence[Claims]
    """What each source says, in the order of ``names``."""
    codes: Sequence[str]
    """Country codes, by the numbers that claims have for countries."""

    def claim(self, name: str, level: str) -> NDArray[np.int32]:
        """What a source says at a level, for each range: a number that stands for the meaning."""
        number = self.names.index(name)
        return self.claims[number].means[level][self.laid.records[number]]

    def knows(self, name: str, field: str) -> Mask:
        """The ranges for which a source knows a field."""
        number = self.names.index(name)
        known: Mask = self.claims[number].known[field][self.laid.records[number]]
        return known

    def everywhere(self) -> Mask:
        """All ranges."""
        return np.ones(len(self.laid.first), bool)

    def in_china(self, by: str) -> Mask:
        """The ranges that a source puts in China, without Hong Kong, Macao and Taiwan."""
        inside: Mask = self.claim(by, "country") == self.codes.index("CN")
        return inside


@attrs.frozen
class Figures:
    """Of one source, as shares of some addresses.

    ``same`` is the share for which the reference says the same, ``other`` that for which
    it says something else; ``median`` and ``p90`` are kilometres to where the reference
    places it.
    """

    known: Mapping[str, float]
    same: Mapping[str, float]
    other: Mapping[str, float]
    median: float | None = None
    p90: float | None = None


def figures(world: World, name: str, among: Mask, reference: str | None) -> Figures:
    """What a source knows of some addresses, and how it agrees with the reference."""
    laid, number = world.laid, world.names.index(name)
    total = laid.sizes[among].total()
    found = coverage(laid, number, world.claims[number], among)
    known = {field: count.addresses / total for field, count in found.known.items()}
    if reference is None:
        return Figures(known, {}, {})
    numbers = (number, world.names.index(reference))
    claims = (world.claims[number], world.claims[numbers[1]])
    levels = {level: agreement(laid, level, numbers, claims, among) for level in LEVELS}
    apart = distance(laid, numbers, claims, among)
    return Figures(
        known,
        {level: one.same / total for level, one in levels.items()},
        {level: (one.told - one.same) / total for level, one in levels.items()},
        apart.median,
        apart.p90,
    )


def worlds(tables: Mapping[str, RangeTable], blends: Sequence[str]) -> tuple[World, World]:
    """The sources in IPv4 and in IPv6."""
    names = list(tables)
    sources = [Source(Path(name), name=name) for name in names]
    claims, codes = claims_of(sources, list(tables.values()), [name in blends for name in names])
    v4, v6 = (
        World(lay(version, list(tables.values())), names, claims, codes) for version in (4, 6)
    )
    return v4, v6

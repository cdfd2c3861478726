"""What an update changes: two snapshots compared by level and country, with examples.

Not for processes that serve: numpy. Both address spaces are cut wherever the answer of
either snapshot changes. What changes is worked out once for each different pair of an old
and a new answer: the 10.6 million pieces of DB-IP of 2023-04 and of 2026-06 have 1.8 million.

All ranges count, but of IPv6 only the addresses of 2000:: to 2cff::, from which IANA gives
global unicast prefixes: its registry ("IPv6 Global Unicast Address Assignments") has 2d00::/8,
2e00::/7 and 3000::/4 as reserved since 1999, and all outside of 2000::/3 isn't global unicast
(RFC 4291, section 2.4). That is nobody's; yet DB-IP of 2023-04 has 4000:: to fbff:: in
Switzerland and 3000::/4 in Canada, beside which every true change would look like none.
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.address import V4_LAST, V6_LAST, to_text
from ipquery.data.ranges import Column, sorted_unique
from ipquery.data.sizes import Sizes
from ipquery.data.snapshot.sides import Said, Side, read_side, show
from ipquery.data.sphere import kilometres

LEVELS = ("answer", "country", "province", "city", "coordinates", "org", "isp", "asn")
"""What is compared. ``answer`` is all fields together, to the letter."""

NEAR = 1.0
"""Kilometres up to which two places are one: publishers round coordinates."""

V6_GIVEN_FIRST, V6_GIVEN_LAST = 0x2000 << 112, (0x2D00 << 112) - 1
"""The addresses that count in IPv6."""

_EXAMPLES = 3

_NEITHER, _SAME, _CHANGED, _LOST, _GAINED = range(5)


@attrs.frozen
class Amount:
    """Ranges in which neither snapshot's answer changes, and the addresses in them.

    Of IPv6 only those of 2000:: to 2cff:: count: see the module.
    """

    ranges: int = 0
    addresses: int = 0


@attrs.frozen
class Change:
    """What becomes of a level: ``same`` or ``changed`` where both snapshots know it,
    ``lost`` where only the old one does, ``gained`` where only the new one."""

    same: Amount = Amount()
    changed: Amount = Amount()
    lost: Amount = Amount()
    gained: Amount = Amount()

    @property
    def known_before(self) -> int:
        """Addresses for which the old snapshot knows it."""
        return self.same.addresses + self.changed.addresses + self.lost.addresses

    @property
    def changed_share(self) -> float:
        """The share of the addresses that both know for which they say different things."""
        return _share(self.changed.addresses, self.same.addresses + self.changed.addresses)

    @property
    def coverage_change(self) -> float:
        """Known addresses more than before, as a share of those known before; negative: fewer."""
        return _share(self.gained.addresses - self.lost.addresses, self.known_before)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


@attrs.frozen
class Example:
    """A change that many addresses share, and the largest range that it comes to.

    ``old`` and ``new`` are in the words of the snapshots, ``None`` where one doesn't know;
    ``first`` and ``last`` are the ends of that range.
    """

    old: str | None
    new: str | None
    amount: Amount
    first: str
    last: str


@attrs.frozen
class VersionDiff:
    """The changes in one address space.

    Keys are :data:`LEVELS`, and in ``countries`` first the country that the old snapshot
    names, or the new one where the old doesn't: its code, or the name if it has none, or ``""``.
    ``examples`` are the changes of most addresses: changed, then lost, then gained.
    """

    levels: Mapping[str, Change]
    countries: Mapping[str, Mapping[str, Change]]
    examples: Mapping[str, Sequence[Example]]


@attrs.frozen
class Diff:
    """``old`` and ``new`` are the identities of the snapshots."""

    old: str
    new: str
    ipv4: VersionDiff
    ipv6: VersionDiff


def diff(old: Path, new: Path) -> Diff:
    """Compare two snapshots.

    Countries, provinces and cities are compared by their codes (of provinces that of ISO
    3166-2) where both sides have one, else by name: another spelling is no change, except
    of the answer. In another country every province is another, and in another province
    every city. Coordinates are the same up to :data:`NEAR`.

    :raises DataError: one is damaged, of another layout, or no snapshot.
    :raises OSError: one can't be read.
    """
    words: dict[Hashable, int] = {None: 0}
    one, other = (read_side(path, words) for path in (old, new))
    shown = list(words)
    v4, v6 = (_compared(version, one, other, shown) for version in (4, 6))
    return Diff(one.identity, other.identity, v4, v6)


# The comparison


@attrs.frozen(eq=False)
class _Pairs:
    """An address space by pairs of an old and a new answer.

    ``ranges`` and ``sizes`` are of all pieces with a pair, ``largest`` is the number of the
    largest of them and ``piece`` how much that holds. ``high`` and ``low`` say where each
    piece begins.
    """

    version: int
    high: Column
    low: Column
    old: Column
    new: Column
    ranges: Column
    sizes: Sizes
    largest: Column
    piece: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.old)

    def amounts(self, group: Column, count: int) -> list[Amount]:
        """What the pairs of each group come to, by its number."""
        ranges = np.bincount(group, self.ranges, count).tolist()
        return list(map(Amount, map(int, ranges), self.sizes.totals(group, count)))

    def ends(self, pair: int) -> tuple[str, str]:
        """First and last address of the largest piece."""
        piece = int(self.largest[pair])
        last = V4_LAST if self.version == 4 else V6_LAST
        if piece + 1 < len(self.high):
            last = self._begin(piece + 1) - 1
        return to_text(self.version, self._begin(piece)), to_text(self.version, last)

    def _begin(self, piece: int) -> int:
        return int(self.high[piece]) << 64 | int(self.low[piece])


def _pairs(version: int, old: Side, new: Side) -> _Pairs:
    starts = zip(old.starts[version], new.starts[version], strict=True)
    high, low = (np.concatenate(halves) for halves in starts)
    # Two runs that are in order already, which a stable sort merges.
    order = np.lexsort((low, high)) if version == 6 else np.argsort(low, kind="stable")
    high, low = high[order], low[order]
    begins = np.append(True, (high[1:] != high[:-1]) | (low[1:] != low[:-1]))
    # A piece lies in the step that is the last of its side to begin up to there.
    ends = np.append(begins[1:], True)
    from_old = order < len(old.answers[version])
    high, low = high[begins], low[begins]
    mine, others = (
        side.answers[version][np.cumsum(own)[ends] - 1].astype(np.int64)
        for side, own in ((old, from_old), (new, ~from_old))
    )
    sizes = _sizes(version, high, low)
    width = int(others.max()) + 1
    key = mine * width + others
    different = sorted_unique(key)
    pair = np.searchsorted(different, key)
    # Written last stands: the largest, and of those that are equal the first.
    largest = np.zeros(len(different), np.int64)
    held = sizes.approximate()
    by_size = np.argsort(-held, kind="stable")[::-1]
    largest[pair[by_size]] = by_size
    return _Pairs(
        version,
        high,
        low,
        different // width,
        different % width,
        np.bincount(pair, minlength=len(different)),
        sizes.summed(pair, len(different)),
        largest,
        held[largest],
    )


def _sizes(version: int, high: Column, low: Column) -> Sizes:
    """The addresses of each piece that count; it ends before the next one begins."""
    top = 2**64 - 1
    last_low = np.append(low[1:] - np.uint64(1), np.uint64(V4_LAST if version == 4 else top))
    if version == 4:
        return Sizes.of_halves(None, low, None, last_low)
    last_high = np.append(high[1:] - (low[1:] == 0), np.uint64(top))
    begin, end = (np.uint64(number >> 64) for number in (V6_GIVEN_FIRST, V6_GIVEN_LAST))
    outside = (last_high < begin) | (high > end)
    sizes = Sizes.of_halves(
        np.maximum(high, begin),
        np.where(high < begin, np.uint64(0), low),
        np.minimum(last_high, end),
        np.where(last_high > end, np.uint64(top), last_low),
    )
    return sizes.where(~outside)


def _compared(version: int, old: Side, new: Side, shown: Sequence[Any]) -> VersionDiff:
    pairs = _pairs(version, old, new)
    label = old.label[pairs.old]
    label = np.where(label == 0, new.label[pairs.new], label)
    labels = sorted_unique(label)
    country = np.searchsorted(labels, label)
    names = [show(shown[number]) or "" for number in labels]
    levels: dict[str, Change] = {}
    countries: dict[str, dict[str, Change]] = {name: {} for name in names}
    examples: dict[str, list[Example]] = {}
    for level, outcome in _outcomes(pairs, old, new).items():
        amounts = pairs.amounts(country * 5 + outcome, 5 * len(names))
        changes = [Change(*amounts[at + _SAME : at + 5]) for at in range(0, len(amounts), 5)]
        levels[level] = _total(changes)
        for name, change in zip(names, changes, strict=True):
            countries[name][level] = change
        if level in old.said:
            words = old.said[level].words[pairs.old], new.said[level].words[pairs.new]
            examples[level] = [
                example
                for kind in (_CHANGED, _LOST, _GAINED)
                for example in _examples(pairs, outcome == kind, words, shown)
            ]
    return VersionDiff(levels, countries, examples)


def _total(changes: Sequence[Change]) -> Change:
    kinds = zip(*(attrs.astuple(change, recurse=False) for change in changes), strict=True)
    return Change(
        *(
            Amount(sum(one.ranges for one in kind), sum(one.addresses for one in kind))
            for kind in kinds
        )
    )


def _outcomes(pairs: _Pairs, old: Side, new: Side) -> dict[str, Column]:
    """What becomes of each level with each pair."""
    differ = np.zeros(len(pairs), bool)
    for mine, others in zip(old.parts, new.parts, strict=True):
        differ |= mine[pairs.old] != others[pairs.new]
    found = {"answer": _outcome(pairs.old != 0, pairs.new != 0, differ)}
    for level in LEVELS[1:]:
        one, other = old.said[level], new.said[level]
        differ = _differ(pairs, one, other)
        if level == "coordinates":
            differ[differ] = _far(pairs, differ, old, new)
        if level in _COARSER:
            differ |= found[_COARSER[level]] == _CHANGED
        found[level] = _outcome(one.known()[pairs.old], other.known()[pairs.new], differ)
    return found


_COARSER = {"province": "country", "city": "province"}


def _differ(pairs: _Pairs, old: Said, new: Said) -> Column:
    mine, others = old.code[pairs.old], new.code[pairs.new]
    by_name = old.name[pairs.old] != new.name[pairs.new]
    differ: Column = np.where((mine != 0) & (others != 0), mine != others, by_name)
    return differ


def _outcome(before: Column, after: Column, differ: Column) -> NDArray[np.int64]:
    found = np.full(len(before), _NEITHER)
    found[before] = _LOST
    found[after] = _GAINED
    found[before & after] = _SAME
    found[before & after & differ] = _CHANGED
    return found


def _far(pairs: _Pairs, chosen: Column, old: Side, new: Side) -> Column:
    """Whether coordinates are more than :data:`NEAR` apart."""
    here = [column[pairs.old[chosen]] for column in old.place]
    there = [column[pairs.new[chosen]] for column in new.place]
    # Not a number where one doesn't know: that is never far.
    far: Column = kilometres(*here, *there) > NEAR
    return far


def _examples(
    pairs: _Pairs, chosen: Column, words: tuple[Column, Column], shown: Sequence[Any]
) -> list[Example]:
    """The changes that most addresses share."""
    at = np.flatnonzero(chosen)
    if not len(at):
        return []
    key = words[0][at] * len(shown) + words[1][at]
    different = sorted_unique(key)
    group = np.searchsorted(different, key)
    sizes = pairs.sizes.approximate()[at]
    examples = []
    commonest = np.argsort(-np.bincount(group, sizes, len(different)), kind="stable")
    for number in commonest[:_EXAMPLES].tolist():
        same = at[group == number]
        amount = Amount(int(pairs.ranges[same].sum()), pairs.sizes[same].total())
        # Of the pairs that come to this change the one with the largest piece.
        largest = int(same[np.argmax(pairs.piece[same])])
        before, after = (show(shown[k]) for k in divmod(int(different[number]), len(shown)))
        examples.append(Example(before, after, amount, *pairs.ends(largest)))
    return examples

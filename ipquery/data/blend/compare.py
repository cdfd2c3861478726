"""How databases compare: what each knows, where they agree, and how far apart they are.

Counted over all public addresses, range by range: cost grows with the ranges, never with the
addresses. What IANA has set aside has no place, whatever a database says of it.

Agreement is by meaning, see :mod:`ipquery.data.blend.names`: China and 中国, Hong Kong as a
country or as a province are the same. Of a city outside China there is only its name, so in
Chinese and in English it can't be compared.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.address import V4_LAST, V6_LAST, to_text
from ipquery.data.blend.claims import FIELDS, LEVELS, Claims, claims_of
from ipquery.data.blend.overlay import NO_RECORD, overlay
from ipquery.data.ranges import KEY, Column, Ranges, RangeTable, predecessors, to_key, to_numbers
from ipquery.data.record import Record
from ipquery.data.sizes import Mask, Sizes
from ipquery.data.sources import Source
from ipquery.data.sphere import kilometres
from ipquery.special import public_ranges

WITHIN = (1, 10, 25, 50, 100, 250, 500, 1000, 5000)
"""Distances in kilometres, for which is told how many addresses are no further apart."""

# Of each pair and level the disagreements about most addresses, and of each of them the
# longest ranges.
_DISAGREEMENTS = 10
_EXAMPLES = 3

Numbers = NDArray[np.int32]


@attrs.frozen
class Count:
    """Of addresses, and of the source's ranges that hold them."""

    addresses: int
    ranges: int


@attrs.frozen
class Coverage:
    """What is known of some addresses: of all of them, and by field, see :data:`FIELDS`."""

    all: Count
    known: Mapping[str, Count]


@attrs.frozen
class SourceCoverage:
    """What a source knows of the addresses that it has a record for.

    ``countries`` is the same of the addresses that it says are in a country, by ISO 3166-1
    alpha-2 code.
    """

    whole: Coverage
    countries: Mapping[str, Coverage]


@attrs.frozen
class Example:
    """A range of addresses, and what the two sources say of the first of them."""

    first: str
    last: str
    addresses: int
    left: Mapping[str, Any]
    right: Mapping[str, Any]


@attrs.frozen
class Disagreement:
    """Two places that two sources have for the same addresses, in words of theirs."""

    left: str
    right: str
    addresses: int
    examples: Sequence[Example]


@attrs.frozen
class Agreement:
    """How two sources agree at a level, in numbers of addresses.

    ``both`` is for how many both know the level, ``told`` for how many of these it can be
    told whether they agree, ``same`` for how many they do. Who disagrees on a country agrees
    on no province or city in it. ``disagreements`` are the largest among the addresses for
    which the coarser levels agree.
    """

    both: int
    told: int
    same: int
    disagreements: Sequence[Disagreement] = ()


@attrs.frozen
class Distance:
    """How far apart two sources place the addresses that both have coordinates for.

    ``median`` and ``p90`` are kilometres: half and nine tenths of the addresses are no
    further apart. ``within`` has for each of :data:`WITHIN` how many are no further apart.
    """

    addresses: int
    median: float | None
    p90: float | None
    within: Mapping[int, int]


@attrs.frozen
class Pair:
    """Two sources, by their numbers."""

    left: int
    right: int
    levels: Mapping[str, Agreement]
    distance: Distance


@attrs.frozen
class Space:
    """The public addresses of one IP version; ``known`` by at least one of the sources."""

    version: int
    public: int
    known: int
    coverage: Sequence[SourceCoverage]
    pairs: Sequence[Pair]


@attrs.frozen(eq=False)
class Laid:
    """The public addresses of one IP version, cut wherever a source has another range.

    A row each of ``records`` and ``begins`` for a source: the number of its record, from 1,
    and whether a range of its begins at the step. ``joins`` is whether a step
    begins where the one before ends.
    """

    version: int
    first: Column
    last: Column
    joins: Mask
    sizes: Sizes
    records: Sequence[Numbers]
    begins: Sequence[Mask]


def compare(
    sources: Sequence[Source], tables: Sequence[RangeTable], cleaned: Sequence[bool]
) -> list[Space]:
    """Compare sources, for IPv4 and for IPv6.

    :param tables: what each source holds.
    :param cleaned: for each source whether placeholders have been taken out of it already,
        as out of a blend.
    """
    claims, codes = claims_of(sources, tables, cleaned)
    return [_compare_in(lay(version, tables), claims, codes) for version in (4, 6)]


def _compare_in(laid: Laid, claims: Sequence[Claims], codes: Sequence[str]) -> Space:
    spoken = [_says_anything(one)[record] for one, record in zip(claims, laid.records, strict=True)]
    return Space(
        laid.version,
        laid.sizes.total(),
        laid.sizes[np.logical_or.reduce(spoken)].total(),
        [source_coverage(laid, number, one, codes) for number, one in enumerate(claims)],
        [
            Pair(
                left,
                right,
                {
                    level: agreement(laid, level, (left, right), (claims[left], claims[right]))
                    for level in LEVELS
                },
                distance(laid, (left, right), (claims[left], claims[right])),
            )
            for left in range(len(claims))
            for right in range(left + 1, len(claims))
        ],
    )


def lay(version: int, tables: Sequence[RangeTable]) -> Laid:
    """Lay tables over each other and over the public addresses."""
    spaces = [table.v4 if version == 4 else table.v6 for table in tables]
    public = Ranges.of(version, [(first, last, 0) for first, last in public_ranges(version)])
    # By number of the range: two ranges that touch may have one record.
    counted = [attrs.evolve(one, record=np.arange(len(one))) for one in spaces]
    start, (asked, *places) = overlay(version, [public, *counted])
    kept = np.flatnonzero(asked != NO_RECORD)
    final = np.array([to_key(version, V4_LAST if version == 4 else V6_LAST)], KEY[version])
    first, last = start[kept], np.append(predecessors(start[1:]), final)[kept]
    rows = [place[kept] for place in places]
    return Laid(
        version,
        first,
        last,
        np.append(False, kept[1:] == kept[:-1] + 1),
        Sizes.between(first, last),
        [
            np.append(NO_RECORD, one.record + 1).astype(np.int32)[row]
            for one, row in zip(spaces, rows, strict=True)
        ],
        [np.append(True, row[1:] != row[:-1])[: len(row)] for row in rows],
    )


def _says_anything(claims: Claims) -> Mask:
    mask: Mask = np.logical_or.reduce([claims.known[field] for field in FIELDS])
    return mask


def source_coverage(
    laid: Laid, number: int, claims: Claims, codes: Sequence[str]
) -> SourceCoverage:
    """What a source knows, by field and country."""
    spoken = _says_anything(claims)[laid.records[number]]
    country = claims.means["country"][laid.records[number]]
    countries = _by_country(laid, number, claims, codes, country)
    return SourceCoverage(coverage(laid, number, claims, spoken), countries)


def coverage(laid: Laid, number: int, claims: Claims, among: Mask) -> Coverage:
    """What a source knows of the addresses of some steps."""
    record = laid.records[number]

    def count(mask: Mask) -> Count:
        ranges = np.count_nonzero(mask & laid.begins[number])
        return Count(laid.sizes[mask].total(), int(ranges))

    return Coverage(
        count(among), {field: count(among & claims.known[field][record]) for field in FIELDS}
    )


def _by_country(
    laid: Laid, number: int, claims: Claims, codes: Sequence[str], country: Numbers
) -> dict[str, Coverage]:
    record, begins = laid.records[number], laid.begins[number]

    def counts(mask: Mask) -> list[Count]:
        ranges = np.bincount(country[mask & begins], minlength=len(codes)).tolist()
        addresses = laid.sizes[mask].totals(country[mask], len(codes))
        return [Count(*pair) for pair in zip(addresses, ranges, strict=True)]

    whole = counts(country != 0)
    known = {field: counts((country != 0) & claims.known[field][record]) for field in FIELDS}
    return {
        codes[place]: Coverage(count, {field: of[place] for field, of in known.items()})
        for place, count in sorted(
            enumerate(whole), key=lambda pair: (-pair[1].addresses, codes[pair[0]])
        )
        if count.addresses
    }


@attrs.frozen(eq=False)
class _Both:
    """What two sources mean at each step, and what becomes of it at one level."""

    both: Mask
    told: Mask
    same: Mask
    differ: Mask
    """They don't agree, though they do on the coarser levels."""


def agreement(
    laid: Laid,
    level: str,
    numbers: tuple[int, int],
    claims: tuple[Claims, Claims],
    among: Mask | None = None,
) -> Agreement:
    """How two sources agree at a level.

    :param numbers: of the two sources.
    :param among: the steps to look at; all if ``None``, and then the largest disagreements
        are looked for, too.
    """
    found = _both(laid, level, numbers, claims)
    asked = np.ones(len(laid.first), bool) if among is None else among

    def count(mask: Mask) -> int:
        return laid.sizes[mask & asked].total()

    return Agreement(
        count(found.both),
        count(found.told),
        count(found.same),
        list(_disagreements(laid, level, numbers, claims, found.differ)) if among is None else (),
    )


def _both(laid: Laid, level: str, numbers: tuple[int, int], claims: tuple[Claims, Claims]) -> _Both:
    rows = [laid.records[number] for number in numbers]

    def means(of: str) -> tuple[Numbers, Numbers]:
        left, right = (one.means[of][row] for one, row in zip(claims, rows, strict=True))
        return left, right

    left, right = means(level)
    both = (left != 0) & (right != 0)
    untold = [one.untold[level][row] for one, row in zip(claims, rows, strict=True)]
    told = both & (untold[0] == untold[1])
    coarser = np.ones(len(left), bool)
    if level != "country":
        country = means("country")
        coarser = country[0] == country[1]
    if level == "city":
        # A source that names no province contradicts none.
        region = means("province")
        coarser &= (region[0] == region[1]) | (region[0] == 0) | (region[1] == 0)
    equal = left == right
    return _Both(both, told, told & equal & coarser, told & coarser & ~equal)


def _disagreements(
    laid: Laid,
    level: str,
    numbers: tuple[int, int],
    claims: tuple[Claims, Claims],
    differ: Mask,
) -> Iterator[Disagreement]:
    """The largest ones first."""
    steps = np.flatnonzero(differ)
    left, right = (
        one.means[level][laid.records[number][steps]].astype(np.int64)
        for one, number in zip(claims, numbers, strict=True)
    )
    key = left * (int(right.max(initial=0)) + 1) + right
    _, group = np.unique(key, return_inverse=True)
    totals = laid.sizes[steps].totals(group, int(group.max(initial=-1)) + 1)
    order = sorted(range(len(totals)), key=lambda number: (-totals[number], number))
    for number in order[:_DISAGREEMENTS]:
        examples = _examples(laid, numbers, claims, steps[group == number])
        yield Disagreement(
            _words(examples[0].left, level),
            _words(examples[0].right, level),
            totals[number],
            examples,
        )


def _examples(
    laid: Laid, numbers: tuple[int, int], claims: tuple[Claims, Claims], steps: Column
) -> list[Example]:
    """The longest ranges that these steps make up."""
    begins = np.append(True, (steps[1:] != steps[:-1] + 1) | ~laid.joins[steps[1:]])
    firsts, lasts = steps[begins], steps[np.append(begins[1:], True)]
    sizes = Sizes.between(laid.first[firsts], laid.last[lasts])
    longest = np.argsort(-sizes.approximate(), kind="stable")[:_EXAMPLES]
    left, right = (
        [_facts(one, int(laid.records[number][step])) for step in firsts[longest]]
        for one, number in zip(claims, numbers, strict=True)
    )
    return [
        Example(to_text(laid.version, first), to_text(laid.version, last), last - first + 1, *said)
        for first, last, *said in zip(
            to_numbers(laid.first[firsts[longest]]),
            to_numbers(laid.last[lasts[longest]]),
            left,
            right,
            strict=True,
        )
    ]


def _facts(claims: Claims, record: int) -> dict[str, Any]:
    """What a source says, as it says it."""
    said: Record = claims.table.records[record - 1]
    return attrs.asdict(said, filter=lambda field, value: value is not None)


def _words(said: Mapping[str, Any], level: str) -> str:
    """A place in a source's own words, down to a level."""
    words = [
        said.get(name) or said.get(f"{name}_code") or "-"
        for name in LEVELS[: LEVELS.index(level) + 1]
    ]
    return " / ".join(words)


def distance(
    laid: Laid,
    numbers: tuple[int, int],
    claims: tuple[Claims, Claims],
    among: Mask | None = None,
) -> Distance:
    """How far apart two sources place the addresses of all steps, or of some.

    :param numbers: of the two sources.
    """
    left, right = (laid.records[number] for number in numbers)
    placed = claims[0].known["coordinates"][left] & claims[1].known["coordinates"][right]
    steps = np.flatnonzero(placed if among is None else placed & among)
    apart = kilometres(
        *(
            column[row[steps]]
            for one, row in zip(claims, (left, right), strict=True)
            for column in (one.latitude, one.longitude)
        )
    )
    order = np.argsort(apart, kind="stable")
    apart, sizes = apart[order], laid.sizes[steps][order]
    total, running = sizes.total(), sizes.running()

    def quantile(tenths: int) -> float | None:
        """The least distance that so many tenths of the addresses are within."""
        if not total:
            return None
        wanted = -(-total * tenths // 10)
        count = bisect_left(range(1, len(apart) + 1), wanted, key=running)
        return float(apart[count])

    return Distance(
        total,
        quantile(5),
        quantile(9),
        {km: running(int(np.searchsorted(apart, km, side="right"))) for km in WITHIN},
    )

"""Which source answers at which level.

Everything here works on columns: one row a source, one column a case, that is, a
combination of what the sources say. So a decision is made once for each combination,
whatever the number of addresses it holds for, and :mod:`ipquery.data.blend.explain` makes
it for a single one.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data.answers import NO_SOURCE
from ipquery.data.sources import Source

Claims = NDArray[np.int32]
"""A row for each source: the number of what it claims, 0 where it knows nothing."""

Mask = NDArray[np.bool_]

Chosen = NDArray[np.int8]
"""The number of the source that was chosen in each case, or :data:`NO_SOURCE`."""

WEIGHT_UNIT = 10**6
"""Weights are counted in millionths, as whole numbers: sums are the same in any order."""


@attrs.frozen(eq=False)
class Rules:
    """What decides, of the policy and the settings of the sources.

    ``order`` holds the numbers of the sources in order of precedence, ``families`` for
    each source the number of its family, ``leads`` a row for each source: whether it
    leads in the country with that number. ``names_provinces`` says of each source whether
    it names any province at all.
    """

    vote: bool
    order: Sequence[int]
    families: Sequence[int]
    weights: Sequence[int]
    leads: Mask
    names_provinces: Mask


@attrs.frozen(eq=False)
class PlaceClaims:
    """What sources say about where an address is.

    ``country``, ``region``, ``province`` and ``city`` number what was said by its meaning,
    see :class:`~ipquery.data.blend.names.Meaning`; ``coded`` says whether the country is one.
    ``names_country``, ``names_province`` and ``finer`` say whether a source has any field of
    the level, ``placed`` whether it has coordinates.
    """

    country: Claims
    coded: Mask
    region: Claims
    province: Claims
    city: Claims
    names_country: Mask
    names_province: Mask
    finer: Mask
    placed: Mask


@attrs.frozen(eq=False)
class PlaceChoice:
    """The sources of an answer's place, and the country they were chosen for."""

    country: Claims
    country_from: Chosen
    province_from: Chosen
    city_from: Chosen
    agree_country: Mask
    """A row for each source: whether it is in the country that was chosen."""
    agree_region: Mask
    """Likewise for country and first-level region."""


@attrs.frozen(eq=False)
class OwnerChoice:
    """The sources of an answer's owner."""

    org_from: Chosen
    isp_from: Chosen
    asn_from: Chosen


def order_of(method: str, sources: Sequence[Source], dates: Sequence[str]) -> list[int]:
    """Numbers of sources in order of precedence.

    As given, except in a vote: there equal sources must not gain by standing first, so a
    heavier one comes before a lighter one, a newer one before an older one, and what is
    still equal goes by name.
    """
    numbers = range(len(sources))
    if method != "vote":
        return list(numbers)
    by_name = sorted(numbers, key=lambda number: sources[number].name)
    by_date = sorted(by_name, key=lambda number: dates[number], reverse=True)
    return sorted(by_date, key=lambda number: -sources[number].weight)


def rules_of(
    method: str,
    sources: Sequence[Source],
    dates: Sequence[str],
    countries: dict[Any, int],
    names_provinces: Sequence[bool],
) -> Rules:
    """The rules of a blend.

    :param dates: of the sources' data, ISO 8601, empty if unknown.
    :param countries: the number of each country, by ISO 3166-1 alpha-2 code.
    :param names_provinces: for each source whether it names any.
    """
    leads = np.zeros((len(sources), max(countries.values(), default=0) + 1), bool)
    for row, source in zip(leads, sources, strict=True):
        row[[countries[code] for code in source.leads if code in countries]] = True
    families: dict[Any, int] = {}
    return Rules(
        method == "vote",
        order_of(method, sources, dates),
        [
            families.setdefault(source.family or number, len(families))
            for number, source in enumerate(sources)
        ],
        [round(source.weight * WEIGHT_UNIT) for source in sources],
        leads,
        np.array(names_provinces),
    )


def decide_places(rules: Rules, claims: PlaceClaims) -> PlaceChoice:
    """Choose the sources of country, province and city, coarse before fine."""
    # What stands in the country column and is none counts where nobody names a country.
    countries = np.where(claims.coded.any(axis=0) & ~claims.coded, 0, claims.country)
    elect = _elect if rules.vote else _first
    leads_itself = np.take_along_axis(rules.leads, countries, axis=1)
    # Where a source that knows provinces says no more than the country, that is but where the
    # address is registered. Of what ip2region so calls Chinese and DB-IP of 2023 does not,
    # DB-IP of 2026 has 0.2 % in China; of what it names a province for, 51 %.
    placed = claims.names_province | (claims.city != 0)
    leads_itself &= placed | ~rules.names_provinces[:, np.newaxis]
    country_from = elect(rules, countries, leads_itself)
    country = _of(country_from, countries)
    leading: Mask = rules.leads[:, country]
    agree = countries == country
    # A continent without a country, say.
    country_from = _or_else(country_from, _first(rules, claims.names_country, leading))

    province_from = elect(rules, np.where(agree, claims.region, 0), leading)
    region = _of(province_from, claims.region)
    agree_region = agree & (claims.region == region)
    rest = _first(rules, claims.names_province & agree_region, leading)
    province_from = _or_else(province_from, rest)

    city_from = _choose_city(rules, claims, agree_region, leading)
    # Kent from one and a town in England from another: the town's source names both.
    province = _of(city_from, claims.province)
    other = (province != 0) & (province != _of(province_from, claims.province))
    return PlaceChoice(
        country,
        country_from,
        np.where(other, city_from, province_from).astype(np.int8),
        city_from,
        agree,
        agree_region,
    )


def _choose_city(rules: Rules, claims: PlaceClaims, agree: Mask, leading: Mask) -> Chosen:
    """The source of the city and all that is finer.

    The city is that of the first source that knows one. Among those that know the same
    one, a source with coordinates gives it; where none knows a city, one with coordinates
    comes before one with a postal code, say.
    """
    cities = np.where(agree, claims.city, 0)
    named_by = _first(rules, cities, leading)
    same = (cities == _of(named_by, cities)) & (claims.province == _of(named_by, claims.province))
    with_place = _first(rules, same & (cities != 0) & claims.placed, leading)
    without_city = _or_else(
        _first(rules, agree & claims.placed, leading), _first(rules, agree & claims.finer, leading)
    )
    return _or_else(_or_else(with_place, named_by), without_city)


def decide_owners(
    rules: Rules, country: Claims, org: Claims, isp: Claims, asn: Claims, as_org: Claims
) -> OwnerChoice:
    """Choose the sources of org, ISP and AS, each on its own.

    :param country: that was chosen, as a number.
    """
    leading: Mask = rules.leads[:, country]
    return OwnerChoice(
        _first(rules, org, leading),
        _first(rules, isp, leading),
        _or_else(_first(rules, asn, leading), _first(rules, as_org, leading)),
    )


def first_with_record(rules: Rules, known: Mask) -> Chosen:
    """The first source that says anything at all."""
    return _first(rules, known, np.zeros_like(known))


def _in_turn(rules: Rules, leading: Mask) -> Iterable[tuple[int, Mask]]:
    """Sources in order of precedence, where each has its turn: those that lead come first."""
    for number in rules.order:
        yield number, leading[number]
    for number in rules.order:
        yield number, ~leading[number]


def _first(rules: Rules, claims: NDArray[Any], leading: Mask) -> Chosen:
    """The first source that claims anything."""
    chosen = np.full(claims.shape[1], NO_SOURCE, np.int8)
    for number, turn in _in_turn(rules, leading):
        chosen[(chosen == NO_SOURCE) & (claims[number] != 0) & turn] = number
    return chosen


def _elect(rules: Rules, claims: Claims, leading: Mask) -> Chosen:
    """The first source that claims what most families do, by weight."""
    votes: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}
    for number in rules.order:
        family = rules.families[number]
        # A family says what the first of its sources that knows anything says; where none
        # does, its vote weighs nothing.
        claim, weight = votes.get(family, (np.zeros_like(claims[number]), np.zeros(1, np.int64)))
        speaks = (claim == 0) & (claims[number] != 0)
        votes[family] = (
            np.where(speaks, claims[number], claim),
            np.where(speaks, rules.weights[number], weight),
        )
    totals = np.zeros(claims.shape, np.int64)
    for claim, weight in votes.values():
        totals += np.where(claims == claim, weight, 0)
    return _first(rules, (totals == totals.max(axis=0)) & (claims != 0), leading)


def _of(chosen: Chosen, claims: Claims) -> Claims:
    """What the chosen sources claim, 0 where none was chosen."""
    numbers = np.maximum(chosen, 0).astype(np.intp)
    claimed: Claims = np.take_along_axis(claims, numbers[np.newaxis], axis=0)[0]
    return np.where(chosen == NO_SOURCE, 0, claimed)


def _or_else(chosen: Chosen, other: Chosen) -> Chosen:
    return np.where(chosen == NO_SOURCE, other, chosen)

"""The blend: what several databases say, as one table of answers with provenance."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data.answers import NOTHING, Answers, AnswerSteps, Owner, Place
from ipquery.data.blend.decide import (
    OwnerChoice,
    PlaceChoice,
    PlaceClaims,
    Rules,
    decide_owners,
    decide_places,
    first_with_record,
    rules_of,
)
from ipquery.data.blend.overlay import NO_RECORD, overlay
from ipquery.data.blend.places import PlaceMaker, spellings
from ipquery.data.blend.policy import Policy
from ipquery.data.blend.said import Said, Vocabulary, is_placed, listen
from ipquery.data.codes.lists import OperatorLists
from ipquery.data.ranges import RangeTable
from ipquery.data.sources import Source

_PLACE = ("names", "city_parts", "country", "region", "province", "city")
_OWNER = ("org", "isp", "system")

# Cases that are decided at a time: 30 MB for each of some twenty columns of them.
_CASES = 1 << 20

Column = NDArray[Any]


@attrs.frozen(eq=False)
class Prepared:
    """Sources whose words have been understood, and the rules to blend them by."""

    source_names: Sequence[str]
    policy: Policy
    said: Sequence[Said]
    rules: Rules
    maker: PlaceMaker
    names: Sequence[Any]
    """By number, as in the vocabulary; so are the others."""
    provinces: Sequence[Any]
    city_parts: Sequence[Any]
    orgs: Sequence[Any]
    isps: Sequence[Any]
    systems: Sequence[Any]
    coded: NDArray[np.bool_]
    """By number of a country: whether it is one."""
    names_country: NDArray[np.bool_]
    """By number of names: whether any is of a country, or of a province in it."""
    names_province: NDArray[np.bool_]
    placed: NDArray[np.bool_]
    """By number of a city level: whether it has coordinates."""
    has_asn: NDArray[np.bool_]
    """By number of an AS: whether its number is known."""


def prepare(
    sources: Sequence[Source],
    tables: Sequence[RangeTable],
    policy: Policy,
    lists: OperatorLists,
) -> Prepared:
    """Read what the sources say, and make the rules.

    :param sources: in order of precedence.
    :param tables: what each of them holds.
    """
    alone = len(sources) == 1
    if policy.language is None and not alone:
        stated = next((source.language for source in sources if source.language), None)
        policy = attrs.evolve(policy, language=stated if stated in ("zh", "en") else None)
    words = Vocabulary()
    said = [
        listen(source, table, words, clean=not alone)
        for source, table in zip(sources, tables, strict=True)
    ]
    countries = words.countries.given
    dates = [table.date.isoformat() if table.date else "" for table in tables]
    names, parts, systems = words.names.values(), words.city_parts.values(), words.systems.values()
    names_province = np.array([known is not None and any(known[3:]) for known in names])
    rules = rules_of(
        policy.method,
        sources,
        dates,
        countries,
        [bool(names_province[one.column("names")].any()) for one in said],
    )
    maker = PlaceMaker(policy, lists, spellings(policy.language, rules.order, said, words), alone)
    return Prepared(
        [source.name for source in sources],
        policy,
        said,
        rules,
        maker,
        names,
        words.provinces.values(),
        parts,
        words.orgs.values(),
        words.isps.values(),
        systems,
        np.array([isinstance(country, str) for country in words.countries.values()]),
        np.array([known is not None and any(known[:3]) for known in names]),
        names_province,
        np.array([known is not None and is_placed(known) for known in parts]),
        np.array([known is not None and known[0] is not None for known in systems]),
    )


def blend(prepared: Prepared) -> Answers:
    """All addresses, decided: once for each combination of what the sources say."""
    steps = {version: _steps(prepared, version) for version in (4, 6)}
    size = len(steps[4][0])
    records = [np.concatenate(pair) for pair in zip(steps[4][1], steps[6][1], strict=True)]
    if prepared.policy.method == "first":
        records = only_first(prepared, records)
    places, place, country = _places(prepared, records)
    owners, owned = _owners(prepared, records, country)
    v4, v6 = (
        _merged(version, steps[version][0], place[part], owned[part])
        for version, part in ((4, slice(size)), (6, slice(size, None)))
    )
    return Answers(places, owners, v4, v6)


def _steps(prepared: Prepared, version: int) -> tuple[Column, list[NDArray[np.int32]]]:
    tables = [said.table for said in prepared.said]
    return overlay(version, [table.v4 if version == 4 else table.v6 for table in tables])


def only_first(prepared: Prepared, records: Sequence[Column]) -> list[Column]:
    """The records of sources that aren't the first to say anything are left out."""
    known = np.array(
        [
            (said.columns != 0).any(axis=0)[record]
            for said, record in zip(prepared.said, records, strict=True)
        ]
    )
    first = first_with_record(prepared.rules, known)
    return [np.where(first == number, record, NO_RECORD) for number, record in enumerate(records)]


@attrs.frozen(eq=False)
class _Cases:
    """The different combinations of what sources say at some step.

    ``rows`` has for each source the record that stands for its part in each case, ``at``
    the first step of each case, ``case`` the case of each step.
    """

    rows: Sequence[NDArray[np.int32]]
    at: NDArray[np.int64]
    case: NDArray[np.int64]


def _cases(
    said: Sequence[Said], names: Sequence[str], records: Sequence[Column], also: Column
) -> _Cases:
    """Tell apart the steps that differ in some of these columns, or in one more.

    Records that differ in other columns only are one here: a place has many owners.
    """
    at, case = np.zeros(1, np.int64), also.astype(np.int64)
    if case.any():
        at, case = _numbered(case, np.zeros(1, np.int64))
    representatives = []
    kinds = []
    for one, record in zip(said, records, strict=True):
        kind = np.zeros(one.columns.shape[1], np.int64)
        first = np.zeros(1, np.int64)
        for name in names:
            if one.column(name).any():
                first, kind = _numbered(kind, one.column(name))
        if kind.any():
            at, case = _numbered(case, kind[record])
        representatives.append(first.astype(np.int32))
        kinds.append(kind)
    rows = [
        first[kind[record[at]]]
        for first, kind, record in zip(representatives, kinds, records, strict=True)
    ]
    return _Cases(rows, at, case)


def _numbered(one: Column, other: Column) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the different pairs of two columns of numbers, in order.

    :returns: where each pair stands first, and the number of the pair at each place.
    """
    key = one * (int(other.max(initial=0)) + 1) + other
    above = int(key.max(initial=0)) + 1
    if above <= 4 * len(key):
        # Few enough for a table, which takes a third of the time of sorting. Written
        # last stands: the first of its kind.
        first = np.full(above, -1)
        first[key[::-1]] = np.arange(len(key) - 1, -1, -1)
        there = first >= 0
        return first[there], (np.cumsum(there) - 1)[key]
    order = np.argsort(key, kind="stable")
    in_order = key[order]
    new = np.append(True, in_order[1:] != in_order[:-1])
    number = np.empty(len(key), np.int64)
    number[order] = np.cumsum(new) - 1
    return order[new], number


def place_claims(prepared: Prepared, rows: Sequence[Column]) -> PlaceClaims:
    """What the sources say about places, a row each, by records of theirs."""

    def claims(name: str) -> NDArray[np.int32]:
        return np.array(
            [one.column(name)[row] for one, row in zip(prepared.said, rows, strict=True)]
        )

    country, names, parts = claims("country"), claims("names"), claims("city_parts")
    return PlaceClaims(
        country,
        prepared.coded[country],
        claims("region"),
        claims("province"),
        claims("city"),
        prepared.names_country[names],
        prepared.names_province[names],
        parts != 0,
        prepared.placed[parts],
    )


def owner_choice(prepared: Prepared, rows: Sequence[Column], country: Column) -> OwnerChoice:
    """Whose words about the owner are taken, by records of theirs."""

    def claims(name: str) -> NDArray[np.int32]:
        return np.array(
            [one.column(name)[row] for one, row in zip(prepared.said, rows, strict=True)]
        )

    system = claims("system")
    numbered = np.where(prepared.has_asn[system], system, 0)
    return decide_owners(prepared.rules, country, claims("org"), claims("isp"), numbered, system)


def chosen(prepared: Prepared, name: str, rows: Sequence[Column], sources: Column) -> list[int]:
    """The numbers in a column of the sources that were chosen, 0 where none was."""
    found = np.zeros(len(sources), np.int32)
    for number, (one, row) in enumerate(zip(prepared.said, rows, strict=True)):
        here = sources == number
        found[here] = one.column(name)[row[here]]
    return [int(value) for value in found]


def _places(
    prepared: Prepared, records: Sequence[Column]
) -> tuple[list[Place], NDArray[np.uint32], NDArray[np.int32]]:
    """The different places, and for each step the number of its place and country."""
    cases = _cases(prepared.said, _PLACE, records, np.zeros(len(records[0]), np.int64))
    numbers: dict[Place, int] = {Place(): NOTHING}
    place_of_case: list[int] = []
    country_of_case: list[Column] = []
    known: dict[tuple[int, ...], int] = {}
    for begin in range(0, len(cases.at), _CASES):
        rows = [row[begin : begin + _CASES] for row in cases.rows]
        choice = decide_places(prepared.rules, place_claims(prepared, rows))
        country_of_case.append(choice.country)
        for key in zip(*place_keys(prepared, rows, choice), strict=True):
            number = known.get(key)
            if number is None:
                place = make_place(prepared, key)
                number = known[key] = numbers.setdefault(place, len(numbers))
            place_of_case.append(number)
    case = cases.case
    return (
        list(numbers)[1:],
        np.array(place_of_case, np.uint32)[case],
        np.concatenate(country_of_case)[case],
    )


def place_keys(
    prepared: Prepared, rows: Sequence[Column], choice: PlaceChoice
) -> tuple[list[int], ...]:
    """What a place is made of, a column each: see :func:`make_place`."""
    return (
        chosen(prepared, "names", rows, choice.country_from),
        chosen(prepared, "names", rows, choice.province_from),
        chosen(prepared, "province", rows, choice.province_from),
        chosen(prepared, "city_parts", rows, choice.city_from),
        choice.country_from.tolist(),
        choice.province_from.tolist(),
        choice.city_from.tolist(),
    )


def make_place(prepared: Prepared, key: tuple[int, ...]) -> Place:
    """A place from numbers of names, province and city level, and of their sources."""
    country, province, meant, parts, *sources = key
    country_from, province_from, city_from = sources
    return prepared.maker.place(
        prepared.names[country],
        prepared.names[province],
        prepared.provinces[meant],
        prepared.city_parts[parts],
        (country_from, province_from, city_from),
    )


def _owners(
    prepared: Prepared, records: Sequence[Column], country: NDArray[np.int32]
) -> tuple[list[Owner], NDArray[np.uint32]]:
    """The different owners, and for each step the number of its owner."""
    # Which sources lead is all that the country matters for.
    _, group = np.unique(prepared.rules.leads, axis=1, return_inverse=True)
    cases = _cases(prepared.said, _OWNER, records, group.reshape(-1)[country])
    numbers: dict[Owner, int] = {Owner(): NOTHING}
    owner_of_case: list[int] = []
    for begin in range(0, len(cases.at), _CASES):
        part = slice(begin, begin + _CASES)
        rows = [row[part] for row in cases.rows]
        choice = owner_choice(prepared, rows, country[cases.at[part]])
        for key in zip(*owner_keys(prepared, rows, choice), strict=True):
            owner = make_owner(prepared, key)
            owner_of_case.append(numbers.setdefault(owner, len(numbers)))
    return list(numbers)[1:], np.array(owner_of_case, np.uint32)[cases.case]


def owner_keys(
    prepared: Prepared, rows: Sequence[Column], choice: OwnerChoice
) -> tuple[list[int], ...]:
    """What an owner is made of, a column each: see :func:`make_owner`."""
    return (
        chosen(prepared, "org", rows, choice.org_from),
        chosen(prepared, "isp", rows, choice.isp_from),
        chosen(prepared, "system", rows, choice.asn_from),
        choice.org_from.tolist(),
        choice.isp_from.tolist(),
        choice.asn_from.tolist(),
    )


def make_owner(prepared: Prepared, key: tuple[int, ...]) -> Owner:
    """An owner from numbers of org, ISP and AS, and of their sources."""
    org, isp, system, *sources = key
    asn, as_org = prepared.systems[system] or (None, None)
    return Owner(prepared.orgs[org], prepared.isps[isp], asn, as_org, *sources)


def _merged(
    version: int, start: Column, place: NDArray[np.uint32], owner: NDArray[np.uint32]
) -> AnswerSteps:
    """Steps with equal neighbours made one."""
    new = np.append(True, (place[1:] != place[:-1]) | (owner[1:] != owner[:-1]))
    return AnswerSteps(version, start[new], place[new], owner[new])

"""Why an address is answered as it is: what each source says, and what became of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.address import parse
from ipquery.data.answers import NO_SOURCE, Owner, Place
from ipquery.data.blend.blend import (
    Prepared,
    make_owner,
    make_place,
    only_first,
    owner_choice,
    owner_keys,
    place_claims,
    place_keys,
)
from ipquery.data.blend.decide import PlaceChoice, decide_places
from ipquery.data.blend.overlay import NO_RECORD
from ipquery.data.ranges import KEY, RangeTable, to_key
from ipquery.data.record import FIELDS_OF, Record

# What became of what a source says at a level.
CHOSEN = "chosen"
AGREES = "agrees with the one chosen"
NOTHING_SAID = "says nothing"
SET_ASIDE = "a placeholder, or a field that isn't trusted"
OTHER_COUNTRY = "set aside: another country"
OTHER_PROVINCE = "set aside: another province, or none"
NOT_CHOSEN = "set aside: another came first"
NOT_FIRST = "set aside: another has a record, too, and comes first"


@attrs.frozen
class Heard:
    """What one source says of the address.

    ``record`` is as the database has it, ``None`` if it has none; ``outcome`` says for each
    level of :data:`~ipquery.data.record.FIELDS_OF` what became of it.
    """

    source: str
    record: Record | None
    outcome: Mapping[str, str]
    meant: Mapping[str, int]
    """Numbers that are equal where sources mean the same, 0 where one says nothing."""


@attrs.frozen
class Explanation:
    """The answer for an address, and why."""

    heard: Sequence[Heard]
    place: Place
    owner: Owner


def explain(prepared: Prepared, ip: str) -> Explanation:
    """Explain the answer for one address, by the decisions that the blend makes.

    :param ip: IPv4 or IPv6 text; an IPv4-mapped IPv6 address gets its IPv4 answer.
    :raises ValueError: ``ip`` is not an address.
    """
    version, number = parse(ip)
    found = [_find(said.table, version, number) for said in prepared.said]
    spoken: Sequence[_Rows] = found
    if prepared.policy.method == "first":
        spoken = only_first(prepared, found)
    choice = decide_places(prepared.rules, place_claims(prepared, spoken))
    owners = owner_choice(prepared, spoken, choice.country)
    (place_key,) = zip(*place_keys(prepared, spoken, choice), strict=True)
    (owner_key,) = zip(*owner_keys(prepared, spoken, owners), strict=True)
    place, owner = make_place(prepared, place_key), make_owner(prepared, owner_key)
    # As the answer has them: of Hong Kong as a province it is the country's source that gives it.
    chosen = _sources(place, owner)
    heard = [
        _heard(prepared, source, int(row[0]), int(asked[0]), choice, chosen)
        for source, (row, asked) in enumerate(zip(found, spoken, strict=True))
    ]
    # Agreement is by meaning: it can be told when all have been heard.
    told = [attrs.evolve(one, outcome=_agreeing(one.outcome, one.meant, heard)) for one in heard]
    return Explanation(told, place, owner)


_Rows = NDArray[np.int32]


def _sources(place: Place, owner: Owner) -> Mapping[str, int]:
    """The number of the source of each level, or :data:`NO_SOURCE`."""
    return {
        "country": place.country_from,
        "province": place.province_from,
        "city": place.city_from,
        "org": owner.org_from,
        "isp": owner.isp_from,
        "asn": owner.asn_from,
    }


def _heard(
    prepared: Prepared,
    source: int,
    row: int,
    asked: int,
    choice: PlaceChoice,
    chosen: Mapping[str, int],
) -> Heard:
    said = prepared.said[source]
    record = None if row == NO_RECORD else said.table.records[row - 1]
    meant = {level: int(said.column(_MEANING[level])[row]) for level in FIELDS_OF}
    says = {level: bool(said.column(_SAYS[level])[row]) for level in FIELDS_OF}
    outcome = {}
    for level, fields in FIELDS_OF.items():
        if chosen[level] == source:
            outcome[level] = CHOSEN
        elif record is None or all(getattr(record, field) is None for field in fields):
            outcome[level] = NOTHING_SAID
        elif not says[level]:
            outcome[level] = SET_ASIDE
        elif asked != row:
            outcome[level] = NOT_FIRST
        elif level in ("country", "province", "city") and not choice.agree_country[source, 0]:
            outcome[level] = OTHER_COUNTRY
        elif level in ("province", "city") and not choice.agree_region[source, 0]:
            outcome[level] = OTHER_PROVINCE
        else:
            outcome[level] = NOT_CHOSEN
    return Heard(prepared.source_names[source], record, outcome, meant)


# The columns of a source that tell whether it says anything at a level, and what it means.
_SAYS = {
    "country": "names",
    "province": "names",
    "city": "city_parts",
    "org": "org",
    "isp": "isp",
    "asn": "system",
}
_MEANING = _SAYS | {"country": "country", "province": "region", "city": "city"}


def _agreeing(
    outcome: Mapping[str, str], meant: Mapping[str, int], heard: Sequence[Heard]
) -> Mapping[str, str]:
    """What came second and means the same as what was chosen agrees with it."""
    told = dict(outcome)
    for level, fate in outcome.items():
        chosen = [one.meant[level] for one in heard if one.outcome[level] == CHOSEN]
        if fate == NOT_CHOSEN and meant[level] and chosen == [meant[level]]:
            told[level] = AGREES
    return told


def _find(table: RangeTable, version: int, number: int) -> _Rows:
    """The number of the record that holds an address, from 1, as a column of one."""
    ranges = table.v4 if version == 4 else table.v6
    key = np.array(to_key(version, number), KEY[version])
    at = int(np.searchsorted(ranges.first, key, side="right")) - 1
    inside = at >= 0 and bool(key <= ranges.last[at])
    return np.array([ranges.record[at] + 1 if inside else NO_RECORD], np.int32)


def to_document(prepared: Prepared, ip: str, explanation: Explanation) -> dict[str, Any]:
    """An explanation as values of JSON, as ``ipquery explain --json`` shows it.

    For each level of :data:`~ipquery.data.record.FIELDS_OF` what is answered, the name of the
    source that it is ``from``, and what each source says; fields that aren't known are left out.
    """
    fields = explanation.place._asdict() | explanation.owner._asdict()
    sources = _sources(explanation.place, explanation.owner)
    return {
        "ip": ip,
        "levels": {
            level: {
                "answer": _known(fields, names),
                "from": None
                if sources[level] == NO_SOURCE
                else prepared.source_names[sources[level]],
                "said": [
                    {
                        "source": one.source,
                        "says": _known(attrs.asdict(one.record), names) if one.record else {},
                        "outcome": one.outcome[level],
                    }
                    for one in explanation.heard
                ],
            }
            for level, names in FIELDS_OF.items()
        },
    }


def _known(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: fields[name] for name in names if fields[name] is not None}

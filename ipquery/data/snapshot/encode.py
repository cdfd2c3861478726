"""From answers to the sections of a snapshot.

Build time only: numpy stays out of the processes that serve. Steps and pairs are
columns; places and owners are gone through once, one by one: 567,000 places and 106,000
owners of DB-IP, ip2region and AS numbers take 4 seconds.
"""

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from json.encoder import encode_basestring
from operator import attrgetter
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ipquery.data.answers import NO_SOURCE, NOTHING, Answers, AnswerSteps, Owner, Place
from ipquery.data.ranges import Column, to_halves
from ipquery.data.record import FIELDS_OF
from ipquery.data.snapshot.layout import WINDOW, write
from ipquery.data.snapshot.spoken import names_by_code

Section = memoryview | bytes

# Of the logarithm: 16 MB.
_MOST_SLOTS = 22


def write_answers(
    file: BinaryIO, answers: Answers, about: Mapping[str, Any], own_codes: bool = False
) -> None:
    """Write a snapshot into an empty file opened for reading and writing, and sync it.

    :param about: what :attr:`~ipquery.data.snapshot.Snapshot.about` is to be, to which the
        numbers of ``places`` and ``owners`` are added. The ``name`` of each of its
        ``sources`` is what answers call that source.
    :param own_codes: whether codes of provinces and cities may be the operator's own.
    :raises OSError: the file can't be written.
    """
    counts = {"places": len(answers.places), "owners": len(answers.owners)}
    names = [source["name"] for source in about["sources"]]
    write(file, sections(answers, names, own_codes), {**about, **counts})


def sections(
    answers: Answers, source_names: Sequence[str], own_codes: bool = False
) -> dict[str, Section]:
    """The sections of a snapshot, see :mod:`ipquery.data.snapshot.layout`."""
    v4, v6 = _merged(answers.v4), _merged(answers.v6)
    pairs, number = np.unique(
        np.concatenate([np.array([NOTHING], np.uint64), _pairs(v4), _pairs(v6)]),
        return_inverse=True,
    )
    v4_answer, v6_answer = np.split(number[1:], [len(v4.start)])
    high, low = to_halves(v6.start)
    return {
        "v4.slots": _smallest(_slots(v4.start)),
        "v4.first": v4.start.astype(np.uint32).data,
        "v4.answer": _smallest(np.append(0, v4_answer)),
        "v6.first.high": high.data,
        "v6.first.low": low.data,
        "v6.answer": _smallest(np.append(0, v6_answer)),
        "pair.place": _smallest(pairs >> np.uint64(32)),
        "pair.owner": _smallest(pairs & np.uint64(2**32 - 1)),
        **_places([Place(), *answers.places], source_names),
        **_owners([Owner(), *answers.owners], source_names),
        **{
            f"names.{language}": json.dumps(names, ensure_ascii=False).encode()
            for language, names in names_by_code(answers.places, own_codes).items()
        },
    }


def _merged(steps: AnswerSteps) -> AnswerSteps:
    """Without steps that say what the one before says: a matched range is as long as it can be."""
    changes = np.append(
        True,
        (steps.place[1:] != steps.place[:-1]) | (steps.owner[1:] != steps.owner[:-1]),
    )
    return AnswerSteps(
        steps.version, steps.start[changes], steps.place[changes], steps.owner[changes]
    )


def _slots(start: Column) -> NDArray[np.int64]:
    """About as many slots as steps: twice as many gain no time, and half as many cost some.

    :param start: first addresses of the steps; the first of them is 0.
    """
    bits = min(round(math.log2(len(start))), _MOST_SLOTS)
    begin = np.arange((1 << bits) + 1, dtype=np.uint64) << np.uint64(32 - bits)
    # The number of the first step that begins behind the slot's first address, and of
    # the first that begins behind the slot.
    inside = np.searchsorted(start, begin[:-1], "right")
    behind = np.searchsorted(start, begin[1:])
    # So that a window lies within the steps.
    place = np.minimum(inside, max(len(start) - WINDOW, 0))
    slots: NDArray[np.int64] = np.where(inside == behind, inside, len(start) + 1 + place)
    return slots


def _pairs(steps: AnswerSteps) -> NDArray[np.uint64]:
    return steps.place.astype(np.uint64) << np.uint64(32) | steps.owner.astype(np.uint64)


def _smallest(column: NDArray[Any]) -> Section:
    """A column of numbers in as few bytes each as hold the largest."""
    return column.astype(np.min_scalar_type(int(column.max()))).data


def _pool(name: str, texts: Iterable[str]) -> dict[str, Section]:
    """Texts one after the other, and where each begins and ends."""
    encoded = [text.encode() for text in texts]
    ends = np.zeros(len(encoded) + 1, np.uint64)
    np.cumsum([len(text) for text in encoded], out=ends[1:])
    return {f"{name}.end": ends.astype(np.uint32).data, f"{name}.text": b"".join(encoded)}


def _different(keys: Iterable[Hashable]) -> tuple[Section, list[Any]]:
    """The number of each key among the different ones, from 0, and these."""
    numbers: dict[Hashable, int] = {}
    column = [numbers.setdefault(key, len(numbers)) for key in keys]
    return _smallest(np.array(column)), list(numbers)


def _text(text: str | None) -> str:
    return encode_basestring(text) if text else "null"


def _number(number: float | None) -> str:
    """JSON has no words for infinity and the like: such a number isn't known."""
    return "null" if number is None or not math.isfinite(number) else repr(number)


def _in_array(texts: Iterable[str | None], codes: Iterable[str | None]) -> str:
    """Texts and their codes by turns, with the contract's words for unknown, and a comma each."""
    return "".join(
        f"{encode_basestring(text or '')},{encode_basestring(code or 'None')},"
        for text, code in zip(texts, codes, strict=True)
    )


_get_region = attrgetter(
    "country",
    "country_code",
    "province",
    "province_code",
    "continent_code",
    "subdivision_code",
)
_get_city = attrgetter("city", "city_code", "district", "time_zone")


def _places(places: Sequence[Place], source_names: Sequence[str]) -> dict[str, Section]:
    region, regions = _different(map(_get_region, places))
    city, cities = _different(map(_get_city, places))
    sources, combinations = _sources_of(places, ("country", "province", "city"))
    return {
        "place.region": region,
        "place.city": city,
        "place.sources": sources,
        **_pool("place.details", map(_point, places)),
        **_pool("region.array", (f"[{_in_array(row[0:3:2], row[1:4:2])}" for row in regions)),
        **_pool("region.names", map(_region_names, regions)),
        **_pool(
            "region.details",
            (
                f'"continent_code":{_text(row[4])},"subdivision_code":{_text(row[5])}'
                for row in regions
            ),
        ),
        **_pool("city.array", (_in_array(row[:1], row[1:2]) for row in cities)),
        **_pool(
            "city.names",
            (f'"city":{_text(row[0])},"city_code":{_text(row[1])}' for row in cities),
        ),
        **_pool(
            "city.details",
            (f'"district":{_text(row[2])},"time_zone":{_text(row[3])}' for row in cities),
        ),
        **_pool(
            "sources.place",
            (_sources(row, source_names) for row in combinations),
        ),
    }


def _point(place: Place) -> str:
    return (
        f'"postal_code":{_text(place.postal_code)},"latitude":{_number(place.latitude)},'
        f'"longitude":{_number(place.longitude)},'
        f'"accuracy_radius":{_number(place.accuracy_radius)}'
    )


def _region_names(row: Sequence[str | None]) -> str:
    return (
        f'"country":{_text(row[0])},"country_code":{_text(row[1])},'
        f'"province":{_text(row[2])},"province_code":{_text(row[3])}'
    )


def _owners(owners: Sequence[Owner], source_names: Sequence[str]) -> dict[str, Section]:
    sources, combinations = _sources_of(owners, ("org", "isp", "asn"))
    return {
        "owner.sources": sources,
        **_pool(
            "owner.array",
            (
                f"{encode_basestring(owner.org or '')},{encode_basestring(owner.isp or '')}]"
                for owner in owners
            ),
        ),
        **_pool(
            "owner.names",
            (f'"org":{_text(owner.org)},"isp":{_text(owner.isp)}' for owner in owners),
        ),
        **_pool(
            "owner.details",
            (f'"asn":{_number(owner.asn)},"as_org":{_text(owner.as_org)}' for owner in owners),
        ),
        **_pool(
            "sources.owner",
            (_sources(row, source_names) for row in combinations),
        ),
    }


_Sources = tuple[tuple[str, int], ...]
"""Known fields, and the numbers of their sources."""


def _sources_of(
    halves: Sequence[Place] | Sequence[Owner], levels: Sequence[str]
) -> tuple[Section, list[_Sources]]:
    """The number that each place, or owner, has among the different sources of known fields,
    and these.

    A column at a time: one by one they would take a second more of 25.
    """
    columns = dict(zip(type(halves[0])._fields, zip(*halves, strict=True), strict=True))
    fields = [field for level in levels for field in FIELDS_OF[level]]
    bit_of = {field: 1 << place for place, field in enumerate(fields)}
    known = np.zeros(len(halves), np.int64)
    numbers = []
    for level in levels:
        source = np.array(columns[f"{level}_from"])
        here = np.zeros(len(halves), np.int64)
        for field in FIELDS_OF[level]:
            here |= _are_known(columns[field]) * bit_of[field]
        here[source == NO_SOURCE] = 0
        source[here == 0] = NO_SOURCE
        known |= here
        numbers.append(source.tolist())
    section, keys = _different(zip(known.tolist(), *numbers, strict=True))
    level_of = {field: place for place, level in enumerate(levels) for field in FIELDS_OF[level]}
    return section, [
        tuple((field, sources[level_of[field]]) for field in fields if mask & bit_of[field])
        for mask, *sources in keys
    ]


def _are_known(values: Sequence[Any]) -> NDArray[np.bool_]:
    """Which values of a field are written as known."""
    return np.array(
        [
            value is not None and value != "" and (isinstance(value, str) or math.isfinite(value))
            for value in values
        ]
    )


def _sources(row: _Sources, source_names: Sequence[str]) -> str:
    return ",".join(f'"{field}":{_text(source_names[number])}' for field, number in row)

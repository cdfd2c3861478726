"""What sources say, in columns of numbers that are equal where they mean the same."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data.blend.names import PLACEHOLDERS, Meaning, Names, city_meaning, meaning
from ipquery.data.ranges import RangeTable
from ipquery.data.record import FIELDS, FIELDS_OF, Record
from ipquery.data.sources import Source

Parts = tuple[Any, ...]
"""Fields of one level, in the order of its names."""

NAMES = tuple(field.name for field in attrs.fields(Names))
CITY = FIELDS_OF["city"]
OWNER = (*FIELDS_OF["org"], *FIELDS_OF["isp"], *FIELDS_OF["asn"])

_NO_CITY = (None,) * len(CITY)
_LATITUDE, _LONGITUDE, _RADIUS = (
    CITY.index(name) for name in ("latitude", "longitude", "accuracy_radius")
)

# A field brings the codes of what it names.
_BROUGHT = {
    "country": ("country_code", "continent_code"),
    "province": ("province_code", "subdivision_code"),
    "city": ("city_code",),
}


class Numbers:
    """Numbers different values from 1 on; ``None`` is 0."""

    def __init__(self) -> None:
        self.given: dict[Hashable, int] = {}

    def of(self, value: Hashable | None) -> int:
        return 0 if value is None else self.given.setdefault(value, len(self.given) + 1)

    def values(self) -> list[Any]:
        """The values by their numbers, :data:`None` in front."""
        return [None, *self.given]


@attrs.frozen(eq=False)
class Vocabulary:
    """The numbers that all sources share, by what they number."""

    countries: Numbers = attrs.field(factory=Numbers)
    provinces: Numbers = attrs.field(factory=Numbers)
    cities: Numbers = attrs.field(factory=Numbers)
    names: Numbers = attrs.field(factory=Numbers)
    """Of :class:`~ipquery.data.blend.names.Names`."""
    city_parts: Numbers = attrs.field(factory=Numbers)
    """Of the fields of :data:`CITY`."""
    orgs: Numbers = attrs.field(factory=Numbers)
    isps: Numbers = attrs.field(factory=Numbers)
    systems: Numbers = attrs.field(factory=Numbers)
    """Of pairs of AS number and organisation."""


COLUMNS = ("names", "city_parts", "country", "region", "province", "city", "org", "isp", "system")


@attrs.frozen(eq=False)
class Said:
    """What one source says, a column entry for each of its records.

    Record numbers count from 1; entry 0 of each column is for where there is no record.
    ``columns`` has rows in the order of :data:`COLUMNS`, numbered by the :class:`Vocabulary`.
    """

    table: RangeTable
    columns: NDArray[np.int32]
    ranges: NDArray[np.int64]
    """How many ranges each record holds for."""
    city_texts: Sequence[tuple[str | None, str | None]]
    """For each record the GB/T 2260 code of a Chinese city, and the name it goes by."""

    def column(self, name: str) -> NDArray[np.int32]:
        row: NDArray[np.int32] = self.columns[COLUMNS.index(name)]
        return row


def listen(source: Source, table: RangeTable, words: Vocabulary, clean: bool) -> Said:
    """Put what a source says into columns.

    :param clean: whether placeholders and coordinates that stand for a whole country count
        as unknown. With one source they stay: its texts are the database's own.
    """
    reading = _Reading(words, clean)
    trusted = _trusted(source.fields)
    for record in _masked(table.records, trusted):
        reading.add(record)
    ranges = np.bincount(table.v4.record, minlength=len(table.records)) + np.bincount(
        table.v6.record, minlength=len(table.records)
    )
    if clean:
        reading.drop_centroids(ranges.tolist())
    columns = np.array(reading.rows, np.int32).reshape(-1, len(COLUMNS)).T
    return Said(
        table,
        np.ascontiguousarray(np.pad(columns, ((0, 0), (1, 0)))),
        np.append(0, ranges),
        [(None, None), *reading.city_texts],
    )


def _trusted(fields: Sequence[str] | None) -> frozenset[str]:
    if fields is None:
        return frozenset(FIELDS)
    return frozenset(fields).union(*(_BROUGHT.get(field, ()) for field in fields))


def _masked(records: Sequence[Record], trusted: frozenset[str]) -> Iterator[Record]:
    if trusted >= set(FIELDS):
        yield from records
        return
    for record in records:
        yield Record(**{name: getattr(record, name) for name in trusted})


def _cleaned(values: Parts) -> Parts:
    """Without placeholders. Most records have none, and 400,000 are looked at."""
    if PLACEHOLDERS.isdisjoint(values):
        return values
    return tuple(None if value in PLACEHOLDERS else value for value in values)


def is_placed(parts: Parts) -> bool:
    """Whether the fields of a city level hold coordinates."""
    return parts[_LATITUDE] is not None and parts[_LONGITUDE] is not None


def _unplaced(parts: Parts) -> Parts:
    """Without coordinates, and the radius about them."""
    values = list(parts)
    values[_LATITUDE] = values[_LONGITUDE] = values[_RADIUS] = None
    return tuple(values)


class _Reading:
    """The columns while they grow, record by record."""

    _get_names = attrgetter(*NAMES)
    _get_city = attrgetter(*CITY)
    _get_owner = attrgetter(*OWNER)

    def __init__(self, words: Vocabulary, clean: bool) -> None:
        self.rows: list[tuple[int, ...]] = []
        self.city_texts: list[tuple[str | None, str | None]] = []
        self._words = words
        self._clean = clean
        self._meanings: dict[tuple[Parts, str | None], tuple[Meaning, tuple[int, ...]]] = {}
        self._cities: dict[tuple[str | None, str | None, str | None], Hashable | None] = {}
        self._bare: list[tuple[int, int, Parts]] = []
        """Records with coordinates that name no place in the country: their number,
        their country's, and their fields of the city level."""

    def add(self, record: Record) -> None:
        names = self._get_names(record)
        parts = self._get_city(record)
        owner = self._get_owner(record)
        if self._clean:
            names, parts, owner = _cleaned(names), _cleaned(parts), _cleaned(owner)
            if parts[_LATITUDE] == 0 == parts[_LONGITUDE]:
                parts = _unplaced(parts)
        city, city_code, _, postal_code, latitude, *_ = parts
        meant, (number, country, region, province) = self._meaning(names, city)
        if latitude is not None and not (city or postal_code or province):
            self._bare.append((len(self.rows), country, parts))
        words = self._words
        cities = self._cities
        key = (meant.chinese, city, city_code)
        if key not in cities:
            cities[key] = city_meaning(*key)
        meant_city = cities[key]
        org, isp, asn, as_org = owner
        self.rows.append(
            (
                number,
                words.city_parts.of(parts if parts != _NO_CITY else None),
                country,
                region,
                province,
                words.cities.of(meant_city),
                words.orgs.of(org),
                words.isps.of(isp),
                words.systems.of(None if asn is None and as_org is None else (asn, as_org)),
            )
        )
        coded = meant.chinese is not None and isinstance(meant_city, str)
        self.city_texts.append((meant_city, city) if coded else (None, None))  # type: ignore[arg-type] # coded: a str

    def _meaning(self, names: Parts, city: str | None) -> tuple[Meaning, tuple[int, ...]]:
        key = (names, None)
        found = self._meanings.get(key)
        if found is None:
            found = self._meanings.get((names, city))
        if found is not None:
            return found
        meant = meaning(Names(*names), city)
        # Only in Taiwan does the province depend on the city.
        if meant.country == "TW":
            key = (names, city)  # type: ignore[assignment] # the other kind of key
        words = self._words
        numbers = (
            words.names.of(names if any(names) else None),
            words.countries.of(meant.country),
            words.provinces.of(meant.region),
            words.provinces.of(meant.province),
        )
        self._meanings[key] = meant, numbers
        return meant, numbers

    def drop_centroids(self, ranges: Sequence[int]) -> None:
        """Take away coordinates that stand for a whole country.

        Databases give the middle of the country where they know nothing finer. It is told
        by the file itself: among the ranges that are placed in a country and in no province
        or city of it, half or more share it. A list of centroids would have to hold each
        publisher's own, of each year.
        """
        shared: Counter[tuple[int, float, float]] = Counter()
        total: Counter[int] = Counter()
        for row, country, parts in self._bare:
            shared[country, parts[_LATITUDE], parts[_LONGITUDE]] += ranges[row]
            total[country] += ranges[row]
        at = COLUMNS.index("city_parts")
        for row, country, parts in self._bare:
            count = shared[country, parts[_LATITUDE], parts[_LONGITUDE]]
            if country and count * 2 >= total[country]:
                rest = _unplaced(parts)
                number = self._words.city_parts.of(rest if rest != _NO_CITY else None)
                self.rows[row] = (*self.rows[row][:at], number, *self.rows[row][at + 1 :])

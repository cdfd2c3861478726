"""Snapshot: look-ups in an open file."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from json.scanner import make_scanner
from pathlib import Path
from socket import AF_INET, inet_pton
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ipquery.address import V4_LAST, V6_LAST, parse, to_text, unpack_number
from ipquery.data.record import FIELDS, DataError, Record
from ipquery.data.snapshot.finder import Steps, make_finder, network_text
from ipquery.data.snapshot.mapped import MappedFile
from ipquery.data.snapshot.match import Match
from ipquery.data.snapshot.objects import (
    Around,
    Find,
    Framing,
    Kept,
    Said,
    around,
    make_part_finder,
    make_text_finder,
)
from ipquery.special import kind_of

if TYPE_CHECKING:
    from ipquery.data.columns.found import Found
    from ipquery.data.columns.index import Index

# About 60 MB of them, in a process that looks up records; serving uses bytes.
_KEPT_RECORDS = 65536

# Where a region, whose names come first among its values, has it.
_COUNTRY_CODE = FIELDS.index("country_code")

# Of three databases there are some ten different combinations, and seldom a hundred.
_KEPT_SOURCES = 1000

# typeshed has a scanner where the decoder goes.
_scan = make_scanner(json.JSONDecoder())  # type: ignore[arg-type]


POOLS: Mapping[str, tuple[str, ...]] = {
    "region.names": FIELDS[:4],
    "city.names": FIELDS[4:6],
    "owner.names": FIELDS[6:8],
    "region.details": FIELDS[8:10],
    "city.details": FIELDS[10:12],
    "place.details": FIELDS[12:16],
    "owner.details": FIELDS[16:],
}
"""The fields that stand together in a snapshot: what they are of is before the dot."""


class Parts(NamedTuple):
    """Numbers of the parts that an answer is made of, which others have, too."""

    region: int
    city: int
    place: int
    owner: int
    sources: tuple[int, int]
    """Of the place, and of the owner."""


def members_values(members: bytes | memoryview) -> tuple[Any, ...]:
    """The values of members of a JSON object.

    :raises ValueError: they are none.
    """
    # Not json.loads: it first looks for the encoding, which takes longer than the rest.
    try:
        return tuple(_scan(str(b"{" + members + b"}", "utf-8"), 0)[0].values())
    except StopIteration:
        raise ValueError("not JSON") from None


class Snapshot:
    """An open snapshot. Its pages are shared by all processes that map the file."""

    identity: str
    """Hexadecimal BLAKE2b-256: the same for the same content, on every node."""

    about: Mapping[str, Any]
    """Sources, counts and coverage, as written when it was built."""

    def __init__(self, path: Path, verify: bool = True) -> None:
        """Map a snapshot.

        :param verify: whether to read all of it for its checksum. Only for a
            file that another process has just verified may that be left out.
        :raises DataError: it is damaged, of another layout, or no snapshot.
        :raises OSError: it can't be read.
        """
        file = self._file = MappedFile(path, verify)
        self.identity, self.about = file.identity, file.about
        columns, pools = file.columns, file.pools
        steps = self._steps = Steps(
            columns["v4.slots"],
            columns["v4.first"],
            columns["v4.answer"],
            columns["v6.first.high"],
            columns["v6.first.low"],
            columns["v6.answer"],
        )
        self._v4_slots, self._v4_shift = steps.v4_slots, steps.shift
        self._v4_answer, self._v4_places = steps.v4_answer, len(steps.v4_answer)
        self._place, self._owner = columns["pair.place"], columns["pair.owner"]
        self._region, self._city = columns["place.region"], columns["place.city"]
        self._columns, self._pools = columns, pools
        region, city, owner = (pools[f"{name}.array"] for name in ("region", "city", "owner"))
        self._region_end, self._region_array = region.end, region.whole
        self._city_end, self._city_array = city.end, city.whole
        self._owner_end, self._owner_array = owner.end, owner.whole
        self._details = pools["place.details"].text
        # By answer number, once a record has been asked for: a dict would take a random
        # address, whose answer is in no cache of the processor, two more reads of memory.
        self._records: list[Record | None] = []
        self._records_kept = 0
        self._sources: dict[bytes, dict[str, str]] = {}
        self._names: dict[str, Mapping[str, str]] = {}
        self._index: Index | None = None
        # Most answers that aren't kept are of a region, a city or an owner that others have,
        # too. Those are read once: 6 us instead of 8 for a record.
        self._region_values = lru_cache(_KEPT_RECORDS)(self._reader("region"))
        self._city_values = lru_cache(_KEPT_RECORDS)(self._reader("city"))
        self._owner_values = lru_cache(_KEPT_RECORDS)(self._reader("owner"))

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def _damaged(self) -> DataError:
        # Numbers inside a file whose checksum is right are taken at their word: to look
        # at 20 million of them would make opening a large snapshot three times as slow.
        return DataError(f"{self._file.path}: the snapshot contradicts itself; build it again")

    def answer_number(self, version: int, number: int) -> int:
        """The number of the answer for an address, 0 where there is no record.

        :raises DataError: the snapshot contradicts itself; so does everything that looks
            something up.
        """
        try:
            return self._steps.answer(version, number)
        except IndexError:
            raise self._damaged() from None

    def step(self, version: int, number: int) -> int:
        """The number of the step that holds an address: the same for all of a matched range."""
        try:
            return self._steps.place(version, number)
        except IndexError:
            raise self._damaged() from None

    def locate(self, version: int, number: int) -> tuple[int, int, int]:
        """The number of an address's answer, and the first and the last address of the range
        around it that has this answer."""
        try:
            answer, first, last = self._steps.locate(version, number)
        except IndexError:
            raise self._damaged() from None
        if not 0 <= first <= number <= last <= (V4_LAST if version == 4 else V6_LAST):
            raise self._damaged()
        return answer, first, last

    def ranges(self, version: int) -> Iterator[tuple[int, int, int]]:
        """All of an address space in order: first and last address, answer number."""
        try:
            yield from self._steps.ranges(version)
        except (IndexError, ValueError):
            raise self._damaged() from None

    def answer(self, number: int) -> bytes:
        """The contract's JSON array with an answer number."""
        # In one body: 0.6 us instead of 0.8.
        regions, cities, owners = self._region_end, self._city_end, self._owner_end
        try:
            place, owner = self._place[number], self._owner[number]
            region, city = self._region[place], self._city[place]
            return b"".join(
                (
                    self._region_array[regions[region] : regions[region + 1]],
                    self._city_array[cities[city] : cities[city + 1]],
                    self._owner_array[owners[owner] : owners[owner + 1]],
                )
            )
        except IndexError:
            raise self._damaged() from None

    def members(self, number: int) -> bytes:
        """All fields of a record as members of a JSON object, without its braces.

        In the order of the fields of :class:`~ipquery.data.record.Record`: the contract's
        eight come first. Unknown is ``null``.
        """
        pools = self._pools
        try:
            place, owner = self._place[number], self._owner[number]
            region, city = self._region[place], self._city[place]
            return b",".join(
                (
                    pools["region.names"].text(region),
                    pools["city.names"].text(city),
                    pools["owner.names"].text(owner),
                    pools["region.details"].text(region),
                    pools["city.details"].text(city),
                    pools["place.details"].text(place),
                    pools["owner.details"].text(owner),
                )
            )
        except IndexError:
            raise self._damaged() from None

    def source_members(self, number: int) -> bytes:
        """The names of the sources of a record's known fields, likewise."""
        columns, pools = self._columns, self._pools
        try:
            place = columns["place.sources"][self._place[number]]
            owner = columns["owner.sources"][self._owner[number]]
            of_place, of_owner = (
                pools["sources.place"].text(place),
                pools["sources.owner"].text(owner),
            )
            return b",".join([part for part in (of_place, of_owner) if part])
        except IndexError:
            raise self._damaged() from None

    def parts(self, number: int) -> Parts:
        """What an answer is made of."""
        columns = self._columns
        try:
            place, owner = self._place[number], self._owner[number]
            sources = columns["place.sources"][place], columns["owner.sources"][owner]
            return Parts(self._region[place], self._city[place], place, owner, sources)
        except IndexError:
            raise self._damaged() from None

    def pool_text(self, name: str) -> Callable[[int], memoryview]:
        """What reads the members of a JSON object that a part has in one of :data:`POOLS`.

        It raises an ``IndexError`` for numbers that lead nowhere.
        """
        return self._pools[name].text

    def finder(self, prepare: Callable[[bytes], bytes]) -> Callable[[bytes], bytes | None]:
        """A look-up for the hot path: from the bytes of an address to its prepared answer.

        :param prepare: makes of a contract's JSON array what the look-up returns.
            What it returns is kept while it is in use, for tens of thousands of answers.
        :returns: a function that returns ``None`` if there is no record, or it
            was given no address.
        """
        return make_finder(self._steps, self.answer, prepare)

    def part_finder(
        self, say: Callable[[int], bytes], kept: Kept, finds_unknown: bool = True
    ) -> Find:
        """See :func:`~ipquery.data.snapshot.objects.make_part_finder`."""
        return make_part_finder(self._steps, say, kept, finds_unknown)

    def text_finder(
        self, said: Said, finds_unknown: bool = True, framing: Framing | None = None
    ) -> Find:
        """See :func:`~ipquery.data.snapshot.objects.make_text_finder`."""
        return make_text_finder(self._steps, said, finds_unknown, framing)

    def around(self, version: int, number: int) -> Around:
        """The kind of an address, and for how far around it its answer holds."""
        _, first, last = self.locate(version, number)
        return around(version, number, first, last)

    def _reader(self, level: str) -> Callable[[int], tuple[Any, ...]]:
        """What reads the values of the names and the details of a region, a city or an owner."""
        names, details = self._pools[f"{level}.names"], self._pools[f"{level}.details"]
        return lambda number: (
            members_values(names.text(number)) + members_values(details.text(number))
        )

    def record(self, number: int) -> Record:
        """The record with an answer number, from 1."""
        kept = self._records[number] if number < len(self._records) else None
        return kept or self._record(number)

    def country_code(self, number: int) -> str | None:
        """The code of the country of an answer, ``None`` if it isn't known: without the rest of
        the record, in a fifth of the time."""
        try:
            code = self._region_values(self._region[self._place[number]])[_COUNTRY_CODE]
        except (IndexError, ValueError, AttributeError):
            raise self._damaged() from None
        return None if code is None else str(code)

    def column(self, name: str) -> memoryview:
        """A section of numbers, see :data:`ipquery.data.snapshot.layout.COLUMNS`."""
        return self._columns[name]

    def _record(self, number: int) -> Record:
        # All at once: keeping the order of use, as lru_cache does, would double
        # the time of a hit.
        if not self._records or self._records_kept >= _KEPT_RECORDS:
            self._records = [None] * len(self._place)
            self._records_kept = 0
        try:
            place = self._place[number]
            region = self._region_values(self._region[place])
            city = self._city_values(self._city[place])
            owner = self._owner_values(self._owner[number])
            point = members_values(self._details(place))
            # By position: names would take as long again.
            names, details = (*region[:4], *city[:2], *owner[:2]), (*region[4:], *city[2:])
            record = Record(*names, *details, *point, *owner[2:])
        except (IndexError, ValueError, TypeError, AttributeError):
            raise self._damaged() from None
        self._records[number] = record
        self._records_kept += 1
        return record

    def find(self, ip: str) -> Record | None:
        """What is known about an address, ``None`` if there is no record.

        :param ip: IPv4 or IPv6 text; an IPv4-mapped IPv6 address gets its IPv4 answer.
        :raises ValueError: ``ip`` is not an address.
        """
        # The steps of parse(), answer_number() and _record() in one body for
        # IPv4: 0.6 us a call instead of 0.9, three calls being the difference.
        try:
            (address,) = unpack_number(inet_pton(AF_INET, ip))
        except (OSError, ValueError):
            number = self.answer_number(*parse(ip))
        else:
            try:
                place = self._v4_slots[address >> self._v4_shift]
                if place >= self._v4_places:
                    place = self._steps.place_inside(place, address)
                number = self._v4_answer[place]
            except IndexError:
                raise self._damaged() from None
        try:
            record = self._records[number]
        except IndexError:
            record = None
        if record is not None or not number:
            return record
        return self._record(number)

    def find_many(self, addresses: Any) -> "Found":
        """What is known about a column of addresses: the same as :meth:`find` says of each.

        The first call makes a table for it, in a fraction of a second: 64 MB, and 48 bytes for
        each block of 256 IPv4 addresses with several answers. It is kept with the snapshot. Not
        for processes that serve: numpy.

        :param addresses: any iterable of addresses, as text, :mod:`ipaddress` has them, or
            integers; a numpy array of integers, ``str``, or ``S16`` (packed IPv6); or a column of
            pandas, polars or pyarrow with strings, integers or 16 bytes each. Integers below
            2**32 are IPv4 addresses, others IPv6 addresses. What is no address, or null, doesn't
            keep the others from being looked up.
        :raises TypeError: no column of addresses.
        :raises DataError: the snapshot contradicts itself; pyarrow is needed, and isn't installed.
        """
        from ipquery.data.columns.found import Found

        index = self.index()
        return Found(index.find(addresses), index)

    def index(self) -> "Index":
        """What :meth:`find_many` looks up in, made when it is first asked for.

        :raises DataError: the snapshot contradicts itself.
        """
        from ipquery.data.columns.index import Index

        if self._index is None:
            self._index = Index(self, self._damaged())
        return self._index

    def match(self, ip: str) -> Match:
        """Everything about an address: its record, if there is one, who says so, what kind of
        address it is, and how far around it all this holds.

        Takes ten times as long as :meth:`find`, whose records are shared by all addresses
        that have them.

        :param ip: see :meth:`find`.
        :raises ValueError: ``ip`` is not an address.
        """
        version, number = parse(ip)
        answer, first, last = self.locate(version, number)
        record = self.record(answer) if answer else None
        return Match(
            ip=to_text(version, number),
            record=record,
            kind=kind_of(version, number),
            first=to_text(version, first),
            last=to_text(version, last),
            network=network_text(version, number, first, last),
            sources=self.sources(answer) if answer else {},
        )

    def values(self, number: int) -> dict[str, Any]:
        """All fields of a record by name; ``None`` is unknown. Of 0, which is no answer, too."""
        try:
            return dict(zip(FIELDS, members_values(self.members(number)), strict=True))
        except (ValueError, AttributeError):
            raise self._damaged() from None

    def sources(self, number: int) -> dict[str, str]:
        """The name of the source of each known field."""
        text = self.source_members(number)
        found = self._sources.get(text)
        if found is None:
            try:
                found = json.loads(b"{%b}" % text)
            except ValueError:
                raise self._damaged() from None
            if len(self._sources) >= _KEPT_SOURCES:
                self._sources.clear()
            self._sources[text] = found
        return found.copy()

    def names(self, language: str) -> Mapping[str, str]:
        """The names in a language of the codes that occur: of countries (ISO 3166-1), their
        subdivisions (ISO 3166-2) and Chinese divisions (GB/T 2260).

        Read when they are first asked for, and kept: some thousands.

        :param language: one of :data:`~ipquery.data.snapshot.layout.LANGUAGES`.
        """
        names = self._names.get(language)
        if names is None:
            try:
                names = self._names[language] = dict(json.loads(bytes(self._file.names[language])))
            except (ValueError, TypeError):
                raise self._damaged() from None
        return names

    def close(self) -> None:
        """Unmap the file. Look-ups fail afterwards."""
        if self._index is not None:
            self._index.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_snapshot(path: str | os.PathLike[str]) -> Snapshot:
    """Open a snapshot made by ``ipquery build``.

    :raises DataError: it is damaged, of another layout, or no snapshot.
    :raises OSError: it can't be read.
    """
    return Snapshot(Path(path))

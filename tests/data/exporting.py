"""Exports of snapshots in tests, and what their readers should find in them."""

import itertools
import random
import re
from pathlib import Path
from typing import Any

import attrs
from hypothesis import strategies as st

from ipquery import Snapshot
from ipquery.data.export.job import opened
from ipquery.data.export.options import options_for
from ipquery.data.ranges import RangeTable, to_numbers
from ipquery.data.record import FIELDS, Record
from tests.data.builder import write_snapshot
from tests.data.tables import LAST, Rows

MAPPED = 0xFFFF << 32
TEREDO = 0x20010000 << 96
SIX_TO_FOUR = 0x2002 << 112


def export(snapshot: Path, out: Path, format_: str, **choices: Any) -> Path:
    """Export a snapshot, over whatever is there."""
    options = options_for(format_, **choices)
    with opened(out, format_, options, replace=True) as target:
        target.fill(snapshot, lambda what, done: None)
    return out


_near = (-1, 0, 1)

_edges = st.sampled_from(
    [
        edge + near
        for edge in (
            *(1 << 32, MAPPED, MAPPED + (1 << 32), 1 << 64, 0x2000 << 112),
            *(TEREDO, TEREDO + (1 << 96), TEREDO + (0x01020304 << 64)),
            *(SIX_TO_FOUR, SIX_TO_FOUR + (1 << 112), SIX_TO_FOUR + (0x01020304 << 80)),
        )
        for near in _near
    ]
)


@st.composite
def ranges(draw: st.DrawFn, version: int, records: int) -> Rows:
    """Ranges anywhere, and where IPv4 begins and is repeated in IPv6."""
    anywhere = st.integers(0, LAST[version]) | st.builds(
        lambda number, shift: number << shift & LAST[version],
        st.integers(0, 2**16),
        st.integers(0, 31 if version == 4 else 127),
    )
    points = draw(st.sets(anywhere | _edges if version == 6 else anywhere, max_size=16))
    if draw(st.booleans()):
        points |= {0}
    starts = sorted(points)
    rows: Rows = []
    for first, after in itertools.pairwise([*starts, LAST[version] + 1]):
        record = draw(st.integers(-1, records - 1))
        if record >= 0:
            last = draw(st.sampled_from((after - 1, max(first, after - 2), first)))
            rows.append((first, last, record))
    return rows


@attrs.frozen(eq=False)
class World:
    """Ranges, and records that say different things."""

    rows: dict[int, Rows]
    records: list[Record]

    def build(self, path: Path) -> Path:
        """A snapshot of them."""
        return write_snapshot(path, self.rows[4], self.rows[6], self.records)

    def addresses(self) -> list[tuple[int, int]]:
        """Ends of ranges, and their neighbours; and the same where IPv4 is repeated."""
        found = set()
        for version, rows in self.rows.items():
            numbers = {0, LAST[version], *(end for row in rows for end in row[:2])}
            near = {number + by for number in numbers for by in _near}
            found |= {(version, number) for number in near if 0 <= number <= LAST[version]}
        v4 = [number for version, number in found if version == 4]
        for number in v4:
            found |= {(6, MAPPED + number), (6, number), (6, TEREDO + (number << 64))}
            found.add((6, SIX_TO_FOUR + (number << 80)))
        return sorted(found)


@st.composite
def worlds(draw: st.DrawFn, records: st.SearchStrategy[Record]) -> World:
    listed = draw(st.lists(records, min_size=1, max_size=6))
    return World({v: draw(ranges(v, len(listed))) for v in (4, 6)}, listed)


_letters = st.characters(exclude_categories=["Cs", "Cc", "Cn"])
texts = st.sampled_from(("商丘市", "a", 'x "y" \\z', "a,b;c\td", "'")) | st.text(
    _letters, min_size=1, max_size=40
)
"""What may be in a text, but for control characters."""

_maybe = st.none() | texts

# A code of a subdivision is one of a country's.
_codes = st.sampled_from(
    (
        {},
        {"country_code": "CN"},
        {"country_code": "CN", "subdivision_code": "CN-HA"},
        {"country_code": "US", "subdivision_code": "US-CA", "continent_code": "NA"},
    )
)

_DEGREES = {"latitude": 90, "longitude": 180}

full_records = st.builds(
    lambda codes, fields: Record(**codes, **fields),
    _codes,
    st.fixed_dictionaries(
        {},
        optional={
            # In flat records that have no code, two capitals are the code (IPinfo's older files).
            "country": texts.filter(lambda text: not re.fullmatch("[A-Z]{2}", text)),
            **dict.fromkeys(("province", "city", "org", "isp", "district", "as_org"), texts),
            "time_zone": st.just("Asia/Shanghai"),
            "postal_code": st.sampled_from(("476000", "SW1A 1AA")),
            **{
                name: st.floats(-most, most).map(lambda n: round(n, 6))
                for name, most in _DEGREES.items()
            },
            "accuracy_radius": st.integers(0, 20_000),
            "asn": st.integers(0, 2**32 - 1),
        },
    ),
)
"""Records with any of the fields."""


def answer(snapshot: Snapshot, version: int, number: int) -> Record | None:
    """What a snapshot says of an address; ``None`` if that is nothing."""
    if version == 6 and MAPPED <= number < MAPPED + (1 << 32):
        version, number = 4, number - MAPPED
    found = snapshot.answer_number(version, number)
    record = snapshot.record(found) if found else None
    return None if record is None or record == Record() else record


def said(table: RangeTable, version: int, number: int) -> Record | None:
    """What a table of ranges says of an address."""
    listed = table.v4 if version == 4 else table.v6
    for first, last, record in zip(
        to_numbers(listed.first), to_numbers(listed.last), listed.record.tolist(), strict=True
    ):
        if first <= number <= last:
            found: Record = table.records[record]
            return found
    return None


def known(record: Record | None) -> dict[str, Any]:
    """Its fields that are known, by name."""
    return {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}


def write_sample(path: Path) -> Path:
    """A snapshot of 3,600 ranges with records whose texts have letters and signs of all kinds."""
    chance = random.Random(5)
    records = [_record(number, chance) for number in range(300)]
    v4 = _rows(0, LAST[4], chance, len(records))
    v4[-1] = v4[-1][0], LAST[4], v4[-1][2]
    # Of IPv6 without what repeats IPv4: 2001::/32 and 2002::/16.
    v6 = [
        (first << 64, (last + 1 << 64) - 1, record)
        for first, last, record in _rows(0x2003 << 48, 2**62, chance, len(records))
    ]
    return write_snapshot(path, v4, v6, records)


def _record(number: int, chance: random.Random) -> Record:
    names = (
        "河南省",
        "Île-de-France",
        'a "quoted" name',
        "back\\slash",
        "$dollar {x}; # y",
        "a,b",
        " x",
    )
    return Record(
        country_code=chance.choice(("CN", "US", None)),
        province=chance.choice((*names, None)),
        city=f"{chance.choice(names)} {number}",
        isp=chance.choice((*names, None)),
        asn=chance.choice((None, number)),
        latitude=chance.choice((None, round(chance.uniform(-90, 90), 4))),
    )


def _rows(first: int, last: int, chance: random.Random, records: int) -> Rows:
    bounds = sorted(chance.sample(range(first, last), 2000))
    return [
        (one, other - 1, chance.randrange(records))
        for one, other in itertools.pairwise(bounds)
        if chance.random() < 0.9
    ]

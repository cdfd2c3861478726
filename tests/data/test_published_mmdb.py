"""Whole published MaxMind DB files: maxminddb's own answers at the ends of ranges."""

import random
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import maxminddb
import pytest

from ipquery import open_snapshot
from ipquery.address import V4_LAST, to_text
from ipquery.data.formats import mmdb
from ipquery.data.ranges import Ranges, to_numbers
from ipquery.data.record import Record
from ipquery.data.update.recipes import DBIP_CITY_2023
from tests.data.published import DBIP_V4, DBIP_V6, GEOACUMEN, published

Fields = tuple[Any, ...]


def _told(record: Record | None) -> Fields | None:
    if record is None:
        return None
    place = (record.latitude, record.longitude)
    return (
        record.country_code,
        record.province,
        record.city,
        *(None if degrees is None else struct.pack("<f", degrees) for degrees in place),
    )


def _shown(value: Any) -> Fields | None:
    """The same of what maxminddb gives, of both shapes that DB-IP's data come in."""
    if value is None:
        return None
    if "country_code" in value:
        texts = [value[name] or None for name in ("country_code", "state1", "city")]
        place = value
    else:
        names = [(value.get("subdivisions") or [{}])[0], value.get("city", {})]
        texts = [value.get("country", {}).get("iso_code")]
        texts += [part.get("names", {}).get("en") for part in names]
        place = value.get("location", {})
    degrees = (place.get(name) for name in ("latitude", "longitude"))
    return (*texts, *(None if n is None else struct.pack("<f", n) for n in degrees))


def _rows(ranges: Ranges) -> Iterator[tuple[int, int, int]]:
    """First, last and record of every range."""
    for begin in range(0, len(ranges), 100_000):
        part = slice(begin, begin + 100_000)
        first, last = to_numbers(ranges.first[part]), to_numbers(ranges.last[part])
        yield from zip(first, last, ranges.record[part].tolist(), strict=True)


def _addresses() -> Iterator[str]:
    """Of both versions, where addresses are given out."""
    chance = random.Random(10)
    for _ in range(4_000):
        yield to_text(4, chance.randrange(1 << 24, 224 << 24))
        registry = chance.choice((0x2400, 0x2600, 0x2A00)) + chance.randrange(16)
        yield to_text(6, registry << 112 | chance.randrange(1 << 16) << 96)


def test_the_default_database_says_of_places_what_dbips_file_does(
    default_path: Path, data: Path
) -> None:
    """To read the whole file takes long: its snapshot is built once in a run."""
    (path,) = DBIP_CITY_2023.paths(data)
    reader = maxminddb.open_database(path)
    seen = Counter[tuple[str, int]]()
    with open_snapshot(default_path) as db:
        for address in _addresses():
            middle = db.match(address)
            for match in (db.match(middle.first), db.match(middle.last)):
                if match.record is None or match.sources.get("country") != "DB-IP City Lite":
                    continue
                version = 6 if ":" in match.ip else 4
                shown = _shown(reader.get(match.ip))
                told = _told(match.record)
                assert shown is not None
                assert told is not None
                country, _, city, *place = told
                if country == "CN":  # named and coded as ip2region does
                    continue
                assert country == shown[0]
                seen["country", version] += 1
                if match.sources.get("city") == "DB-IP City Lite":
                    assert city == shown[2]
                    seen["city", version] += 1
                if match.sources.get("latitude") == "DB-IP City Lite":
                    assert place == list(shown[3:])
                    seen["place", version] += 1
    assert len(seen) == 6
    assert min(seen.values()) > 300, seen


@pytest.mark.soak
@pytest.mark.parametrize("file", [GEOACUMEN, DBIP_V4, DBIP_V6])
def test_every_network_of_dbip(file: tuple[str, str, str]) -> None:
    """Networks that maxminddb finds make up the ranges, one after the other, whole."""
    path = published(*file)
    table = mmdb.read(path)
    if file == GEOACUMEN:
        assert (len(table.v4), len(table.v6), len(table.records)) == (3_267_814, 3_244_343, 493_440)
    told = [_told(record) for record in table.records]
    rows = {ranges.version: _rows(ranges) for ranges in (table.v4, table.v6)}
    end, record, reached = {4: -1, 6: -1}, {4: -1, 6: -1}, {4: -1, 6: -1}
    for network, value in maxminddb.open_database(path):
        first, last = int(network.network_address), int(network.broadcast_address)
        version = 4 if first <= V4_LAST else 6
        if first > end[version]:
            assert reached[version] == end[version]
            begin, end[version], record[version] = next(rows[version])
            assert first == begin
        else:
            assert first == reached[version] + 1
        assert _shown(value) == told[record[version]]
        reached[version] = last
    assert reached == end
    assert [next(listed, None) for listed in rows.values()] == [None, None]

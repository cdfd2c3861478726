"""Whole published MaxMind DB files: maxminddb's own answers at the ends of ranges."""

import random
import struct
from collections.abc import Iterator
from typing import Any

import maxminddb
import pytest

from ipquery.address import V4_LAST, V6_LAST, to_text
from ipquery.data.formats import mmdb
from ipquery.data.ranges import Ranges, to_numbers
from ipquery.data.record import Record
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


def test_dbip_of_2023_at_random_ranges() -> None:
    path = published(*GEOACUMEN)
    table = mmdb.read(path)
    assert (len(table.v4), len(table.v6), len(table.records)) == (3_267_814, 3_244_343, 493_440)
    reader = maxminddb.open_database(path)
    chance = random.Random(10)
    for ranges in (table.v4, table.v6):
        end = V4_LAST if ranges.version == 4 else V6_LAST
        for place in sorted(chance.sample(range(len(ranges) - 1), 5_000)):
            pair = slice(place, place + 2)
            first, last = to_numbers(ranges.first[pair]), to_numbers(ranges.last[pair])
            told = _told(table.records[ranges.record[place]])
            for address in (first[0], last[0]):
                assert _shown(reader.get(to_text(ranges.version, address))) == told
            after = last[0] + 1
            if after <= end and after != first[1]:
                assert reader.get(to_text(ranges.version, after)) is None


@pytest.mark.soak
@pytest.mark.parametrize("file", [GEOACUMEN, DBIP_V4, DBIP_V6])
def test_every_network_of_dbip(file: tuple[str, str, str]) -> None:
    """Networks that maxminddb finds make up the ranges, one after the other, whole."""
    path = published(*file)
    table = mmdb.read(path)
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

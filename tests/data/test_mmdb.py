"""Reading MaxMind DB files; maxminddb and a search by hand say what is right."""

import datetime
import ipaddress
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import maxminddb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.address import to_text
from ipquery.data.formats import mmdb, recognise
from ipquery.data.formats.options import ReadOptions
from ipquery.data.ranges import RangeTable, to_numbers
from ipquery.data.record import UNKNOWN, DataError, Record
from tests.data.mmdb_files import (
    ALIASES,
    MARKER,
    U16,
    U64,
    U128,
    Float32,
    assemble,
    encode,
    networks_of,
    node_bytes,
    pointer,
)
from tests.data.mmdb_files import mmdb as make
from tests.data.reading import finder, mutations, outcome
from tests.data.tables import Rows, addresses_of_interest, rows_of, search

CITIES = [
    ({"country": {"iso_code": "AU", "names": {"en": "Australia"}}}, ("AU", "Australia", None)),
    (
        {"country": {"iso_code": "CN"}, "city": {"names": {"en": "Beijing"}}},
        ("CN", None, "Beijing"),
    ),
    ({"country_code": "TH", "city": "Loei", "state1": ""}, ("TH", None, "Loei")),
    ({"country_code": "TH", "city": "Loei"}, ("TH", None, "Loei")),
    ({}, (None, None, None)),
]
VALUES = [value for value, _ in CITIES]
RECORDS = [Record(country_code=a, country=b, city=c) for _, (a, b, c) in CITIES]


def _read(tmp_path: Path, content: bytes, language: str | None = None) -> RangeTable:
    path = tmp_path / "some.mmdb"
    path.write_bytes(content)
    return mmdb.read(path, ReadOptions(language=language))


def _inside(number: int, networks: Sequence[tuple[int, int]]) -> bool:
    return any(number >> (128 - bits) == first >> (128 - bits) for first, bits in networks)


def _touches(row: tuple[int, int, int], networks: Sequence[tuple[int, int]]) -> bool:
    return any(row[0] < first + 2 ** (128 - bits) and row[1] >= first for first, bits in networks)


@st.composite
def _files(draw: st.DrawFn) -> tuple[int, int, Rows, bool]:
    """IP version, size of tree records, ranges, and whether IPv4 is repeated by aliases."""
    version = draw(st.sampled_from((4, 6)))
    rows = draw(rows_of(version, len(CITIES)))
    if version == 6 and draw(st.booleans()):
        # IPv4 beside IPv6, as in the files of most publishers
        top = 2**32 - 1
        rows = [*draw(rows_of(4, len(CITIES))), *(row for row in rows if row[0] > top)]
    aliased = version == 6 and draw(st.booleans())
    if aliased:
        rows = [row for row in rows if not _touches(row, ALIASES)]
    return version, draw(st.sampled_from((24, 28, 32))), rows, aliased


@given(_files())
def test_it_reads_what_was_written_and_what_maxminddb_finds(
    given: tuple[int, int, Rows, bool],
) -> None:
    version, bits, rows, aliased = given
    content = make(networks_of(version, rows), VALUES, version, bits, ALIASES if aliased else ())
    path = Path("/dev/shm") / f"ipquery-test-{os.getpid()}.mmdb"
    path.write_bytes(content)
    try:
        table = mmdb.read(path)
        reader = maxminddb.open_database(path)
    finally:
        path.unlink()
    find = finder(table)
    v4_in_v6 = version == 6 and any(row[0] < 2**32 for row in rows)
    for number in addresses_of_interest(version, rows):
        expected = search(rows, number)
        told = None if expected is None else RECORDS[expected]
        if version == 4 or number < 2**32:
            assert find(4, number) == told
            shown = reader.get(to_text(4, number))
            assert find(6, number) is None
        elif _inside(number, ALIASES[:1]) and not v4_in_v6:
            continue  # which of the two it becomes has a test of its own
        else:
            assert find(6, number) == told
            shown = reader.get(to_text(6, number))
            if aliased and _inside(number, ALIASES):
                continue  # maxminddb answers what it answers for IPv4
        assert shown == (None if expected is None else VALUES[expected])
    for ranges in (table.v4, table.v6):
        pairs = zip(to_numbers(ranges.last)[:-1], to_numbers(ranges.first)[1:], strict=True)
        for place, (last, first) in enumerate(pairs):
            assert last + 1 < first or ranges.record[place] != ranges.record[place + 1]


def _networks(*texts: str) -> list[tuple[int, int, int]]:
    networks = [ipaddress.ip_network(text) for text in texts]
    return [
        (int(network.network_address), network.prefixlen, number)
        for number, network in enumerate(networks)
    ]


def _number(text: str) -> int:
    return int(ipaddress.ip_address(text))


@pytest.mark.parametrize("bits", [24, 28, 32])
def test_ipv4_inside_ipv6_is_taken_once(tmp_path: Path, bits: int) -> None:
    networks = _networks("::1.2.3.0/120", "2a00::/16")
    table = _read(tmp_path, make(networks, VALUES, 6, bits, ALIASES))
    assert [(to_numbers(r.first), to_numbers(r.last)) for r in (table.v4, table.v6)] == [
        ([_number("1.2.3.0")], [_number("1.2.3.255")]),
        ([_number("2a00::")], [_number("2a00:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]),
    ]


@pytest.mark.parametrize(
    "place", ["::ffff:1.2.3.0/120", "2002:102:300::/40", "2001:0:102:300::/56"]
)
def test_data_of_its_own_where_others_repeat_ipv4_is_read(tmp_path: Path, place: str) -> None:
    network = ipaddress.ip_network(place)
    table = _read(tmp_path, make(_networks("::1.2.0.0/112", place), VALUES))
    find = finder(table)
    assert find(4, _number("1.2.3.4")) == RECORDS[0]
    assert find(6, int(network.network_address)) == RECORDS[1]
    assert find(6, int(network.network_address) - 1) is None


def test_ipv4_is_at_the_mapped_addresses_if_nothing_is_at_the_usual_place(tmp_path: Path) -> None:
    table = _read(tmp_path, make(_networks("::ffff:1.2.3.0/120", "2a00::/16"), VALUES))
    find = finder(table)
    assert find(4, _number("1.2.3.255")) == RECORDS[0]
    assert find(4, _number("1.2.4.0")) is None
    assert find(6, _number("::ffff:1.2.3.4")) is None
    assert find(6, _number("2a00::1")) == RECORDS[1]


@pytest.mark.parametrize("network", ["::/0", "::/8", "::/95", "::/96"])
def test_a_network_around_all_of_ipv4(tmp_path: Path, network: str) -> None:
    content = make(_networks(network), VALUES)
    find = finder(_read(tmp_path, content))
    last = int(ipaddress.ip_network(network).broadcast_address)
    reader = maxminddb.open_database(tmp_path / "some.mmdb")
    for address in ("0.0.0.0", "255.255.255.255"):
        assert find(4, _number(address)) == RECORDS[0]
        assert reader.get(address) == VALUES[0]
    assert find(6, 2**32 - 1) is None
    assert find(6, 2**32) == (RECORDS[0] if last > 2**32 else None)
    assert find(6, last) == (RECORDS[0] if last > 2**32 else None)


def test_the_day_it_was_built_and_how_it_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "database"
    path.write_bytes(make(_networks("1.2.3.0/24"), VALUES, 4))
    assert recognise(path) is mmdb
    assert mmdb.read(path).date == datetime.date(2026, 6, 5)


def test_a_tree_that_shares_equal_parts_is_read(tmp_path: Path) -> None:
    # 0.0.0.0/1 and 128.0.0.0/1 lead to one node, whose halves are a record and nothing.
    data = encode(VALUES[0])
    tree = node_bytes(1, 1, 24) + node_bytes(2 + 16, 2, 24)
    find = finder(_read(tmp_path, assemble(tree, 2, data)))
    expected = [RECORDS[0], None, RECORDS[0], None]
    assert [find(4, quarter << 30) for quarter in range(4)] == expected


# Shapes of records


EN_ZH = {"de": "x", "en": "in English", "zh-CN": "中文"}
CITY = {
    "city": {"geoname_id": 1, "names": {"en": "Shangqiu", "zh-CN": "商丘"}},
    "continent": {"code": "AS", "geoname_id": 2, "names": {"en": "Asia"}},
    "country": {"iso_code": "CN", "is_in_european_union": False, "names": {"de": "China"}},
    "location": {
        "accuracy_radius": U16(50),
        "latitude": 34.45,
        "longitude": 115.65,
        "metro_code": U16(1),
        "time_zone": "Asia/Shanghai",
    },
    "postal": {"code": "476000"},
    "registered_country": {"iso_code": "US"},
    "subdivisions": [
        {"iso_code": "HA", "names": {"en": "Henan", "zh-CN": "河南"}},
        {"iso_code": "1", "names": {"en": "Suiyang"}},
    ],
}
SHANGQIU = Record(
    country="China",
    country_code="CN",
    province="河南",
    city="商丘",
    continent_code="AS",
    subdivision_code="CN-HA",
    district="Suiyang",
    postal_code="476000",
    latitude=34.45,
    longitude=115.65,
    accuracy_radius=50,
    time_zone="Asia/Shanghai",
)
ISP = {
    "autonomous_system_number": 13335,
    "autonomous_system_organization": "Cloudflare, Inc.",
    "isp": "Cloudflare",
    "organization": "APNIC",
    "mobile_country_code": "460",
}
CLOUDFLARE = Record(isp="Cloudflare", org="APNIC", asn=13335, as_org="Cloudflare, Inc.")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (CITY, SHANGQIU),
        (
            {"country": {"iso_code": "CN", "names": EN_ZH}},
            Record(country_code="CN", country="中文"),
        ),
        ({"registered_country": {"iso_code": "US"}}, UNKNOWN),
        (ISP, CLOUDFLARE),
        (
            # Enterprise
            {**CITY, "traits": ISP, "city": {"confidence": U16(80)}},
            attrs.evolve(
                SHANGQIU,
                city=None,
                isp="Cloudflare",
                org="APNIC",
                asn=13335,
                as_org="Cloudflare, Inc.",
            ),
        ),
        ({"connection_type": "Cellular"}, UNKNOWN),
        (
            {"country": {"iso_code": "US"}, "subdivisions": [{"iso_code": "US-CA"}]},
            Record(country_code="US", subdivision_code="US-CA"),
        ),
        ({"subdivisions": [{"iso_code": "CA", "names": {"en": "C"}}]}, Record(province="C")),
        (
            # ip-location-db
            {
                "country_code": "TH",
                "state1": "Loei",
                "state2": "Mueang",
                "city": "Loei",
                "postcode": "42000",
                "latitude": Float32(17.4905),
                "longitude": Float32(101.727),
                "timezone": "",
            },
            Record(
                country_code="TH",
                province="Loei",
                district="Mueang",
                city="Loei",
                postal_code="42000",
                latitude=17.4905,
                longitude=101.727,
            ),
        ),
        (
            # IPinfo Lite
            {
                "country": "Australia",
                "country_code": "AU",
                "continent": "Oceania",
                "continent_code": "OC",
                "asn": "AS13335",
                "as_name": "Cloudflare, Inc.",
                "as_domain": "cloudflare.com",
            },
            Record(
                country="Australia",
                country_code="AU",
                continent_code="OC",
                asn=13335,
                as_org="Cloudflare, Inc.",
            ),
        ),
        (
            # IPinfo's files before that
            {
                "country": "AU",
                "country_name": "Australia",
                "continent": "OC",
                "continent_name": "O",
            },
            Record(country="Australia", country_code="AU", continent_code="OC"),
        ),
        (
            {
                "city": "Perth",
                "region": "WA",
                "lat": "-31.95",
                "lng": "115.86",
                "postal_code": 6000,
            },
            Record(
                city="Perth", province="WA", latitude=-31.95, longitude=115.86, postal_code="6000"
            ),
        ),
        # A name of two characters isn't a code.
        ({"country": "中国"}, Record(country="中国")),
        ({"country": "CN"}, Record(country_code="CN")),
        ({"autonomous_system_number": 0, "isp": ""}, Record(asn=0)),
        ({"unknown": [1, {"a": b"\0"}, U64(2**63), U128(2**100), -5, True]}, UNKNOWN),
    ],
)
def test_shapes_of_records(tmp_path: Path, value: object, expected: Record) -> None:
    table = _read(tmp_path, make(_networks("1.2.3.0/24"), [value], 4), "zh")
    assert list(table.records) == [expected]


@pytest.mark.parametrize(
    ("language", "expected"),
    [("zh", "中文"), ("zh-CN", "中文"), ("de", "x"), ("fr", "in English"), (None, "in English")],
)
def test_names_are_in_the_language_asked_for(
    tmp_path: Path, language: str | None, expected: str
) -> None:
    content = make(_networks("1.2.3.0/24"), [{"city": {"names": EN_ZH}}], 4)
    assert _read(tmp_path, content, language).records[0].city == expected


def test_coordinates_stored_with_24_bits_are_as_they_were_written(tmp_path: Path) -> None:
    written = [17.4905, -0.12574, 35.3882, 0.0, -33.8688, 1.5, 9.53567, 0.123457]
    values = [{"latitude": Float32(number)} for number in written]
    networks = [(number << 8, 24, number) for number in range(len(values))]
    records = _read(tmp_path, make(networks, values, 4)).records
    assert [record.latitude for record in records] == written


def test_coordinates_stored_with_53_bits_stay_as_they_are(tmp_path: Path) -> None:
    content = make(_networks("1.2.3.0/24"), [{"latitude": 17.490499496459}], 4)
    assert _read(tmp_path, content).records[0].latitude == 17.490499496459


# Damage


def _leaf(data: bytes) -> bytes:
    """A file whose only record is this."""
    return assemble(node_bytes(1 + 16, 1, 24), 1, data)


WHOLE = make(_networks("1.2.3.0/24", "1.2.4.0/22"), VALUES, 4)
FAN_OUT = b"".join(
    # Each list points ten times at the one before it.
    bytes([0x0A, 0x04]) + pointer(22 * level - 22 if level else 0) * 10
    for level in range(1, 30)
)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not an mmdb file"),
        (bytes(1000), "not an mmdb file"),
        (MARKER, "not an mmdb file"),
        (WHOLE[:-30], "not an mmdb file"),
        (MARKER + encode("a text"), "not an mmdb file"),
        (MARKER + encode({}), "tree records of 0 bits for IP version 0"),
        (WHOLE[-200:], "a tree of 24 nodes isn't in its 200 bytes"),
        (make([], VALUES, 4, metadata={"record_size": U16(26)}), "tree records of 26 bits"),
        (make([], VALUES, 4, metadata={"ip_version": U16(5)}), "for IP version 5"),
        (make([], VALUES, 4, metadata={"node_count": 2**31}), "tree of 2147483648 nodes isn't in"),
        (make([], VALUES, 4, metadata={"node_count": 0}), "tree of 0 nodes"),
        (make([], VALUES, 4, metadata={"node_count": -5}), "tree of -5 nodes"),
        (make([], VALUES, 4, metadata={"node_count": "many"}), "no numbers where they must be"),
        (assemble(node_bytes(0, 1, 24), 1, b""), "deeper than an address has bits"),
        (assemble(node_bytes(0, 0, 24), 1, b""), "leads back into itself"),
        (assemble(node_bytes(0, 0, 24), 1, b"", 6), "leads back into itself"),
        (assemble(node_bytes(1 + 15, 1, 24), 1, b"\xe0"), "record of 0.0.0.0/1 lies outside"),
        (assemble(node_bytes(1 + 16 + 1, 1, 24), 1, b"\xe0"), "outside the data .1 of 1 bytes"),
        (assemble(node_bytes(2**24 - 1, 1, 24), 1, b"\xe0"), "outside the data"),
        (_leaf(b"\xe1"), "record at byte 0 of its data is none"),
        (_leaf(b"\xe1" + encode("city") + pointer(0)), "record at byte .* is none"),
        (_leaf(b"\xe1" + encode("city") + b"\x42\xff\xfe"), "record at byte .* is none"),
        (_leaf(b"\xe1" + encode("city") + b"\x5d\xff" + b"x"), "record at byte .* is none"),
        (_leaf(b"\x01\x04" * 600 + b"\x00\x04"), "record at byte 0 .* is none"),
        (_leaf(b"\xe1\xc1\x05" + encode("x")), "record at byte 0 .* is none"),
        (_leaf(pointer(0)), "record at byte 0 .* is none"),
        (_leaf(b"\x00\x00"), "record at byte 0 .* is none"),
        (_leaf(b"\xe1" + encode("a") + b"\x69" + bytes(9)), "record at byte 0 .* is none"),
        (_leaf(encode("a text")), "type str, not maps"),
        (_leaf(encode([1])), "type list, not maps"),
        (_leaf(encode({"latitude": 90.5})), "latitude 90.5 is out of bounds"),
        (_leaf(encode({"latitude": float("nan")})), "latitude nan is out of bounds"),
        (
            _leaf(encode({"location": {"latitude": [1]}})),
            "a latitude is '\\[1\\]', which is no number",
        ),
        (_leaf(encode({"latitude": True})), "latitude is 'True', which is no number"),
        (_leaf(encode({"asn": "ASX"})), "'X' is no asn"),
        (_leaf(encode({"asn": float("inf")})), "'inf' is no asn"),
        (_leaf(encode({"city": b"x"})), "a city is .*, which is no text"),
        (_leaf(encode({"city": {"names": {"en": True}}})), "a city is 'True', which is no text"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        _read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path}/some.mmdb: ")
    assert "\n" not in str(caught.value)


def test_a_record_that_multiplies_by_pointers_is_refused_at_once(tmp_path: Path) -> None:
    place = len(FAN_OUT) - 22
    content = assemble(node_bytes(1 + 16 + place, 1, 24), 1, FAN_OUT)
    begun = time.monotonic()
    with pytest.raises(DataError, match="record at byte .* is none"):
        _read(tmp_path, content)
    assert time.monotonic() - begun < 10  # 10**29 values would take longer


def test_records_that_overlap_are_refused_before_they_take_the_time(tmp_path: Path) -> None:
    # Maps, each with bytes that reach to the end over all the others.
    size = 1 << 20
    one = b"\xe1" + encode("x") + b"\x9f" + (size - 65821).to_bytes(3, "big")
    data = one * 32 + bytes(size)

    def chain(count: int) -> bytes:
        """Bit 1 of each node leads to a map, bit 0 to the next node."""
        maps = (count + 16 + number * len(one) for number in range(count))
        nodes = (node_bytes(number, leaf, 32) for number, leaf in enumerate(maps, 1))
        return assemble(b"".join(nodes), count, data, 4, 32)

    assert list(_read(tmp_path, chain(2)).records) == [UNKNOWN]
    with pytest.raises(DataError, match="the record at byte [0-9]+ of its data is none"):
        _read(tmp_path, chain(32))


def _fuzzed(tmp_path: Path, count: int) -> tuple[int, int]:
    """How many mutated files were refused, and how many read as maxminddb reads them."""
    networks = _networks("::1.2.3.0/120", "::1.2.4.0/118", "2a00::/16", "2a01::/32")
    content = make(networks, [CITY, ISP, *VALUES], 6, 28, ALIASES)
    path = tmp_path / "some.mmdb"
    refused = alike = 0
    for damaged in mutations(content, count, seed=10):
        result = outcome(lambda path: recognise(path).read(path), path, damaged)
        if isinstance(result, str):
            refused += 1
            continue
        find = finder(result)
        addresses = [(4 if first < 2**32 else 6, first) for first, _, _ in networks]
        try:
            # Not the C extension, which such files can end; see mmdb_data.py.
            with maxminddb.open_database(path, maxminddb.MODE_MEMORY) as reader:
                shown: list[Any] = [reader.get(to_text(*address)) for address in addresses]
        except (maxminddb.InvalidDatabaseError, TypeError, ValueError):
            continue  # it minds more: unknown names in the description, for one
        told = [find(*address) for address in addresses]
        if shown[:2] == [None, None]:
            told[:2] = shown[:2]  # IPv4 may have come from the mapped addresses
        assert [value is None for value in shown] == [record is None for record in told]
        alike += 1
    return refused, alike


def test_mutated_files_are_refused_or_read_right(tmp_path: Path) -> None:
    refused, alike = _fuzzed(tmp_path, 400)
    assert refused > 100
    assert alike > 10


@pytest.mark.soak
def test_100_000_mutated_files(tmp_path: Path) -> None:
    refused, alike = _fuzzed(tmp_path, 100_000)
    assert refused > 50_000
    assert alike > 2_500

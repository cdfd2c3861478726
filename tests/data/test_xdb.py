"""Reading ip2region .xdb files; the vendor's own reader says what is right."""

import datetime
import ipaddress
import struct
from pathlib import Path

import ip2region.searcher as vendor
import ip2region.util as vendor_util
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.data.formats import recognise, xdb
from ipquery.data.formats.options import ReadOptions
from ipquery.data.ranges import Ranges, RangeTable, to_numbers
from ipquery.data.record import UNKNOWN, DataError, Record
from tests.data.files import Row
from tests.data.files import xdb as make
from tests.data.tables import addresses_of_interest, rows_of

TEXTS = [
    "中国|0|河南省|商丘市|联通",
    "中国|0|香港|0|0",
    "美国|0|0|0|谷歌",
    "0|0|0|内网IP|内网IP",
    "日本|0|东京|0|软银",
]


def _read(tmp_path: Path, content: bytes) -> RangeTable:
    path = tmp_path / "some.xdb"
    path.write_bytes(content)
    return xdb.read(path)


def _ranges(table: RangeTable, ip: int) -> Ranges:
    return table.v4 if ip == 4 else table.v6


def _find(table: RangeTable, ip: int, number: int) -> Record | None:
    ranges = _ranges(table, ip)
    for first, last, record in zip(
        to_numbers(ranges.first), to_numbers(ranges.last), ranges.record, strict=True
    ):
        if first <= number <= last:
            found: Record = table.records[record]
            return found
    return None


def _record(text: str) -> Record | None:
    if text == "":
        return None
    country, _, province, city, isp = (None if part == "0" else part for part in text.split("|"))
    return Record(country=country, province=province, city=city, isp=isp)


@st.composite
def _files(draw: st.DrawFn) -> tuple[int, int, list[Row]]:
    version = draw(st.sampled_from((2, 3)))
    ip = 4 if version == 2 else draw(st.sampled_from((4, 6)))
    # Short ranges: a long one is cut into thousands, which the other tests show.
    rows = [
        (first, min(last, first + 3 * 2 ** (16 if ip == 4 else 112)), TEXTS[record])
        for first, last, record in draw(rows_of(ip, len(TEXTS)))
    ]
    return version, ip, rows or [(0, 0, TEXTS[0])]


@given(_files())
def test_it_reads_what_the_vendors_reader_finds(given: tuple[int, int, list[Row]]) -> None:
    version, ip, rows = given
    content = make(rows, version, ip)
    kind = vendor_util.IPv4 if ip == 4 else vendor_util.IPv6
    # The vendor's search may look at one entry past a row, here past the file.
    searcher = vendor.new_with_buffer(kind, content + bytes(38))
    path = Path("/dev/shm") / "ipquery-test.xdb"
    path.write_bytes(content)
    try:
        table = xdb.read(path)
    finally:
        path.unlink()
    for number in addresses_of_interest(ip, [(first, last, 0) for first, last, _ in rows]):
        address = number.to_bytes(4 if ip == 4 else 16, "big")
        assert _find(table, ip, number) == _record(searcher.search(address))


@pytest.mark.parametrize(("version", "ip"), [(2, 4), (3, 4), (3, 6)])
def test_versions_and_gaps(tmp_path: Path, version: int, ip: int) -> None:
    top = 2 ** (32 if ip == 4 else 128) - 1
    table = _read(tmp_path, make([(0, 5, TEXTS[0]), (9, 9, TEXTS[1]), (top, top, "")], version, ip))
    ranges = _ranges(table, ip)
    assert to_numbers(ranges.first) == [0, 9]
    assert to_numbers(ranges.last) == [5, 9]
    assert table.date == datetime.date(2022, 6, 22)
    # The other version has nothing
    assert len(_ranges(table, 10 - ip)) == 0


def test_0_is_unknown(tmp_path: Path) -> None:
    table = _read(tmp_path, make([(0, 5, "0|0|0|内网IP|0"), (6, 9, "0|0|0|0|0")]))
    assert set(table.records) == {Record(city="内网IP"), UNKNOWN}


def test_the_layout_with_a_country_code_is_told_by_its_last_column(tmp_path: Path) -> None:
    rows = [(0, 5, "中国|河南省|商丘市|联通|CN"), (6, 9, "0|0|Reserved|Reserved|0")]
    table = _read(tmp_path, make(rows, 3))
    assert set(table.records) == {
        Record(country="中国", province="河南省", city="商丘市", isp="联通", country_code="CN"),
        Record(city="Reserved", isp="Reserved"),
    }


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "own.xdb"
    path.write_bytes(make([(0, 5, "a|b|c")]))
    with pytest.raises(DataError, match="3 columns instead of 5.*`columns`"):
        xdb.read(path)
    assert list(xdb.read(path, ReadOptions(("org", "", "country"))).records) == [
        Record(org="a", country="c")
    ]


def test_it_is_recognised_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "database"
    for version, ip in ((2, 4), (3, 4), (3, 6)):
        path.write_bytes(make([(0, 5, TEXTS[0])], version, ip))
        assert recognise(path) is xdb


def test_an_index_that_names_the_last_entry_itself_is_read_too(tmp_path: Path) -> None:
    content = make([(0, 5, TEXTS[0]), (6, 9, TEXTS[1])], inclusive_index=True)
    assert len(_read(tmp_path, content).v4) == 2


ROWS: list[Row] = [(0, 5, TEXTS[0]), (6, 9, TEXTS[1]), (0x00020000, 0x00020005, TEXTS[2])]
TEXTS_AT = 256 + 65536 * 8
ENTRIES_AT = TEXTS_AT + sum(len(text.encode()) for text in TEXTS[:3])


def _patched(at: int, replacement: bytes) -> bytes:
    whole = bytearray(make(ROWS))
    whole[at : at + len(replacement)] = replacement
    return bytes(whole)


def _entry(number: int) -> int:
    return ENTRIES_AT + 14 * number


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (make(ROWS)[:-1], "1 bytes are missing at the end"),
        (make(ROWS)[:300], "bytes are missing at the end"),
        (make(ROWS)[:200], "not an xdb file"),
        (b"", "not an xdb file"),
        (bytes(600_000), "not an xdb file"),
        (_patched(0, b"\x04"), "not an xdb file"),
        (_patched(8, struct.pack("<I", 256)), "not an xdb file"),
        (_patched(12, struct.pack("<I", ENTRIES_AT + 1)), "not an xdb file"),
        (_patched(_entry(1), struct.pack("<I", 5)), "range 2 of 3 overlaps"),
        (_patched(_entry(1), struct.pack("<I", 10)), "range 2 of 3 ends before it begins"),
        (_patched(_entry(1) + 4, struct.pack("<I", 0x10009)), "not split at the first two bytes"),
        (_patched(_entry(0) + 2, b"\x05\0\0\0\x05"), "not in order"),
        (_patched(_entry(1) + 10, b"\xff\xff\xff\xff"), "beyond the end"),
        (_patched(_entry(0) + 8, struct.pack("<H", 4)), "is not UTF-8"),
        (_patched(_entry(0) + 8, struct.pack("<H", 6)), "1 columns instead of 5"),
        (_patched(256 + 2 * 8, bytes(8)), "index is wrong for addresses.*00 02"),
        (_patched(256 + 3 * 8, struct.pack("<II", 1, 1)), "index is wrong for addresses.*00 03"),
        (_patched(256, struct.pack("<I", _entry(1))), "index is wrong for addresses.*00 00"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        _read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path}/some.xdb: ")
    assert "\n" not in str(caught.value)


def test_an_ipv6_range_over_several_index_rows(tmp_path: Path) -> None:
    first = int(ipaddress.IPv6Address("2001:db8::"))
    last = int(ipaddress.IPv6Address("2003::ffff"))
    table = _read(tmp_path, make([(first, last, TEXTS[0])], 3, 6))
    assert to_numbers(table.v6.first)[0] == first
    assert to_numbers(table.v6.last)[-1] == last
    assert len(table.v6) == 3

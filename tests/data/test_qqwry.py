"""Reading qqwry.dat files; a well-known reader says what is right.

Faults of qqwry-py3 aren't copied: it takes an owner's position 0 for one in the file,
doesn't follow an owner's redirection of kind 1, and shows " CZ88.NET", which stands for
"unknown", as a text.
"""

import datetime
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qqwry import QQwry

from ipquery.address import to_text
from ipquery.data.formats import qqwry, recognise
from ipquery.data.formats.options import ReadOptions
from ipquery.data.ranges import RangeTable, to_numbers
from ipquery.data.record import DataError, Record
from tests.data.blending import coded
from tests.data.files_qqwry import UNKNOWN, Row
from tests.data.files_qqwry import qqwry as make
from tests.data.package_files import npm_file
from tests.data.reading import Found
from tests.data.tables import Rows, addresses_of_interest, rows_of, search

RAW = ReadOptions(("country", "isp"))
"""The two texts as they stand in the file."""

PAIRS = [
    ("河南省商丘市", "电信"),
    ("北京市海淀区", UNKNOWN),
    ("美国", "谷歌公司"),
    (UNKNOWN, UNKNOWN),
    ("IANA", "保留地址"),
    ("𠀀省", "é\u3000㐀"),  # what GBK has no characters for
]


def _read(tmp_path: Path, content: bytes, options: ReadOptions = ReadOptions()) -> RangeTable:
    path = tmp_path / "qqwry.dat"
    path.write_bytes(content)
    return qqwry.read(path, options)


def _rows(rows: Rows) -> list[Row]:
    return [(first, last, PAIRS[number]) for first, last, number in rows]


def _raw(pair: tuple[str, str]) -> Record | None:
    place, owner = ("" if text == UNKNOWN else text for text in pair)
    return Record(country=place, isp=owner) if place or owner else None


@given(rows_of(4, len(PAIRS)), st.data())
def test_it_reads_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, data: st.DataObject
) -> None:
    rows = rows or [(0, 0, 0)]
    content = make(_rows(rows), lambda ways: data.draw(st.integers(0, ways - 1)))
    found = Found(_read(tmp_path_factory.mktemp("qqwry"), content, RAW), 4)
    for number in addresses_of_interest(4, rows):
        pair = search(rows, number)
        assert found[number] == (None if pair is None else _raw(PAIRS[pair]))


@given(rows_of(4, len(PAIRS)), st.data())
def test_it_reads_what_a_well_known_reader_finds(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, data: st.DataObject
) -> None:
    rows = rows or [(0, 0, 0)]
    content = make(_rows(rows), lambda ways: data.draw(st.integers(0, ways - 1)), all_ways=False)
    found = Found(_read(tmp_path_factory.mktemp("qqwry"), content, RAW), 4)
    reader = QQwry()
    assert reader.load_file(content)
    for number in addresses_of_interest(4, rows):
        told = reader.lookup(to_text(4, number))
        assert found[number] == (None if told is None else _raw(told))


def test_faults_of_a_well_known_reader(tmp_path: Path) -> None:
    pair = ("美国", UNKNOWN)
    reader = QQwry()
    for way in (2, 3):
        content = make([(0, 9, pair)], {2: 0, 4: way}.__getitem__)
        assert list(_read(tmp_path, content).records) == [Record(country="美国")]
        reader.load_file(content)
        assert reader.lookup("0.0.0.1") not in (None, pair)


def test_texts_are_taken_apart(tmp_path: Path) -> None:
    rows = [
        (0, 9, ("河南省商丘市夏邑县", "电信/腾讯云")),
        (10, 19, ("华东师范大学", "教育网")),
        (20, 29, ("南京理工大学", "图书馆")),
        (30, 39, (UNKNOWN, UNKNOWN)),
    ]
    found = Found(_read(tmp_path, make(rows)), 4)
    assert found[0] == Record(
        country="中国",
        province="河南省",
        city="商丘市",
        district="夏邑县",
        org="腾讯云",
        isp="电信",
    )
    assert found[10] == Record(org="华东师范大学", isp="教育网")
    assert found[20] == Record(org="南京理工大学 图书馆")
    assert found[30] is None


def test_a_broken_text_costs_no_more_than_itself(tmp_path: Path) -> None:
    content = make([(0, 9, ("美国", "AB"))]).replace(b"AB", b"A\x81")
    assert list(_read(tmp_path, content).records) == [Record(country="美国", org="A\ufffd")]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2024年01月17日IP数据", datetime.date(2024, 1, 17)),
        ("2017年1月5日IP数据", datetime.date(2017, 1, 5)),
        ("2017年13月5日IP数据", None),
        ("保留地址", None),
    ],
)
def test_the_date_is_in_the_last_record(
    tmp_path: Path, text: str, date: datetime.date | None
) -> None:
    assert _read(tmp_path, make([(0, 2**32 - 1, ("纯真网络", text))])).date == date


def test_it_is_recognised_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "database"
    path.write_bytes(make([(0, 9, PAIRS[0]), (10, 19, PAIRS[1])]))
    assert recognise(path) is qqwry


def _patched(at: int, replacement: bytes) -> bytes:
    whole = bytearray(GOOD)
    whole[at : at + len(replacement)] = replacement
    return bytes(whole)


GOOD = make([(0, 9, ("a", "b")), (10, 19, ("c", "d"))])
# Records of 8 bytes at 8 and 16, the index at 24.


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (GOOD[:-1], "header doesn't fit"),
        (_patched(4, b"\xff"), "header doesn't fit"),
        (_patched(0, b"\x1e"), "header doesn't fit"),
        (_patched(0, b"\x01"), "header doesn't fit"),
        (_patched(31, b"\x09"), "range 2 of 2 overlaps"),
        (_patched(8, b"\x0a"), "range 2 of 2 overlaps"),
        (_patched(16, b"\x09"), "range 2 of 2 ends before it begins"),
        (_patched(28, b"\xff\xff\xff"), "lies beyond the end"),
        (_patched(12, b"\1\xff\xff\xff"), "lies beyond the end"),
        (_patched(12, b"\2\xff\xff\xff"), "no text ends within"),
        (_patched(12, b"\1\x0c\0\0"), "elsewhere a second time"),
        (_patched(12, b"\2\x0c\0\0"), "elsewhere a second time"),
        (struct.pack("<II", 2012, 2012) + b"x" * 2004 + b"\0\0\0\0\x08\0\0", "no text ends"),
        (b"", "header doesn't fit"),
        (bytes(100_000), "header doesn't fit"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        _read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path}/qqwry.dat: ")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def real_path() -> Path:
    """CZ88's file of 2024-01-17."""
    return npm_file("lib-qqwry", "1.3.4", "data/qqwry.dat")


@pytest.mark.parametrize("step", [97, pytest.param(1, marks=pytest.mark.soak)])
def test_ranges_of_a_real_file(real_path: Path, step: int) -> None:
    assert recognise(real_path) is qqwry
    table = qqwry.read(real_path, RAW)
    assert len(table.v4) == 547_698
    reader = QQwry()
    assert reader.load_file(str(real_path), loadindex=step == 1)
    raw = {number: _raw((r.country or "", r.isp or "")) for number, r in enumerate(table.records)}
    picked = slice(0, None, step)
    first_ones, last_ones = to_numbers(table.v4.first[picked]), to_numbers(table.v4.last[picked])
    numbers = table.v4.record[picked].tolist()
    for first, last, number in zip(first_ones, last_ones, numbers, strict=True):
        told = reader.lookup(to_text(4, first))
        assert told == reader.lookup(to_text(4, last))
        assert told is not None
        record = raw[number]
        assert record is not None
        assert record.country == told[0].strip()
        assert (record.isp or "") == told[1].strip().removeprefix("CZ88.NET")


def test_what_a_real_file_says(real_path: Path) -> None:
    table = qqwry.read(real_path)
    assert table.date == datetime.date(2024, 1, 17)
    found = Found(table, 4)
    assert found[0x08080808] == Record(
        country="美国", province="加利福尼亚州", city="山景市", org="谷歌公司DNS服务器"
    )
    # Every province that is named has a code, and nearly every city in China.
    places = [r for r in table.records[::9] if r.country == "中国" and r.province]
    assert len(places) > 10_000
    chinese = coded(places)
    assert all(record.province_code for record in chinese)
    named = [record for record in chinese if record.city and record.province_code != "710000"]
    assert sum(record.city_code is not None for record in named) > 0.999 * len(named)

"""Reading 17mon/IPIP .dat files."""

import datetime
import struct
from pathlib import Path

import pytest

from ipquery.data.formats import ipip_dat, recognise
from ipquery.data.formats.options import ReadOptions
from ipquery.data.ranges import RangeTable, to_numbers
from ipquery.data.record import DataError, Record
from tests.data.files import ipip_dat as make

LAST = 2**32 - 1
VERSION_RECORD = (LAST, "IPIP.NET\t20151001\t\t")


def _read(tmp_path: Path, content: bytes) -> RangeTable:
    path = tmp_path / "some.dat"
    path.write_bytes(content)
    return ipip_dat.read(path)


def _rows(table: RangeTable) -> list[tuple[int, int, Record]]:
    first, last = to_numbers(table.v4.first), to_numbers(table.v4.last)
    return [(a, b, table.records[k]) for a, b, k in zip(first, last, table.v4.record, strict=True)]


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("中国\t河南\t商丘", Record(country="中国", province="河南", city="商丘")),
        ("中国\t河南\t商丘\t", Record(country="中国", province="河南", city="商丘")),
        (
            "中国\t北京\t北京\t清华",
            Record(country="中国", province="北京", city="北京", org="清华"),
        ),
        (
            "中国\t河南\t商丘\t\t联通",
            Record(country="中国", province="河南", city="商丘", isp="联通"),
        ),
    ],
)
def test_editions_of_three_to_five_columns(tmp_path: Path, text: str, record: Record) -> None:
    table = _read(tmp_path, make([(0x00FFFFFF, text), VERSION_RECORD]))
    assert _rows(table)[0] == (0, 0x00FFFFFF, record)


def test_every_address_has_a_record_and_ranges_touch(tmp_path: Path) -> None:
    ends = [0, 1, 0x0100FFFF, 0x01010000, 0xDFFFFFFF, 0xFFFFFEFF]
    table = _read(tmp_path, make([*((end, f"c{end}\t\t") for end in ends), VERSION_RECORD]))
    rows = _rows(table)
    assert [first for first, _, _ in rows] == [0, *(end + 1 for end in ends)]
    assert [last for _, last, _ in rows] == [*ends, LAST]


def test_the_text_at_offset_0_is_a_text(tmp_path: Path) -> None:
    # 17mon/python reads it as "no data"
    rows = _rows(_read(tmp_path, make([(5, "保留地址\t保留地址\t\t"), VERSION_RECORD])))
    assert rows[0][2] == Record(country="保留地址", province="保留地址")


def test_the_date_is_in_the_version_record(tmp_path: Path) -> None:
    for text, date in (
        ("IPIP.NET\t20151001\t\t", datetime.date(2015, 10, 1)),
        ("IPIP.NET\t2018060516\t\t\t", datetime.date(2018, 6, 5)),
        ("保留地址\t保留地址\t\t", None),
    ):
        assert _read(tmp_path, make([(5, "a\tb\tc"), (LAST, text)])).date == date


def test_it_is_recognised_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "database"
    path.write_bytes(make([(5, "a\tb\tc"), VERSION_RECORD]))
    assert recognise(path) is ipip_dat


def _entry(number: int) -> int:
    return 1028 + 8 * number


def _patched(at: int, replacement: bytes) -> bytes:
    whole = bytearray(make([(5, "甲\tb\tc"), (0x01FFFFFF, "d\te\tf"), VERSION_RECORD]))
    whole[at : at + len(replacement)] = replacement
    return bytes(whole)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (_patched(_entry(1), struct.pack(">I", 5)), "record 2 of 3 doesn't end after"),
        (_patched(_entry(2), struct.pack(">I", LAST - 1)), "doesn't end at 255.255.255.255"),
        (_patched(4 + 4 * 200, struct.pack("<I", 1)), "header doesn't fit"),
        (_patched(4 + 4, struct.pack("<I", 2)), "wrong record for 1.0.0.0/8"),
        (_patched(_entry(1) + 4, b"\xff\xff\xff"), "beyond the end"),
        (_patched(_entry(2) + 7, b"\xff"), "beyond the end"),
        (_patched(_entry(0) + 4, b"\x01"), "is not UTF-8"),
        (_patched(_entry(0) + 7, b"\x03"), "a record has 1 columns instead of 3 to 5"),
        (_patched(0, b"\0\0\0\0"), "header doesn't fit"),
        (_patched(0, b"\xff\xff\xff\xff"), "header doesn't fit"),
        (make([(5, "a\tb\tc\td\te\tf"), VERSION_RECORD]), "6 columns instead of 3 to 5"),
        (b"", "header doesn't fit"),
        (bytes(5000), "header doesn't fit"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        _read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path}/some.dat: ")
    assert "\n" not in str(caught.value)


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "own.dat"
    path.write_bytes(make([(5, "x\ty\tz"), (LAST, "k\tl\tm")]))
    table = ipip_dat.read(path, ReadOptions(("isp", "", "country")))
    assert list(table.records) == [Record(isp="x", country="z"), Record(isp="k", country="m")]

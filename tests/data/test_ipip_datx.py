"""Reading IPIP .datx files; the vendor's own reader says what is right."""

import datetime
import struct
from pathlib import Path

import datx as vendor
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.address import to_text
from ipquery.data.formats import ipip_datx, recognise
from ipquery.data.formats.options import ReadOptions
from ipquery.data.ranges import RangeTable
from ipquery.data.record import DataError, Record
from tests.data.files import ipip_dat
from tests.data.files_ipip import datx, district_datx
from tests.data.reading import Found
from tests.data.tables import Rows, addresses_of_interest, rows_of, search

LAST = 2**32 - 1
VERSION_RECORD = (LAST, "IPIP.NET\t20180411\t\t\t")
SHANGQIU = (
    "中国\t河南\t商丘\t\t联通\t34.414172\t115.656358\tAsia/Shanghai\tUTC+8\t411400\t86\tCN\tAP"
)


def _read(tmp_path: Path, content: bytes, columns: tuple[str, ...] | None = None) -> RangeTable:
    path = tmp_path / "some.datx"
    path.write_bytes(content)
    return ipip_datx.read(path, ReadOptions(columns))


def _record(tmp_path: Path, text: str) -> Record:
    found = Found(_read(tmp_path, datx([(5, text), VERSION_RECORD])), 4)[5]
    assert found is not None
    return found


@given(rows_of(4, 8), st.booleans())
def test_it_reads_what_the_vendors_reader_finds(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, districts: bool
) -> None:
    texts = ["\t".join(f"{name}{n}" * n for name in "kpcoi") for n in range(1, 30, 4)]
    texts.append("长" * 500 + "\t\t\t\t")  # longer than one byte can say
    if districts:  # whose length is one byte
        texts = [text if len(text) < 80 else "a\tb\tc\td\te" for text in texts]
    rows = rows or [(0, 0, 0)]
    if districts:
        content = district_datx([(a, b, texts[n]) for a, b, n in rows])
        expected = {n: search(rows, n) for n in addresses_of_interest(4, rows)}
    else:
        ends = sorted({last for _, last, _ in rows} | {LAST})
        content = datx([(end, texts[k % 8]) for k, end in enumerate(ends)])
        expected = {
            n: next(k % 8 for k, end in enumerate(ends) if n <= end)
            for n in addresses_of_interest(4, rows)
        }
    folder = tmp_path_factory.mktemp("datx")
    found = Found(_read(folder, content, ("country", "province", "city", "org", "isp")), 4)
    reader = (vendor.District if districts else vendor.City)(f"{folder}/some.datx")
    for number, text in expected.items():
        record = found[number]
        told = reader.find(to_text(4, number))
        if text is None:
            assert record is None
            assert told is None
            continue
        assert told == texts[text].split("\t")
        country, province, city, org, isp = told
        assert record == Record(country=country, province=province, city=city, org=org, isp=isp)


@pytest.mark.parametrize("extra", ["", "\t\t\tCHN\t0", "\tIDC\t\tCHN\t0\tCNY\tYuan\tANYCAST"])
def test_editions_of_13_to_20_columns(tmp_path: Path, extra: str) -> None:
    assert _record(tmp_path, SHANGQIU.replace("AP", "AS") + extra) == Record(
        country="中国",
        country_code="CN",
        province="河南",
        province_code="410000",
        city="商丘",
        city_code="411400",
        isp="联通",
        continent_code="AS",
        latitude=34.414172,
        longitude=115.656358,
        time_zone="Asia/Shanghai",
    )


def test_editions_of_five_columns(tmp_path: Path) -> None:
    assert _record(tmp_path, "中国\t北京\t北京\t清华\t教育网") == Record(
        country="中国", province="北京", city="北京", org="清华", isp="教育网"
    )


def test_what_is_no_code_of_a_continent_or_country_is_left_out(tmp_path: Path) -> None:
    record = _record(tmp_path, SHANGQIU.replace("CN\tAP", "*\t*"))
    assert record.country_code is None
    assert record.continent_code is None


@pytest.mark.parametrize(
    ("code", "province", "city"),
    [
        ("410000", "410000", None),
        ("411400", "410000", "411400"),
        ("411426", "410000", "411400"),  # a county
        ("110108", "110000", "110000"),  # a municipality is its own city
        ("429004", "420000", "429004"),  # 仙桃市: no prefecture above it
        ("810000", "810000", None),
        ("41", None, None),
        ("091400", None, None),
        ("", None, None),
    ],
)
def test_the_admin_code_is_that_of_the_finest_division(
    tmp_path: Path, code: str, province: str | None, city: str | None
) -> None:
    record = _record(tmp_path, SHANGQIU.replace("411400", code))
    assert (record.province_code, record.city_code) == (province, city)


def test_district_editions_name_districts_and_have_gaps(tmp_path: Path) -> None:
    text = "中国\t河南\t商丘\t夏邑县\t411426\t30.5\t116.13\t34.23"
    found = Found(_read(tmp_path, district_datx([(5, 9, text)])), 4)
    assert found[4] is None
    assert found[10] is None
    assert found[5] == Record(
        country="中国",
        province="河南",
        province_code="410000",
        city="商丘",
        city_code="411400",
        district="夏邑县",
    )


def test_base_station_editions_name_owner_and_provider(tmp_path: Path) -> None:
    text = "中国\t河南\t商丘\t\t移动\tBS"
    assert Found(_read(tmp_path, district_datx([(5, 9, text)])), 4)[7] == Record(
        country="中国", province="河南", city="商丘", isp="移动"
    )


def test_the_date_is_in_the_version_record(tmp_path: Path) -> None:
    table = _read(tmp_path, datx([(5, "a\tb\tc\td\te"), VERSION_RECORD]))
    assert table.date == datetime.date(2018, 4, 11)


def test_a_dat_and_a_datx_file_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "database"
    # Texts enough that records might end where a .dat file's would. Of eight lengths
    # one fits its header, too.
    for count in range(7, 15):
        rows = [(end * 2**20, f"{end}\tb\tc\td\t{'e' * 50_000}") for end in range(count)]
        path.write_bytes(datx([*rows, VERSION_RECORD]))
        assert recognise(path) is ipip_datx
    path.write_bytes(
        ipip_dat([*((end * 2**12, "a\tb\tc") for end in range(70_000)), (LAST, "x\ty\tz")])
    )
    assert recognise(path).NAME == "ipip-dat"


def test_columns_can_be_named(tmp_path: Path) -> None:
    columns = ("isp", "", "", "", "country")
    table = _read(tmp_path, datx([(LAST, "x\ty\tz\tu\tv")]), columns)
    assert list(table.records) == [Record(isp="x", country="v")]


def _entry(number: int) -> int:
    return 262148 + 9 * number


def _patched(at: int, replacement: bytes) -> bytes:
    whole = bytearray(datx([(5, "甲\tb\tc\td\te"), (0x01FFFFFF, "d\te\tf\tg\th"), VERSION_RECORD]))
    whole[at : at + len(replacement)] = replacement
    return bytes(whole)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (_patched(_entry(1), struct.pack(">I", 5)), "neither rise up to 255.255.255.255"),
        (_patched(_entry(2), struct.pack(">I", LAST - 1)), "neither rise up to 255.255.255.255"),
        (_patched(4 + 4 * 200, struct.pack("<I", 9)), "header doesn't fit"),
        (_patched(_entry(1) + 4, b"\xff\xff\xff"), "beyond the end"),
        (_patched(_entry(2) + 7, b"\xff\xff"), "beyond the end"),
        (_patched(_entry(0) + 4, b"\x01"), "is not UTF-8"),
        (_patched(_entry(0) + 8, b"\x03"), "a record has 1 columns instead of 5 to 20"),
        (_patched(0, b"\0\0\0\0"), "header doesn't fit"),
        (_patched(0, b"\xff\xff\xff\xff"), "header doesn't fit"),
        (datx([(LAST, "\t" * 20)]), "21 columns instead of 5 to 20"),
        (datx([(LAST, SHANGQIU.replace("34.4", "94.4"))]), "latitude 94.4.* is out of bounds"),
        (district_datx([(5, 9, "a\tb\tc\td\te"), (9, 12, "a\tb\tc\td\te")]), "neither rise"),
        (b"", "header doesn't fit"),
        (bytes(600_000), "header doesn't fit"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        _read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path}/some.datx: ")
    assert "\n" not in str(caught.value)

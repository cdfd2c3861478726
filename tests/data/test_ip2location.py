"""Reading IP2Location BIN files; the vendor's own reader says what is right.

Its faults aren't copied: it takes UTF-8 for Latin-1, and fails on the DB26 files that
have the 25 columns of the product's first years.
"""

import datetime
import itertools
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IP2Location import IP2Location

from ipquery.address import to_text
from ipquery.data.formats import ip2location, recognise
from ipquery.data.formats.options import ReadOptions
from ipquery.data.ranges import RangeTable, to_numbers
from ipquery.data.record import DataError, Record
from tests.data.files_ip2location import FIELDS, Row
from tests.data.files_ip2location import ip2location as make
from tests.data.package_files import sdist_file
from tests.data.reading import Found
from tests.data.tables import LAST, addresses_of_interest
from tests.examples import many

BERLIN = {
    "country_short": "DE",
    "country_long": "Germany",
    "region": "Berlin",
    "city": "Berlin",
    "latitude": "52.524525",
    "longitude": "13.410037",
    "zipcode": "10178",
    "timezone": "+02:00",
    "isp": "Deutsche Telekom AG",
    "domain": "telekom.de",
    "district": "Mitte",
    "asn": "3320",
    "as": "Deutsche Telekom AG",
    "usagetype": "ISP",
}
ZURICH = {
    "country_short": "CH",
    "country_long": "Switzerland",
    "region": "Zürich",
    "city": "Zürich",
    "latitude": "-47.3667",
    "longitude": "-8.55",
    "isp": "Sunrise",
}
NOTHING: dict[str, str] = {}
PLACES = [BERLIN, ZURICH, {"country_short": "CN", "country_long": "China"}, NOTHING]


def _read(tmp_path: Path, content: bytes, options: ReadOptions = ReadOptions()) -> RangeTable:
    path = tmp_path / "some.bin"
    path.write_bytes(content)
    return ip2location.read(path, options)


def test_the_columns_of_every_product_are_the_vendors() -> None:
    names = {
        "country": "country",
        "province": "region",
        "city": "city",
        "latitude": "latitude",
        "longitude": "longitude",
        "postal_code": "zipcode",
        "isp": "isp",
        "org": "domain",
        "district": "district",
        "asn": "asn",
        "as_org": "as",
    }
    for name, positions in ip2location._POSITIONS.items():
        assert (0, *positions) == FIELDS[names[name]]
    for product, columns in enumerate(ip2location._COLUMNS, 1):
        assert columns == max(positions[product] for positions in FIELDS.values())


def _starts(version: int) -> st.SearchStrategy[list[int]]:
    low = st.sampled_from([0, 2**16, 0xFFFF << 32, 0x2001 << 112, 0x20010DB8 << 96, 0x2002 << 112])
    some = st.integers(0, LAST[version] - 1)
    if version == 6:
        some |= st.builds(lambda base, more: base + more, low, st.integers(0, 3))
    return st.lists(some, max_size=12, unique=True).map(sorted)


@st.composite
def _tables(draw: st.DrawFn) -> tuple[int, dict[int, list[Row]]]:
    product = draw(st.integers(1, 26))
    tables: dict[int, list[Row]] = {}
    for version in (4, 6):
        starts = draw(_starts(version))
        tables[version] = [(start, draw(st.sampled_from(PLACES))) for start in starts]
    if not tables[4] and not tables[6]:
        tables[4] = [(0, BERLIN)]
    return product, tables


def _told(record: Any, product: int) -> Record | None:
    """What the vendor's reader says, in our fields."""
    if record is None or "MISSING" in record.country_short:
        return None

    def text(name: str, field: str) -> str | None:
        if not FIELDS[field][product] or getattr(record, name) == "-":
            return None
        # UTF-8 that was taken for Latin-1
        told: str = getattr(record, name).encode("latin-1").decode()
        return told

    known = record.country_short != "-"
    number = {
        name: float(getattr(record, name)) if known and FIELDS[name][product] else None
        for name in ("latitude", "longitude")
    }
    asn = text("asn", "asn")
    found = Record(
        country=text("country_long", "country"),
        country_code=text("country_short", "country"),
        province=text("region", "region"),
        city=text("city", "city"),
        org=text("domain", "domain"),
        isp=text("isp", "isp"),
        district=text("district", "district"),
        postal_code=text("zipcode", "zipcode"),
        latitude=number["latitude"],
        longitude=number["longitude"],
        asn=int(asn) if asn else None,
        as_org=text("as_name", "as"),
    )
    return None if found == Record() else found


def _in_ipv4(number: int) -> bool:
    """Whether the vendor's reader asks the IPv4 table for an IPv6 address."""
    return number >> 32 == 0xFFFF or number >> 112 == 0x2002 or number >> 96 == 0x20010000


@many(2)
@given(_tables())
def test_it_reads_what_the_vendors_reader_finds(
    tmp_path_factory: pytest.TempPathFactory, given: tuple[int, dict[int, list[Row]]]
) -> None:
    product, tables = given
    folder = tmp_path_factory.mktemp("ip2location")
    # The vendor's search may look at one row past a table, here past the file.
    table = _read(folder, make(tables[4], tables[6], product) + bytes(160))
    with IP2Location(f"{folder}/some.bin") as reader:
        for version in (4, 6):
            found = Found(table, version)
            rows = [(start, start, 0) for start, _ in tables[version]]
            for number in addresses_of_interest(version, rows):
                if version == 6 and _in_ipv4(number):
                    assert found[number] is None
                    continue
                told = reader.get_all(to_text(version, number)) if tables[version] else None
                assert found[number] == _told(told, product)


def test_faults_of_the_vendors_reader(tmp_path: Path) -> None:
    zurich = _read(tmp_path, make([(0, ZURICH)], [], 3)).records[0]
    assert zurich.city == "Zürich"
    with IP2Location(f"{tmp_path}/some.bin") as reader:
        assert reader.get_all("1.2.3.4").city == "ZÃ¼rich"
    berlin = _read(tmp_path, make([(0, BERLIN)], [], 26, columns=25)).records[0]
    assert (berlin.asn, berlin.as_org) == (3320, "Deutsche Telekom AG")
    with IP2Location(f"{tmp_path}/some.bin") as reader, pytest.raises(struct.error):
        reader.get_all("1.2.3.4")


@pytest.mark.parametrize("columns", [25, 28, 30])
def test_every_field(tmp_path: Path, columns: int) -> None:
    table = _read(tmp_path, make([(0, BERLIN)], [], 26, columns=columns))
    assert list(table.records) == [
        Record(
            country="Germany",
            country_code="DE",
            province="Berlin",
            city="Berlin",
            org="telekom.de",
            isp="Deutsche Telekom AG",
            district="Mitte",
            postal_code="10178",
            latitude=52.524525,
            longitude=13.410037,
            asn=3320,
            as_org="Deutsche Telekom AG",
        )
    ]


def test_old_files_are_latin_1(tmp_path: Path) -> None:
    content = make([(0, ZURICH)], [], 3, date=(8, 12, 1), code=0, encoding="latin-1")
    table = _read(tmp_path, content)
    assert table.records[0].city == "Zürich"
    assert table.date == datetime.date(2008, 12, 1)


def test_the_last_row_only_ends_the_table(tmp_path: Path) -> None:
    for count in (0, 1):
        content = bytearray(make([(0, BERLIN), (LAST[4] - 5, ZURICH)], [], 3))
        # Without it the row before reaches as far.
        content[5] -= count
        table = _read(tmp_path, bytes(content))
        assert to_numbers(table.v4.first) == [0, LAST[4] - 5]
        assert to_numbers(table.v4.last) == [LAST[4] - 6, LAST[4]]


def test_what_ipv4_answers_for_is_left_out_of_ipv6(tmp_path: Path) -> None:
    ranges = _read(tmp_path, make([], [(0, BERLIN)], 3)).v6
    gaps = [(0xFFFF << 32, 96), (0x20010000 << 96, 32), (0x2002 << 112, 16)]
    assert to_numbers(ranges.last)[:-1] == [begin - 1 for begin, _ in gaps]
    assert to_numbers(ranges.first)[1:] == [begin + (1 << 128 - size) for begin, size in gaps]
    assert to_numbers(ranges.last)[-1] == LAST[6]


def test_columns_dont_apply(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`columns` don't apply to ip2location"):
        _read(tmp_path, make([(0, BERLIN)], []), ReadOptions(("country",)))


def test_it_is_recognised_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "database"
    for product in range(1, 27):
        path.write_bytes(make([(0, BERLIN), (99, NOTHING)], [(0, BERLIN)], product))
        assert recognise(path) is ip2location


def test_ip2proxy_is_not_taken_for_it(tmp_path: Path) -> None:
    content = bytearray(make([(0, BERLIN)], [], 3))
    content[29] = 2
    with pytest.raises(DataError, match=r"not an ip2location file.*IP2Proxy"):
        _read(tmp_path, bytes(content))


GOOD = make([(0, BERLIN), (1000, ZURICH)], [(0, BERLIN), (1000, ZURICH)], 5)
ROW = 64
ROW_IPV6 = 64 + 3 * 24


def _patched(changes: Mapping[int, bytes]) -> bytes:
    whole = bytearray(GOOD)
    for at, replacement in changes.items():
        whole[at : at + len(replacement)] = replacement
    return bytes(whole)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (GOOD[:-1], "header doesn't fit"),
        (_patched({0: b"\0"}), "header doesn't fit"),
        (_patched({0: b"\x1b"}), "header doesn't fit"),
        (_patched({1: b"\x07"}), "header doesn't fit"),
        (_patched({3: b"\x0d"}), "header doesn't fit"),
        (_patched({5: b"\xff\xff\xff\xff"}), "header doesn't fit"),
        (_patched({9: b"\xff\xff\xff\xff"}), "header doesn't fit"),
        (_patched({9: b"\0\0\0\0"}), "header doesn't fit"),
        (_patched({17: b"\xff\xff\xff\xff"}), "header doesn't fit"),
        (_patched({5: bytes(12)}), "header doesn't fit"),
        (_patched({ROW: b"\xff\xff"}), "row 2 of 3 for IPv4 doesn't begin after"),
        (_patched({ROW_IPV6 + 36: bytes(2)}), "row 2 of 3 for IPv6 doesn't begin after"),
        (_patched({ROW + 4: b"\xff\xff\xff\xff"}), "lies beyond the end"),
        (_patched({ROW + 8: struct.pack("<I", len(GOOD) - 1)}), "lies beyond the end"),
        (_patched({ROW + 16: struct.pack("<f", 90.5)}), "latitude 90.5 is out of bounds"),
        (_patched({ROW + 16: struct.pack("<f", float("nan"))}), "latitude nan is out of bounds"),
        (_patched({ROW + 20: struct.pack("<f", float("inf"))}), "longitude inf is out of bounds"),
        (b"", "header doesn't fit"),
        (bytes(100_000), "header doesn't fit"),
        (b"PK\x03\x04" + bytes(1000), "header doesn't fit"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        _read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path}/some.bin: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["IP-COUNTRY.BIN", "IPV6-COUNTRY.BIN"])
@pytest.mark.parametrize("step", [101, pytest.param(1, marks=pytest.mark.soak)])
def test_ranges_of_real_files(name: str, step: int) -> None:
    path = sdist_file("ip2location", "8.0.0", f"data/{name}")
    assert recognise(path) is ip2location
    table = ip2location.read(path)
    assert table.date == datetime.date(2014, 12, 4)
    assert len(table.v4) == 112_518
    assert len(table.v6) == (63_884 if "6" in name else 0)
    with IP2Location(str(path)) as reader:
        for version, ranges in ((4, table.v4), (6, table.v6)):
            first, last = to_numbers(ranges.first), to_numbers(ranges.last)
            for at in range(0, len(first), step):
                record = table.records[ranges.record[at]]
                for number in (first[at], last[at]):
                    told = _told(reader.get_all(to_text(version, number)), 1)
                    assert (told or Record()) == record
            # Gaps are what IPv4 answers for.
            for end, begin in itertools.pairwise(zip(first, last, strict=True)):
                assert begin[0] == end[1] + 1 or _in_ipv4(end[1] + 1)

"""Reading CSV files: layouts, dialects, ranges and prefixes, damage."""

import csv
import io
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.address import parse, to_text
from ipquery.data.formats import csv_file, recognise
from ipquery.data.formats.options import ReadOptions
from ipquery.data.ranges import Ranges, RangeTable, to_numbers
from ipquery.data.record import DataError, Record
from tests.data.geoip2_files import BLOCKS_V4, BLOCKS_V6, EN, LOCATIONS, ZH
from tests.data.mmdb_files import networks_of
from tests.data.published import ASN_V4, ASN_V4_NUMERIC, ASN_V6, ASN_V6_NUMERIC, published
from tests.data.reading import finder, mutations, outcome
from tests.data.tables import Rows, addresses_of_interest, rows_of, search

RECORDS = [
    Record(country_code="AU", province='Queens"land', city="South Brisbane"),
    Record(country_code="CN", city="北京, 东城"),
    Record(country_code="US", province="line\nbreak", city="x;y\tz"),
    Record(country_code="TH"),
    Record(),
]
FIELDS = ("country_code", "province", "city")


def _read(tmp_path: Path, content: str | bytes, *columns: str) -> RangeTable:
    path = tmp_path / "some.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return csv_file.read(path, ReadOptions(columns or None))


@st.composite
def _files(draw: st.DrawFn) -> tuple[Rows, Rows, str, tuple[str, ...]]:
    """Ranges of both versions, the file that holds them, and the names of its columns."""
    kind = draw(st.sampled_from(("text", "number", "prefix")))
    v4: Rows = draw(rows_of(4, len(RECORDS)))
    v6: Rows = draw(rows_of(6, len(RECORDS)))
    # Numbers below 2**32 among others would be of IPv4; IPv4-mapped addresses are.
    v6 = [row for row in v6 if row[1] >> 48]
    if kind == "number":
        v4, v6 = draw(st.sampled_from(((v4, []), ([], v6))))
    lines: list[list[str]] = []
    for version, rows in ((4, v4), (6, v6)):
        if kind == "prefix":
            for first, length, record in networks_of(version, rows):
                lines.append([f"{to_text(version, first)}/{length}", *_texts(record)])
            continue
        for first, last, record in rows:
            ends = (first, last)
            texts = [to_text(version, n) if kind == "text" else str(n) for n in ends]
            lines.append([*texts, *_texts(record)])
    if draw(st.booleans()):
        draw(st.randoms(use_true_random=False)).shuffle(lines)
    columns = (*(["network"] if kind == "prefix" else ["first", "last"]), *FIELDS)
    order = list(range(len(columns)))
    if draw(st.booleans()):
        order = draw(st.permutations(order))
    if draw(st.booleans()):
        lines.insert(0, [*columns])
    out = io.StringIO()
    writer = csv.writer(
        out,
        delimiter=draw(st.sampled_from(",;\t")),
        quoting=draw(st.sampled_from((csv.QUOTE_ALL, csv.QUOTE_MINIMAL))),
        lineterminator=draw(st.sampled_from(("\n", "\r\n"))),
    )
    writer.writerows([line[place] for place in order] for line in lines)
    text = draw(st.sampled_from(("", "\ufeff"))) + out.getvalue()
    return v4, v6, text, tuple(columns[place] for place in order)


def _texts(record: int) -> list[str]:
    return [getattr(RECORDS[record], name) or "" for name in FIELDS]


@given(_files())
def test_it_reads_what_was_written(given: tuple[Rows, Rows, str, tuple[str, ...]]) -> None:
    v4, v6, text, columns = given
    path = Path("/dev/shm") / f"ipquery-test-{os.getpid()}.csv"
    path.write_bytes(text.encode())
    try:
        if not v4 and not v6:
            return
        find = finder(csv_file.read(path, ReadOptions(columns)))
    finally:
        path.unlink()
    for version, rows in ((4, v4), (6, v6)):
        for number in addresses_of_interest(version, rows):
            if version == 6 and number >> 32 == 0xFFFF:
                continue  # never looked up: IPv4 is
            expected = search(rows, number)
            assert find(version, number) == (None if expected is None else RECORDS[expected])


# Layouts


IP2_PLACE = '"CN","China","Henan","Shangqiu"'
IP2_WHERE = f'{IP2_PLACE},"34.450000","115.650000"'
HERE = Record(country="China", country_code="CN", province="Henan", city="Shangqiu")
THERE = Record(
    country="China",
    country_code="CN",
    province="Henan",
    city="Shangqiu",
    latitude=34.45,
    longitude=115.65,
)


_with = attrs.evolve


LAYOUTS = [
    ("ip-location-db country", "{range},AU", Record(country_code="AU")),
    (
        "ip-location-db city",
        "{range},AU,Queensland,,South Brisbane,4101,-27.4748,153.017,Australia/Brisbane",
        Record(
            country_code="AU",
            province="Queensland",
            city="South Brisbane",
            postal_code="4101",
            latitude=-27.4748,
            longitude=153.017,
            time_zone="Australia/Brisbane",
        ),
    ),
    (
        "ip-location-db city without time zone",
        '{range},US,California,"Santa Clara County",Mountain View,,37.4229,-122.085,',
        Record(
            country_code="US",
            province="California",
            district="Santa Clara County",
            city="Mountain View",
            latitude=37.4229,
            longitude=-122.085,
        ),
    ),
    (
        "asn",
        '{range},13335,"Cloudflare, Inc."',
        Record(asn=13335, as_org="Cloudflare, Inc."),
    ),
    ("DB-IP country", "{range},NA,US", Record(continent_code="NA", country_code="US")),
    (
        "DB-IP city lite",
        '{range},OC,AU,Queensland,"South Brisbane",-27.4767,153.017',
        Record(
            continent_code="OC",
            country_code="AU",
            province="Queensland",
            city="South Brisbane",
            latitude=-27.4767,
            longitude=153.017,
        ),
    ),
    (
        "DB-IP location",
        '{range},NA,US,CA,California,"Santa Clara County","Mountain View",94043,37.4229,-122.085,'
        "5375480,-7,America/Los_Angeles,USCA0746",
        Record(
            continent_code="NA",
            country_code="US",
            subdivision_code="US-CA",
            province="California",
            district="Santa Clara County",
            city="Mountain View",
            postal_code="94043",
            latitude=37.4229,
            longitude=-122.085,
            time_zone="America/Los_Angeles",
        ),
    ),
    (
        "DB-IP location and ISP",
        '{range},NA,US,California,"Santa Clara County","Mountain View",94043,37.4229,-122.085,'
        '5375480,-7,America/Los_Angeles,USCA0746,"Level 3 Communications",15169,fttx,"Google Inc."',
        Record(
            continent_code="NA",
            country_code="US",
            province="California",
            district="Santa Clara County",
            city="Mountain View",
            postal_code="94043",
            latitude=37.4229,
            longitude=-122.085,
            time_zone="America/Los_Angeles",
            isp="Level 3 Communications",
            asn=15169,
            org="Google Inc.",
        ),
    ),
    ("IP2Location DB1", '{range},"CN","China"', Record(country_code="CN", country="China")),
    (
        "IP2Location DB2",
        '{range},"CN","China","ChinaNet"',
        Record(country_code="CN", country="China", isp="ChinaNet"),
    ),
    ("IP2Location DB3", f"{{range}},{IP2_PLACE}", HERE),
    ("IP2Location DB4", f'{{range}},{IP2_PLACE},"ChinaNet"', _with(HERE, isp="ChinaNet")),
    ("IP2Location DB5", f"{{range}},{IP2_WHERE}", THERE),
    ("IP2Location DB6", f'{{range}},{IP2_WHERE},"ChinaNet"', _with(THERE, isp="ChinaNet")),
    (
        "IP2Location DB7",
        f'{{range}},{IP2_PLACE},"ChinaNet","chinanet.cn"',
        _with(HERE, isp="ChinaNet"),
    ),
    (
        "IP2Location DB8",
        f'{{range}},{IP2_WHERE},"ChinaNet","chinanet.cn"',
        _with(THERE, isp="ChinaNet"),
    ),
    ("IP2Location DB9", f'{{range}},{IP2_WHERE},"476000"', _with(THERE, postal_code="476000")),
    (
        "IP2Location DB11",
        f'{{range}},{IP2_WHERE},"476000","+08:00"',
        _with(THERE, postal_code="476000"),
    ),
    ("IP2Location DB13", f'{{range}},{IP2_WHERE},"+08:00","DSL"', THERE),
    (
        "IP2Location DB26",
        f'{{range}},{IP2_WHERE},"476000","+08:00","ChinaNet","chinanet.cn","DSL","86","0370",'
        '"CHXX0001","Shangqiu","460","01","China Telecom","50","ISP","U","IAB19","Suiyang",'
        '"4134","ChinaNet Backbone"',
        _with(
            THERE,
            postal_code="476000",
            isp="ChinaNet",
            district="Suiyang",
            asn=4134,
            as_org="ChinaNet Backbone",
        ),
    ),
    (
        "IP2Location LITE ASN",
        '{range},"1.2.3.0/24","13335","Cloudflare, Inc."',
        Record(asn=13335, as_org="Cloudflare, Inc."),
    ),
]


ENDS = [
    (4, "1.2.3.0,1.2.3.255"),
    (4, '"16909056","16909311"'),
    (6, "2a00::,2a00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    (6, "55828214085043681575463550121838379008,55833405381602222443516853274384236543"),
    (4, "281470698652416,281470698652671"),
    (4, "::ffff:1.2.3.0,::ffff:1.2.3.255"),
]
NUMERIC_ENDS = [(version, ends) for version, ends in ENDS if ":" not in ends and "." not in ends]
IP2LOCATION = [layout for layout in LAYOUTS if layout[0].startswith("IP2Location")]
CASES = [
    pytest.param(line, expected, version, ends, id=f"{name}-{ends}")
    for name, line, expected in LAYOUTS
    for version, ends in (NUMERIC_ENDS if name.startswith("IP2Location") else ENDS)
]


@pytest.mark.parametrize(("line", "expected", "version", "ends"), CASES)
def test_layouts_without_a_header(
    tmp_path: Path, line: str, expected: Record, version: int, ends: str
) -> None:
    table = _read(tmp_path, line.format(range=ends) + "\n")
    assert recognise(tmp_path / "some.csv") is csv_file
    assert list(table.records) == [expected]
    assert (len(table.v4), len(table.v6)) == (version == 4, version == 6)
    if version == 4:
        (first,), (last,) = to_numbers(table.v4.first), to_numbers(table.v4.last)
        assert (to_text(4, first), to_text(4, last)) == ("1.2.3.0", "1.2.3.255")


@pytest.mark.parametrize("line", [line for _, line, _ in IP2LOCATION])
def test_ip2locations_columns_behind_texts_are_somebody_elses(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match="no layout that ipquery knows; name them"):
        _read(tmp_path, line.format(range="1.2.3.0,1.2.3.255"))


def test_what_ip2location_doesnt_know_is_a_dash(tmp_path: Path) -> None:
    lines = (
        '"0","16777215","-","-","-","-","0.000000","0.000000","-","-"\r\n'
        '"16777216","16777471","AU","Australia","Queensland","Brisbane","-27.4","153.0","4000","+10:00"\r\n'
    )
    find = finder(_read(tmp_path, lines))
    assert find(4, 0) == Record(latitude=0, longitude=0)
    found = find(4, 16777216)
    assert found is not None
    assert (found.country_code, found.postal_code, found.time_zone) == ("AU", "4000", None)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "network,country,country_code,continent,continent_code,asn,as_name,as_domain\n"
            '1.2.3.0/24,Australia,AU,Oceania,OC,AS13335,"Cloudflare, Inc.",cloudflare.com\n',
            Record(
                country="Australia",
                country_code="AU",
                continent_code="OC",
                asn=13335,
                as_org="Cloudflare, Inc.",
            ),
        ),
        (
            "start_ip,end_ip,country,country_name,continent,continent_name,asn,as_name,as_domain\n"
            "1.2.3.0,1.2.3.255,AU,Australia,OC,Oceania,AS13335,Cloudflare,cloudflare.com\n",
            Record(
                country="Australia",
                country_code="AU",
                continent_code="OC",
                asn=13335,
                as_org="Cloudflare",
            ),
        ),
        (
            "network,autonomous_system_number,autonomous_system_organization\n"
            "1.2.3.0/24,13335,CLOUDFLARENET\n",
            Record(asn=13335, as_org="CLOUDFLARENET"),
        ),
        (
            "Network;Country_Code;Region;City;Latitude;Longitude\r\n"
            "1.2.3.0/24;RU;Sverdlovsk Oblast;Yekaterinburg;56.8;60.6\r\n",
            Record(
                country_code="RU",
                province="Sverdlovsk Oblast",
                city="Yekaterinburg",
                latitude=56.8,
                longitude=60.6,
            ),
        ),
    ],
)
def test_layouts_told_by_their_header(tmp_path: Path, content: str, expected: Record) -> None:
    table = _read(tmp_path, content)
    assert recognise(tmp_path / "some.csv") is csv_file
    assert list(table.records) == [expected]
    assert to_numbers(table.v4.last) == [parse("1.2.3.255")[1]]


def test_columns_can_be_named_with_and_without_a_header(tmp_path: Path) -> None:
    columns = ("country", "last", "", "first")
    for header in ("", "land,until,remark,from\n"):
        table = _read(tmp_path, f"{header}France,1.2.3.255,x,1.2.3.0\n", *columns)
        assert list(table.records) == [Record(country="France")]
        assert to_numbers(table.v4.first) == [parse("1.2.3.0")[1]]


def test_a_last_line_without_an_end_and_blank_lines(tmp_path: Path) -> None:
    table = _read(tmp_path, "1.0.0.0,1.0.0.255,AU\n\n1.0.1.0,1.0.1.255,AU")
    assert list(table.records) == [Record(country_code="AU")]
    assert to_numbers(table.v4.last) == [parse("1.0.1.255")[1]]


def test_a_line_that_reaches_into_the_next_ends_where_that_begins(tmp_path: Path) -> None:
    lines = [f"1.{n >> 8}.{n & 255}.0,1.{n >> 8}.{n & 255}.255,AU" for n in range(2000)]
    lines[1000] = "1.3.232.0,1.3.233.127,NZ"  # the next begins at 1.3.233.0
    find = finder(_read(tmp_path, "\n".join(lines)))
    assert find(4, parse("1.3.232.255")[1]) == Record(country_code="NZ")
    assert find(4, parse("1.3.233.0")[1]) == Record(country_code="AU")


# Blocks and places


def _written(tmp_path: Path, *contents: str) -> list[Path]:
    paths = []
    for number, content in enumerate(contents):
        paths.append(tmp_path / f"{number}.csv")
        paths[-1].write_text(content)
    return paths


@pytest.mark.parametrize(
    ("language", "names"),
    [
        ("zh", ("中国", "河南", "Shangqiu")),
        ("en", ("China", "Henan", "Shangqiu")),
        (None, ("China", "Henan", "Shangqiu")),
        ("fr", ("China", "Henan", "Shangqiu")),
    ],
)
def test_maxminds_blocks_and_places(
    tmp_path: Path, language: str | None, names: tuple[str, str, str]
) -> None:
    paths = _written(tmp_path, ZH, BLOCKS_V4, EN, BLOCKS_V6)
    find = finder(csv_file.read_all(paths, ReadOptions(language=language)))
    assert find(4, parse("1.2.3.4")[1]) == Record(
        country=names[0],
        country_code="CN",
        province=names[1],
        city=names[2],
        continent_code="AS",
        subdivision_code="CN-HA",
        postal_code="476000",
        latitude=34.45,
        longitude=115.65,
        accuracy_radius=50,
        time_zone="Asia/Shanghai",
    )
    # Where its owner is registered says nothing of where it is.
    assert find(4, parse("1.2.4.4")[1]) == Record()
    found = find(6, parse("2a00::1")[1])
    assert found is not None
    assert found.country_code == "US"


@pytest.mark.parametrize(
    ("contents", "complaint"),
    [
        ([BLOCKS_V4], "0.csv: names places by number only; name the file of places"),
        ([EN], "0.csv: holds places without addresses; name the file of blocks"),
        ([BLOCKS_V4, LOCATIONS], "0.csv: names places by number only"),
        ([BLOCKS_V4, EN.replace("\n1,", "\n7,")], "0.csv: line 2 names place '1', which no file"),
        ([BLOCKS_V4, EN, BLOCKS_V4], "0.csv: has IPv4 addresses in common with .*2.csv"),
    ],
)
def test_files_that_dont_belong_together(
    tmp_path: Path, contents: Sequence[str], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        csv_file.read_all(_written(tmp_path, *contents))
    assert "\n" not in str(caught.value)


# Damage


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "holds no lines"),
        ("\n\n", "holds no lines"),
        ("a,b,c\n", "its header names no columns that ipquery knows .'a,b,c'"),
        ("network,x\n1.2.3.0/24,y\n", "its header names no columns"),
        ("start_ip,country\n1.2.3.0,AU\n", "its header names no columns"),
        ("1.2.3.0,1.2.3.255,x,y,z,z,z,z,z,z,z,z,z,z,z,z,z,z,z,z,z,z,z,z,z\n", "no layout that ipq"),
        ("1.2.3.0,1.2.3.255,AU\n1.2.4.0,1.2.4.999,AU\n", "line 2 names no addresses"),
        ("1.2.3.0,1.2.3.255,AU\n1.2.4.0,2a00::,AU\n", "line 2 names no addresses"),
        ("1.2.3.0,1.2.3.255,AU\n2a00::,1.2.4.0,AU\n", "line 2 names no addresses"),
        ("1,5,AU\n7,-8,AU\n", "line 2 names no addresses"),
        (f"1,5,AU\n7,{'9' * 39},AU\n", "line 2 names no addresses"),
        (f"1,5,AU\n7,{'9' * 5000},AU\n", "line 2 names no addresses"),
        ("1,5,AU\n٧,8,AU\n", "line 2 names no addresses"),
        (f"1,5,AU\n{2**40},{2**41},AU\n", "line 1 has numbers of IPv4 among others of IPv6"),
        ("1.2.3.0,1.2.3.255,AU\n\n1.2.5.0,1.2.4.0,AU\n", "line 3 ends before it begins"),
        (
            "1.2.3.0,1.2.3.255,AU\n1.2.3.128,1.2.4.0,AU\n",
            "line 2 has addresses in common with line 1",
        ),
        ("1.2.9.0,1.2.9.9,AU\n1.2.3.0,1.2.9.0,AU\n", "line 2 has addresses in common with line 1"),
        (
            "1.2.3.0,1.2.3.255,AU\n1.2.3.7,1.2.3.9,NZ\n",
            "line 2 has addresses in common with line 1",
        ),
        ("network,country_code\n1.2.3.0/24,A\n1.2.3.0/25,B\n", "line 3 has addresses in common"),
        ("network,country_code\n1.2.3.4/24,AU\n", "line 2 names no addresses .'1.2.3.4/24'"),
        ("network,country_code\n1.2.3.0/33,AU\n", "line 2 names no addresses"),
        ("network,country_code\n1.2.3.0/,AU\n", "line 2 names no addresses"),
        ("network,country_code\n1.2.3.0/2x,AU\n", "line 2 names no addresses"),
        ("1.2.3.0,1.2.3.255,1,x\n1.2.4.0,1.2.4.9,1\n", "no layout that ipquery knows"),
        (
            '1.2.3.0,1.2.3.255,1,x\n1.2.4.0,1.2.4.9,1,"x\n',
            "quote that nothing closes|unexpected end",
        ),
        (b"1.2.3.0,1.2.3.255,1,x\xff\n", "not UTF-8 .*xff"),
        ("network,asn\n1.2.3.0/24,ASX\n", "line 2: 'X' is no asn"),
        ("network,latitude\n1.2.3.0/24,91\n", "line 2: latitude 91.0 is out of bounds"),
        ("network,country_code\n1.2.3.0/24,AU,x\n", "line 2 has 2 columns behind the range"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, content: str | bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        _read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path}/some.csv: ")
    assert "\n" not in str(caught.value)


def test_a_line_far_behind_what_is_looked_at_first(tmp_path: Path) -> None:
    lines = [f"1.{n >> 8}.{n & 255}.0,1.{n >> 8}.{n & 255}.255,{n},AS" for n in range(3000)]
    for wrong, complaint in (
        ('1.200.0.0,1.200.0.9,5,"x', "line 2501 has a quote that nothing closes"),
        ("1.200.0.0,1.200.0.9", "line 2501 has fewer than 3 columns"),
        ("1.200.0.0,1.200.0.9,5", "line 2501 has 1 columns behind the range instead of 2"),
        ("1.200.0.0,1.200.0.9,5,x,y", "line 2501 has 3 columns behind the range instead of 2"),
    ):
        broken = [*lines[:2500], wrong, *lines[2500:]]
        with pytest.raises(DataError, match=complaint):
            _read(tmp_path, "\n".join(broken))


@pytest.mark.parametrize(
    "columns", [("first", "country"), ("country",), ("first", "last", "network")]
)
def test_named_columns_must_hold_one_range(tmp_path: Path, columns: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="once `first` and `last`, or once `network`"):
        _read(tmp_path, "1.2.3.0,1.2.3.255,AU\n", *columns)


@pytest.mark.parametrize(
    "content",
    [b"some text\n" * 100, b"a,b\n1,2\n", b"\0\0\0", b'{"ip": "1.2.3.4"}\n', b"1.2\n", b"a\rb,c"],
)
def test_other_files_arent_taken_for_csv(content: bytes) -> None:
    assert not csv_file.sniff(content, content, len(content))


def _fuzzed(tmp_path: Path, count: int) -> int:
    """How many mutated files were refused."""
    lines = "".join(
        line.format(range=f"10.0.{number}.0,10.0.{number}.255") + "\r\n"
        for number, line in enumerate([LAYOUTS[1][1], LAYOUTS[2][1]] * 3)
    )
    contents = [lines.encode(), BLOCKS_V4.replace("geoname_id", "x").encode(), EN.encode()]
    path = tmp_path / "some.csv"
    return sum(
        isinstance(outcome(lambda path: recognise(path).read(path), path, damaged), str)
        for seed, content in enumerate(contents)
        for damaged in mutations(content, count // len(contents), seed)
    )


def test_mutated_files_are_refused_or_read(tmp_path: Path) -> None:
    assert 100 < _fuzzed(tmp_path, 600) < 600


@pytest.mark.soak
def test_100_000_mutated_files(tmp_path: Path) -> None:
    assert 20_000 < _fuzzed(tmp_path, 100_000) < 100_000


# A published file


def _naive(path: Path) -> list[tuple[int, int, int, str]]:
    """First, last, number and name of each line."""
    with path.open(newline="", encoding="utf-8") as file:
        return [(*map(_number, row[:2]), int(row[2]), row[3]) for row in csv.reader(file)]  # type: ignore[misc]


def _number(text: str) -> int:
    return int(text) if text.isdigit() else parse(text)[1]


def _rows(ranges: Ranges) -> Iterator[tuple[int, int, int]]:
    return zip(
        to_numbers(ranges.first), to_numbers(ranges.last), ranges.record.tolist(), strict=True
    )


@pytest.mark.parametrize(
    "file",
    [
        ASN_V4,
        pytest.param(ASN_V4_NUMERIC, marks=pytest.mark.soak),
        pytest.param(ASN_V6, marks=pytest.mark.soak),
        ASN_V6_NUMERIC,
    ],
    ids=lambda file: file[2],
)
def test_every_line_of_the_published_asn_file(file: tuple[str, str, str]) -> None:
    path = published(*file)
    table = csv_file.read(path)
    lines = _naive(path)
    (ranges,) = filter(len, (table.v4, table.v6))
    assert len(lines) == (411_961 if ranges.version == 4 else 103_197)
    # The last line that begins at or before an address is about it, if it reaches so far.
    rows = _rows(ranges)
    first, last, record = next(rows)
    for place, (begin, end, number, name) in enumerate(lines):
        if place + 1 < len(lines):
            end = min(end, lines[place + 1][0] - 1)
        if begin > last:
            first, last, record = next(rows)
        assert first <= begin <= end <= last
        told = table.records[record]
        assert (told.asn, told.as_org or "") == (number, name)
    assert next(rows, None) is None


def test_random_files_of_many_lines(tmp_path: Path) -> None:
    """More lines than are looked at first, in any order."""
    chance = random.Random(3)
    starts = sorted(chance.sample(range(2**24), 5000))
    rows: Rows = [(n << 8, (n << 8) + chance.randrange(256), chance.randrange(5)) for n in starts]
    lines = [f"{to_text(4, a)},{to_text(4, b)},{chr(65 + c)}A" for a, b, c in rows]
    chance.shuffle(lines)
    find = finder(_read(tmp_path, "\n".join(lines)))
    for first, last, record in rows:
        for number in (first, last):
            assert find(4, number) == Record(country_code=f"{chr(65 + record)}A")
        assert find(4, last + 1) is None or last % 256 == 255

"""Exported CSV is read back as what the snapshot says, and the other text files are of its form."""

import csv
import io
import ipaddress
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery import DataError, open_snapshot
from ipquery.data.export.clickhouse import statement
from ipquery.data.export.options import options_for
from ipquery.data.formats import csv_file
from ipquery.data.record import FIELDS, Record
from tests.data.builder import write_snapshot
from tests.data.exporting import MAPPED, World, answer, export, full_records, said, texts, worlds
from tests.data.tables import LAST


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


def _reads_back(world: World, folder: Path, prefixes: bool) -> None:
    path = world.build(folder / "world.ipq")
    out = export(path, folder / "world.csv", "csv", prefixes=prefixes)
    if out.read_bytes().count(b"\n") == 1:  # nothing is known of any address
        return
    table = csv_file.read(out)
    with open_snapshot(path) as snapshot:
        for version, number in world.addresses():
            # Where ipquery answers as for IPv4, IPv4 alone is told.
            if version == 6 and MAPPED <= number <= MAPPED + LAST[4]:
                assert said(table, version, number) is None
            else:
                assert said(table, version, number) == answer(snapshot, version, number)


@given(worlds(full_records))
def test_ranges_are_read_back(folder: Path, world: World) -> None:
    _reads_back(world, folder, prefixes=False)


@given(worlds(full_records))
def test_prefixes_are_read_back(folder: Path, world: World) -> None:
    _reads_back(world, folder, prefixes=True)


SIMPLE = [
    Record(country_code="CN", isp='a "b", c'),
    Record(country_code="US", latitude=1.5, asn=7),
]
ROWS = [(0x01000000, 0x010001FF, 0), (0x01000200, 0x010002FF, 1)]
V6_ROWS = [(0x2400 << 112, (0x2400 << 112) + 2**96 - 1, 1)]


def test_texts_with_blanks_at_their_ends_are_quoted(folder: Path) -> None:
    """ClickHouse drops these blanks elsewhere."""
    records = [Record(country_code="CN", isp=" a"), Record(country_code="US", isp="b c")]
    path = write_snapshot(folder / "blanks.ipq", ROWS, [], records)
    out = export(path, folder / "blanks.csv", "clickhouse", fields=("country_code", "isp"))
    _, *lines = out.read_text().splitlines()
    assert lines == ['1.0.0.0/23,CN," a"', "1.0.2.0/24,US,b c"]


@pytest.fixture
def simple(tmp_path: Path) -> Path:
    return write_snapshot(tmp_path / "one.ipq", ROWS, V6_ROWS, SIMPLE)


def test_the_lines_of_csv(simple: Path, tmp_path: Path) -> None:
    fields = ["country_code", "isp", "latitude", "asn"]
    out = export(simple, tmp_path / "one.csv", "csv", fields=fields)
    assert out.read_text().splitlines() == [
        "first,last,country_code,isp,latitude,asn",
        '1.0.0.0,1.0.1.255,CN,"a ""b"", c",,',
        "1.0.2.0,1.0.2.255,US,,1.5,7",
        "2400::,2400:0:ffff:ffff:ffff:ffff:ffff:ffff,US,,1.5,7",
    ]
    assert [row[3] for row in csv.reader(io.StringIO(out.read_text()))][1] == 'a "b", c'
    out = export(simple, tmp_path / "two.csv", "csv", fields=["asn"], prefixes=True)
    assert out.read_text().splitlines() == ["network,asn", "1.0.2.0/24,7", "2400::/32,7"]


def test_a_map_for_haproxy(simple: Path, tmp_path: Path) -> None:
    out = export(simple, tmp_path / "geo.map", "haproxy")
    assert out.read_text().splitlines() == [
        "# Exported by ipquery",
        "# a",
        "1.0.0.0/23 CN",
        "1.0.2.0/24 US",
        "2400::/32 US",
    ]
    out = export(simple, tmp_path / "asn.map", "haproxy", fields=["asn"])
    assert out.read_text().splitlines()[2:] == ["1.0.2.0/24 7", "2400::/32 7"]


def test_a_file_for_nginx(simple: Path, tmp_path: Path) -> None:
    out = export(simple, tmp_path / "geo.conf", "nginx", fields=["isp"])
    assert out.read_text().splitlines() == [
        "# Exported by ipquery",
        "# a",
        "geo $ipquery_isp_v4 {",
        "ranges;",
        r'1.0.0.0-1.0.1.255 "a \"b\", c";',
        'default "";',
        "}",
        "geo $ipquery_isp_v6 {",
        'default "";',
        "}",
        "map $remote_addr $ipquery_isp {",
        "default $ipquery_isp_v6;",
        '"~^(::ffff:)?[0-9]+[.]" $ipquery_isp_v4;',
        "}",
    ]


@pytest.mark.parametrize("first", [0xE0000000, LAST[4]])
def test_nginx_is_not_told_of_the_last_address(first: int, tmp_path: Path) -> None:
    """It refuses a range that ends there, and so all of the file."""
    path = write_snapshot(tmp_path / "one.ipq", [(first, LAST[4], 0)], [], SIMPLE)
    out = export(path, tmp_path / "geo.conf", "nginx")
    ranges = [line for line in out.read_text().splitlines() if line.endswith('"CN";')]
    assert ranges == (['224.0.0.0-255.255.255.254 "CN";'] if first < LAST[4] else [])


@pytest.mark.parametrize("program", ["nginx", "haproxy"])
@pytest.mark.parametrize("text", ["a\nb", "\ra", "  ", "a\0", "x" * 3001])
def test_what_cannot_be_told_is_refused(program: str, text: str, tmp_path: Path) -> None:
    record = Record(country_code="CN", isp=text)
    path = write_snapshot(tmp_path / "one.ipq", ROWS[:1], [], [record])
    with pytest.raises(DataError, match=r"can't be told the isp .* choose another field"):
        export(path, tmp_path / "out", program, fields=["isp"])
    assert [*tmp_path.iterdir()] == [path]
    export(path, tmp_path / "out", program)


def _is_plain(text: str) -> bool:
    return "\t" not in text and bool(text.strip(" "))


@given(worlds(st.builds(Record, isp=texts.filter(_is_plain))))
def test_haproxy_s_prefixes_say_what_the_snapshot_does(folder: Path, world: World) -> None:
    path = world.build(folder / "map.ipq")
    out = export(path, folder / "geo.map", "haproxy", fields=["isp"])
    lines = [line for line in out.read_text("utf-8").split("\n") if line[:1] not in ("#", "")]
    pairs = [(ipaddress.ip_network(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in lines]
    with open_snapshot(path) as snapshot:
        for version, number in world.addresses():
            if version == 6 and MAPPED <= number <= MAPPED + LAST[4]:
                continue
            kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
            found = [text for network, text in pairs if kind(number) in network]
            record = answer(snapshot, version, number)
            isp = record.isp if record else None
            assert found == ([] if isp is None else [isp.strip(" ")])


def test_clickhouse_gets_prefixes_and_a_statement(simple: Path, tmp_path: Path) -> None:
    out = export(simple, tmp_path / "geo.csv", "clickhouse", fields=["country_code", "asn"])
    assert out.read_text().splitlines() == [
        "network,country_code,asn",
        "1.0.0.0/23,CN,0",
        "1.0.2.0/24,US,7",
        "2400::/32,US,7",
    ]
    options = options_for("clickhouse", ["country_code", "latitude", "asn"])
    assert "\n".join(statement(Path("/a/it's.csv"), options)).splitlines() == [
        "CREATE OR REPLACE DICTIONARY ipquery",
        "(",
        "    network String,",
        "    country_code String DEFAULT '',",
        "    latitude Float64 DEFAULT nan,",
        "    asn UInt32 DEFAULT 0",
        ")",
        "PRIMARY KEY network",
        r"SOURCE(FILE(path '/var/lib/clickhouse/user_files/it\'s.csv' format 'CSVWithNames'))",
        "LAYOUT(IP_TRIE)",
        "LIFETIME(MIN 300 MAX 600);",
    ]


def test_all_fields_are_told_unless_some_are_chosen(simple: Path, tmp_path: Path) -> None:
    out = export(simple, tmp_path / "all.csv", "csv")
    assert re.split("[,\n]", out.read_text())[: 2 + len(FIELDS)] == ["first", "last", *FIELDS]

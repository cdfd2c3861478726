"""Real files against independent readings: both ends of ranges, of every one in `make soak`."""

import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import ip2region.searcher as vendor
import ip2region.util as vendor_util
import pytest

from ipquery import Record, Snapshot, open_snapshot
from ipquery.address import to_text
from ipquery.data.build import ensure_snapshot
from ipquery.data.sources import Source, ip2region_source

DatRow = tuple[int, int, list[str]]

STRIDES = pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.soak)])
"""One range in so many is looked up."""


def _scan_dat(path: Path) -> Iterator[DatRow]:
    """Every record of a .dat file, straight from its layout."""
    data = path.read_bytes()
    texts = struct.unpack(">I", data[:4])[0] - 1024
    first = 0
    for at in range(1028, texts, 8):
        last = int.from_bytes(data[at : at + 4], "big")
        begin = texts + int.from_bytes(data[at + 4 : at + 7], "little")
        yield first, last, data[begin : begin + data[at + 7]].decode().split("\t")
        first = last + 1


@pytest.fixture(scope="module")
def dat_rows(dat_path: Path) -> list[DatRow]:
    return list(_scan_dat(dat_path))


@pytest.fixture(scope="module")
def dat_db(dat_path: Path, cache: Path) -> Iterator[Snapshot]:
    path = ensure_snapshot([Source(dat_path)], cache, lambda what, done: None)
    with open_snapshot(path) as db:
        yield db


def _texts(record: Record | None) -> list[str]:
    assert record is not None
    return [record.country or "", record.province or "", record.city or "", record.org or ""]


@STRIDES
def test_ranges_of_the_dat_file(dat_db: Snapshot, dat_rows: list[DatRow], stride: int) -> None:
    assert len(dat_rows) == 204_038
    for first, last, fields in dat_rows[::stride]:
        assert _texts(dat_db.find(to_text(4, first))) == fields
        assert _texts(dat_db.find(to_text(4, last))) == fields


def test_the_last_range_of_every_first_octet(dat_db: Snapshot, dat_rows: list[DatRow]) -> None:
    # The old service lost it.
    firsts = [first for first, _, _ in dat_rows]
    for octet in range(256):
        end = (octet << 24) + 0xFFFFFF
        first, last, fields = dat_rows[bisect_right(firsts, end) - 1]
        assert first <= end <= last
        assert _texts(dat_db.find(to_text(4, end))) == fields


def test_255_0_0_0_8_has_its_answers(dat_db: Snapshot) -> None:
    # The old service had none.
    assert _texts(dat_db.find("255.0.0.0"))[0] == "保留地址"
    assert _texts(dat_db.find("255.255.254.255"))[0] == "保留地址"
    assert _texts(dat_db.find("255.255.255.255"))[:2] == ["IPIP.NET", "20151001"]


def test_octets_that_are_one_range_have_their_answer(
    dat_db: Snapshot, dat_rows: list[DatRow]
) -> None:
    # The old service had none.
    single = [
        (octet, fields)
        for first, last, fields in dat_rows
        for octet in range(first >> 24, (last >> 24) + 1)
        if first <= octet << 24 and last >= (octet << 24) + 0xFFFFFF
    ]
    assert len(single) > 10
    for octet, fields in single:
        assert _texts(dat_db.find(f"{octet}.1.2.3")) == fields


@STRIDES
def test_ranges_of_ip2region(ip2region_db: Snapshot, stride: int) -> None:
    content = ip2region_source().path.read_bytes()
    searcher = vendor.new_with_buffer(vendor_util.IPv4, content)
    first_entry, last_entry = struct.unpack_from("<II", content, 8)
    assert (last_entry - first_entry) // 14 + 1 == 720_221
    expected: dict[str, Record] = {}
    find, search = ip2region_db.find, searcher.search
    for at in range(first_entry, last_entry + 1, 14 * stride):
        for number in struct.unpack_from("<II", content, at):
            region = search(number.to_bytes(4, "big"))
            if region not in expected:
                country, _, province, city, isp = (
                    "" if part == "0" else part for part in region.split("|")
                )
                expected[region] = Record(country, None, province, None, city, None, None, isp)
            found = find(to_text(4, number))
            assert found is not None
            wanted = expected[region]
            assert found.country == wanted.country
            assert found.province == wanted.province
            assert found.city == wanted.city
            assert found.isp == wanted.isp
            assert found.org is None

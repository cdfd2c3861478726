"""The compiled file: found as by hand, damage noticed."""

import itertools
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery import DataError, Record, open_snapshot
from ipquery.address import parse, to_text
from ipquery.data.snapshot import Snapshot
from tests.data.builder import write_snapshot
from tests.data.tables import LAST, RECORDS, Rows, addresses_of_interest, rows_of, search


@given(rows_of(4), rows_of(6))
def test_find_equals_a_search_by_hand(v4: Rows, v6: Rows) -> None:
    path = write_snapshot(Path(f"/dev/shm/ipquery-test-{os.getpid()}.ipq"), v4, v6, RECORDS)
    try:
        with open_snapshot(path) as db:
            for version, rows in ((4, v4), (6, v6)):
                for number in addresses_of_interest(version, rows):
                    text = to_text(version, number)
                    # ::ffff:a.b.c.d is IPv4
                    true_version, true_number = parse(text)
                    true_rows = rows if version == true_version else v4
                    place = search(true_rows, true_number)
                    assert db.find(text) == (None if place is None else RECORDS[place])
    finally:
        path.unlink()


@given(rows_of(4), rows_of(6))
def test_the_ranges_are_what_went_in(v4: Rows, v6: Rows) -> None:
    path = write_snapshot(Path(f"/dev/shm/ipquery-test-{os.getpid()}.ipq"), v4, v6, RECORDS)
    try:
        with open_snapshot(path) as db:
            for version, rows in ((4, v4), (6, v6)):
                ranges = list(db.ranges(version))
                assert ranges[0][0] == 0
                assert ranges[-1][1] == LAST[version]
                assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(ranges))
                for first, last, number in ranges:
                    for address in (first, last):
                        place = search(rows, address)
                        assert (place is None) == (number == 0)
                        if place is not None:
                            assert db.answer(number) == RECORDS[place].to_answer()
    finally:
        path.unlink()


def test_more_answers_than_16_bits_count(tmp_path: Path) -> None:
    count = 70_000
    records = [Record(isp=str(number)) for number in range(count)]
    rows = [(number, number, number) for number in range(count)]
    path = write_snapshot(tmp_path / "large.ipq", rows, rows, records)
    with open_snapshot(path) as db:
        find = db.finder(bytes)
        for number in (0, 65534, 65535, 65536, count - 1):
            for text in (to_text(4, number), to_text(6, number)):
                assert db.find(text) == records[number]
                assert find(text.encode()) == records[number].to_answer()
        assert db.find(to_text(4, count)) is None


@given(rows_of(4), st.integers(0, LAST[4]))
def test_every_way_to_an_answer_gives_the_same(rows: Rows, number: int) -> None:
    path = write_snapshot(Path(f"/dev/shm/ipquery-test-{os.getpid()}.ipq"), rows, [], RECORDS)
    try:
        with open_snapshot(path) as db:
            for one in addresses_of_interest(4, rows) | {number}:
                text = to_text(4, one)
                found = db.find(text)
                answer_number = db.answer_number(4, one)
                assert db.find(f"::ffff:{text}") == found
                assert (found is None) == (answer_number == 0)
                if found is not None:
                    assert db.answer(answer_number) == found.to_answer()
    finally:
        path.unlink()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    v4: Rows = [(0, 5, 1), (6, 6, 2), (0x01020304, LAST[4], 3)]
    v6: Rows = [(1, 2**64, 4), (2**65, LAST[6], 5)]
    return write_snapshot(tmp_path / "some.ipq", v4, v6, RECORDS)


def test_find_takes_text_and_refuses_what_is_no_address(path: Path) -> None:
    with open_snapshot(str(path)) as db:
        assert db.find("0.0.0.6") == RECORDS[2]
        assert db.find("0.0.0.7") is None
        assert db.find("255.255.255.255") == RECORDS[3]
        assert db.find("::") is None
        assert db.find("::1") == RECORDS[4]
        assert db.find("::ffff:0.0.0.6") == RECORDS[2]
        with pytest.raises(ValueError, match="not an IP address: '1.2.3'"):
            db.find("1.2.3")


def test_records_are_kept_while_in_use_and_no_longer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipquery.data.snapshot.reader._KEPT_RECORDS", 2)
    with open_snapshot(path) as db:
        assert db.find("0.0.0.6") is db.find("0.0.0.6")
        for ip in ("0.0.0.1", "0.0.0.6", "1.2.3.4", "::1", "ffff::", "0.0.0.1"):
            assert db.find(ip) == Record.from_answer(db.answer(db.answer_number(*parse(ip))))


def test_the_same_content_is_the_same_file(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "other.ipq"
    v4: Rows = [(0, 5, 1), (6, 6, 2), (0x01020304, 0x0FFFFFFF, 3), (0x10000000, LAST[4], 3)]
    write_snapshot(other, v4, [(1, 2**64, 4), (2**65, LAST[6], 5)], RECORDS)
    assert other.read_bytes() == path.read_bytes()
    with open_snapshot(path) as one, open_snapshot(other) as two:
        assert one.identity == two.identity


def test_other_content_is_another_identity(tmp_path: Path, path: Path) -> None:
    write_snapshot(tmp_path / "other.ipq", [(0, 5, 1)], [], RECORDS)
    with open_snapshot(path) as one, open_snapshot(tmp_path / "other.ipq") as two:
        assert one.identity != two.identity


def test_every_flipped_bit_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            open_snapshot(path)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, -1])
def test_a_cut_short_file_is_refused(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"some\.ipq: .*build it again"):
        open_snapshot(path)


@pytest.mark.parametrize(
    ("at", "replacement", "complaint"),
    [
        (0, b"GIF89a..", "not an ipquery snapshot"),
        (8, struct.pack("=I", 99), "layout 99, this ipquery reads 3"),
        (12, struct.pack(">I", 0x01020304), "other byte order"),
    ],
)
def test_what_is_wrong_is_said(path: Path, at: int, replacement: bytes, complaint: str) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + replacement + whole[at + len(replacement) :])
    with pytest.raises(DataError, match=complaint):
        open_snapshot(path)


@pytest.mark.parametrize("layout", [1, 2])
def test_a_snapshot_of_an_older_layout_has_to_be_built_again(path: Path, layout: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:8] + struct.pack("=I", layout) + whole[12:])
    with pytest.raises(DataError, match=rf"layout {layout}, this ipquery reads 3; build it again"):
        open_snapshot(path)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_snapshot(tmp_path / "missing.ipq")


def test_a_mapped_snapshot_survives_its_replacement(path: Path, tmp_path: Path) -> None:
    with open_snapshot(path) as old:
        new = write_snapshot(tmp_path / "new.ipq", [(0, 5, 7)], [], RECORDS)
        new.replace(path)
        assert old.find("0.0.0.6") == RECORDS[2]
        with open_snapshot(path) as db:
            assert db.find("0.0.0.6") is None


def test_close_unmaps(path: Path) -> None:
    def mapped() -> bool:
        return str(path) in Path("/proc/self/maps").read_text()

    db = Snapshot(path)
    assert mapped()
    db.close()
    assert not mapped()


def test_a_damaged_file_stays_closed(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(DataError):
        open_snapshot(path)
    assert str(path) not in Path("/proc/self/maps").read_text()

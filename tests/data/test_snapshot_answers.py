"""What answers hold, a snapshot gives back: whole, in halves, and as ready JSON."""

import hashlib
import ipaddress
import itertools
import json
import math
import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipquery import DataError, Record, Snapshot, open_snapshot
from ipquery.address import parse, to_text
from ipquery.data.answers import NO_SOURCE, NOTHING, Answers, AnswerSteps, Owner, Place
from ipquery.data.ranges import KEY, to_key
from ipquery.data.record import FIELDS, FIELDS_OF
from ipquery.data.snapshot import Describer, layout
from ipquery.data.snapshot.encode import sections
from ipquery.data.snapshot.finder import network_length
from ipquery.data.snapshot.objects import OF_ADDRESS, Kept, Said, Template
from ipquery.special import kind_of
from tests.data.all_answers import SOURCES, all_answers
from tests.data.builder import write
from tests.data.tables import LAST, addresses_of_interest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NOWHERE, NOBODYS = Place(), Owner()


@contextmanager
def _opened(answers: Answers) -> Iterator[Snapshot]:
    path = write(Path(f"/dev/shm/ipquery-answers-{os.getpid()}.ipq"), answers, SOURCES)
    try:
        with open_snapshot(path) as db:
            yield db
    finally:
        path.unlink()


def _rows(answers: Answers, version: int) -> list[tuple[int, int, tuple[int, int]]]:
    """First, last, pair; equal neighbours are one."""
    steps = answers.v4 if version == 4 else answers.v6
    starts = (
        [int(n) for n in steps.start]
        if version == 4
        else [int.from_bytes(key.ljust(16, b"\0"), "big") for key in steps.start.tolist()]
    )
    pairs = list(zip(steps.place.tolist(), steps.owner.tolist(), strict=True))
    ends = [*starts[1:], LAST[version] + 1]
    rows: list[tuple[int, int, tuple[int, int]]] = []
    for first, end, pair in zip(starts, ends, pairs, strict=True):
        if rows and rows[-1][2] == pair:
            rows[-1] = (rows[-1][0], end - 1, pair)
        else:
            rows.append((first, end - 1, pair))
    return rows


def _place(answers: Answers, pair: tuple[int, int]) -> Place:
    return answers.places[pair[0] - 1] if pair[0] else Place()


def _owner(answers: Answers, pair: tuple[int, int]) -> Owner:
    return answers.owners[pair[1] - 1] if pair[1] else Owner()


def _record(answers: Answers, pair: tuple[int, int]) -> Record:
    given = {**_place(answers, pair)._asdict(), **_owner(answers, pair)._asdict()}
    return Record(**{name: given[name] for name in FIELDS})


def _level_sources(answers: Answers, pair: tuple[int, int]) -> dict[str, str | None]:
    place, owner = _place(answers, pair), _owner(answers, pair)
    numbers = {
        "country": place.country_from,
        "province": place.province_from,
        "city": place.city_from,
        "org": owner.org_from,
        "isp": owner.isp_from,
        "asn": owner.asn_from,
    }
    return {level: SOURCES[n] if n != NO_SOURCE else None for level, n in numbers.items()}


def _largest_network(number: int, first: int, last: int, version: int) -> Network:
    """By trying every length."""
    for length in range(129):
        network = ipaddress.ip_network((to_text(version, number), length), strict=False)
        inside = first <= int(network.network_address) <= int(network.broadcast_address) <= last
        if network.version == version and inside:
            return network
        if length == (32 if version == 4 else 128):
            break
    raise AssertionError("a single address is inside")


@given(all_answers())
def test_what_is_written_reads_back_at_every_boundary(answers: Answers) -> None:
    with _opened(answers) as db:
        find = db.finder(bytes)
        describe = Describer(db, kept=3).describe
        for version in (4, 6):
            rows = _rows(answers, version)
            assert [row[:2] for row in rows] == [row[:2] for row in db.ranges(version)]
            for number in sorted(addresses_of_interest(version, [(*row[:2], 0) for row in rows])):
                (row,) = (row for row in rows if row[0] <= number <= row[1])
                text = to_text(version, number)
                if parse(text) != (version, number):
                    continue
                _check(answers, db, version, number, row)
                expected = None if row[2] == (NOTHING, NOTHING) else _record(answers, row[2])
                assert find(text.encode()) == (expected.to_answer() if expected else None)
                described = describe(version, number)
                assert (described is None) == (expected is None)
                if described is not None:
                    _check_description(json.loads(b"{%b}" % described), db, text)


def _check(
    answers: Answers,
    db: Snapshot,
    version: int,
    number: int,
    row: tuple[int, int, tuple[int, int]],
) -> None:
    first, last, pair = row
    text = to_text(version, number)
    match = db.match(text)
    answer = db.answer_number(version, number)
    assert db.locate(version, number) == (answer, first, last)
    assert (match.ip, match.first, match.last) == (
        text, to_text(version, first), to_text(version, last),
    )  # fmt: skip
    assert match.kind == kind_of(version, number)
    # As values: inet_ntop writes ::0.1.0.0, too.
    assert ipaddress.ip_network(match.network) == _largest_network(number, first, last, version)
    assert match.record == db.find(text)
    if pair == (NOTHING, NOTHING):
        assert (answer, match.record, match.sources) == (0, None, {})
        return
    expected = _record(answers, pair)
    assert match.record == expected
    assert db.answer(answer) == expected.to_answer()
    levels = _level_sources(answers, pair)
    assert list(json.loads(b"{%b}" % db.source_members(answer)).items()) == list(
        match.sources.items()
    )
    assert match.sources == {
        field: levels[level]
        for level, fields in FIELDS_OF.items()
        for field in fields
        if levels[level] is not None and getattr(expected, field) is not None
    }


def _check_description(given: dict[str, Any], db: Snapshot, text: str) -> None:
    """The ready JSON says what the match says."""
    match = db.match(text)
    assert match.record is not None
    assert list(given) == [*FIELDS, "sources", "first", "last", "network", "kind"]
    assert Record(**{name: given[name] for name in FIELDS}) == match.record
    assert (given["first"], given["last"]) == (match.first, match.last)
    assert (given["network"], given["kind"]) == (match.network, match.kind)


@given(st.sampled_from((4, 6)), st.data())
def test_the_network_is_the_largest_inside_the_range(version: int, data: st.DataObject) -> None:
    bits = 32 if version == 4 else 128
    numbers = st.integers(0, LAST[version]) | st.builds(
        lambda high, shift, by: max(0, min((high << shift) + by, LAST[version])),
        st.integers(0, 2**8),
        st.integers(0, bits),
        st.integers(-1, 1),
    )
    first, number, last = sorted(data.draw(st.tuples(numbers, numbers, numbers)))
    length = network_length(version, number, first, last)

    def inside(length: int) -> bool:
        low: int = number >> (bits - length) << (bits - length)
        return bool(first <= low and low + (1 << (bits - length)) - 1 <= last)

    assert inside(length)
    assert length == 0 or not inside(length - 1)


def _one(place: Place = NOWHERE, owner: Owner = NOBODYS) -> Answers:
    def everywhere(version: int) -> AnswerSteps:
        one = np.ones(1, np.uint32)
        return AnswerSteps(version, np.array([to_key(version, 0)], KEY[version]), one, one)

    return Answers([place], [owner], everywhere(4), everywhere(6))


def test_all_of_both_spaces_with_one_answer() -> None:
    with _opened(_one(Place(country="中国", country_from=2))) as db:
        for ip, last, network in (
            ("0.0.0.0", "255.255.255.255", "0.0.0.0/0"),
            ("255.255.255.255", "255.255.255.255", "0.0.0.0/0"),
            ("ffff::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
        ):
            match = db.match(ip)
            assert (match.last, match.network) == (last, network)
            assert match.sources == {"country": "资料"}
        assert db.about["places"] == db.about["owners"] == 1


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_say_is_not_known(number: float) -> None:
    with _opened(_one(Place(country="a", latitude=number, longitude=1.5))) as db:
        record = db.find("1.2.3.4")
        assert record is not None
        assert (record.latitude, record.longitude) == (None, 1.5)


def test_the_same_pair_is_one_record() -> None:
    with _opened(_one(Place(country="a"))) as db:
        assert db.find("1.2.3.4") is db.find("::1")


def test_a_match_refuses_what_is_no_address() -> None:
    with _opened(_one()) as db, pytest.raises(ValueError, match="not an IP address: '1.2.3'"):
        db.match("1.2.3")


TEMPLATE = Template(b" ".join([b"%b"] * (len(OF_ADDRESS) + 1)), tuple(range(len(OF_ADDRESS) + 1)))


def _numbers(sections: dict[str, Any], name: str, fill: int) -> dict[str, Any]:
    return {**sections, name: bytes([fill]) * memoryview(sections[name]).nbytes}


@pytest.mark.parametrize("name", layout.COLUMNS)
@pytest.mark.parametrize("fill", [0x00, 0x7F, 0xFF])
def test_numbers_that_lead_nowhere(tmp_path: Path, name: str, fill: int) -> None:
    """A file with a right checksum, by somebody who means harm: an answer, or one line."""
    answers = _one(Place(country="中国", city="b"), Owner(isp="c"))
    views = sections(answers, [])
    damaged = np.frombuffer(views[name], memoryview(views[name]).format).copy()
    damaged.view(np.uint8)[:] = fill
    path = tmp_path / "bad.ipq"
    with path.open("w+b") as file:
        layout.write(file, {**views, name: damaged.data}, {"sources": []})
    with open_snapshot(path) as db:
        find = db.finder(bytes)
        kept = Kept(1 << 20)
        said = Said(TEMPLATE, lambda answer: (bytes(db.members(answer)),), kept)
        find_text = db.text_finder(said)
        find_part = db.part_finder(db.members, kept)
        describer = Describer(db)
        for ip in ("0.0.0.0", "1.2.3.4", "255.255.255.255", "::", "2001::1", "ffff::"):
            for look_up in (db.find, db.match, lambda ip: describer.describe(*parse(ip))):
                try:
                    look_up(ip)
                except DataError as error:
                    assert "bad.ipq: the snapshot contradicts itself; build it again" in str(error)
            with suppress(DataError):
                find(ip.encode())
            # Something, or nothing.
            find_text(ip.encode())
            find_part(ip.encode())


@pytest.mark.parametrize(
    ("section", "entry"),
    [
        ("v4.slots", [64, 0, "I"]),
        ("v4.slots", [64, 3, "B"]),
        ("v4.slots", [64, 12, "I"]),
        ("v4.slots", [10**9, 4, "I"]),
        ("v4.slots", [-64, 4, "I"]),
        ("v4.slots", [64, 4, "f"]),
        ("v4.slots", [64, 5, "I"]),
        ("v4.slots", ["a", "b", "I"]),
        ("v4.slots", None),
        ("v4.first", [64, 8, "I"]),
        ("city.array.end", [64, 0, "I"]),
        ("city.array.text", [64, 1, "B"]),
        ("owner.array.text", [64, 2**63, "B"]),
    ],
)
def test_a_directory_that_does_not_fit(tmp_path: Path, section: str, entry: Any) -> None:
    path = write(tmp_path / "some.ipq", _one(Place(city="b")))
    whole = path.read_bytes()
    _, _, _, _, size, _ = layout.HEADER.unpack(whole[: layout.HEADER.size])
    directory = json.loads(whole[64 : 64 + size])
    directory["sections"][section] = entry
    changed = json.dumps(directory).encode().ljust(size)[:size]
    _resign(path, whole[:64] + changed + whole[64 + size :])
    with pytest.raises(DataError, match="directory doesn't fit its content; build it again"):
        open_snapshot(path)


@example(b"[]")
@example(b"[" * 100_000)
@example(b"{}")
@example(b'{"about": 5, "sections": {}}')
@given(st.binary(max_size=64))
def test_any_directory(directory: bytes) -> None:
    path = Path(f"/dev/shm/ipquery-directory-{os.getpid()}.ipq")
    header = layout.HEADER.pack(
        layout.MAGIC, layout.LAYOUT_VERSION, layout.BYTE_ORDER, 64 + len(directory),
        len(directory), b"",
    )  # fmt: skip
    _resign(path, header + directory)
    try:
        with pytest.raises(DataError, match="build it again"):
            open_snapshot(path)
    finally:
        path.unlink()


def _resign(path: Path, content: bytes) -> None:
    """With the checksum that fits."""
    digest = hashlib.blake2b(content[: layout.DIGEST_AT], digest_size=32)
    digest.update(content[layout.HEADER.size :])
    path.write_bytes(content[: layout.DIGEST_AT] + digest.digest() + content[layout.HEADER.size :])


def test_the_finder_starts_anew_when_it_keeps_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipquery.data.snapshot.finder._KEPT_ANSWERS", 2)
    places = [Place(country=str(k)) for k in range(9)]
    numbers = np.arange(1, 10, dtype=np.uint32)
    start = np.array([k << 8 for k in range(9)], KEY[4])
    nowhere = AnswerSteps(6, np.array([to_key(6, 0)], KEY[6]), *[np.zeros(1, np.uint32)] * 2)
    v4 = AnswerSteps(4, start, numbers, np.zeros(9, np.uint32))
    with _opened(Answers(places, [], v4, nowhere)) as db:
        asked = []

        def prepare(answer: bytes) -> bytes:
            asked.append(answer)
            return answer

        find = db.finder(prepare)
        for k in [*range(9), *range(9)]:
            assert find(f"0.0.{k}.1".encode()) == Record(country=str(k)).to_answer()
            assert find(f"0.0.{k}.2".encode()) == Record(country=str(k)).to_answer()
            assert find(b"::1") is None
        assert len(asked) == 18


@st.composite
def _crowded(draw: st.DrawFn) -> Answers:
    """IPv4 steps of which many begin close to each other, more than a window has."""
    near = st.integers(0, LAST[4]) | st.sampled_from((0, 2**31 - 20, 2**32 - 40))
    starts = {0}
    for _ in range(draw(st.integers(0, 3))):
        begin, gap = draw(near), draw(st.sampled_from((1, 2, 3, 2**16, 2**26)))
        starts.update(range(begin, LAST[4] + 1, gap)[: draw(st.integers(1, 40))])
    start = np.array(sorted(starts), KEY[4])
    places = [Place(country="a"), Place(country="b")]
    place = np.arange(len(start), dtype=np.uint32) % draw(st.integers(1, 3))
    nowhere = AnswerSteps(6, np.array([to_key(6, 0)], KEY[6]), *[np.zeros(1, np.uint32)] * 2)
    return Answers(
        places, [], AnswerSteps(4, start, place, np.zeros(len(start), np.uint32)), nowhere
    )


def _slots_by_hand(start: list[int], bits: int) -> list[int]:
    """As the layout has them: places, or from the number of places on where to look from."""
    slots = []
    for slot in range(1 << bits):
        first, last = slot << 32 - bits, (slot + 1 << 32 - bits) - 1
        place = bisect_right(start, first)
        latest = max(len(start) - layout.WINDOW, 0)
        pure = place == bisect_right(start, last)
        slots.append(place if pure else len(start) + 1 + min(place, latest))
    return slots


@given(_crowded(), st.integers(0, 10))
def test_any_number_of_slots_finds_the_same(answers: Answers, bits: int) -> None:
    written = sections(answers, [])
    start = memoryview(written["v4.first"]).tolist()
    slots = np.array(_slots_by_hand(start, bits), np.uint32)
    path = Path(f"/dev/shm/ipquery-slots-{os.getpid()}.ipq")
    rows = _rows(answers, 4)
    try:
        for changed in (written, {**written, "v4.slots": slots.data}):
            with path.open("w+b") as file:
                layout.write(file, changed, {"sources": []})
            with open_snapshot(path) as db:
                find = db.finder(bytes)
                for number in addresses_of_interest(4, [(*row[:2], 0) for row in rows]):
                    place, row = next((k, r) for k, r in enumerate(rows) if r[0] <= number <= r[1])
                    text = to_text(4, number)
                    expected = None if row[2] == (0, 0) else _record(answers, row[2])
                    assert db.find(text) == expected
                    assert find(text.encode()) == (expected.to_answer() if expected else None)
                    assert db.step(4, number) == place + 1
                    assert db.locate(4, number)[1:] == row[:2]
    finally:
        path.unlink()


@pytest.mark.parametrize(
    ("steps", "slots"), [(1, 1), (2, 2), (5, 4), (6, 8), (1000, 1024), (6_000_000, 1 << 22)]
)
def test_there_are_about_as_many_slots_as_steps(steps: int, slots: int) -> None:
    start = np.arange(steps, dtype=np.uint64) * np.uint64(2**32 // steps)
    place = np.arange(steps, dtype=np.uint32) % np.uint32(2)
    nowhere = AnswerSteps(6, np.array([to_key(6, 0)], KEY[6]), *[np.zeros(1, np.uint32)] * 2)
    v4 = AnswerSteps(4, start, place, place)
    written = sections(Answers([Place(country="a")], [Owner(isp="b")], v4, nowhere), [])
    assert len(memoryview(written["v4.slots"])) == slots


def test_equal_neighbours_are_one_range() -> None:
    start = np.array([0, 256, 512], KEY[4])
    ones = np.ones(3, np.uint32)
    nowhere = AnswerSteps(6, np.array([to_key(6, 0)], KEY[6]), *[np.zeros(1, np.uint32)] * 2)
    with _opened(
        Answers([Place("a")], [Owner("b")], AnswerSteps(4, start, ones, ones), nowhere)
    ) as db:
        assert [row[:2] for row in db.ranges(4)] == [(0, LAST[4])]
        assert list(itertools.islice(db.ranges(6), 2)) == [(0, LAST[6], 0)]

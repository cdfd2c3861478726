"""What an update changes: held against a comparison by hand, piece by piece."""

import json
import math
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery import DataError, Record, Snapshot
from ipquery.address import parse, to_text
from ipquery.data.snapshot import layout
from ipquery.data.snapshot.diff import LEVELS, Amount, Change, VersionDiff, diff
from tests.data.builder import write_snapshot
from tests.data.tables import LAST, Rows, rows_of

COUNTRIES = st.sampled_from(
    (
        {},
        {"country": "中国"},
        {"country": "China", "country_code": "CN"},
        {"country_code": "US"},
        {"country": "nowhere"},
        {"country": "elsewhere"},
    )
)
PROVINCES = st.sampled_from(
    (
        {},
        {"province": "河南"},
        {"province": "河南省", "subdivision_code": "CN-HA"},
        {"subdivision_code": "CN-SX"},
        {"province": "Henan"},
    )
)
CITIES = st.sampled_from(
    ({}, {"city": "商丘"}, {"city": "商丘市", "city_code": "411400"}, {"city": "Newport"})
)
POINTS = st.sampled_from(
    (
        {},
        {"latitude": 10.0, "longitude": 20.0},
        {"latitude": 10.001, "longitude": 20.0},
        {"latitude": 10.01, "longitude": 20.0},
        {"latitude": -10.0, "longitude": -160.0},
        {"latitude": 10.0},
    )
)
OWNERS = st.fixed_dictionaries(
    {},
    optional={
        "org": st.sampled_from("ab"),
        "isp": st.sampled_from("cd"),
        "asn": st.integers(1, 2),
        "as_org": st.sampled_from("ef"),
    },
)
RECORDS = st.builds(
    lambda *parts: Record(**{name: value for part in parts for name, value in part.items()}),
    COUNTRIES,
    PROVINCES,
    CITIES,
    POINTS,
    OWNERS,
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Rows, Rows, list[Record]]:
    records = draw(st.lists(RECORDS, min_size=1, max_size=6))
    v4, v6 = (draw(rows_of(version, len(records))) for version in (4, 6))
    return v4, v6, records


def _steps(db: Snapshot, version: int) -> list[tuple[int, dict[str, Any] | None]]:
    """Where the answer changes, and to what."""
    return [
        (first, json.loads(b"{%b}" % db.members(number)) if number else None)
        for first, _, number in db.ranges(version)
    ]


def _pieces(old: Snapshot, new: Snapshot, version: int) -> Iterator[tuple[int, int, Any, Any]]:
    """First and last address, and what either says."""
    sides = [_steps(db, version) for db in (old, new)]
    starts = sorted({first for side in sides for first, _ in side})
    for first, end in zip(starts, [*starts[1:], LAST[version] + 1], strict=True):
        before, after = ([said for begin, said in side if begin <= first][-1] for side in sides)
        yield first, end - 1, before, after


def _kilometres(one: dict[str, Any], other: dict[str, Any]) -> float:
    (a, b), (c, d) = (
        (math.radians(said["latitude"]), math.radians(said["longitude"])) for said in (one, other)
    )
    cosine = math.sin(a) * math.sin(c) + math.cos(a) * math.cos(c) * math.cos(b - d)
    return 6371 * math.acos(max(-1, min(1, cosine)))


KEYS = {
    "country": ("country_code", "country"),
    "province": ("subdivision_code", "province"),
    "city": ("city_code", "city"),
    "asn": ("asn", "as_org"),
}


def _key(level: str, said: dict[str, Any]) -> tuple[Any, Any]:
    if level == "coordinates":
        placed = None not in (said["latitude"], said["longitude"])
        return None, (said["latitude"], said["longitude"]) if placed else None
    if level == "province":
        return said["subdivision_code"], said["province"] or said["province_code"]
    if level in KEYS:
        code, name = KEYS[level]
        return said[code], said[name]
    return None, said[level]


def _fate(level: str, old: dict[str, Any], new: dict[str, Any]) -> str | None:
    (code, name), (other_code, other_name) = (_key(level, said) for said in (old, new))
    before, after = (code or name) is not None, (other_code or other_name) is not None
    if not before or not after:
        return "lost" if before else "gained" if after else None
    if level == "coordinates":
        return "changed" if _kilometres(old, new) > 1 else "same"
    coarser = {"province": "country", "city": "province"}.get(level)
    if coarser and _fate(coarser, old, new) == "changed":
        return "changed"
    other = code != other_code if code and other_code else name != other_name
    return "changed" if other else "same"


NOTHING = dict.fromkeys(
    (
        "country", "country_code", "province", "province_code", "subdivision_code", "city",
        "city_code", "latitude", "longitude", "org", "isp", "asn", "as_org",
    )
)  # fmt: skip


def _counted(version: int, first: int, last: int) -> int:
    """The addresses that count: all of IPv4, and 2000:: to 2cff::."""
    if version == 4:
        return last - first + 1
    return max(min(last, (0x2D00 << 112) - 1) - max(first, 0x2000 << 112) + 1, 0)


def _by_hand(old: Snapshot, new: Snapshot, version: int) -> dict[str, dict[str, Change]]:
    """Changes by country and level; all countries together are called "all"."""
    counts: dict[tuple[str, str, str], list[int]] = {}
    for first, last, before, after in _pieces(old, new, version):
        was, said = before or NOTHING, after or NOTHING
        country = (
            was["country_code"] or was["country"] or said["country_code"] or said["country"] or ""
        )
        fates = {level: _fate(level, was, said) for level in LEVELS[1:]}
        if before is None or after is None:
            fates["answer"] = "lost" if before else "gained" if after else None
        else:
            fates["answer"] = "same" if before == after else "changed"
        for level, fate in fates.items():
            for name in ("all", country):
                if fate is not None:
                    count = counts.setdefault((name, level, fate), [0, 0])
                    count[0] += 1
                    count[1] += _counted(version, first, last)
    found: dict[str, dict[str, Change]] = {}
    for name in {name for name, _, _ in counts}:
        found[name] = {
            level: Change(
                *(
                    Amount(*counts.get((name, level, fate), (0, 0)))
                    for fate in ("same", "changed", "lost", "gained")
                )
            )
            for level in LEVELS
        }
    return found


def _paths() -> list[Path]:
    return [Path(f"/dev/shm/ipquery-diff-{os.getpid()}-{side}.ipq") for side in ("old", "new")]


@given(tables(), tables())
def test_the_changes_are_those_found_by_hand(
    before: tuple[Rows, Rows, list[Record]], after: tuple[Rows, Rows, list[Record]]
) -> None:
    old, new = _paths()
    try:
        write_snapshot(old, *before)
        write_snapshot(new, *after)
        found = diff(old, new)
        with Snapshot(old) as one, Snapshot(new) as other:
            assert (found.old, found.new) == (one.identity, other.identity)
            for version, space in ((4, found.ipv4), (6, found.ipv6)):
                wanted = _by_hand(one, other, version)
                assert space.levels == wanted.pop("all", dict.fromkeys(LEVELS, Change()))
                # Of a country of which neither knows anything there is nothing to tell.
                told = {
                    name: levels
                    for name, levels in space.countries.items()
                    if any(change != Change() for change in levels.values())
                }
                assert told == wanted
                _check_examples(space, version, list(_pieces(one, other, version)))
    finally:
        old.unlink(missing_ok=True)
        new.unlink(missing_ok=True)


def _check_examples(space: VersionDiff, version: int, pieces: Sequence[Any]) -> None:
    ends = {first: (last, before, after) for first, last, before, after in pieces}
    for level, examples in space.examples.items():
        amounts = [0, 0, 0]
        for example in examples:
            # ::ffff:0:0/96 as a number of IPv6
            first, last = (_number(version, text) for text in (example.first, example.last))
            end, before, after = ends[first]
            assert end == last
            fate = _fate(level, before or NOTHING, after or NOTHING)
            assert fate == (
                "lost" if example.new is None else "gained" if example.old is None else "changed"
            )
            amounts[("changed", "lost", "gained").index(fate)] += example.amount.addresses
            assert example.amount.addresses >= _counted(version, first, last)
        change = space.levels[level]
        for shown, all_of_it in zip(
            amounts, (change.changed, change.lost, change.gained), strict=True
        ):
            assert shown <= all_of_it.addresses
            assert bool(shown) == bool(all_of_it.addresses)
        assert bool(examples) == any(
            change.ranges for change in (change.changed, change.lost, change.gained)
        )


def _number(version: int, text: str) -> int:
    parsed, number = parse(text)
    return number + (0xFFFF << 32) if parsed != version else number


WHOLE: Rows = [(0, LAST[4], 0)]


def _diff_of(tmp_path: Path, old: Record, new: Record) -> VersionDiff:
    one, other = tmp_path / "old.ipq", tmp_path / "new.ipq"
    write_snapshot(one, WHOLE, [], [old])
    write_snapshot(other, WHOLE, [], [new])
    return diff(one, other).ipv4


def test_another_spelling_is_a_change_of_the_answer_only(tmp_path: Path) -> None:
    chinese = Record(country="中国", province="河南省", city="商丘市", isp="联通")
    english = Record(country="China", country_code="CN", province="Henan", city="Shangqiu")
    found = _diff_of(tmp_path, chinese, english).levels
    all_of_it = Amount(1, 2**32)
    assert found["answer"].changed == all_of_it
    for level in ("country", "province", "city"):
        assert found[level] == Change(same=all_of_it)
    assert found["isp"] == Change(lost=all_of_it)


def test_in_another_country_all_is_another(tmp_path: Path) -> None:
    one = Record(country_code="US", province="Georgia", city="Newport")
    found = _diff_of(tmp_path, one, Record(country_code="GB", province="Georgia", city="Newport"))
    for level in ("country", "province", "city"):
        assert found.levels[level].changed.addresses == 2**32
    assert list(found.countries) == ["US"]


def test_shares(tmp_path: Path) -> None:
    old, new = tmp_path / "old.ipq", tmp_path / "new.ipq"
    records = [Record(country_code="US"), Record(country_code="GB")]
    write_snapshot(old, [(0, 9, 0)], [], records)
    write_snapshot(new, [(0, 5, 0), (6, 7, 1), (10, 14, 1)], [], records)
    change = diff(old, new).ipv4.levels["country"]
    assert change == Change(Amount(1, 6), Amount(1, 2), Amount(1, 2), Amount(1, 5))
    assert change.known_before == 10
    assert change.changed_share == 0.25
    assert change.coverage_change == 0.3
    assert Change().changed_share == Change().coverage_change == 0


def test_examples_are_the_commonest_changes(tmp_path: Path) -> None:
    old, new = tmp_path / "old.ipq", tmp_path / "new.ipq"
    codes = ("US", "GB", "FR", "DE", "IT")
    records = [Record(country=code, country_code=code) for code in codes]
    write_snapshot(old, [(0, 99, 0)], [], records)
    rows = [(0, 9, 1), (10, 29, 2), (30, 35, 3), (36, 40, 4), (50, 64, 1)]
    write_snapshot(new, rows, [], records)
    found = [
        (example.old, example.new, example.amount, example.first, example.last)
        for example in diff(old, new).ipv4.examples["country"]
    ]
    assert found == [
        ("US", "GB", Amount(2, 25), "0.0.0.50", "0.0.0.64"),
        ("US", "FR", Amount(1, 20), "0.0.0.10", "0.0.0.29"),
        ("US", "DE", Amount(1, 6), "0.0.0.30", "0.0.0.35"),
        ("US", None, Amount(2, 44), "0.0.0.65", "0.0.0.99"),
    ]


def _rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """A snapshot whose checksum is right and whose content isn't."""
    whole = path.read_bytes()
    directory_size = layout.HEADER.unpack(whole[: layout.HEADER.size])[4]
    directory = json.loads(whole[layout.HEADER.size :][:directory_size])
    sections = {
        name: memoryview(whole[at : at + size]).cast(item)
        for name, (at, size, item) in directory["sections"].items()
    }
    change(sections)
    with path.open("w+b") as file:
        layout.write(file, sections, directory["about"])


def _first_of_all(name: str, value: int) -> Callable[[dict[str, Any]], None]:
    def change(sections: dict[str, Any]) -> None:
        item = sections[name].format
        rest = bytes(sections[name])[struct.calcsize(item) :]
        sections[name] = memoryview(struct.pack(item, value) + rest).cast(item)

    return change


@pytest.mark.parametrize(
    ("name", "value"),
    [("v4.first", 7), ("v6.first.high", 9), ("pair.place", 200)],
)
def test_a_snapshot_that_contradicts_itself(tmp_path: Path, name: str, value: int) -> None:
    good, bad = tmp_path / "good.ipq", tmp_path / "bad.ipq"
    for path in (good, bad):
        write_snapshot(path, [(5, 9, 0)], [(0, 9, 0)], [Record(city="a")])
    _rewritten(bad, _first_of_all(name, value))
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(DataError, match="contradicts itself"):
            diff(*pair)


def test_texts_of_addresses(tmp_path: Path) -> None:
    old, new = tmp_path / "old.ipq", tmp_path / "new.ipq"
    write_snapshot(old, [], [(1 << 64, LAST[6], 0)], [Record(isp="a")])
    write_snapshot(new, [], [(1 << 64, LAST[6], 0)], [Record(isp="b")])
    (example,) = diff(old, new).ipv6.examples["isp"]
    assert (example.first, example.last) == (to_text(6, 1 << 64), to_text(6, LAST[6]))
    assert example.amount == Amount(1, 0xD00 << 112)


@pytest.mark.parametrize(
    ("first", "last", "counted"),
    [
        ((0x2000 << 112) + 5, (0x2000 << 112) + 9, 5),
        ((0x2000 << 112) - 3, (0x2000 << 112) + 1, 2),
        ((0x2000 << 112) - 3, (0x2000 << 112) - 1, 0),
        (0x2000 << 112, (0x2000 << 112) + (1 << 64), (1 << 64) + 1),
        ((0x2D00 << 112) - 9, (0x2D00 << 112) - 5, 5),
        ((0x2D00 << 112) - 3, (0x2D00 << 112) + 9, 3),
        ((0x2D00 << 112) - (1 << 64) - 1, 0x2D00 << 112, (1 << 64) + 1),
        (0x2D00 << 112, (0x2D00 << 112) + 9, 0),
        (0, LAST[6], 0xD00 << 112),
    ],
)
def test_where_ipv6_addresses_count(tmp_path: Path, first: int, last: int, counted: int) -> None:
    old, new = tmp_path / "old.ipq", tmp_path / "new.ipq"
    write_snapshot(old, [], [(first, last, 0)], [Record(isp="a")])
    write_snapshot(new, [], [(first, last, 0)], [Record(isp="b")])
    assert diff(old, new).ipv6.levels["isp"] == Change(changed=Amount(1, counted))


def test_ipv6_addresses_that_are_nobodys_weigh_nothing(tmp_path: Path) -> None:
    old, new = tmp_path / "old.ipq", tmp_path / "new.ipq"
    records = [Record(country_code="CH"), Record(country_code="US")]
    inside = (0x2400 << 112, (0x2400 << 112) + 9)
    write_snapshot(old, [], [(*inside, 0), (0x3000 << 112, (0xFC00 << 112) - 1, 0)], records)
    write_snapshot(new, [], [(*inside, 1)], records)
    change = diff(old, new).ipv6.levels["country"]
    assert change == Change(changed=Amount(1, 10), lost=Amount(1, 0))
    assert change.coverage_change == 0
    assert change.changed_share == 1

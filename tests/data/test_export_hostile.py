"""Snapshots whose checksum is right and which make no sense are refused in one line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipquery import DataError, Snapshot
from ipquery.data.answers import Answers, AnswerSteps, Owner, Place
from ipquery.data.ranges import KEY, to_key
from ipquery.data.snapshot.encode import sections
from ipquery.data.snapshot.layout import write
from tests.data.exporting import export

PLACE = Place("China", "CN", "Henan", latitude=1.5, longitude=2.5, accuracy_radius=7)
OWNER = Owner("org", "isp", 64500, "as_org")


def _steps(version: int, places: list[int]) -> AnswerSteps:
    start = np.array([to_key(version, number << 8) for number in range(len(places))], KEY[version])
    column = np.array(places, np.uint32)
    return AnswerSteps(version, start, column, column)


def _write(path: Path, changed: Mapping[str, Any], about: object) -> Path:
    answers = Answers([PLACE], [OWNER], _steps(4, [0, 1, 0]), _steps(6, [0, 1, 0]))
    with path.open("w+b") as file:
        write(file, {**sections(answers, ["a"]), **changed}, {"sources": about})
    return path


def _pool(name: str, old: bytes, new: bytes) -> dict[str, Any]:
    """A pool with another text in it, and its ends."""
    answers = Answers([PLACE], [OWNER], _steps(4, [0, 1, 0]), _steps(6, [0, 1, 0]))
    given = sections(answers, ["a"])
    text, ends = bytes(given[f"{name}.text"]), np.array(given[f"{name}.end"])
    assert text.count(old) == 1
    ends = np.where(ends > text.index(old), ends + len(new) - len(old), ends)
    return {f"{name}.text": text.replace(old, new), f"{name}.end": ends.astype(np.uint32).data}


SOUND = [{"name": "a", "date": "2026-06-01"}]

CASES: dict[str, tuple[Mapping[str, Any], object]] = {
    "latitude is a text": (_pool("place.details", b"1.5", b'"x"'), SOUND),
    "latitude isn't finite": (_pool("place.details", b"1.5", b"NaN"), SOUND),
    "longitude is a list": (_pool("place.details", b"2.5", b"[1]"), SOUND),
    "radius is large": (_pool("place.details", b":7", b":70000"), SOUND),
    "radius is negative": (_pool("place.details", b":7", b":-7"), SOUND),
    "AS number is large": (_pool("owner.details", b"64500", b"9999999999"), SOUND),
    "AS number is a boolean": (_pool("owner.details", b"64500", b"true"), SOUND),
    "text is a number": (_pool("owner.names", b'"isp":"isp"', b'"isp":12345'), SOUND),
    "text is half a character": (_pool("owner.names", b':"isp"', rb':"\ud800"'), SOUND),
    "members are fewer": (_pool("owner.names", b',"isp":"isp"', b""), SOUND),
    "members are none": (_pool("owner.details", b'"asn":64500', b"?"), SOUND),
    "steps are out of order": ({"v4.first": np.array([0, 512, 256], np.uint32).data}, SOUND),
    "steps don't begin at 0": ({"v6.first.low": np.array([1, 256, 512], np.uint64).data}, SOUND),
    "an answer isn't there": ({"v4.answer": np.array([0, 0, 9, 0], np.uint8).data}, SOUND),
    "a place isn't there": ({"pair.place": np.array([0, 9], np.uint8).data}, SOUND),
    "nothing is something": ({"pair.place": np.array([1, 1], np.uint8).data}, SOUND),
    "names are numbers": ({"names.en": json.dumps({"CN": 1}).encode()}, SOUND),
    "a date is none": ({}, [{"name": "a", "date": "yesterday"}]),
    "sources are none": ({}, 7),
}  # fmt: skip


@pytest.mark.parametrize("format_", ["mmdb", "csv"])
@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case: str, format_: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "bad.ipq", *CASES[case])
    with pytest.raises(DataError) as refused:
        export(path, tmp_path / "out", format_)
    assert str(refused.value) == f"{path}: the snapshot contradicts itself; build it again"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("case", [*CASES][:-3])  # what the last are about, no column has
def test_no_columns_are_made_of_it(case: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "bad.ipq", *CASES[case])
    with Snapshot(path) as snapshot, pytest.raises(DataError) as refused:
        snapshot.find_many(["0.0.1.0"]).table()
    assert str(refused.value) == f"{path}: the snapshot contradicts itself; build it again"


def test_a_sound_one_is_exported(tmp_path: Path) -> None:
    path = _write(tmp_path / "good.ipq", {}, SOUND)
    out = export(path, tmp_path / "out", "csv", fields=["asn", "latitude"])
    assert out.read_text().splitlines() == [
        "first,last,asn,latitude",
        "0.0.1.0,0.0.1.255,64500,1.5",
        "::100,::1ff,64500,1.5",
    ]

"""Parquet for analysts, read by pyarrow. tests/bulk has what other engines make of it."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from ipquery import open_snapshot
from ipquery.data.record import FIELDS
from tests.data.exporting import MAPPED, export, known


@pytest.fixture
def parquet() -> Any:
    pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'ipquery[bulk]'")
    return importlib.import_module("pyarrow.parquet")


def test_parquet_has_every_range_in_order(
    sample: Path,
    tmp_path: Path,
    parquet: Any,
) -> None:
    out = export(sample, tmp_path / "geo.parquet", "parquet")
    rows = parquet.read_table(out).to_pylist()
    with open_snapshot(sample) as snapshot:
        # As IPv4 stands where its mapped addresses are, before all of IPv6 here.
        wanted = [
            (version, first, last, known(snapshot.record(number)))
            for version in (4, 6)
            for first, last, number in snapshot.ranges(version)
            if number
        ]
    assert len(rows) == len(wanted)
    for row, (version, first, last, fields) in zip(rows, wanted, strict=True):
        base = MAPPED if version == 4 else 0
        ends = [(base | end).to_bytes(16, "big") for end in (first, last)]
        assert (row["ip_version"], row["first"], row["last"]) == (version, *ends)
        numbers = (first, last) if version == 4 else (None, None)
        assert (row["first_v4"], row["last_v4"]) == numbers
        assert {name: row[name] for name in FIELDS if row[name] is not None} == fields
    assert [row["first"] for row in rows] == sorted(row["first"] for row in rows)
    schema = parquet.read_schema(out)
    assert schema.metadata[b"ipquery.sources"] == b"a"


def test_parquet_is_written_the_same_again(
    sample: Path,
    tmp_path: Path,
    parquet: Any,
) -> None:
    one, other = (export(sample, tmp_path / name, "parquet").read_bytes() for name in ("a", "b"))
    assert one == other

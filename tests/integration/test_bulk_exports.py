"""Exports for analysts, read by pyarrow and by ClickHouse's engine."""

import importlib
import math
import random
from pathlib import Path
from typing import Any

import pytest

from ipquery import open_snapshot
from ipquery.address import to_text
from ipquery.data.export.clickhouse import statement
from ipquery.data.export.options import options_for
from ipquery.data.record import FIELDS
from tests.data.exporting import MAPPED, answer, export, known

FIELDS_TOLD = ("country_code", "city", "isp", "latitude", "asn")


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


@pytest.mark.soak
def test_clickhouse_reads_it_as_a_dictionary(
    sample: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By ClickHouse's engine as the package chdb has it; Debian has no ClickHouse."""
    pytest.importorskip("chdb", reason="chdb is missing: pip install chdb-core")
    session = importlib.import_module("chdb.session")
    options = options_for("clickhouse", FIELDS_TOLD)
    out = export(sample, tmp_path / "geo.csv", "clickhouse", fields=FIELDS_TOLD)
    made = "\n".join(statement(out, options))
    here = made.replace("/var/lib/clickhouse/user_files", str(tmp_path))
    assert here != made
    chance = random.Random(9)
    with open_snapshot(sample) as snapshot:
        ends = [
            (version, end)
            for version in (4, 6)
            for first, last, _ in snapshot.ranges(version)
            for end in (first, last)
        ]
        ends += [(4, chance.randrange(2**32)) for _ in range(10_000)]
        wanted = [known(answer(snapshot, *end)) for end in ends]
    (tmp_path / "asked.csv").write_text(
        "\n".join(f"{place},{to_text(*end)}" for place, end in enumerate(ends))
    )
    # It takes the folder it is started in for that of files to read.
    monkeypatch.chdir(tmp_path)
    asked = session.Session(f"{tmp_path}/clickhouse")
    asked.query("CREATE DATABASE IF NOT EXISTS d ENGINE = Atomic")
    asked.query("USE d")
    asked.query(here)
    told = asked.query(
        f"SELECT place, dictGet('d.ipquery', {FIELDS_TOLD!r}, tuple(toIPv6(ip))) AS found "
        f"FROM file('{tmp_path}/asked.csv', 'CSV', 'place UInt32, ip String') ORDER BY place",
        "Arrow",
    )
    pyarrow = importlib.import_module("pyarrow")
    table = pyarrow.ipc.open_file(pyarrow.BufferReader(told.bytes())).read_all()
    assert len(table) == len(wanted)
    for row, fields in zip(table.to_pylist(), wanted, strict=True):
        country, city, isp, latitude, asn = row["found"].values()
        found = {"country_code": country, "city": city, "isp": isp, "asn": asn}
        if not math.isnan(latitude):
            found["latitude"] = latitude
        shown = {name: value for name, value in found.items() if value not in ("", 0)}
        assert shown == {
            name: value for name, value in fields.items() if name in FIELDS_TOLD and value
        }

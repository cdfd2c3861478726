"""The benchmarks of columns and of files with addresses."""

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner

from ipquery import Snapshot
from ipquery.cli import main
from loadgen.bench.columns import contenders, drawn, measure
from loadgen.bench.enrich import KINDS, Kind, write
from tests.data.exporting import write_sample

pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'ipquery[bulk]'")


def test_each_has_a_rate_and_all_that_join_find_the_same(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "sample.ipq")
    with Snapshot(path) as snapshot:
        asked = [*contenders(path, snapshot, tmp_path, 2000)]
        rates = measure(asked, rounds=1)
        assert rates.keys() == {one.name for one in asked}
        assert all(rate > 0 for rate in rates.values())
        found = {one.name: one.look_up() for one in asked if one.count == 2000}
        numbers = drawn(snapshot, 2000)[0].tolist()
        codes = found["find_many: uint32, as a table"]["country_code"].to_pylist()
    wanted = sorted(zip(numbers, (code or "" for code in codes), strict=True))
    if importlib.util.find_spec("duckdb"):
        theirs = found["DuckDB, ASOF JOIN, a thread"].to_pylist()
        assert sorted((row["ip"], row["country_code"] or "") for row in theirs) == wanted
    if importlib.util.find_spec("pandas"):
        frame = found["pandas, sorted and merge_asof"]
        theirs = frame["country_code"].fillna("").tolist()
        assert sorted(zip(frame["ip"].tolist(), theirs, strict=True)) == wanted


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_file_that_is_measured_is_one_with_addresses(kind: Kind, tmp_path: Path) -> None:
    path = write_sample(tmp_path / "sample.ipq")
    write(tmp_path / "file", kind, ["1.2.3.4", "2400::1"] * 20)
    arguments = ["enrich", "--db", str(path), "-j", "1", *kind.options, "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*arguments, str(tmp_path / "file")])
    assert (done.exit_code, done.stderr) == (0, "")
    made = (tmp_path / "out").read_text()
    assert made.count("\n") == 40 + bool(kind.header)

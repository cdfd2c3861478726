"""ClickHouse's engine, as the package chdb has it, says of each address what one look-up says.

Debian has no ClickHouse.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ipquery import Snapshot
from ipquery.address import to_text
from ipquery.data.export.clickhouse import statement
from ipquery.data.export.options import options_for
from tests.bulk.conftest import Row
from tests.bulk.recipes import recipe, run_command
from tests.data.addresses import FIELDS, said
from tests.data.exporting import export
from tests.programs import require_module

pytestmark = pytest.mark.bulk

Ask = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that this process is in: the engine takes it for that of files to read."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("clickhouse")
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def ask(here: Path) -> Iterator[Ask]:
    """Asks the engine. There is one in a process."""
    session = require_module("chdb.session", "chdb-core").Session(f"{here}/data")
    pyarrow = require_module("pyarrow", "ipquery[bulk]")
    session.query("CREATE DATABASE d ENGINE = Atomic")
    session.query("USE d")

    def call(query: str) -> list[dict[str, Any]]:
        told = session.query(query, "Arrow").bytes()
        if not told:
            return []
        rows: list[dict[str, Any]] = (
            pyarrow.ipc.open_file(pyarrow.BufferReader(told)).read_all().to_pylist()
        )
        return rows

    yield call
    session.close()


def _in(folder: Path, statement: str) -> str:
    """The statement for a file that is in another folder than usual."""
    found = statement.replace("/var/lib/clickhouse/user_files", str(folder))
    assert found != statement
    return found


def _shown(values: Sequence[Any]) -> tuple[Any, ...]:
    """With ``None`` for what dictionaries have where nothing is known."""
    return tuple(None if value in ("", 0) or value != value else value for value in values)


def test_a_dictionary_of_all_types(
    ask: Ask, sample: Path, here: Path, db: Snapshot, numbers: list[tuple[int, int]]
) -> None:
    out = export(sample, here / "all.csv", "clickhouse", fields=FIELDS)
    ask(_in(here, "\n".join(statement(out, options_for("clickhouse", FIELDS)))))
    lines = (f"{place},{to_text(*one)}" for place, one in enumerate(numbers))
    (here / "asked.csv").write_text("\n".join(lines))
    told = ask(
        f"SELECT dictGet('ipquery', {FIELDS!r}, tuple(toIPv6(ip))) AS found "
        "FROM file('asked.csv', 'CSV', 'place UInt32, ip String') ORDER BY place"
    )
    assert [_shown([*row["found"].values()]) for row in told] == [
        _shown(said(db, to_text(*one), FIELDS)[:-1]) for one in numbers
    ]
    assert any(math.isnan(row["found"]["latitude"]) for row in told)


def test_the_recipe(ask: Ask, sample: Path, here: Path, table: Path, wanted: list[Row]) -> None:
    (here / "geo.ipq").symlink_to(sample)
    ask(_in(here, run_command("ClickHouse")))
    (here / "visits.parquet").symlink_to(table)
    ask("CREATE VIEW visits AS SELECT * FROM file('visits.parquet')")
    told = ask(recipe("ClickHouse", "sql").rstrip(";\n"))
    found = sorted((row["place"], row["visitor"], *_shown([*row["geo"].values()])) for row in told)
    assert found == [(*row[:2], *_shown(row[2:])) for row in wanted]

"""DuckDB, as the document has it, says of each address what one look-up says."""

import ipaddress
from pathlib import Path
from typing import Any

import pytest

from ipquery import Snapshot
from ipquery.address import to_text
from tests.bulk.conftest import FIELDS, Row
from tests.bulk.recipes import module, recipe, run_command
from tests.data.addresses import said
from tests.data.exporting import MAPPED
from tests.programs import require_module

pytestmark = pytest.mark.bulk


@pytest.fixture
def con() -> Any:
    return require_module("duckdb", "duckdb").connect()


@pytest.fixture
def ranges(folder: Path) -> None:
    """What the section's command exports."""
    (folder / "geo.parquet").unlink(missing_ok=True)
    run_command("DuckDB")


def test_the_function(con: Any, folder: Path, wanted: list[Row]) -> None:
    made = module("DuckDB", folder)
    assert made.enriched.order("place").fetchall() == wanted
    assert made.enriched.columns == ["place", "visitor", *FIELDS]
    made.db.close()


def test_the_join(con: Any, ranges: None, wanted: list[Row]) -> None:
    macro, query = _statements()
    con.execute(macro)
    # It is for IPv4; other rows stay, with nothing.
    only_v4 = [row if _is_v4(row[1]) else (*row[:2], None, None, None) for row in wanted]
    joined = con.sql(query)
    assert joined.columns == ["place", "visitor", *FIELDS]
    assert joined.order("place").fetchall() == only_v4


def test_the_join_of_sixteen_bytes(
    con: Any, ranges: None, db: Snapshot, numbers: list[tuple[int, int]]
) -> None:
    _, query = _statements()
    pyarrow = require_module("pyarrow", "ipquery[bulk]")
    packed = [(number + MAPPED * (version == 4)).to_bytes(16, "big") for version, number in numbers]
    visits = pyarrow.table({"place": range(len(packed)), "number": pyarrow.array(packed)})
    con.register("visits", visits)
    for before, after in (
        ("(SELECT *, ipv4(visitor) AS number FROM 'visits.parquet') AS visits", "visits"),
        ("last_v4", "last"),
        ("first_v4", "first"),
    ):
        assert before in query
        query = query.replace(before, after)
    assert con.sql(query).order("place").fetchall() == [
        (at, *said(db, to_text(*one), FIELDS)[:-1]) for at, one in enumerate(numbers)
    ]


def _statements() -> tuple[str, str]:
    macro, query, end = recipe("DuckDB", "sql").split(";\n")
    assert not end
    return macro, query


def _is_v4(text: str | None) -> bool:
    try:
        ipaddress.IPv4Address(text or "")
    except ValueError:
        return False
    return True

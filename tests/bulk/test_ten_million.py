"""Ten million lines of an access log: the same from the command, Spark and DuckDB."""

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ipquery import Snapshot
from ipquery.address import to_text
from ipquery.data import build
from ipquery.data.enrich.arrow_columns import ArrowColumns
from ipquery.data.enrich.options import FIELDS, STATUS
from ipquery.data.sources import default_sources
from tests.bulk.recipes import recipe
from tests.data.exporting import export
from tests.programs import IPQUERY, require_module

pytestmark = [pytest.mark.bulk, pytest.mark.soak]

_COUNT = 10_000_000
_LINE = '{ip} - - [29/Nov/2026:09:00:00 +0000] "GET /{number} HTTP/1.1" 200 5 "-" "curl/8"\n'
_NAMES = (*FIELDS, STATUS)


@pytest.fixture(scope="module")
def geo() -> Path:
    """The snapshot of the default database."""
    return build.ensure_snapshot(default_sources(), build.default_cache(), lambda *_: None)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log in which no line is like another one."""
    chance = random.Random(8)
    population = [to_text(4, chance.randrange(2**32)) for _ in range(300_000)]
    population += [
        to_text(6, chance.randrange(0x2000 << 112, 0x3000 << 112)) for _ in range(50_000)
    ]
    population += ["-", "unknown", "1.2.3.4:80"]
    path = tmp_path_factory.mktemp("log") / "access.log"
    with path.open("w") as file:
        for begin in range(0, _COUNT, 100_000):
            some = enumerate(chance.choices(population, k=min(100_000, _COUNT - begin)), begin)
            file.write("".join(_LINE.format(ip=ip, number=number) for number, ip in some))
    return path


@pytest.fixture
def con() -> Any:
    """DuckDB, in which lines of a log are read as they are."""
    connection = require_module("duckdb", "duckdb").connect()
    connection.execute(
        "CREATE MACRO lines(path) AS TABLE SELECT * FROM read_csv(path, header = false, "
        "columns = {'line': 'VARCHAR'}, auto_detect = false, delim = '\x01', quote = '', "
        "escape = '')"
    )
    return connection


def _digest(con: Any, lines: str) -> tuple[int, ...]:
    """How many lines there are, and a number that is another one if one of them is."""
    (found,) = con.sql(
        f"SELECT count(*), sum(hash(line)), bit_xor(hash(line)) FROM {lines}"
    ).fetchall()
    return tuple(map(int, found))


def _by_command(geo: Path, log: Path, folder: Path) -> None:
    with (folder / "command.log").open("wb") as out:
        done = subprocess.run(
            [IPQUERY, "enrich", "--db", geo, "--format", "combined", log],
            stdout=out,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 3, done.stderr  # some have no address


def _by_spark(spark: Any, geo: Path, log: Path, folder: Path) -> None:
    ours = require_module("ipquery.spark", "ipquery[spark]")
    lines = spark.read.text(str(log)).selectExpr("value", "split_part(value, ' ', 1) AS ip")
    said = "".join(_added(f"CAST(ip_{name} AS STRING)") for name in _NAMES)
    written = ours.enrich(lines, db=geo).selectExpr(f"value{said} AS value")
    written.write.text(str(folder / "spark"))


def _added(value: str) -> str:
    """SQL for what a field adds to a line."""
    return f""" || ' "' || replace(coalesce({value}, '-'), '"', chr(92) || 'x22') || '"'"""


def _by_duckdb(con: Any, db: Snapshot, log: Path) -> None:
    """A table, ``enriched``, of lines; and of each its address, and what is said of that."""
    pyarrow = require_module("pyarrow", "ipquery[bulk]")

    columns = ArrowColumns(pyarrow, db, FIELDS)

    def ipquery(addresses: Any) -> Any:
        said = columns.of([], db.find_many(addresses).numbers)
        return pyarrow.StructArray.from_arrays(said, _NAMES)

    members = ", ".join(f"{name} {'UINTEGER' if name == 'asn' else 'VARCHAR'}" for name in _NAMES)
    con.create_function(
        "ipquery", ipquery, ["VARCHAR"], f"STRUCT({members})", type="arrow", null_handling="special"
    )
    said = "".join(_added(f"CAST(geo.{name} AS VARCHAR)") for name in _NAMES)
    con.execute(
        f"CREATE TABLE enriched AS SELECT visitor, geo, line{said} AS line FROM (SELECT line, "
        f"split_part(line, ' ', 1) AS visitor, ipquery(visitor) AS geo FROM lines('{log}'))"
    )


def test_all_engines_say_the_same_of_each_line(
    spark: Any, con: Any, geo: Path, log: Path, tmp_path: Path
) -> None:
    _by_command(geo, log, tmp_path)
    _by_spark(spark, geo, log, tmp_path)
    with Snapshot(geo) as db:
        _by_duckdb(con, db, log)
        wanted = _digest(con, f"lines('{tmp_path}/command.log')")
        assert wanted[0] == _COUNT
        assert _digest(con, f"lines('{tmp_path}/spark/*.txt')") == wanted
        assert _digest(con, "enriched") == wanted


def test_a_join_with_ranges_says_the_same_of_ipv4(
    con: Any, geo: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export(geo, Path("geo.parquet"), "parquet", fields=FIELDS)
    macro, query, _ = recipe("DuckDB", "sql").split(";\n")
    con.execute(macro)
    joined = query.replace("'visits.parquet'", "(SELECT visitor, geo AS found FROM enriched)")
    with Snapshot(geo) as db:
        _by_duckdb(con, db, log)
        ((rows, differ),) = con.sql(
            "SELECT count(*), count(*) FILTER (found.city IS DISTINCT FROM city OR "
            "found.country_code IS DISTINCT FROM country_code OR found.asn IS DISTINCT FROM asn) "
            f"FROM ({joined}) WHERE ipv4(visitor) NOTNULL"
        ).fetchall()
    assert rows > _COUNT / 2
    assert differ == 0

"""A snapshot, addresses to look up in it, and Spark."""

import contextlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipquery import Snapshot
from ipquery.address import to_text
from tests.data.addresses import INVALID, VALID, said
from tests.data.tables import LAST
from tests.programs import require, require_module


@pytest.fixture(scope="session")
def db(sample: Path) -> Iterator[Snapshot]:
    with Snapshot(sample) as snapshot:
        yield snapshot


@pytest.fixture(scope="session")
def numbers(db: Snapshot) -> list[tuple[int, int]]:
    """Versions and numbers of addresses: ends of ranges, those beside them, and any others."""
    chance = random.Random(4)
    found = {
        (version, number)
        for version in (4, 6)
        for first, last, _ in db.ranges(version)
        for number in (first - 1, first, last, last + 1)
        if 0 <= number <= LAST[version]
    }
    return [*sorted(found), *((4, chance.randrange(2**32)) for _ in range(5000))]


@pytest.fixture(scope="session")
def addresses(numbers: list[tuple[int, int]]) -> list[str | None]:
    """Their texts, among others that are null, no address, or written in other ways."""
    chance = random.Random(5)
    # What isn't Unicode has no place in columns of text.
    others = [text for text in (*INVALID, *VALID) if text.isascii() or text.isprintable()]
    found = [*(to_text(*one) for one in numbers), *others * 3, *[None] * 50]
    chance.shuffle(found)
    return found


FIELDS = ("country_code", "city", "asn")
"""Those of the recipes."""

Row = tuple[Any, ...]


@pytest.fixture(scope="session")
def wanted(db: Snapshot, addresses: list[str | None]) -> list[Row]:
    """What a recipe makes of each row: its number, address and fields, and no status."""
    return [(number, ip, *said(db, ip, FIELDS)[:-1]) for number, ip in enumerate(addresses)]


@pytest.fixture(scope="session")
def table(addresses: list[str | None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file with the addresses."""
    pyarrow = require_module("pyarrow", "ipquery[bulk]")
    parquet = require_module("pyarrow.parquet", "ipquery[bulk]")
    columns = {
        "place": range(len(addresses)),
        "visitor": pyarrow.array(addresses, pyarrow.string()),
    }
    path = tmp_path_factory.mktemp("table") / "visits.parquet"
    parquet.write_table(pyarrow.table(columns), path, row_group_size=5000)
    return path


@pytest.fixture(scope="session")
def files(sample: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what recipes read."""
    made = tmp_path_factory.mktemp("files")
    (made / "geo.ipq").symlink_to(sample)
    (made / "visits.parquet").symlink_to(table)
    return made


@pytest.fixture
def folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, which this process is in."""
    monkeypatch.chdir(files)
    return files


@pytest.fixture(scope="session")
def spark(files: Path) -> Iterator[Any]:
    """A session of Spark, in one process of Java with two threads that work."""
    require("java", "default-jre-headless")
    sql = require_module("pyspark.sql", "ipquery[spark]")
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(files / "warehouse"),
    }
    builder = sql.SparkSession.builder.master("local[2]").config(map=settings)
    # Java stays in the folder that it is started in.
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(files):
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        session = builder.getOrCreate()
    yield session
    session.stop()

"""Spark says of each address what one look-up says."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ipquery import DataError, Snapshot
from ipquery.address import to_text
from ipquery.data.enrich import options
from ipquery.data.enrich.places import PLACES
from ipquery.data.record import FIELDS as ALL
from ipquery.data.record import Record
from tests.bulk.recipes import module
from tests.data.addresses import FIELDS, said
from tests.data.builder import write_snapshot
from tests.integration.source import REPOSITORY
from tests.programs import require_module

pytestmark = pytest.mark.bulk


@pytest.fixture(scope="module")
def ours(spark: Any) -> Any:
    """The module, which needs pyspark."""
    return require_module("ipquery.spark", "ipquery[spark]")


@pytest.fixture(scope="module")
def visits(spark: Any, addresses: list[str | None]) -> Any:
    """A table of addresses, in several parts, with a column on either side."""
    rows = [(number, ip, f"x{number}") for number, ip in enumerate(addresses)]
    return spark.createDataFrame(rows, "id long, ip string, x string").repartition(3)


def _by_id(rows: Sequence[Any]) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in rows), key=lambda row: row[0])


def test_texts_have_what_each_has(
    ours: Any, visits: Any, sample: Path, db: Snapshot, addresses: list[str | None]
) -> None:
    enriched = ours.enrich(visits, "ip", fields=FIELDS, db=sample)
    assert enriched.columns == ["id", "ip", "x", *(f"ip_{name}" for name in (*FIELDS, "status"))]
    assert _by_id(enriched.collect()) == [
        (number, ip, f"x{number}", *said(db, ip, FIELDS)) for number, ip in enumerate(addresses)
    ]


def test_rows_stay_in_their_order(ours: Any, visits: Any, sample: Path) -> None:
    before = [row.id for row in visits.collect()]
    assert [row.id for row in ours.enrich(visits, db=sample).collect()] == before
    assert ours.enrich(visits.where("id < 0"), db=sample).collect() == []


def test_the_fields_are_those_of_the_command_unless_they_are_named(
    ours: Any, visits: Any, sample: Path, db: Snapshot
) -> None:
    assert ours.enrich(visits, db=sample).columns[3:] == list(options.Options().names)
    every = (*PLACES, *ALL)
    for row in ours.enrich(visits.limit(50), fields=every, db=sample).collect():
        assert [*row[3:]] == said(db, row.ip, every)


def test_numbers_are_addresses(
    ours: Any, spark: Any, sample: Path, db: Snapshot, numbers: list[tuple[int, int]]
) -> None:
    v4 = [number for version, number in numbers if version == 4]
    given = [-1, 2**32, 2**62, None, *v4]
    frame = spark.createDataFrame([*enumerate(given)], "id long, ip long")
    # From 2**32 on they are IPv6.
    texts = ["-1", *(to_text(6, one) for one in (2**32, 2**62)), None]
    texts += [to_text(4, number) for number in v4]
    wanted = [said(db, text, ("asn", "city")) for text in texts]
    found = _by_id(ours.enrich(frame, fields=("asn", "city"), db=sample).collect())
    assert [[*row[2:]] for row in found] == wanted


def test_sixteen_bytes_are_addresses(
    ours: Any, spark: Any, sample: Path, db: Snapshot, numbers: list[tuple[int, int]]
) -> None:
    v6 = [number for version, number in numbers if version == 6]
    given = [None, b"", bytes(4), bytes(15), bytes(17), *(one.to_bytes(16, "big") for one in v6)]
    frame = spark.createDataFrame([*enumerate(given)], "id long, ip binary")
    wanted = [said(db, None, ("city",))] * 5 + [said(db, to_text(6, one), ("city",)) for one in v6]
    found = _by_id(ours.enrich(frame, fields=("city",), db=sample).collect())
    assert [[*row[2:]] for row in found] == wanted


def test_fields_may_be_in_a_struct_or_have_another_prefix(
    ours: Any, visits: Any, sample: Path, db: Snapshot
) -> None:
    some = visits.limit(200)
    nested = ours.enrich(some, fields=("asn", "city", "asn"), db=sample, nested="geo")
    assert nested.columns == ["id", "ip", "x", "geo"]
    for row in nested.collect():
        told = said(db, row.ip, ("asn", "city"))
        assert row.geo.asDict() == dict(zip(("asn", "city", "status"), told, strict=True))
    prefixed = ours.enrich(some, fields=("asn",), db=sample, prefix="from_")
    assert prefixed.columns[3:] == ["from_asn", "from_status"]


def test_sql_has_a_function(
    ours: Any, spark: Any, visits: Any, sample: Path, db: Snapshot, addresses: list[str | None]
) -> None:
    visits.createOrReplaceTempView("visits")
    column = ours.register(spark, fields=FIELDS, db=sample)
    selected = spark.sql("SELECT id, ipquery(ip) AS geo FROM visits").selectExpr("id", "geo.*")
    wanted = [(number, *said(db, ip, FIELDS)) for number, ip in enumerate(addresses)]
    assert _by_id(selected.collect()) == wanted
    assert (
        _by_id(visits.select("id", column("ip").alias("geo")).select("id", "geo.*").collect())
        == wanted
    )
    counted = spark.sql(
        "SELECT ipquery(ip).country_code AS country, count(*) AS rows FROM visits GROUP BY 1"
    )
    countries = [row[1] for row in wanted]
    assert {tuple(row) for row in counted.collect()} == {
        (one, countries.count(one)) for one in {*countries}
    }


def test_a_function_may_have_another_name(ours: Any, spark: Any, sample: Path) -> None:
    ours.register(spark, "where_is", fields=("asn",), db=sample)
    (row,) = spark.sql("SELECT where_is('here') AS found").collect()
    assert row.found.asDict() == {"asn": None, "status": "bad"}


def test_what_cannot_be_done_is_refused_before_anything_runs(
    ours: Any, spark: Any, visits: Any, sample: Path, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no snapshot")
    twice = visits.selectExpr("ip", "ip")
    for call, said_ in (
        (
            lambda: ours.enrich(visits, "address", db=sample),
            "no column is called 'address'; there are 'id'",
        ),
        (lambda: ours.enrich(twice, db=sample), "two columns are called 'ip'; there are"),
        (
            lambda: ours.enrich(visits, fields=["colour"], db=sample),
            "'colour' is no field; there are",
        ),
        (lambda: ours.enrich(visits, fields=[], db=sample), "no field was named"),
        (lambda: ours.enrich(visits, fields=["asn"], db=sample, prefix="", nested="a"), "not both"),
        (
            lambda: ours.enrich(visits.withColumn("IP_ASN", visits.x), db=sample),
            "there is a column ip_asn already",
        ),
        (lambda: ours.enrich(visits, db=sample, nested="x"), "there is a column x already"),
        (
            lambda: ours.enrich(visits.selectExpr("1.5D AS ip"), db=sample),
            "ip of double holds no addresses",
        ),
        (lambda: ours.enrich(visits, db=tmp_path / "none.ipq"), "none.ipq"),
        (lambda: ours.enrich(visits, db=tmp_path / "text"), "text"),
        (lambda: ours.register(spark, fields=["colour"], db=sample), "'colour' is no field"),
        # A session of Spark Connect has no context.
        (lambda: ours.register(object(), db=sample), "Spark Connect can't send files"),
    ):
        with pytest.raises(DataError) as caught:
            call()
        assert said_ in str(caught.value)
        assert "\n" not in str(caught.value)


def test_names_of_columns_are_compared_as_spark_does(
    ours: Any, spark: Any, visits: Any, sample: Path
) -> None:
    assert ours.enrich(visits, "IP", db=sample).first() is not None
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        with pytest.raises(DataError, match="no column is called 'IP'"):
            ours.enrich(visits, "IP", db=sample)
    finally:
        spark.conf.unset("spark.sql.caseSensitive")


def test_a_newer_snapshot_at_the_same_path_is_used(ours: Any, spark: Any, tmp_path: Path) -> None:
    path = tmp_path / "geo.ipq"
    frame = spark.createDataFrame([("1.2.3.4",)], "ip string")
    frames = []
    for city in ("before", "after"):
        write_snapshot(path, [(0, 2**32 - 1, 0)], [], [Record(city=city)])
        frames.append(ours.enrich(frame, fields=["city"], db=path))
        path.unlink()
    assert [one.first().ip_city for one in frames] == ["before", "after"]


def test_a_process_opens_a_snapshot_once(
    ours: Any, spark: Any, visits: Any, tmp_path: Path
) -> None:
    """However many parts and jobs there are."""
    path = write_snapshot(tmp_path / "geo.ipq", [(0, 2**32 - 1, 0)], [], [Record(city="once")])
    name = ours._sent(spark, path)

    def opened(batches: Any) -> Any:
        import os

        import pyarrow

        from ipquery import spark as theirs

        for batch in batches:
            theirs._looked_up(batch.column(1), name, ("city",))
        counts = {"process": [os.getpid()], "opened": [theirs._opened.cache_info().misses]}
        yield pyarrow.RecordBatch.from_pydict(counts)

    told = [
        tuple(row)
        for _ in range(2)
        for row in visits.repartition(8).mapInArrow(opened, "process long, opened long").collect()
    ]
    assert len(told) == 16
    # A process that has opened it never opens it again, so its count stays.
    assert len({*told}) == len({process for process, _ in told}) < len(told)


def test_the_recipe(spark: Any, folder: Path, wanted: list[tuple[Any, ...]], db: Snapshot) -> None:
    made = module("Spark", folder)
    rows = _by_id(made.enriched.drop("ip_status").collect())
    assert rows == wanted
    countries = [row[2] for row in wanted]
    assert {tuple(row) for row in made.countries.collect()} == {
        (one, countries.count(one)) for one in {*countries}
    }


_ON_A_CLUSTER = """
import sys
import ipquery.spark
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master("local-cluster[1,1,1024]")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
rows = spark.createDataFrame([(f"{n}.2.3.4",) for n in range(256)], "ip string")
ipquery.spark.register(spark, fields=["city"], db=sys.argv[1])
enriched = ipquery.spark.enrich(rows, fields=["city"], db=sys.argv[1])
for row in enriched.selectExpr("*", "ipquery(ip) AS geo").collect():
    assert (row.ip_city, row.ip_status) == tuple(row.geo)
    print(row.ip, row.ip_city, sep="\\t")
spark.stop()
"""


def test_executors_that_are_other_processes_get_the_snapshot(
    ours: Any, sample: Path, db: Snapshot
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_CLUSTER, sample],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    told = dict(line.split("\t") for line in done.stdout.splitlines())
    assert told == {ip: str(said(db, ip, ("city",))[0]) for ip in told}
    assert len(told) == 256

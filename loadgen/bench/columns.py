"""Columns of addresses looked up at once, beside what else people join addresses with.

    python -m loadgen.bench.columns [DB]

The question is the same for all: the country codes of as many IPv4 addresses, drawn from the
whole space; ipquery is asked about IPv6, too. Nothing is asserted. Processor time counts, and of
all rounds, in which each has its turn, the best, as whatever disturbs makes them slower only.
What is made before the first look-up isn't counted: indexes, tables of ranges.
"""

import importlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import click
import numpy as np

from ipquery import Snapshot
from ipquery.address import to_text
from ipquery.data.export.job import opened
from ipquery.data.export.options import options_for
from loadgen.cli.parameters import snapshot_of
from loadgen.report.tables import columns

_FIELD = "country_code"


@attrs.frozen
class Contender:
    """Looks all of them up, when it is called."""

    name: str
    count: int
    look_up: Callable[[], Any]


def drawn(snapshot: Snapshot, count: int) -> tuple[Any, Any]:
    """IPv4 addresses as numbers, and packed IPv6 ones of ranges that there are; the same ones for
    the same database."""
    chance = np.random.default_rng(1)
    v4 = chance.integers(0, 2**32, count, np.uint32)
    starts = np.array(snapshot.column("v6.first.high"))
    high = chance.choice(starts, count) + chance.integers(0, 2**32, count, np.uint64)
    halves = np.stack((high, chance.integers(0, 2**64, count, np.uint64)), axis=1)
    return v4, halves.astype(">u8").view("S16").reshape(-1)


def _ours(snapshot: Snapshot, v4: Any, v6: Any, few: int) -> Iterator[Contender]:
    texts = [to_text(4, number) for number in v4.tolist()]
    v6_texts = [to_text(6, int.from_bytes(one, "big")) for one in v6.view("V16").tolist()]

    def many(name: str, column: Any) -> Contender:
        return Contender(name, len(v4), lambda: snapshot.find_many(column))

    def loop() -> None:
        for text in texts[:few]:
            snapshot.find(text)

    yield many("find_many: uint32", v4)
    yield many("find_many: list of str, IPv4", texts)
    yield many("find_many: S16 (packed IPv6)", v6)
    yield many("find_many: list of str, IPv6", v6_texts)
    yield Contender(
        "find_many: uint32, as a table",
        len(v4),
        lambda: snapshot.find_many(v4).table([_FIELD]),
    )
    if _is_there("pyarrow"):
        arrow = importlib.import_module("pyarrow")
        yield many("find_many: Arrow strings, IPv4", arrow.array(texts))
        yield many("find_many: Arrow strings, IPv6", arrow.array(v6_texts))
    yield Contender("find, in a loop", few, loop)


def _maxminddb(path: Path, folder: Path, v4: Any, few: int) -> Contender:
    """The reader in C, and a file that has nothing but this field."""
    maxminddb = importlib.import_module("maxminddb")
    out = folder / "geo.mmdb"
    options = options_for("mmdb", [_FIELD], "flat")
    with opened(out, "mmdb", options, replace=False) as target:
        target.fill(path, lambda what, done: None)
    reader = maxminddb.open_database(str(out), maxminddb.MODE_MMAP_EXT)
    texts = [to_text(4, number) for number in v4[:few].tolist()]

    def loop() -> None:
        for text in texts:
            reader.get(text)

    return Contender("maxminddb in C, in a loop", few, loop)


def _ranges(path: Path, folder: Path) -> Any:
    """The ranges of IPv4 with this field, as ``ipquery export`` writes them."""
    out = folder / "geo.parquet"
    options = options_for("parquet", [_FIELD])
    with opened(out, "parquet", options, replace=False) as target:
        target.fill(path, lambda what, done: None)
    table = importlib.import_module("pyarrow.parquet").read_table(out)
    compute = importlib.import_module("pyarrow.compute")
    return table.filter(compute.is_valid(table["first_v4"])).select(["first_v4", "last_v4", _FIELD])


def _duckdb(ranges: Any, v4: Any) -> Contender:
    duckdb = importlib.import_module("duckdb")
    arrow = importlib.import_module("pyarrow")
    database = duckdb.connect(config={"threads": 1})
    database.register("given_ranges", ranges)
    database.register("given_log", arrow.table({"ip": v4}))
    database.execute("CREATE TABLE geo AS SELECT * FROM given_ranges")
    database.execute("CREATE TABLE log AS SELECT * FROM given_log")
    query = f"""SELECT log.ip, CASE WHEN log.ip <= geo.last_v4 THEN geo.{_FIELD} END AS {_FIELD}
        FROM log ASOF LEFT JOIN geo ON log.ip >= geo.first_v4"""  # noqa: S608 # a constant
    return Contender(
        "DuckDB, ASOF JOIN, a thread", len(v4), lambda: database.sql(query).to_arrow_table()
    )


def _pandas(ranges: Any, v4: Any) -> Contender:
    pandas = importlib.import_module("pandas")
    frame = ranges.to_pandas()
    log = pandas.DataFrame({"ip": v4})

    def join() -> Any:
        in_order = log.sort_values("ip")
        joined = pandas.merge_asof(in_order, frame, left_on="ip", right_on="first_v4")
        joined.loc[joined["ip"] > joined["last_v4"], _FIELD] = None
        return joined

    return Contender("pandas, sorted and merge_asof", len(v4), join)


def _is_there(*modules: str) -> bool:
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError:
            click.echo(f"{name} isn't installed: its rows are left out", err=True)
            return False
    return True


def contenders(path: Path, snapshot: Snapshot, folder: Path, count: int) -> Iterator[Contender]:
    """
    :param path: that of the snapshot.
    :param folder: where files may be written.
    """
    v4, v6 = drawn(snapshot, count)
    few = min(count, 200_000)
    yield from _ours(snapshot, v4, v6, few)
    if _is_there("maxminddb"):
        yield _maxminddb(path, folder, v4, few)
    if _is_there("pyarrow", "pyarrow.parquet"):
        ranges = _ranges(path, folder)
        if _is_there("duckdb"):
            yield _duckdb(ranges, v4)
        if _is_there("pandas"):
            yield _pandas(ranges, v4)


def measure(asked: list[Contender], rounds: int) -> dict[str, float]:
    """Addresses a second of processor time, by name."""
    best: dict[str, float] = {}
    for _ in range(rounds):
        for one in asked:
            begun = time.process_time()
            one.look_up()
            rate = one.count / (time.process_time() - begun)
            best[one.name] = max(rate, best.get(one.name, 0.0))
    return best


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Turns that each gets.")
@click.option("--count", default=2_000_000, show_default=True, help="Addresses of a turn.")
@click.argument("db", default="default")
def main(rounds: int, count: int, db: str) -> None:
    """Measure columns of addresses in DB, a snapshot or SOURCE."""
    named = snapshot_of(db)
    assert named is not None
    path = Path(named)
    with Snapshot(path) as snapshot, tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        snapshot.index()
        click.echo(f"made once: {time.process_time() - begun:.2f} s of the processor")
        rates = measure([*contenders(path, snapshot, Path(folder), count)], rounds)
    loop = rates["find, in a loop"]
    table = [["", "million/s", "times find"]]
    table += [[name, f"{rate / 1e6:.2f}", f"{rate / loop:.1f}"] for name, rate in rates.items()]
    click.echo(columns(table))


if __name__ == "__main__":
    main()

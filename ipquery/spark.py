"""Spark: DataFrames with what is known about their addresses, and a function of SQL for the same.

A snapshot goes to the executors once, as a file of the context (``SparkContext.addFile``). Each
Python process there maps it when it first needs it, and keeps it open: pages of the file are shared
by all of a machine. ipquery and pyarrow have to be installed there, too.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

try:
    import pyarrow
    import pyarrow.compute
    from pyarrow import types as arrow_types
    from pyspark import SparkFiles
    from pyspark.sql import DataFrame, SparkSession, functions, types
except ImportError:
    raise ImportError("ipquery.spark needs other packages: pip install 'ipquery[spark]'") from None

from ipquery.address import shorten
from ipquery.data import build
from ipquery.data.columns.found import check_fields
from ipquery.data.columns.given import batches
from ipquery.data.enrich.arrow_columns import ArrowColumns
from ipquery.data.enrich.options import FIELDS, PREFIX, STATUS
from ipquery.data.enrich.places import PLACES
from ipquery.data.record import DataError
from ipquery.data.snapshot import Snapshot
from ipquery.data.sources import DEFAULT, parse_sources

# Of what isn't text. Spark has no unsigned numbers: each is of the next larger type.
_NUMBERS = {
    "latitude": (types.DoubleType, "float64"),
    "longitude": (types.DoubleType, "float64"),
    "accuracy_radius": (types.IntegerType, "int32"),
    "asn": (types.LongType, "int64"),
}

_HOLD_ADDRESSES = (types.StringType, types.IntegralType, types.BinaryType, types.NullType)

# Snapshots that a process keeps open: a query may compare one with the one before.
_OPEN = 2


def enrich(
    df: DataFrame,
    column: str = "ip",
    *,
    fields: Sequence[str] = FIELDS,
    db: str | os.PathLike[str] = DEFAULT,
    prefix: str | None = None,
    nested: str | None = None,
) -> DataFrame:
    """Add what is known about addresses: a column for each field, and behind them the status.

    That is ``ok``, ``unknown`` (no record) or ``bad`` (no address, or null). All rows stay, in
    their order within partitions. As ever with Spark, nothing is looked up before the result is
    used.

    :param column: the one with the addresses: text, integers (below 2**32 IPv4 addresses, others
        IPv6), or 16 bytes each.
    :param fields: names of fields of :class:`~ipquery.data.record.Record`, and ``network``,
        ``first`` and ``last``, which take longer.
    :param db: a snapshot, or a SOURCE as commands take it, which is built on first use. A file of
        the machine that this runs on.
    :param prefix: what names of columns begin with, ``ip_`` if it is ``None``.
    :param nested: the name of a column for a struct of all of them, without a prefix.
    :raises DataError: a column isn't there, or is already, or holds no addresses; there is no such
        field; the database can't be used.
    """
    fields = _checked(fields)
    if nested is not None and prefix is not None:
        raise DataError("fields are nested or have a prefix, not both; leave one out")
    if nested is None:
        start = PREFIX if prefix is None else prefix
        added = [types.StructField(start + field.name, field.dataType) for field in _struct(fields)]
    else:
        added = [types.StructField(nested, _struct(fields))]
    place = _place_of(df, column, [field.name for field in added])
    schema = types.StructType([*df.schema.fields, *added])
    enriched = partial(
        _enriched,
        place=place,
        names=schema.names,
        snapshot=_sent(df.sparkSession, db),
        fields=fields,
        is_nested=nested is not None,
    )
    return df.mapInArrow(enriched, schema)


def register(
    spark: SparkSession,
    name: str = "ipquery",
    *,
    fields: Sequence[str] = FIELDS,
    db: str | os.PathLike[str] = DEFAULT,
) -> Any:
    """Make a function of SQL: from an address to a struct with a member for each field, and
    ``status``.

    :param name: what it is called.
    :param fields: see :func:`enrich`, as for ``db``.
    :returns: the same function for columns of DataFrames.
    :raises DataError: there is no such field; the database can't be used.
    """
    fields = _checked(fields)
    look_up = partial(_looked_up, snapshot=_sent(spark, db), fields=fields)

    def ipquery(addresses: pyarrow.Array) -> pyarrow.Array:
        return look_up(addresses)

    return spark.udf.register(name, functions.arrow_udf(ipquery, _struct(fields)))


def _checked(fields: Sequence[str]) -> tuple[str, ...]:
    """
    :raises DataError: there is no such field.
    """
    check_fields(fields, PLACES)
    return tuple(dict.fromkeys(fields))


def _struct(fields: Sequence[str]) -> types.StructType:
    """What is said of an address, as Spark has it."""
    kinds = [_NUMBERS.get(field, (types.StringType,))[0]() for field in fields]
    named = [types.StructField(*one) for one in zip(fields, kinds, strict=True)]
    return types.StructType([*named, types.StructField(STATUS, types.StringType())])


def _place_of(df: DataFrame, column: str, added: Sequence[str]) -> int:
    """The number of the column with the addresses.

    :raises DataError: it isn't there, or holds none, or there is one of those to be added.
    """
    is_exact = df.sparkSession.conf.get("spark.sql.caseSensitive") == "true"
    as_compared = str if is_exact else str.lower
    names = [as_compared(name) for name in df.columns]
    wanted = as_compared(column)
    if names.count(wanted) != 1:
        there = "two columns are" if wanted in names else "no column is"
        listed = ", ".join(map(shorten, df.columns[:20]))
        raise DataError(f"{there} called {shorten(column)}; there are {listed}")
    for name in added:
        if as_compared(name) in names:
            raise DataError(f"there is a column {name} already; choose another prefix")
    place = names.index(wanted)
    kind = df.schema[place].dataType
    if not isinstance(kind, _HOLD_ADDRESSES):
        raise DataError(
            f"the column {column} of {kind.simpleString()} holds no addresses: they are strings, "
            "integers, or 16 bytes each"
        )
    return place


def _sent(spark: SparkSession, db: str | os.PathLike[str]) -> str:
    """Send a snapshot to the executors, unless that was done; the name that it has there.

    It is called after what it holds. Spark doesn't take a second file of one name, and so would
    keep the snapshot that was once at a path.

    :raises DataError: it can't be built or read.
    """
    context = getattr(spark, "sparkContext", None)
    if context is None:
        raise DataError("a session of Spark Connect can't send files to executors; use another one")
    path = build.ensure_snapshot(
        parse_sources([os.fspath(db)]), build.default_cache(), lambda what, done: None
    )
    try:
        with Snapshot(path) as snapshot:
            name = f"{snapshot.identity}.ipq"
        if not any(sent.endswith(f"/{name}") for sent in context.listFiles):
            # Where Spark keeps what it sends, until its context ends. No link: one more name of a
            # file in the cache folder is one that others might change it by.
            copy = Path(SparkFiles.get(name))
            handle, temporary = tempfile.mkstemp(dir=copy.parent)
            os.close(handle)
            shutil.copyfile(path, temporary)
            # In one step: another thread may have sent it meanwhile, and a process mapped it.
            os.replace(temporary, copy)
            context.addFile(str(copy))
    except OSError as error:
        raise DataError(f"{path}: can't send this snapshot: {error.strerror}") from None
    return name


# What runs on executors


@lru_cache(_OPEN)
def _opened(path: Path) -> Snapshot:
    # Looked at for its checksum: it came over a network.
    return Snapshot(path)


@lru_cache(_OPEN)
def _columns(path: Path, fields: tuple[str, ...]) -> ArrowColumns:
    return ArrowColumns(pyarrow, _opened(path), fields)


def _enriched(
    batches: Iterator[Any],
    place: int,
    names: Sequence[str],
    snapshot: str,
    fields: tuple[str, ...],
    is_nested: bool,
) -> Iterator[Any]:
    for batch in batches:
        said = _looked_up(batch.column(place), snapshot, fields)
        added = [said] if is_nested else said.flatten()
        yield pyarrow.RecordBatch.from_arrays([*batch.columns, *added], names)


def _looked_up(addresses: Any, snapshot: str, fields: tuple[str, ...]) -> Any:
    """A ``pyarrow.StructArray`` of what is said of them."""
    path = Path(SparkFiles.get(snapshot))
    given = [*batches(_in_16_bytes(addresses))]
    numbers = _opened(path).index().find_batches(given)
    columns = _columns(path, fields).of(given, numbers)
    for place, name in enumerate(fields):
        if name in _NUMBERS:
            columns[place] = columns[place].cast(_NUMBERS[name][1])
    return pyarrow.StructArray.from_arrays(columns, [*fields, STATUS])


def _in_16_bytes(addresses: Any) -> Any:
    """Bytes of any length, as Spark has them, as addresses: null where there are more or fewer."""
    if not (arrow_types.is_binary(addresses.type) or arrow_types.is_large_binary(addresses.type)):
        return addresses
    fits = pyarrow.compute.equal(pyarrow.compute.binary_length(addresses), 16)
    nothing = pyarrow.scalar(None, addresses.type)
    return pyarrow.compute.if_else(fits, addresses, nothing).cast(pyarrow.binary(16))

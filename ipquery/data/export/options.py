"""Options: what is to be exported, and how."""

from collections.abc import Callable, Sequence

import attrs

from ipquery.address import shorten
from ipquery.data.export.mmdb_shapes import NOT_OF_CITY
from ipquery.data.record import FIELDS, DataError

FORMATS = ("mmdb", "csv", "parquet", "nginx", "haproxy", "clickhouse")

Report = Callable[[str, float], None]
"""Called with what is being done and how much of it is, 0 to 1."""

_OF_ONE_FIELD = ("nginx", "haproxy")


@attrs.frozen
class Options:
    """``fields`` are names of fields of :class:`~ipquery.data.record.Record`, in their order.

    ``shape`` and ``database_type`` are those of MaxMind DBs; ``prefixes`` has CSV tell prefixes
    instead of ranges.
    """

    fields: tuple[str, ...]
    shape: str = "city"
    database_type: str | None = None
    prefixes: bool = False


def options_for(
    format_: str,
    fields: Sequence[str] = (),
    shape: str | None = None,
    database_type: str | None = None,
    prefixes: bool = False,
) -> Options:
    """The options of an export.

    :param format_: one of :data:`FORMATS`.
    :param fields: all that the format has a place for if there are none; of those of web servers,
        which hold one, the country's code.
    :param shape: for mmdb, ``city`` if it is ``None``.
    :raises DataError: they don't go together, or a field is unknown.
    """
    for field in fields:
        if field not in FIELDS:
            raise DataError(f"{shorten(field)} is no field; there are {', '.join(FIELDS)}")
    if format_ != "mmdb" and (shape is not None or database_type is not None):
        raise DataError(f"a shape and a type of database are for mmdb, not for {format_}")
    if database_type is not None and not (database_type and database_type.isprintable()):
        raise DataError(f"{shorten(database_type)} can't be what a database calls itself")
    if format_ != "csv" and prefixes:
        raise DataError(f"prefixes instead of ranges are for csv, not for {format_}")
    if format_ in _OF_ONE_FIELD:
        if len({*fields}) > 1:
            raise DataError(f"{format_} holds one field, not {', '.join(fields)}; name one")
        return Options(tuple(fields[:1]) or ("country_code",))
    shape = shape or "city"
    left_out = NOT_OF_CITY if format_ == "mmdb" and shape == "city" else ()
    for field in fields:
        if field in left_out:
            raise DataError(f"records of the shape city have no {field}; choose --shape flat")
    all_there_are = (field for field in FIELDS if field not in left_out)
    return Options(tuple(dict.fromkeys(fields or all_there_are)), shape, database_type, prefixes)

"""Options: what is to be said of which addresses, and how."""

from collections.abc import Sequence

import attrs

from ipquery.address import shorten
from ipquery.data.columns.found import check_fields
from ipquery.data.enrich.places import PLACES
from ipquery.data.record import DataError

FORMATS = ("csv", "tsv", "combined", "json", "parquet")

FIELDS = ("country_code", "province", "city", "isp", "asn")
"""What is said if nothing is chosen."""

STATUS = "status"
"""Behind the fields: one of :data:`OK`, :data:`UNKNOWN` and :data:`BAD`."""

OK, UNKNOWN, BAD = "ok", "unknown", "bad"

PREFIX = "ip_"


@attrs.frozen
class Options:
    """``format`` is one of :data:`FORMATS`, ``None`` for what the content looks like. ``fields``
    are those of a record, and of :data:`~ipquery.data.enrich.places.PLACES`.

    ``column`` is where the address is: the name of a column, or its number from 1 where there are
    no names; in JSON a path, its parts separated by dots; in logs the name of a variable.
    ``log_format`` is nginx's. Fields are named with ``prefix`` in front; in JSON they are members
    of an object called ``nested``, if there is one. ``anonymise`` puts the prefix that an address
    is in where it stood. Without fields
    nothing is added. ``named_by`` is the option that names the column, for errors.
    """

    format: str | None = None
    column: str | None = None
    log_format: str | None = None
    fields: tuple[str, ...] = FIELDS
    prefix: str = PREFIX
    nested: str | None = None
    header: bool = True
    anonymise: bool = False
    named_by: str = "--column"

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns that are added are called."""
        if not self.fields:
            return ()
        return tuple(self.prefix + name for name in (*self.fields, STATUS))


def options_for(
    format_: str | None = None,
    column: str | None = None,
    log_format: str | None = None,
    fields: Sequence[str] = (),
    prefix: str | None = None,
    nested: str | None = None,
    header: bool = True,
    anonymise: bool = False,
) -> Options:
    """
    :param fields: :data:`FIELDS` if there are none.
    :raises DataError: they don't go together, or a field is unknown.
    """
    _check_chosen(fields, anonymise)
    if log_format is not None:
        if format_ not in (None, "combined"):
            raise DataError(f"a log format is for logs, not for {format_}")
        format_ = "combined"
    if nested is not None and prefix is not None:
        raise DataError("fields are nested or have a prefix, not both; leave one out")
    if nested is not None and format_ not in (None, "json"):
        raise DataError(f"fields can be nested in json, not in {format_}")
    if not header and format_ not in ("csv", "tsv"):
        raise DataError("to be without a header is for csv and tsv; say which by --format")
    if not header and (column is None or not column.isdecimal()):
        raise DataError("without a header, --column is the number of the address's column, from 1")
    for name in (column, prefix, nested, log_format):
        if name is not None and ("\n" in name or "\0" in name):
            raise DataError(f"{shorten(name)} can't be a name: it has a line end or a zero in it")
    return Options(
        format_,
        column,
        log_format,
        tuple(dict.fromkeys(fields)) or FIELDS,
        PREFIX if prefix is None else prefix,
        nested,
        header,
        anonymise,
    )


def _check_chosen(fields: Sequence[str], anonymise: bool) -> None:
    if fields:
        check_fields(fields, PLACES)
    if anonymise and {*fields} & {*PLACES}:
        # A network may be of one address.
        raise DataError(f"{', '.join(PLACES)} can tell the address: not with --anonymise")

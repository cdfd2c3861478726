"""Match: all that is known about one address."""

from collections.abc import Mapping

import attrs

from ipquery.data.record import Record


@attrs.frozen
class Match:
    """An address, what the databases say about it, and for how far around it they say so."""

    ip: str
    """The address in its usual spelling (RFC 5952 for IPv6); of an IPv4-mapped one the IPv4."""

    record: Record | None
    """``None`` if no database has a record."""

    kind: str
    """``public``, or the special-purpose class, see :mod:`ipquery.special`."""

    first: str
    """First and"""
    last: str
    """last address of the matched range: all of it has this record, or none, and its
    neighbours have another."""

    network: str
    """The largest prefix that holds the address and lies inside the matched range: whoever
    asks may keep the record for all of it."""

    sources: Mapping[str, str]
    """The name of the source of each field of the record that is known, by field."""

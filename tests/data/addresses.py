"""Addresses as they come, and what is said of each by one look-up."""

from collections.abc import Sequence
from typing import Any

from ipquery import Snapshot
from ipquery.data.enrich.places import PLACES

FIELDS = ("country_code", "city", "isp", "asn", "latitude")
"""Some of each type."""

INVALID = (
    *("", " ", "1", "1.2.3", "1.2.3.4.5", "1.2.3.4.", ".1.2.3.4", "1..2.3", "01.2.3.4", "1.2.3.00"),
    *("256.1.1.1", "1.2.3.256", "1.2.3.999", "1.2.3.1000", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4\n"),
    *("1.2.3.4:80", "1.2.3.4/32", "a.b.c.d", "1.2.3.-4", "+1.2.3.4", "1,2,3,4", "1.2.3.4\x00", "-"),
    *("١.2.3.4", "1.2.3.４", "255.255.255.2555", "0x1.2.3.4", "localhost", "x" * 100, "\udcff"),
    *(":", ":::", "1::2::3", "::1.2.3.256", "fe80::1%eth0", "[::1]", "12345::", "::g", "1:2:3:4:5"),
)

VALID = (
    *("0.0.0.0", "255.255.255.255", "1.2.3.4", "10.20.30.40", "100.200.100.200", "0.1.0.1"),
    *("::", "::1", "::ffff:1.2.3.4", "::FFFF:102:304", "2001:db8::1", "::1.2.3.4", "64:ff9b::1"),
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
)


def said(db: Snapshot, address: str | None, fields: Sequence[str] = FIELDS) -> list[Any]:
    """The values of fields, and the status, by one look-up."""
    try:
        record = db.find(address or "")
    except ValueError:
        return [None] * len(fields) + ["bad"]
    if record is None:
        return [None] * len(fields) + ["unknown"]
    found = db.match(address or "")
    holders = [found if field in PLACES else record for field in fields]
    return [*map(getattr, holders, fields), "ok"]

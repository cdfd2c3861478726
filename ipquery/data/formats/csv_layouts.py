"""Which column of a CSV file holds what.

A file with a header is told by the names in it, one without by what its columns look
like, from these descriptions:

- ip-location-db (README.md and CITY.md of sapics/ip-location-db): country, city and asn.
- DB-IP (db-ip.com, "CSV format" of each product): country, city and ASN lite, country,
  location, location + ISP.
- IP2Location (ip2location.com, "Database fields" of DB1 to DB26 and of LITE ASN): unknown is
  ``-``; time zones are offsets, which :class:`~ipquery.data.record.Record` doesn't take.
- MaxMind (dev.maxmind.com, "GeoIP2 City and Country CSV Databases"): blocks that name
  places by number, places in a file for each language; ASN and ISP blocks.
- IPinfo (ipinfo.io, "IPinfo Lite database" and the country and ASN file before it).
"""

import re
from collections.abc import Callable, Iterable, Sequence

import attrs

from ipquery.data.formats.texts import SKIP
from ipquery.data.record import FIELDS
from ipquery.data.sources import RANGE_COLUMNS

FIRST, LAST, NETWORK = RANGE_COLUMNS

PLACE = "geoname_id"
"""The column that names a place of the Locations file."""


@attrs.frozen
class Layout:
    """The name of each column, :data:`SKIP` where it is left out; what stands for unknown."""

    columns: tuple[str, ...]
    unknown: str = ""
    header_lines: int = 0

    def range_columns(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name in RANGE_COLUMNS)


_Looks = Callable[[str], bool]


def _matching(pattern: str) -> _Looks:
    full = re.compile(pattern).fullmatch
    return lambda text: full(text) is not None


def _number(low: float, high: float) -> _Looks:
    decimal = re.compile(r"-?\d{1,3}(\.\d*)?").fullmatch
    return lambda text: not text or (decimal(text) is not None and low <= float(text) <= high)


_CODE = _matching("([A-Z]{2})?")
_CODE_OR_DASH = _matching("[A-Z]{2}|-")
_CONTINENT = _matching("(AF|AN|AS|EU|NA|OC|SA|ZZ)?")
_LATITUDE, _LONGITUDE = _number(-90, 90), _number(-180, 180)
_OFFSET = _matching(r"[+-]\d\d:\d\d|-")
_ZIP = _matching(r"-|(?=.*\d)[0-9A-Za-z -]{2,10}")
_ASN = _matching(r"(AS)?\d{1,10}|-|")
_CIDR = _matching(r"[0-9a-f.:]+/\d{1,3}")
_DIGITS = _matching(r"\d*|-")
_ZONE_NAME = _matching(r"([A-Z][A-Za-z]+/[A-Za-z_/+-]+|UTC|)")


def _anything(text: str) -> bool:
    return True


def _host(text: str) -> bool:
    return text == "-" or ("." in text and " " not in text)


_Columns = tuple[tuple[str, _Looks], ...]

_ip2_place: _Columns = (
    ("country_code", _CODE_OR_DASH),
    ("country", _anything),
    ("province", _anything),
    ("city", _anything),
)
_ip2_where: _Columns = (*_ip2_place, ("latitude", _LATITUDE), ("longitude", _LONGITUDE))
_zip: _Columns = (("postal_code", _ZIP),)
_offset: _Columns = ((SKIP, _OFFSET),)
_isp: _Columns = (("isp", _anything), (SKIP, _host))
_code_and_area: _Columns = ((SKIP, _DIGITS), (SKIP, _anything))


def _skip(count: int) -> _Columns:
    return ((SKIP, _anything),) * count


_IP2LOCATION: tuple[_Columns, ...] = (
    _ip2_place[:2],  # DB1
    (*_ip2_place[:2], ("isp", _anything)),  # DB2
    _ip2_place,  # DB3
    (*_ip2_place, ("isp", _anything)),  # DB4
    _ip2_where,  # DB5
    (*_ip2_where, *_zip),  # DB9
    (*_ip2_where, ("isp", _anything)),  # DB6
    (*_ip2_place, *_isp),  # DB7
    (*_ip2_where, *_zip, *_offset),  # DB11
    (*_ip2_where, *_offset, *_skip(1)),  # DB13
    (*_ip2_where, *_isp),  # DB8
    (*_ip2_where, *_zip, *_isp),  # DB10
    (*_ip2_where, *_zip, *_offset, *_isp),  # DB12
    (*_ip2_where, *_zip, *_offset, *_code_and_area),  # DB15
    (*_ip2_where, *_offset, *_skip(3)),  # DB17
    (*_ip2_where, *_zip, *_offset, *_isp, *_skip(1)),  # DB14
    (*_ip2_where, *_zip, *_offset, *_code_and_area, *_skip(1)),  # DB21
    (*_ip2_where, *_isp, *_skip(3)),  # DB19
    (*_ip2_where, *_isp, *_skip(4)),  # DB23
    (*_ip2_where, *_zip, *_offset, *_isp, *_skip(3)),  # DB16
    (*_ip2_where, *_zip, *_offset, *_isp, *_skip(5)),  # DB18
    (*_ip2_where, *_zip, *_offset, *_isp, *_skip(8)),  # DB20
    (*_ip2_where, *_zip, *_offset, *_isp, *_skip(9)),  # DB22
    (*_ip2_where, *_zip, *_offset, *_isp, *_skip(10)),  # DB24
    (*_ip2_where, *_zip, *_offset, *_isp, *_skip(12)),  # DB25
    (
        *(*_ip2_where, *_zip, *_offset, *_isp, *_skip(12)),
        *(("district", _anything), ("asn", _ASN), ("as_org", _anything)),
    ),  # DB26
    ((SKIP, _CIDR), ("asn", _ASN), ("as_org", _anything)),  # LITE ASN
)

_dbip_place: _Columns = (("continent_code", _CONTINENT), ("country_code", _CODE))
_coordinates: _Columns = (("latitude", _LATITUDE), ("longitude", _LONGITUDE))
_dbip_detail: _Columns = (
    ("province", _anything),
    ("district", _anything),
    ("city", _anything),
    ("postal_code", _anything),
    *_coordinates,
    (SKIP, _DIGITS),  # number of the place in GeoNames
    (SKIP, _number(-12, 14)),
    ("time_zone", _ZONE_NAME),
    (SKIP, _anything),  # weather station
)
_dbip_isp: _Columns = (
    ("isp", _anything),
    ("asn", _ASN),
    (SKIP, _anything),  # kind of connection
    ("org", _anything),
)
_subdivision: _Columns = (("subdivision_code", _anything),)

_OTHERS: tuple[_Columns, ...] = (
    (("country_code", _CODE),),  # DB-IP country lite, ip-location-db country
    _dbip_place,  # DB-IP country
    (("asn", _ASN), ("as_org", _anything)),  # DB-IP ASN lite, ip-location-db asn
    (*_dbip_place, ("province", _anything), ("city", _anything), *_coordinates),  # DB-IP city lite
    (  # ip-location-db city
        ("country_code", _CODE),
        ("province", _anything),
        ("district", _anything),
        ("city", _anything),
        ("postal_code", _anything),
        *_coordinates,
        ("time_zone", _ZONE_NAME),
    ),
    (*_dbip_place, *_subdivision, *_dbip_detail),  # DB-IP location
    (*_dbip_place, *_dbip_detail, *_dbip_isp),  # DB-IP location + ISP
    (*_dbip_place, *_subdivision, *_dbip_detail, *_dbip_isp),
)


def by_looks(rows: Sequence[Sequence[str]]) -> Layout | None:
    """The layout of a file without a header, from its first rows; ``None`` if none fits.

    The range stands in the first two columns of all layouts without a header.
    """
    samples = [row[2:] for row in rows]
    # IP2Location's addresses are numbers. Texts before columns that look like its own are
    # of somebody else, whose columns may mean anything.
    numeric = all(row[0].isdigit() for row in rows)
    for layouts, unknown in ((_OTHERS, ""), (_IP2LOCATION if numeric else (), "-")):
        for columns in layouts:
            if all(
                len(row) == len(columns)
                and all(looks(text) for (_, looks), text in zip(columns, row, strict=True))
                for row in samples
            ):
                return Layout((FIRST, LAST, *(name for name, _ in columns)), unknown)
    return None


_HEADER_NAMES = {
    "network": NETWORK,
    "cidr": NETWORK,
    **dict.fromkeys(("start_ip", "ip_start", "ip_range_start", "ip_from", "range_start"), FIRST),
    **dict.fromkeys(("end_ip", "ip_end", "ip_range_end", "ip_to", "range_end"), LAST),
    **dict.fromkeys(("country_iso_code", "iso_code"), "country_code"),
    "country_name": "country",
    "subdivision_1_iso_code": "subdivision_code",
    "region_code": "subdivision_code",
    **dict.fromkeys(
        ("subdivision_1_name", "region", "region_name", "state", "state1", "stateprov"), "province"
    ),
    **dict.fromkeys(("subdivision_2_name", "state2"), "district"),
    "city_name": "city",
    **dict.fromkeys(("postcode", "zipcode", "zip_code", "postal"), "postal_code"),
    "lat": "latitude",
    **dict.fromkeys(("lng", "lon"), "longitude"),
    "timezone": "time_zone",
    **dict.fromkeys(("autonomous_system_number", "as_number"), "asn"),
    **dict.fromkeys(
        ("autonomous_system_organization", "as_organization", "as_organisation", "as_name"),
        "as_org",
    ),
    "organization": "org",
    "organization_name": "org",
    "isp_name": "isp",
    PLACE: PLACE,
    "locale_code": "locale_code",
    **{name: name for name in (*RANGE_COLUMNS, *FIELDS)},
}


def by_header(header: Iterable[str]) -> Layout | None:
    """The layout that a header names; ``None`` if the line isn't one.

    A name that isn't known is a column to leave out.
    """
    names = [name.strip().lower().replace(" ", "_") for name in header]
    columns = [_HEADER_NAMES.get(name, SKIP) for name in names]
    if not {NETWORK, FIRST, PLACE} & {*columns}:
        return None
    # Beside a column of names, `country` and `continent` hold codes (IPinfo).
    for name, code in (("country", "country_code"), ("continent", "continent_code")):
        if f"{name}_name" in names and name in names:
            columns[names.index(name)] = code
    if FIRST in columns and NETWORK in columns:
        columns[columns.index(NETWORK)] = SKIP
    return Layout(tuple(columns), header_lines=1)

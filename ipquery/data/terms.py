"""What publishers ask for whose files tell unmistakably that they are theirs.

Only of data that is given away on terms which are the same for everybody: what is sold is
used as the customer has agreed.
"""

import re

import attrs


@attrs.frozen
class Terms:
    """The name of a licence, and the line that has to stand wherever results are shown."""

    licence: str
    attribution: str


DBIP_LITE = Terms("CC BY 4.0", "IP Geolocation by DB-IP (https://db-ip.com)")
"""db-ip.com, "IP geolocation lite databases"."""

GEOLITE2 = Terms(
    "GeoLite End User License Agreement",
    "This product includes GeoLite Data created by MaxMind, available from https://www.maxmind.com",
)
"""dev.maxmind.com, "GeoLite databases", attribution."""

IP2LOCATION_LITE = Terms(
    "CC BY-SA 4.0",
    "This site or product includes IP2Location LITE data available from https://lite.ip2location.com",
)
"""lite.ip2location.com, terms of use."""

# DB-IP's ASN file is called "DBIP-ASN-Lite (compat=GeoLite2-ASN)".
_TYPES = {r"DBIP-[A-Za-z-]*Lite\b": DBIP_LITE, r"GeoLite2-": GEOLITE2}

_NAMES = {
    r"dbip-(city|country|asn)-lite-": DBIP_LITE,
    r"GeoLite2-": GEOLITE2,
    r"IP2LOCATION-LITE-": IP2LOCATION_LITE,
}


def terms_of_type(database_type: object) -> Terms | None:
    """By the ``database_type`` that an mmdb file gives itself."""
    if not isinstance(database_type, str):
        return None
    return next((terms for kind, terms in _TYPES.items() if re.match(kind, database_type)), None)


def terms_of_name(name: str) -> Terms | None:
    """By the name that a publisher gives its files, which say nothing of it inside."""
    return next((terms for kind, terms in _NAMES.items() if re.match(kind, name, re.I)), None)

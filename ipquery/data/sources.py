"""Source: a database file, and what is known about it beforehand."""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import attrs

from ipquery.data.record import DataError

FORMAT_NAMES = (
    "ipip-dat",
    "ipip-datx",
    "ipdb",
    "xdb",
    "mmdb",
    "qqwry",
    "ip2location",
    "csv",
)
"""The formats that :mod:`ipquery.data.formats` reads."""

RANGE_COLUMNS = ("first", "last", "network")
"""Columns of a CSV file that say which addresses a line is about: both ends, or a prefix."""

DEFAULT = "default"
"""The SOURCE that means the default database."""

_DEFAULT_DISTRIBUTION = "XdbSearchIP"


@attrs.frozen
class Source:
    """A database: one file, or several that belong together.

    ``format`` is sniffed when ``None``, ``columns`` are the format's own, and
    ``language`` is the file's, see :class:`ipquery.data.formats.options.ReadOptions`.
    ``licence`` and ``attribution`` are what its publisher asks for. ``others`` are the
    files beside ``path``: IPv6 beside IPv4, or places beside the blocks that name them.

    The rest says what it counts for in a blend: ``fields`` are those to trust, all if
    ``None``; ``leads`` the countries (ISO 3166-1 alpha-2) in which it comes before the
    others; ``weight`` that of its vote, and of a ``family`` only one source votes.
    """

    path: Path
    format: str | None = None
    name: str = attrs.field()
    columns: tuple[str, ...] | None = None
    licence: str = ""
    attribution: str = ""
    language: str | None = None
    others: tuple[Path, ...] = ()
    fields: tuple[str, ...] | None = None
    leads: tuple[str, ...] = ()
    weight: float = 1.0
    family: str | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All its files."""
        return (self.path, *self.others)

    @name.default
    def _name(self) -> str:
        return self.path.name


def parse_source(text: str, folder: Path = Path()) -> Source:
    """Read a SOURCE of the command line or configuration.

    :param text: ``[FORMAT:]PATH[+PATH...]`` or ``default``. A file whose own name
        holds a plus sign is taken for itself if it exists.
    :param folder: what paths are relative to.
    :raises DataError: an unknown format, or the default database isn't installed.
    """
    if text == DEFAULT:
        return default_source()
    prefix, colon, rest = text.partition(":")
    if colon and prefix in FORMAT_NAMES:
        return source_of(_paths(rest, folder), prefix)
    # A path may hold a colon, but hardly before its first slash.
    if colon and "/" not in prefix and not (folder / text).exists():
        raise DataError(f"{text}: unknown format {prefix}; formats: {', '.join(FORMAT_NAMES)}")
    return source_of(_paths(text, folder))


def source_of(paths: Sequence[Path], format_name: str | None = None) -> Source:
    """The source of these files."""
    return Source(paths[0], format_name, others=tuple(paths[1:]))


def _paths(text: str, folder: Path) -> list[Path]:
    """The paths between plus signs, the longest that exist."""
    pieces = text.split("+")
    paths = []
    while pieces:
        count = next(
            (n for n in range(len(pieces), 1, -1) if (folder / "+".join(pieces[:n])).exists()), 1
        )
        paths.append(folder / "+".join(pieces[:count]))
        del pieces[:count]
    return paths


def default_source() -> Source:
    """ip2region's IPv4 file of 2022-06, as the package XdbSearchIP carries it.

    The file is found through the package's list of installed files; its code
    is never imported.

    :raises DataError: the package isn't installed.
    """
    try:
        files = importlib.metadata.files(_DEFAULT_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "ip2region.xdb":
            return Source(
                Path(str(file.locate())),
                "xdb",
                name="ip2region",
                licence="Apache-2.0",
                attribution="ip2region by Lion (lionsoul2014)",
            )
    raise DataError(
        "the default database is not installed; get it with `pip install 'ipquery[default-data]'`"
    )

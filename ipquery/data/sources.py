"""Source: a database file, and what is known about it beforehand."""

import importlib.metadata
from pathlib import Path

import attrs

from ipquery.data.record import DataError

FORMAT_NAMES = ("ipip-dat", "xdb")
"""The formats that :mod:`ipquery.data.formats` reads."""

DEFAULT = "default"
"""The SOURCE that means the default database."""

_DEFAULT_DISTRIBUTION = "XdbSearchIP"


@attrs.frozen
class Source:
    """A database file.

    ``format`` is sniffed when ``None``, ``columns`` are the format's own.
    ``licence`` and ``attribution`` are what its publisher asks for.

    The rest says what it counts for in a blend: ``fields`` are those to trust, all if
    ``None``; ``leads`` the countries (ISO 3166-1 alpha-2) in which it comes before the
    others; ``weight`` that of its vote, and of a ``family`` only one source votes.
    ``language`` (ISO 639-1) is that of its texts.
    """

    path: Path
    format: str | None = None
    name: str = attrs.field()
    columns: tuple[str, ...] | None = None
    licence: str = ""
    attribution: str = ""
    fields: tuple[str, ...] | None = None
    leads: tuple[str, ...] = ()
    weight: float = 1.0
    family: str | None = None
    language: str | None = None

    @name.default
    def _name(self) -> str:
        return self.path.name


def parse_source(text: str) -> Source:
    """Read a SOURCE of the command line or configuration: ``[FORMAT:]PATH`` or ``default``.

    :raises DataError: an unknown format, or the default database isn't installed.
    """
    if text == DEFAULT:
        return default_source()
    prefix, colon, rest = text.partition(":")
    if colon and prefix in FORMAT_NAMES:
        return Source(Path(rest), prefix)
    # A path may hold a colon, but hardly before its first slash.
    if colon and "/" not in prefix and not Path(text).exists():
        raise DataError(f"{text}: unknown format {prefix}; formats: {', '.join(FORMAT_NAMES)}")
    return Source(Path(text))


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

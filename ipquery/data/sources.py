"""Source: a database file, and what is known about it beforehand."""

import datetime
import importlib.metadata
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from ipquery.data.record import DataError
from ipquery.data.update.folder import default_data, how_to_fetch
from ipquery.data.update.recipes import DBIP_CITY_2023, RECIPES, Recipe

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

_IP2REGION_DISTRIBUTION = "XdbSearchIP"


@attrs.frozen
class Source:
    """A database: one file, or several that belong together.

    ``format`` is sniffed when ``None``, ``columns`` are the format's own, and
    ``language`` is the file's, see :class:`ipquery.data.formats.options.ReadOptions`.
    ``licence`` and ``attribution`` are what its publisher asks for. ``others`` are the
    files beside ``path``: IPv6 beside IPv4, or places beside the blocks that name them.
    ``date`` is that of its data where the file doesn't tell. ``notice`` is a line for
    whoever uses it, empty if there is nothing to say.

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
    date: datetime.date | None = None
    notice: str = attrs.field(default="", eq=False, repr=False)

    @property
    def paths(self) -> tuple[Path, ...]:
        """All its files."""
        return (self.path, *self.others)

    @name.default
    def _name(self) -> str:
        return self.path.name


def parse_sources(
    texts: Iterable[str], folder: Path = Path(), data: Path | None = None
) -> list[Source]:
    """Read SOURCEs of the command line or configuration, in order.

    :param texts: each ``[FORMAT:]PATH[+PATH...]``, the name of a recipe that was fetched,
        or ``default``, which is several. A file whose own name holds a plus sign, or is
        that of a recipe, is taken for itself if it exists.
    :param folder: what paths are relative to.
    :param data: the data folder, if it isn't the usual one.
    :raises DataError: an unknown format, or something isn't installed or fetched.
    """
    sources: list[Source] = []
    for text in texts:
        if text == DEFAULT:
            sources += default_sources(data)
        elif text in RECIPES and not (folder / text).exists():
            sources.append(_fetched(RECIPES[text], data))
        else:
            sources.append(_parse(text, folder))
    return sources


def _parse(text: str, folder: Path) -> Source:
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


def default_sources(data: Path | None = None) -> list[Source]:
    """The default database: DB-IP City Lite of 2023-04, and ip2region of 2022-06.

    DB-IP knows the whole world, IPv4 and IPv6; ip2region comes first in China, gives the
    providers, and with its language that of all names: old callers read Chinese ones.
    While DB-IP's file hasn't been fetched it is ip2region alone, which has a notice then.

    :param data: the data folder, if it isn't the usual one.
    :raises DataError: the package that has ip2region's file isn't installed.
    """
    ip2region = ip2region_source()
    if DBIP_CITY_2023.is_fetched(_data(data)):
        return [_fetched(DBIP_CITY_2023, data), ip2region]
    notice = (
        "the default database is ip2region alone, IPv4 and best in China; "
        f"`{how_to_fetch(DEFAULT)}` gets DB-IP City Lite, for the whole world and IPv6"
    )
    return [attrs.evolve(ip2region, notice=notice)]


def ip2region_source() -> Source:
    """ip2region's IPv4 file of 2022-06, as the package XdbSearchIP carries it.

    The file is found through the package's list of installed files; its code
    is never imported.

    :raises DataError: the package isn't installed.
    """
    try:
        files = importlib.metadata.files(_IP2REGION_DISTRIBUTION) or []
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
                language="zh",
                leads=("CN",),
                family="ip2region",
            )
    raise DataError(
        "the default database is not installed; get it with `pip install 'ipquery[default-data]'`"
    )


def _fetched(recipe: Recipe, data: Path | None) -> Source:
    """What was fetched by a recipe that has a name.

    :raises DataError: it wasn't.
    """
    data = _data(data)
    if not recipe.is_fetched(data):
        raise DataError(f"{recipe.name}: not in {data}; get it with `{how_to_fetch(recipe.name)}`")
    path, *others = recipe.paths(data)
    return Source(
        path,
        recipe.format,
        name=recipe.title or path.name,
        licence=recipe.licence,
        attribution=recipe.attribution,
        others=tuple(others),
        family=recipe.family,
        date=recipe.date,
    )


def _data(data: Path | None) -> Path:
    return default_data() if data is None else data

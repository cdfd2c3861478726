"""Source: a database file, and what is known about it beforehand."""

import datetime
import importlib.metadata
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from ipquery.data.record import DataError
from ipquery.data.update.folder import default_data, how_to_fetch
from ipquery.data.update.kept import date_of
from ipquery.data.update.publishers import IP2REGION, RECOMMENDED
from ipquery.data.update.recipe import Recipe
from ipquery.data.update.recipes import DBIP_CITY_2023, is_recipe, parse_recipe

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

    :param texts: each ``[FORMAT:]PATH[+PATH...]``, a recipe that was fetched, or
        ``default``, which is several. A file whose own name holds a plus sign, or is
        that of a recipe, is taken for itself if it exists.
    :param folder: what paths are relative to.
    :param data: the data folder, if it isn't the usual one.
    :raises DataError: an unknown format or recipe, or something isn't installed or fetched.
    """
    sources: list[Source] = []
    for text in texts:
        if text == DEFAULT:
            sources += default_sources(data)
        elif is_recipe(text) and not (folder / text).exists():
            sources.append(_fetched(parse_recipe(text), data, text))
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
    """The default database: the newest that was fetched, else what came with the packages.

    That is DB-IP City Lite and AS numbers, as ``ipquery fetch`` without a name gets them, else
    DB-IP City Lite of 2023-04; and ip2region, which was fetched, else that of 2022-06.

    DB-IP knows the whole world, IPv4 and IPv6; ip2region comes first in China, gives the
    providers, and with its language that of all names: old callers read Chinese ones.
    While DB-IP's file hasn't been fetched it is ip2region alone, which has a notice then.

    Recipes that are of one edition don't count, except that of 2023-04: who names an edition
    wants it beside the default, not instead of it.

    :param data: the data folder, if it isn't the usual one.
    :raises DataError: the package that has ip2region's file isn't installed.
    """
    folder = _data(data)
    ip2region = _fetched(IP2REGION, folder) if IP2REGION.is_fetched(folder) else ip2region_source()
    city, *more = [_newest(recipes, folder) for recipes in RECOMMENDED]
    if city is not None:
        recipes = [city, *(recipe for recipe in more if recipe is not None)]
        return [*(_fetched(recipe, folder) for recipe in recipes), ip2region]
    if DBIP_CITY_2023.is_fetched(folder):
        return [_fetched(DBIP_CITY_2023, folder), ip2region]
    notice = (
        "the default database is ip2region alone, IPv4 and best in China; "
        f"`{how_to_fetch(DEFAULT)}` gets DB-IP City Lite, for the whole world and IPv6"
    )
    return [attrs.evolve(ip2region, notice=notice)]


def _newest(recipes: Iterable[Recipe], data: Path) -> Recipe | None:
    """The newest of what was fetched, ``None`` if nothing was."""
    fetched = [recipe for recipe in recipes if recipe.is_fetched(data)]
    return max(fetched, key=lambda recipe: date_of(recipe, data) or datetime.date.min, default=None)


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


def _fetched(recipe: Recipe, data: Path | None, text: str = "") -> Source:
    """What was fetched by a recipe.

    :param text: how the recipe was spelt, if not by its name.
    :raises DataError: it wasn't.
    """
    data = _data(data)
    if not recipe.is_fetched(data):
        # What is behind a question mark in a URL may be a token.
        name = text.partition("?")[0] or recipe.name
        raise DataError(f"{name}: not in {data}; get it with `{how_to_fetch(name)}`")
    path, *others = recipe.paths(data)
    return Source(
        path,
        recipe.format,
        name=recipe.title or path.name,
        licence=recipe.licence,
        attribution=recipe.attribution,
        language=recipe.language,
        others=tuple(others),
        leads=recipe.leads,
        family=recipe.family,
        date=date_of(recipe, data),
    )


def _data(data: Path | None) -> Path:
    return default_data() if data is None else data

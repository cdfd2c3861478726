"""Gets what is good to have, from wherever it can be got."""

from collections.abc import Callable

from ipquery.data.record import DataError
from ipquery.data.update.publishers import RECOMMENDED
from ipquery.data.update.recipe import Recipe
from ipquery.data.update.web import Unreachable


def fetch_recommended(say: Callable[[str], None], fetch: Callable[[Recipe], bool]) -> bool:
    """Get the recommended databases, after which ``default`` is these.

    :param fetch: gets a recipe, as :func:`ipquery.data.update.fetch.fetch` does.
    :returns: whether something new was put in place.
    :raises DataError: one can't be got.
    """
    # Each is got, also behind one that was new.
    news = [_fetch_either(*recipes, say, fetch) for recipes in RECOMMENDED]
    return any(news)


def _fetch_either(
    recipe: Recipe,
    other: Recipe,
    say: Callable[[str], None],
    fetch: Callable[[Recipe], bool],
) -> bool:
    try:
        return fetch(recipe)
    except Unreachable as error:
        unreachable = error
    say(f"{unreachable}")
    say(f"{recipe.name}: getting {other.name} in its place")
    try:
        return fetch(other)
    except DataError as error:
        raise DataError(f"{unreachable}; in its place: {error}") from None

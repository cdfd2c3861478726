"""How old databases are: a wrong answer is most often an old one."""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ipquery.data.update.folder import how_to_fetch
from ipquery.data.update.recipes import newest

OLD_DAYS = 400
"""From this age on a database is warned of: a year, and a month to renew it."""


def dated(date: str | None, today: datetime.date) -> str:
    """The date of a database and its age, in words.

    :param date: ISO 8601, ``None`` if unknown.
    """
    if date is None:
        return "date unknown"
    days = _days(date, today)
    return f"{date}, {days:,} day{'' if days == 1 else 's'} old"


def outdated(sources: Iterable[Mapping[str, Any]], today: datetime.date) -> Iterator[str]:
    """A line for each source that is old, with what gets a newer one.

    :param sources: as a snapshot describes them.
    """
    for source in sources:
        name, date = source["name"], source["date"]
        if date is None or _days(date, today) <= OLD_DAYS:
            continue
        recipe = newest(name)
        what = (
            f"get the newest with `{how_to_fetch(recipe)}`"
            if recipe is not None
            else "get a newer one from its publisher"
        )
        yield f"{name} is of {dated(date, today)}: {what}"


def _days(date: str, today: datetime.date) -> int:
    """Days since a date; none for one that is still to come, as a wrong clock makes it."""
    return max((today - datetime.date.fromisoformat(date)).days, 0)

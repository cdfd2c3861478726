"""Servers that have said that a quota is used up are left alone for a while.

By the data folder, so that neither restarts nor other nodes on shared storage ask them.
"""

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path

from ipquery.data.update.recipe import Recipe
from ipquery.data.update.web import QuotaReached

_NOTE = ".quota"
_PAUSE = datetime.timedelta(hours=1)


@contextlib.contextmanager
def quota(recipe: Recipe, data: Path, now: datetime.datetime) -> Iterator[None]:
    """Ask a publisher meanwhile.

    :raises QuotaReached: it has no more for now, or said so within the hour.
    """
    note = data / recipe.name / _NOTE
    since = _since(note)
    # What is from the future is from a clock that was wrong.
    if since is not None and since <= now < since + _PAUSE:
        raise QuotaReached(
            f"{recipe.name}: its publisher said at {since:%H:%M} UTC that no more is to be had for "
            f"now; it isn't asked before {since + _PAUSE:%H:%M}, unless you remove {note}"
        )
    try:
        yield
    except QuotaReached:
        note.write_text(now.isoformat(timespec="seconds"), "ascii")
        raise
    note.unlink(missing_ok=True)


def _since(note: Path) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(note.read_text("ascii")).astimezone(datetime.UTC)
    except (OSError, ValueError, OverflowError):
        return None

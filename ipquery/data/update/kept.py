"""What was fetched: noted beside the files."""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path

import attrs
from cattrs import BaseValidationError
from cattrs.preconf.json import make_converter

from ipquery.data.update.recipe import Recipe

NOTE = ".fetched.json"
"""The file beside a recipe's files that holds what is known of them."""

_CONVERTER = make_converter()


@attrs.frozen
class Kept:
    """What is known of a file that was fetched.

    ``sha256`` is that of the file in place. ``etag`` and ``last_modified`` are the server's
    for what was downloaded, ``checksum`` is what the publisher told. ``edition`` is the
    month of it, where there is one each month, and ``date`` that of the data.
    """

    sha256: str
    etag: str | None = None
    last_modified: str | None = None
    checksum: str | None = None
    edition: str | None = None
    date: datetime.date | None = None


Notes = Mapping[str, Kept]
"""By the names of the files."""


def read_notes(recipe: Recipe, data: Path) -> Notes:
    """What was noted of a recipe's files; nothing if that can't be read.

    Whether the files are still so isn't looked at.
    """
    try:
        told = json.loads((data / recipe.name / NOTE).read_text("utf-8"))
        return _CONVERTER.structure(told, dict[str, Kept])
    except (OSError, ValueError, AttributeError, TypeError, BaseValidationError):
        return {}


def to_text(notes: Notes) -> str:
    """Notes as :func:`read_notes` takes them."""
    return _CONVERTER.dumps(dict(notes), indent=1)


def date_of(recipe: Recipe, data: Path) -> datetime.date | None:
    """The date of a recipe's data as it was fetched: the oldest of its files'."""
    if recipe.date is not None:
        return recipe.date
    dates = [kept.date for kept in read_notes(recipe, data).values() if kept.date is not None]
    return min(dates, default=None)

"""Tries to get newer databases: how they are made, how they ended, and when."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs

from ipquery.data.build import Limits
from ipquery.data.build.notes import jot_down, read_note
from ipquery.data.record import DataError

_NOTE = "updates.json"


@attrs.frozen
class Try:
    """The last try of a recipe: when it began, in seconds since the epoch, one of
    :data:`~ipquery.metrics.UPDATE_OUTCOMES`, and how many in a row have failed."""

    tried: float
    outcome: str
    failures: int = 0


def fetch_command() -> list[str]:
    """How the process is started that fetches; it reads what :func:`fetch_order` gives.

    It writes one JSON object: ``{"new": whether anything was put in place}`` or
    ``{"error": text}``.
    """
    return [sys.executable, "-P", "-m", "ipquery.data.update"]


def fetch_order(recipe: str, limits: Limits) -> bytes:
    """What that process is to do.

    :param recipe: as the user spells it.
    """
    return json.dumps({"recipe": recipe, "limits": attrs.asdict(limits)}).encode()


def read_tries(folder: Path) -> dict[str, Try]:
    """The last try of each recipe, by its name.

    :param folder: of the snapshots.
    """
    try:
        found: dict[str, Try] = read_note(folder / _NOTE, dict[str, Try], {})
    except DataError:
        # They are tried as if they never had been.
        return {}
    return found


def note_tries(folder: Path, tries: Mapping[str, Try]) -> None:
    """Keep them for the next start.

    :raises DataError: they can't be.
    """
    jot_down(folder / _NOTE, dict(tries))

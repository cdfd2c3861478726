"""The data folder: where fetched databases are, and the command that fetches them there."""

import os
import shlex
from pathlib import Path

from ipquery.data.home import home


def default_data() -> Path:
    """The data folder: systemd's if it gives one, else the user's (XDG base directories)."""
    given = _given()
    if given:
        return Path(given)
    base = os.environ.get("XDG_DATA_HOME") or home() / ".local/share"
    return Path(base) / "ipquery"


def how_to_fetch(name: str) -> str:
    """What to type to have a recipe fetched to where this process looks for it.

    :param name: of the recipe; empty for those that are recommended.
    """
    given = _given()
    # The shell of whoever reads this doesn't have the service's environment.
    to = f"--to {shlex.quote(given)} " if given else ""
    return f"ipquery fetch {to}{name}".rstrip()


def _given() -> str:
    return os.environ.get("STATE_DIRECTORY", "").split(":")[0]

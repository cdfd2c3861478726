"""The home folder of whoever runs this, who may have none."""

from pathlib import Path


def home() -> Path:
    """The home folder; ``/`` for a user whom the system doesn't know.

    That is what container runtimes give to such a user. It can't be written to, and whoever
    tries says which setting names another folder.
    """
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")

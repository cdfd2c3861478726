"""Secrets that publishers ask for: out of the environment, or files that it names."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ipquery.data.record import DataError

_HIDDEN = "***"


def secret(name: str, environ: Mapping[str, str]) -> str | None:
    """A secret: the variable of this name, or the file that ``NAME_FILE`` names.

    :returns: ``None`` if neither is set.
    :raises DataError: the file can't be read, or it can't be a secret.
    """
    value, where = environ.get(name), name
    if value is None:
        path = environ.get(f"{name}_FILE")
        if path is None:
            return None
        where = f"{name}_FILE"
        try:
            value = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text"
            raise DataError(f"{where}: can't read {path}: {reason}") from None
    value = value.strip()
    if not value or not value.isascii() or not value.isprintable():
        raise DataError(f"{where}: what it holds can't be a secret; give it in one line of ASCII")
    return value


def hide(text: str, secrets: Iterable[str]) -> str:
    """A text without secrets that a server may have put into it."""
    for one in secrets:
        text = text.replace(one, _HIDDEN)
    return text


def without_query(url: str) -> str:
    """A URL as it may be shown: queries hold tokens and signatures."""
    return re.sub(r"[?#].*", "", url, flags=re.DOTALL)

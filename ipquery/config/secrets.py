"""Secrets: what a configuration names, but doesn't hold."""

import os
import re
from pathlib import Path

from ipquery.errors import ConfigError


def expand(text: str, where: str) -> str:
    """Put secrets in: ``${NAME}`` is of the environment, ``${file:PATH}`` a file's content.

    :param where: the setting that the text is of, for messages.
    :raises ConfigError: there is no such variable or file.
    """

    def secret(match: "re.Match[str]") -> str:
        name = match[1]
        if not name.startswith("file:"):
            try:
                return os.environ[name]
            except KeyError:
                raise ConfigError(f"{where}: {name} isn't set in the environment") from None
        path = Path(name.removeprefix("file:"))
        try:
            return path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text"
            raise ConfigError(f"{where}: can't read {path}: {reason}") from None

    return re.sub(r"\$\{([^}]+)\}", secret, text)

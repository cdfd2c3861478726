"""Kinds of settings that a type alone doesn't tell: annotations for fields of their classes.

What reads a configuration acts on them, see :mod:`ipquery.config.table`. To everybody else
they are plain texts and paths.
"""

import enum
from pathlib import Path
from typing import Annotated


class Kind(enum.Enum):
    """What a configuration file's text means beyond its characters."""

    SECRET = enum.auto()
    INPUT = enum.auto()
    AUTHORITIES = enum.auto()
    KEYS = enum.auto()
    OUTPUT = enum.auto()
    NATURAL = enum.auto()


STANDARD_OUTPUT = "-"

Natural = Annotated[int, Kind.NATURAL]
"""A number that may be 0, too."""

Secret = Annotated[str, Kind.SECRET]
"""A text in which ``${NAME}`` and ``${file:PATH}`` stand for what nobody should read there."""

InputFile = Annotated[Path, Kind.INPUT]
"""A file that must be readable as soon as it is named."""

AuthoritiesFile = Annotated[Path, Kind.AUTHORITIES]
"""The same, of a file of certificates in PEM: whom to trust."""

KeysFile = Annotated[str, Kind.KEYS]
"""What is in a file of API keys, which is named."""

OutputFile = Annotated[str, Kind.OUTPUT]
"""The path of a file to write, or :data:`STANDARD_OUTPUT`."""

"""What the files of web servers have in common: one field, and comments in front."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ipquery.address import shorten
from ipquery.data.export.content import Content
from ipquery.data.record import DataError


def comments(content: Content) -> Iterator[str]:
    """Lines that say what is in the file, and on which terms it is used."""
    return (f"# {line}\n" for line in ("Exported by ipquery", *content.sources))


def refuse_unless_plain(program: str, field: str, values: Iterable[Any], longest: int) -> None:
    """Refuse what the program would take for the end of the line, or can't take at all.

    :param longest: bytes that a value may have.
    :raises DataError: a value has control characters, or is nothing but blanks, or is too long.
    """
    for value in values:
        text = "" if value is None else str(value)
        is_blank = value is not None and not text.strip(" ")
        if is_blank or _CONTROLS.search(text) or len(text.encode()) > longest:
            raise DataError(
                f"{program} can't be told the {field.replace('_', ' ')} {shorten(text)}: it has "
                f"control characters, or nothing but blanks, or more than {longest} bytes; choose "
                "another field"
            )


_CONTROLS = re.compile("[\0-\x1f\x7f]")

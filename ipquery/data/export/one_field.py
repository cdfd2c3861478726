"""What the files of web servers have in common: one field, and comments in front."""

from collections.abc import Iterable, Iterator
from typing import Any

from ipquery.address import shorten
from ipquery.data.export.content import Content
from ipquery.data.record import DataError


def comments(content: Content) -> Iterator[str]:
    """Lines that say what is in the file, and on which terms it is used."""
    return (f"# {line}\n" for line in ("Exported by ipquery", *content.sources()))


def refuse_unless_plain(program: str, field: str, values: Iterable[Any], longest: int) -> None:
    """Refuse what the program would read as something else.

    :param longest: bytes that a value may have.
    :raises DataError: a value has characters that aren't to be seen, or blanks at an end, or is
        too long.
    """
    for value in values:
        text = "" if value is None else str(value)
        if not text.isprintable() or text != text.strip() or len(text.encode()) > longest:
            raise DataError(
                f"{program} can't be told the {field.replace('_', ' ')} {shorten(text)}: it has "
                f"signs that aren't printed, blanks at an end, or more than {longest} bytes; "
                "choose another field"
            )

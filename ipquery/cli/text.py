"""Texts on a terminal: how wide they are, and what in them mustn't get there."""

import unicodedata
from collections.abc import Iterator, Sequence


def printable(text: str) -> str:
    """The text with what a terminal would obey, or not show, written as escapes.

    What comes out of a database may hold control characters, which move the cursor or set
    the window's title, and marks that turn the direction of writing round.
    """
    return "".join(_escaped(c) if _is_hidden(c) else c for c in text)


def _is_hidden(character: str) -> bool:
    # Controls, formatting, halves of pairs, private use, unassigned; separators but blanks.
    category = unicodedata.category(character)
    return category[0] == "C" or category in ("Zl", "Zp")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def width(text: str) -> int:
    """Columns that a text takes: two for a Chinese character (Unicode annex 11)."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def padded(text: str, columns: int, right: bool = False) -> str:
    """The text with blanks up to a width, before it if it goes to the right."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def wrapped(text: str, columns: int) -> list[str]:
    """The text in lines of some width, at least 2; between words where that can be."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and width(lines[-1]) + 1 + width(word) <= columns:
            lines[-1] += f" {word}"
            continue
        pieces = _pieces(word, columns)
        if lines[-1]:
            lines += pieces
        else:
            lines[-1:] = pieces
    return lines


def _pieces(word: str, columns: int) -> list[str]:
    """A word cut to a width."""
    pieces = [""]
    for character in word:
        if width(pieces[-1]) + _columns(character) > columns:
            pieces.append("")
        pieces[-1] += character
    return pieces


def rows(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """The lines of one row of a table, two blanks between columns.

    :param cells: printable; each is wrapped to the width of its column.
    """
    columns = [wrapped(cell, columns) for cell, columns in zip(cells, widths, strict=True)]
    for number in range(max(map(len, columns))):
        parts = [column[number] if number < len(column) else "" for column in columns]
        line = "  ".join(padded(part, size) for part, size in zip(parts, widths, strict=True))
        yield line.rstrip()

"""Tables in documents: each stands between two comments, of which the first names it."""

import re
from collections.abc import Collection
from pathlib import Path

from loadgen.measure.scale.tables import TABLES, Study
from loadgen.measure.scale.words import Language
from loadgen.report.tables import markdown

_PLACE = re.compile(r"(<!-- scale: ([a-z-]+) -->\n).*?(\n<!-- end -->)", re.DOTALL)


class UnknownTable(Exception):
    """A document names a table that there isn't."""


def language_of(document: Path) -> Language:
    """By its name: ``scale.zh-CN.md`` is Chinese."""
    return "zh" if document.stem.endswith(".zh-CN") else "en"


def with_tables(text: str, study: Study, names: Collection[str] = TABLES) -> str:
    """A document with its tables computed anew.

    :param names: those to compute; others stay as they are.
    :raises UnknownTable: it names one that there isn't.
    """

    def computed(place: re.Match[str]) -> str:
        before, name, after = place.groups()
        if name not in TABLES:
            raise UnknownTable(f"no table is called {name!r}: {', '.join(TABLES)}")
        if name not in names:
            return place[0]
        return before + markdown(TABLES[name](study)) + after

    return _PLACE.sub(computed, text)

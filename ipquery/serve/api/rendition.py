"""Rendition: a selection of an object's members, in one form.

What it says of an answer is the same for all addresses that have it, but for the address
itself and what is around it. So it is compiled to a template, in which these are put.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import attrs

from ipquery.data.snapshot.objects import OF_ADDRESS, Template
from ipquery.serve.api.negotiation import Media
from ipquery.serve.api.selection import NESTED, Selection

_Names = tuple[str, tuple[str, ...] | None]
"""A member, and the names below it, or ``None`` for the whole."""

Run = Sequence[_Names]
"""Members that follow each other."""

# Made once: json.dumps would make one for each call, which takes as long as the rest.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# What members depend on; the others on the record. Sources are apart from it, as thousands of
# records have the same.
_ADDRESS, _RECORD, SOURCES = "address", "record", "sources"
DEPENDS = {
    **dict.fromkeys(("ip", "kind", "network", "range"), _ADDRESS),
    **dict.fromkeys(("sources", "snapshot"), SOURCES),
}

# A value is one line, whatever a database has in it.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# RFC 4180 section 2, rule 6.
_TO_QUOTE = re.compile('[",\r\n]')


@attrs.frozen(eq=False)
class Rendition:
    """How answers are said. One is made for each selection and form, and kept."""

    selection: Selection
    media: Media
    template: Template
    opening: bytes
    """What comes before the first value: in CSV the line of names."""
    runs: Sequence[Run]
    """What depends on the answer, between what depends on the address: a piece each."""

    def pieces(self, values: Mapping[str, Any]) -> tuple[bytes, ...]:
        """What is to be said of an answer.

        :param values: of all members that don't depend on the address; ``None`` is unknown.
        """
        return tuple([self.say(run, values).encode() for run in self.runs])

    def as_row(self) -> "Rendition":
        """The same in CSV without the line of names, for more than one row: before the value
        of a last column, and without the end of the row."""
        row = self.template.text[len(self.opening) :].removesuffix(b"\r\n")
        return attrs.evolve(self, template=Template(row + b",", self.template.order))

    @property
    def between(self) -> bytes:
        """What stands between two values."""
        return _AROUND[self.media][1].encode()

    def say(self, run: Run, values: Mapping[str, Any]) -> str:
        """Values as they follow each other: of a run, or of a part of one."""
        if self.media is Media.JSON:
            chosen = {
                name: values[name]
                if below is None
                else {one: values[name].get(one) for one in below}
                for name, below in run
            }
            return _encode(chosen)[1:-1]
        texts = [
            _as_text(values[name] if below is None else values[name].get(below[0]))
            for name, below in run
        ]
        if self.media is Media.TEXT:
            return "\n".join(texts)
        # A line without anything would be no row to most readers.
        if texts == [""] and len(self.runs) == 1 and self.template.text.count(b",") == 0:
            return '""'
        return ",".join(map(quoted, texts))


def render(selection: Selection, media: Media) -> Rendition:
    """Compile."""
    is_json = media is Media.JSON
    said = selection.members if is_json else [*_leaves(selection)]
    runs: list[Run] = []
    parts: list[str] = []
    order: list[int] = []
    for depends, names in itertools.groupby(said, lambda one: DEPENDS.get(one[0], _RECORD)):
        if depends is not _ADDRESS:
            order.append(len(OF_ADDRESS) + len(runs))
            runs.append(tuple(names))
            parts.append("%b")
            continue
        for name, below in names:
            leaves = _below(name, below)
            order += [OF_ADDRESS.index(leaf or name) for leaf in leaves]
            parts.append(_json_template(name, leaves) if is_json else "%b")
    opening, between, closing = _AROUND[media]
    if media is Media.CSV:
        opening = ",".join(columns(selection)) + "\r\n"
    template = Template(f"{opening}{between.join(parts)}{closing}".encode(), tuple(order))
    return Rendition(selection, media, template, opening.encode(), runs)


# What is written before, between and behind values.
_AROUND = {
    Media.JSON: ("{", ",", "}"),
    Media.TEXT: ("", "\n", "\n"),
    Media.CSV: ("", ",", "\r\n"),
}


def _below(name: str, below: tuple[str, ...] | None) -> Sequence[str | None]:
    """The names below a member that are asked for; of one that has none, ``None``."""
    return below or NESTED.get(name) or (None,)


@lru_cache(64)
def columns(selection: Selection) -> Sequence[str]:
    """The names of members one by one, without objects: those of a CSV file."""
    return [_dotted(name, below[0] if below else None) for name, below in _leaves(selection)]


def _leaves(selection: Selection) -> Sequence[_Names]:
    """Members one by one, without objects."""
    return [
        (name, None if leaf is None else (leaf,))
        for name, below in selection.members
        for leaf in _below(name, below)
    ]


def _dotted(name: str, below: str | None) -> str:
    return name if below is None else f"{name}.{below}"


def _json_template(name: str, leaves: Sequence[str | None]) -> str:
    # What depends on the address has no character that JSON would escape.
    if name not in NESTED:
        return f'"{name}":"%b"'
    members = ",".join(f'"{leaf}":"%b"' for leaf in leaves)
    return f'"{name}":{{{members}}}'


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return CONTROLS.sub(" ", value)
    return json.dumps(value)


def quoted(text: str) -> str:
    """A value as CSV has it."""
    return '"{}"'.format(text.replace('"', '""')) if _TO_QUOTE.search(text) else text


def translate(values: dict[str, Any], names: Mapping[str, str]) -> None:
    """Have the places of an answer named otherwise, where their codes have names.

    :param values: of an answer, or of a part of it that has names and their codes.
    :param names: by code, see :meth:`~ipquery.data.snapshot.Snapshot.names`.
    """
    for name, codes in CODES_OF.items():
        if name not in values:
            continue
        for code in codes:
            known = names.get(values[code] or "")
            if known is not None:
                values[name] = known
                break


CODES_OF: Mapping[str, Sequence[str]] = {
    "country": ("country_code",),
    "province": ("subdivision_code", "province_code"),
    "city": ("city_code",),
}
"""What names are found by: the first of these that has one. All are of one part."""

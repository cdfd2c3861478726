"""Selection: which members of the object are asked for, and in which language."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

import attrs

from ipquery.data.record import FIELDS, FIELDS_OF
from ipquery.data.snapshot.layout import LANGUAGES
from ipquery.serve.api.problems import Problem

SOURCED = tuple(field for fields in FIELDS_OF.values() for field in fields)
"""The fields of ``sources``, in their order."""

NESTED: Mapping[str, tuple[str, ...]] = {"range": ("first", "last"), "sources": SOURCED}
"""Members that are objects, and theirs."""

MEMBERS = ("ip", "kind", "network", "range", *FIELDS, "sources", "snapshot")
"""The members of the object, in their order."""


@attrs.frozen
class Selection:
    """What is asked for of an object.

    ``members`` are names, with the names below them, or ``None`` for the whole; ``language``
    is one of :data:`~ipquery.data.snapshot.layout.LANGUAGES`, ``None`` for names as the
    databases have them.
    """

    members: tuple[tuple[str, tuple[str, ...] | None], ...] = tuple((m, None) for m in MEMBERS)
    language: str | None = None

    @property
    def is_all(self) -> bool:
        """Whether it is the object as it is made beforehand."""
        return self == ALL


ALL = Selection()


def parse_selection(query: bytes, field: str | None = None) -> Selection:
    """What a query string asks for.

    Of a parameter that is given twice the first one counts; others are passed over.

    :param field: the one field, if the path names it.
    :raises Problem: there is no such field or language.
    """
    given: dict[str, str] = {}
    # Not UTF-8: replaced, which names no field.
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        given.setdefault(name, value)
    if field is None:
        return select(given.get("fields"), given.get("lang"))
    return Selection(_members([field], "not-found"), _language(given.get("lang")))


def select(fields: str | None, language: str | None) -> Selection:
    """What is asked for by the values of ``fields`` and ``lang``; ``None`` for all, or as is.

    :raises Problem: there is no such field or language.
    """
    language = _language(language)
    if fields is None:
        return Selection(language=language)
    names = [name.strip() for name in fields.split(",")]
    return Selection(_members(names, "unknown-field"), language)


def _language(given: str | None) -> str | None:
    if given is not None and given not in LANGUAGES:
        raise Problem(
            "unknown-language", f"lang is {_quoted(given)}; it may be {' or '.join(LANGUAGES)}"
        )
    return given


def _members(names: list[str], problem: str) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    """In the order in which they are first named; what is named below one comes with it."""
    chosen: dict[str, dict[str, None] | None] = {}
    for name in names:
        member, dot, below = name.partition(".")
        if member not in MEMBERS or (dot and below not in NESTED.get(member, ())):
            raise Problem(problem, f"no field {_quoted(name)}; fields: {', '.join(_known())}")
        if not dot:
            chosen[member] = None
        elif (some := chosen.setdefault(member, {})) is not None:
            some[below] = None
    return tuple((name, None if some is None else tuple(some)) for name, some in chosen.items())


def _known() -> list[str]:
    below = [f"{member}.{name}" for member, names in NESTED.items() for name in names]
    return [*MEMBERS, *below]


def _quoted(text: str) -> str:
    return ascii(text if len(text) <= 64 else text[:61] + "...")

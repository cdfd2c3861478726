"""Record: what one answer says."""

import json
from typing import Any, Self

import attrs


class DataError(Exception):
    """A database, list or snapshot that can't be used.

    The message is one line for the user: which file, what is wrong, what to do.
    """


def _known(text: str | None) -> str | None:
    return text or None


_text: Any = attrs.field(default=None, converter=_known)


@attrs.frozen
class Record:
    """The fields of one answer; ``None`` where the database doesn't know.

    ``country_code`` is ISO 3166-1 alpha-2. ``province_code`` and ``city_code``
    are GB/T 2260, six digits, unless the operator's lists say otherwise.
    """

    country: str | None = _text
    country_code: str | None = _text
    province: str | None = _text
    province_code: str | None = _text
    city: str | None = _text
    city_code: str | None = _text
    org: str | None = _text
    isp: str | None = _text

    def to_answer(self) -> bytes:
        """The contract's eight-element JSON array.

        A text that isn't known is ``""``, a code that isn't known ``"None"``:
        the callers' parsers were written against these.
        """
        row = [
            value or ("None" if name.endswith("_code") else "")
            for name, value in zip(FIELDS, attrs.astuple(self), strict=True)
        ]
        return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_answer(cls, answer: bytes) -> Self:
        """The record that :meth:`to_answer` wrote."""
        row = json.loads(answer)
        return cls(
            *(
                None if value == "None" and name.endswith("_code") else value
                for name, value in zip(FIELDS, row, strict=True)
            )
        )


def is_answer(data: bytes) -> bool:
    """Whether this is an array as :meth:`Record.to_answer` writes it."""
    try:
        row = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(row, list)
        and len(row) == len(FIELDS)
        and all(isinstance(value, str) for value in row)
    )


FIELDS = tuple(field.name for field in attrs.fields(Record))
"""Names of the eight fields, in the contract's order."""

UNKNOWN = Record()
"""A record that says nothing: to a caller the same as no record."""

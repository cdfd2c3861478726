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
    ``continent_code`` is one of AF, AN, AS, EU, NA, OC, SA;
    ``subdivision_code`` is ISO 3166-2 (``CN-HA``), ``time_zone`` a name of the
    IANA time zone database. ``latitude`` and ``longitude`` are degrees of WGS
    84, ``accuracy_radius`` kilometres. ``asn`` is an autonomous system number
    (RFC 6793), ``as_org`` the organisation that holds it.
    """

    country: str | None = _text
    country_code: str | None = _text
    province: str | None = _text
    province_code: str | None = _text
    city: str | None = _text
    city_code: str | None = _text
    org: str | None = _text
    isp: str | None = _text
    continent_code: str | None = _text
    subdivision_code: str | None = _text
    district: str | None = _text
    time_zone: str | None = _text
    postal_code: str | None = _text
    latitude: float | None = None
    longitude: float | None = None
    accuracy_radius: int | None = None
    asn: int | None = None
    as_org: str | None = _text

    def to_answer(self) -> bytes:
        """The contract's eight-element JSON array.

        A text that isn't known is ``""``, a code that isn't known ``"None"``:
        the callers' parsers were written against these.
        """
        row = [
            getattr(self, name) or ("None" if name.endswith("_code") else "")
            for name in CONTRACT_FIELDS
        ]
        return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_answer(cls, answer: bytes) -> Self:
        """The record that :meth:`to_answer` wrote, as far as the array goes.

        :raises ValueError: it isn't a JSON array of eight strings.
        """
        row = json.loads(answer)
        if not isinstance(row, list) or not all(isinstance(value, str) for value in row):
            raise ValueError("not an array of strings")
        return cls(
            *(
                None if value == "None" and name.endswith("_code") else value
                for name, value in zip(CONTRACT_FIELDS, row, strict=True)
            )
        )


def is_answer(data: bytes) -> bool:
    """Whether this is an array exactly as :meth:`Record.to_answer` writes it.

    To the byte: ``json.loads`` also takes UTF-16, half characters and any blanks,
    and what is taken here goes out to callers as it is.
    """
    try:
        return Record.from_answer(data).to_answer() == data
    except (ValueError, RecursionError):
        return False


FIELDS = tuple(field.name for field in attrs.fields(Record))
"""Names of all fields."""

CONTRACT_FIELDS = FIELDS[:8]
"""Names of the eight fields of the contract's array, in its order."""

FIELDS_OF = {
    "country": ("country", "country_code", "continent_code"),
    "province": ("province", "province_code", "subdivision_code"),
    "city": (
        "city",
        "city_code",
        "district",
        "postal_code",
        "latitude",
        "longitude",
        "accuracy_radius",
        "time_zone",
    ),
    "org": ("org",),
    "isp": ("isp",),
    "asn": ("asn", "as_org"),
}
"""The fields that one source gives together, by the level under which it is named."""

UNKNOWN = Record()
"""A record that says nothing: to a caller the same as no record."""

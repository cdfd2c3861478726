"""The operator's own lists of codes, and the codes of a record by them and the standards."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from ipquery.data.record import DataError


@attrs.frozen
class OperatorLists:
    """The operator's own names and codes, in the layout of the old service.

    A name in a list gets the list's code; for other names the built-in codes
    stand, unless ``only`` is set.
    """

    countries: Mapping[str, str] = attrs.field(factory=dict)
    provinces: Mapping[str, str] = attrs.field(factory=dict)
    cities: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    """More than one code where a name stands more than once."""
    only: bool = False

    def city(self, province: str | None, name: str) -> str | None:
        """The code of a city; among several the one that begins as the province's does."""
        codes = self.cities.get(name, ())
        for code in codes:
            if province is not None and code[:2] == province[:2]:
                return code
        return codes[0] if codes else None


def load_lists(
    countries: Path | None, provinces: Path | None, cities: Path | None, only: bool = False
) -> OperatorLists:
    """Read the operator's lists: tab-separated, UTF-8.

    Countries ``name⇥code``; provinces ``code⇥…⇥name``, the name third; cities
    ``code⇥…⇥…⇥name``, the name fourth. Blank lines and lines that begin with
    ``#`` are left out.

    :raises DataError: a list can't be read, or a line has too few columns.
    """
    city_codes: dict[str, tuple[str, ...]] = {}
    for name, code in _pairs(cities, name_at=3, code_at=0):
        city_codes[name] = (*city_codes.get(name, ()), code)
    return OperatorLists(
        dict(_pairs(countries, name_at=0, code_at=1)),
        dict(_pairs(provinces, name_at=2, code_at=0)),
        city_codes,
        only,
    )


def _pairs(path: Path | None, name_at: int, code_at: int) -> Iterable[tuple[str, str]]:
    if path is None:
        return
    try:
        # utf-8-sig: lists edited on Windows begin with a byte order mark
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise DataError(f"{path}: can't read this list of codes: {reason}") from None
    wanted = max(name_at, code_at) + 1
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = [column.strip() for column in line.split("\t")]
        if len(columns) < wanted or not columns[name_at] or not columns[code_at]:
            raise DataError(
                f"{path}: line {number} needs {wanted} tab-separated columns with the name in "
                f"column {name_at + 1} and the code in column {code_at + 1}"
            )
        yield columns[name_at], columns[code_at]

"""The tables of docs/accuracy.md, as lines."""

from collections.abc import Mapping, Sequence

import attrs

from ipquery.data.blend.claims import LEVELS
from loadgen.measure.accuracy.world import Figures
from loadgen.report.tables import markdown

_COVERED = ("country", "province", "city", "coordinates", "provider", "owner")
HEADS = {"owner": "owner or AS"}
"""Headings that aren't the field's name."""


def _percent(share: float) -> str:
    return f"{100 * share:.2f}" if share else "–"


def rows_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as the lines of a document, with the empty line that ends it."""
    return [*markdown([head, *rows]).splitlines(), ""]


def coverage_table(found: Mapping[str, Figures]) -> list[str]:
    """What sources know, in per cent of the addresses."""
    head = ["knows, %", *(HEADS.get(field, field) for field in _COVERED)]
    return rows_of(
        head,
        [[name, *(_percent(one.known[f]) for f in _COVERED)] for name, one in found.items()],
    )


def agreement_table(found: Mapping[str, Figures], reference: str, placed: bool) -> list[str]:
    """How sources agree with a reference, in per cent of the addresses."""
    head = [
        f"against {reference}, %",
        *(f"same {level}" for level in LEVELS),
        *(f"other {level}" for level in LEVELS),
    ]
    rows = [
        [name, *(_percent(one.same[f]) for f in LEVELS), *(_percent(one.other[f]) for f in LEVELS)]
        for name, one in found.items()
    ]
    if placed:
        head += ["median, km", "p90, km"]
        for row, one in zip(rows, found.values(), strict=True):
            row += ["–" if km is None else f"{km:,.1f}" for km in (one.median, one.p90)]
    return rows_of(head, rows)


@attrs.frozen
class Aim:
    """What was aimed at, and what came of it."""

    what: str
    wanted: float
    found: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.found <= self.wanted if self.at_most else self.found >= self.wanted

    def row(self) -> list[str]:
        """Its row of the table of aims."""
        sign = "at most" if self.at_most else "at least"
        return [
            self.what,
            f"{sign} {100 * self.wanted:.2f}",
            f"{100 * self.found:.2f}",
            "yes" if self.met else "**no**",
        ]

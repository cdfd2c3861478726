"""Totals: what a run has come to."""

from collections.abc import Callable

import attrs


@attrs.frozen
class Totals:
    """How many rows there were; of how many addresses nothing was known, how many were none, and
    how many rows weren't like the others."""

    rows: int = 0
    unknown: int = 0
    bad: int = 0
    odd: int = 0

    def plus(self, other: "Totals") -> "Totals":
        return Totals(
            self.rows + other.rows,
            self.unknown + other.unknown,
            self.bad + other.bad,
            self.odd + other.odd,
        )


Report = Callable[[Totals], None]
"""Called with how far it is."""

"""How answers are logged, as the operator sets it."""

from typing import Literal

import attrs

from ipquery.kinds import STANDARD_OUTPUT, OutputFile


@attrs.frozen
class AccessLogSettings:
    """The access log: a line for every answer, or for one of so many."""

    path: OutputFile
    """A file, or ``-`` for the daemon's standard output."""

    format: Literal["combined", "json"] = "combined"
    """``combined`` is the format that web servers use, ``json`` one object a line."""

    sample: int = 1
    """One of so many requests is logged."""

    @property
    def is_output(self) -> bool:
        """Whether lines go to the daemon's standard output."""
        return self.path == STANDARD_OUTPUT

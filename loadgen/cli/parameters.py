"""What several commands take as parameters."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ipquery.data.build import default_cache, ensure_snapshot
from ipquery.data.sources import parse_sources
from ipquery.progress import reporter
from loadgen.send.plan import PlanError, parse_duration


class Parsed(click.ParamType[Any]):
    """A parameter that one of the plan's readers takes."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except PlanError as error:
            self.fail(str(error), param, ctx)


DURATION = Parsed("time", parse_duration)
WRITABLE = click.Path(dir_okay=False, writable=True, path_type=Path)


JSON = click.option(
    "--json", "json_to", metavar="FILE|-", type=click.Path(allow_dash=True), help="Write as JSON."
)
HTML = click.option("--html", "html_to", metavar="FILE", type=WRITABLE, help="Write a page.")


def snapshot_of(db: str | None) -> str | None:
    """The path of a snapshot for what the user calls a DB: one, or a source to build from."""
    if db is None:
        return None
    path = ensure_snapshot(parse_sources([db]), default_cache(), reporter(sys.stderr))
    return str(path.absolute())

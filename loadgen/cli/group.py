"""The command itself, without its commands."""

from typing import Any

import click

from ipquery import DataError
from loadgen.measure.run import RunError
from loadgen.send.plan import PlanError


class _Commands(click.Group):
    """``ipquery-load URL`` is ``ipquery-load run URL``; errors become one line."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "--version"):
            args = ["run", *args]
        return super().parse_args(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (PlanError, RunError, DataError) as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Commands)
@click.version_option(package_name="ipquery")
def main() -> None:
    """Produce load, honestly measured, and find what limits a service.

    `ipquery-load URL` is short for `ipquery-load run URL`; see
    `ipquery-load run --help` for its options.
    """

"""``ipquery doctor``."""

from pathlib import Path

import click

from ipquery import doctor
from ipquery.cli.group import load_config, with_config
from ipquery.net.limits import open_files_limit


@click.command("doctor")
@click.option(
    "--load",
    "outgoing",
    metavar="CONNECTIONS",
    type=click.IntRange(min=0),
    default=0,
    help="Check for a load generator on this machine, too, with so many connections.",
)
@with_config
def doctor_command(config_path: Path | None, outgoing: int) -> None:
    """Say which of this machine's settings are too low for the configured load.

    Each is followed by the line that mends it. Exit status 1 if there is any. What the load
    can do without, but would be better, is said, too, and doesn't count.
    Run it as the service's user, under the limits that the service has.
    """
    config = load_config(config_path)
    needs = doctor.Needs(config.connections, config.workers, outgoing)
    findings = doctor.check(Path("/proc"), needs, open_files_limit())
    for finding in findings:
        should = "would better be" if finding.is_hint else "should be"
        click.echo(f"{finding.what} is {finding.found}, {should} {finding.wanted}: {finding.why}")
        click.echo(f"    {finding.mend}\n")
    connections = config.settings.http.connections
    load_text = f"workers = {needs.workers}, http.connections = {connections}"
    faults = [finding for finding in findings if not finding.is_hint]
    if faults:
        click.echo(f"{len(faults)} to mend for {load_text}.")
        raise SystemExit(1)
    click.echo(f"Nothing to mend for {load_text}.")

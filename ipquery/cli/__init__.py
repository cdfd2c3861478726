"""The ``ipquery`` command: a module for each of its commands."""

from ipquery.cli.accept import accept_command
from ipquery.cli.build import build_command
from ipquery.cli.check import check_command
from ipquery.cli.compare import compare_command
from ipquery.cli.completion import completion_command
from ipquery.cli.diff import diff_command
from ipquery.cli.doctor import doctor_command
from ipquery.cli.enrich import enrich_command
from ipquery.cli.explain import explain_command
from ipquery.cli.export import export_command
from ipquery.cli.fetch import fetch_command
from ipquery.cli.group import main
from ipquery.cli.info import info
from ipquery.cli.key import key_command
from ipquery.cli.lookup import lookup
from ipquery.cli.manual import manual_command
from ipquery.cli.report import report_command
from ipquery.cli.rollback import rollback_command
from ipquery.cli.top import top_command

for _command in (
    build_command,
    lookup,
    explain_command,
    info,
    compare_command,
    diff_command,
    fetch_command,
    export_command,
    enrich_command,
    report_command,
    check_command,
    accept_command,
    rollback_command,
    doctor_command,
    key_command,
    completion_command,
    manual_command,
    top_command,
):
    main.add_command(_command)

__all__ = ["main"]

"""Runs :mod:`loadgen.tools.bare` as a program of its own."""

import json
import sys
from pathlib import Path

import attrs

from loadgen.peers.cores import LOAD_CORE
from loadgen.peers.servers import Server
from loadgen.report.tally import Tally
from loadgen.tools.program import run_program


def bare_command(
    port: int, requests: Path, connections: int, seconds: float, anew: bool, rate: float | None
) -> list[str]:
    """The command that sends the requests of a file again and again."""
    command = [sys.executable, "-m", "loadgen.tools.bare", str(port), str(requests)]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    command += ["--anew"] if anew else []
    return command if rate is None else [*command, "--rate", str(rate)]


def ask_bare(
    server: Server,
    requests: Path,
    connections: int,
    seconds: float,
    anew: bool = False,
    rate: float | None = None,
) -> Tally:
    """Send the requests of a file to a server, again and again.

    :param anew: a connection for each, closed by the caller.
    :param rate: so many a second, whatever the server does.
    :raises subprocess.CalledProcessError: it failed.
    """
    command = bare_command(server.port, requests, connections, seconds, anew, rate)
    said, busy = run_program(command, LOAD_CORE, seconds + 60)
    found = json.loads(said)
    kept = {field.name: found[field.name] for field in attrs.fields(Tally) if field.name in found}
    return Tally(**kept, busy=busy)

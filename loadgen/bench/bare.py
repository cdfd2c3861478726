"""Runs :mod:`loadgen.send.bare` as a program of its own."""

import json
import sys
from pathlib import Path

from loadgen.peers.cores import LOAD_CORE
from loadgen.peers.servers import Server
from loadgen.report.tally import Tally
from loadgen.tools.program import run_program


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
    command = [sys.executable, "-m", "loadgen.send.bare", str(server.port), str(requests)]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    command += ["--anew"] if anew else []
    command += [] if rate is None else ["--rate", str(rate)]
    said, busy = run_program(command, LOAD_CORE, seconds + 60)
    return Tally(**json.loads(said), busy=busy)

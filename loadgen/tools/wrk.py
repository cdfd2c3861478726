"""Runs wrk, and reads what it found."""

import json
from pathlib import Path

from loadgen.report.tally import Tally
from loadgen.tools.program import run_program

SCRIPT = Path(__file__).parent / "look_up.lua"


def run_wrk(
    port: int,
    connections: int,
    seconds: float,
    kind: str = "get",
    core: int | None = None,
    timeout: int = 10,
) -> Tally:
    """Ask a server on loopback for random addresses, from one thread.

    :param kind: get, post, or browser for GET with ten headers.
    :param core: the core to run wrk on.
    :raises subprocess.CalledProcessError: wrk failed.
    """
    return _run(f"http://127.0.0.1:{port}/", connections, seconds, (kind,), core, timeout)


def replay_with_wrk(
    port: int,
    requests: Path,
    connections: int,
    seconds: float,
    core: int,
    tls: bool = False,
    place: int = 0,
) -> Tally:
    """Send the requests of a file to a server on loopback again and again, from one thread.

    :param requests: see look_up.lua.
    :param place: how many of them are passed over at first.
    :raises subprocess.CalledProcessError: wrk failed.
    """
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/"
    return _run(url, connections, seconds, ("file", str(requests), str(place)), core, 10)


def _run(
    url: str,
    connections: int,
    seconds: float,
    arguments: tuple[str, ...],
    core: int | None,
    timeout: int,
) -> Tally:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s"]
    command += [f"--timeout={timeout}s", "-s", str(SCRIPT), url, "--", *arguments]
    said, busy = run_program(command, core, seconds + 60)
    found = json.loads(said.splitlines()[-1])
    errors = sum(found.pop(name) for name in ("connect", "read", "write", "timeout"))
    return Tally(refused=found.pop("status"), errors=errors, busy=busy, **found)

"""Runs wrk, and reads what it found."""

import json
import subprocess
from pathlib import Path

import attrs

SCRIPT = Path(__file__).parent / "look_up.lua"


@attrs.frozen
class WrkResult:
    """One run. Latencies in seconds; ``errors`` are failed and refused requests of any kind."""

    requests: int
    seconds: float
    p50: float
    p99: float
    p999: float
    errors: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def run_wrk(
    port: int,
    connections: int,
    seconds: float,
    kind: str = "get",
    core: int | None = None,
    timeout: int = 10,
) -> WrkResult:
    """Ask a server on loopback for random addresses, from one thread.

    :param kind: get, post, or browser for GET with ten headers.
    :param core: the core to run wrk on.
    :raises subprocess.CalledProcessError: wrk failed.
    """
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    done = subprocess.run(
        [
            *pinned,
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{max(round(seconds), 1)}s",
            f"--timeout={timeout}s",
            "-s",
            str(SCRIPT),
            f"http://127.0.0.1:{port}/",
            "--",
            kind,
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    errors = sum(found.pop(name) for name in ("connect", "read", "write", "status", "timeout"))
    return WrkResult(**found, errors=errors)

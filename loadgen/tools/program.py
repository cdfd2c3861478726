"""Runs a generator as a program of its own, on a core of its own."""

import os
import subprocess
import time
from collections.abc import Sequence


def run_program(command: Sequence[str], core: int | None, timeout: float) -> tuple[str, float]:
    """Run a program to its end.

    :param core: the core to run it on; ``None`` for any.
    :param timeout: seconds after which it is killed.
    :returns: what it wrote to standard output, and the share of a core that it used.
    :raises subprocess.CalledProcessError: it failed.
    :raises subprocess.TimeoutExpired: it didn't end.
    """
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    before, begun = spent(), time.monotonic()
    done = subprocess.run(
        [*pinned, *command], capture_output=True, text=True, check=True, timeout=timeout
    )
    return done.stdout, (spent() - before) / (time.monotonic() - begun)


def spent() -> float:
    """Seconds of processor time of all programs that were run and have ended."""
    times = os.times()
    return times.children_user + times.children_system

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
    before, begun = os.times(), time.monotonic()
    done = subprocess.run(
        [*pinned, *command], capture_output=True, text=True, check=True, timeout=timeout
    )
    after, seconds = os.times(), time.monotonic() - begun
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return done.stdout, used / seconds

"""Programs that a test runs, and what else of the machine it needs."""

import functools
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

IPQUERY = Path(sys.executable).parent / "ipquery"
"""The command, as it is installed beside the Python that runs the tests."""


def require(program: str, package: str) -> str:
    """Where a program is; without it a user's run skips, and CI fails.

    :param package: the Debian package to name.
    """
    # Debian has root's commands where a user's path doesn't lead.
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        _missing(f"{program} is missing: apt-get install {package}")
    return path


def require_file(path: str, package: str) -> str:
    """A file that a program needs; without it a user's run skips, and CI fails."""
    if not os.path.exists(path):
        _missing(f"{path} is missing: apt-get install {package}")
    return path


def require_module(name: str, package: str) -> Any:
    """A module; without it a user's run skips, and CI fails.

    :param package: what pip calls it.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        _missing(f"{name} is missing: pip install '{package}'")


def require_namespaces() -> None:
    """Network namespaces can be made; without them a user's run skips, and CI fails."""
    why_not = _no_namespaces(require("ip", "iproute2"))
    if why_not:
        _missing(f"no network namespaces can be made (they need root): {why_not}")


@functools.cache
def _no_namespaces(ip: str) -> str:
    """Why there are none."""
    name = f"ipquery-try-{os.getpid()}"
    for command in (["netns", "add", name], ["netns", "delete", name]):
        done = subprocess.run([ip, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip()
    return ""


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)

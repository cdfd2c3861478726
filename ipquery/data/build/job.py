"""Values: what a build gets, and what it says."""

import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from ipquery.data.blend.policy import Policy
from ipquery.data.build.elsewhere import Elsewhere
from ipquery.data.record import DataError
from ipquery.data.snapshot import is_snapshot
from ipquery.data.sources import Source
from ipquery.data.update.guard import Guard

Report = Callable[[str, float], None]
"""Called with what is being done and how much of the whole build is, 0 to 1."""


@attrs.frozen
class ListPaths:
    """The operator's own lists of codes, see :func:`ipquery.data.codes.load_lists`."""

    countries: Path | None = None
    provinces: Path | None = None
    cities: Path | None = None
    only: bool = False

    def paths(self) -> list[Path]:
        return [path for path in (self.countries, self.provinces, self.cities) if path is not None]


@attrs.frozen
class Limits:
    """What a build may use.

    ``memory`` in bytes of address space, ``seconds`` of time, ``unpacked`` bytes of an
    archive's content, which are written beside the snapshot.
    """

    memory: int = 4 << 30
    seconds: int = 600
    unpacked: int = 8 << 30


@attrs.frozen(kw_only=True)
class Task:
    """What a child does with sources.

    ``digests`` are SHA-256 of the sources, in order, as they were when it was ordered. The
    child may make ``folder`` and put there what it likes; the parent removes it, however
    the child ends.
    """

    sources: Sequence[Source]
    digests: Sequence[str]
    lists: ListPaths
    limits: Limits
    policy: Policy
    folder: Path


@attrs.frozen(kw_only=True)
class Job(Task):
    """One build. ``temporary`` is the child's to fill; ``out`` is what it becomes, for
    messages. With ``reads_only`` the sources are read, and nothing is written."""

    temporary: Path
    out: Path
    reads_only: bool = False


@attrs.frozen(kw_only=True)
class Question(Task):
    """How these addresses are answered, and why."""

    addresses: Sequence[str]


@attrs.frozen
class Built:
    """What a build took: wall-clock seconds, and the child's peak memory in bytes."""

    seconds: float
    peak_memory: int


@attrs.frozen
class Order:
    """What a daemon wants to serve: what :func:`~ipquery.data.build.choose_snapshot` takes, for
    a process of its own.

    ``serving`` is what it answers from now, and ``guard`` what the new one must pass to take its
    place; without it, whatever it is will do. ``line`` is as in :mod:`.decisions`.
    """

    sources: Sequence[Source]
    cache: Path
    lists: ListPaths
    limits: Limits
    policy: Policy = Policy()
    line: str = ""
    serving: Path | None = None
    guard: Guard | None = None
    elsewhere: Elsewhere | None = None


def order_command() -> list[str]:
    """How that process is started; it reads the pickled :class:`Order` from its input.

    It writes one JSON object: ``{"path": path}`` or ``{"error": text}``. Where another
    snapshot than that of the sources is to be served, ``withheld`` tells why: its ``name``, ``by``
    whom, ``why``, and whether it ``is_new``. ``note``, if there is one, is a line for
    the log.
    """
    return [sys.executable, "-P", "-m", "ipquery.data.build"]


def file_digest(path: Path, what: str = "database") -> str:
    """SHA-256 of a file, hexadecimal.

    :param what: how a message calls it.
    :raises DataError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error, what) from None


def source_digest(source: Source) -> str:
    """SHA-256 of a source, hexadecimal: of its file, or of the digests of its files.

    :raises DataError: one can't be read.
    """
    digests = [file_digest(path) for path in source.paths]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def unreadable(path: Path, error: OSError, what: str = "database") -> DataError:
    """The one line for a file that can't be read."""
    return DataError(f"{path}: can't read this {what}: {error.strerror}")


def names_snapshot(source: Source) -> bool:
    """Whether a source is a snapshot, not a database.

    :raises DataError: it can't be read.
    """
    try:
        return source.format is None and is_snapshot(source.path)
    except OSError as error:
        raise unreadable(source.path, error) from None

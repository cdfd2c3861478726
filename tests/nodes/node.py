"""One node: the real daemon, which can be killed, frozen and started again."""

import contextlib
import os
import random
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
    """Ports of loopback that nobody listens on, nor will come to have by connecting.

    A port of the range for outgoing connections might be taken by one while its
    node is down, and the node couldn't come back.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    for port in random.sample(range(max(lowest - 8000, 1024), lowest), 500):
        if len(found) == count:
            break
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
    assert len(found) == count
    return found


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

    def stop(self) -> None:
        """Let it answer what was asked, and end."""
        self.daemon.stop()

    def upgrade(self) -> None:
        """As a package manager restarts it."""
        assert self.daemon.stop() == -signal.SIGTERM
        self.start().wait_until_up()

"""What systemd and a service say to each other: sd_listen_fds(3) and sd_notify(3)."""

import os
import socket
import time
from collections.abc import MutableMapping

from ipquery.net.sockets import BindError

# SD_LISTEN_FDS_START in sd-daemon.h
_FIRST_DESCRIPTOR = 3


def take_sockets(environment: MutableMapping[str, str]) -> list[tuple[socket.socket, str]]:
    """The listening sockets that systemd opened for this process (socket activation).

    Each comes with its name: ``FileDescriptorName=``, by default the unit's.

    The variables are removed, so that no child takes the sockets for its own.

    :raises BindError: a descriptor is no socket.
    """
    count = environment.pop("LISTEN_FDS", "")
    process = environment.pop("LISTEN_PID", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if process != str(os.getpid()) or not count.isdecimal():
        return []
    taken = []
    numbers = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))
    for place, number in enumerate(numbers):
        try:
            one = socket.socket(fileno=number)
        except OSError as error:
            raise BindError(
                f"LISTEN_FDS promises a socket as descriptor {number}: {error.strerror}"
            ) from None
        one.set_inheritable(False)
        one.setblocking(False)
        taken.append((one, names[place] if place < len(names) else ""))
    return taken


class Notifier:
    """Tells the service manager of our state; without one, nobody."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take the variables from the environment, as they aren't for children."""
        path = environment.pop("NOTIFY_SOCKET", "")
        # A name that begins with @ is in the abstract name space.
        self._address = path.replace("@", "\0", 1) if path.startswith("@") else path
        microseconds = environment.pop("WATCHDOG_USEC", "")
        process = environment.pop("WATCHDOG_PID", str(os.getpid()))
        self.watchdog_seconds: float | None = None
        """After how long without :meth:`alive` we are taken for stuck."""
        if microseconds.isdecimal() and process == str(os.getpid()):
            self.watchdog_seconds = int(microseconds) / 1e6

    def _send(self, state: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(state.encode(), self._address)
            except OSError:
                # The manager isn't listening; a service must not fail by that.
                return

    def ready(self) -> None:
        """Started, or reloaded."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload has begun; :meth:`ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Shutting down."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Not stuck."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """What ``systemctl status`` shows."""
        self._send(f"STATUS={text}")

"""What systemd and a service say to each other: sd_listen_fds(3) and sd_notify(3)."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from twisted.logger import Logger

from ipquery.net.sockets import BindError

_log = Logger()

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


# A manager that is busy, or restarts itself, reads on after seconds. Its own patience with a
# start is longer (TimeoutStartSec=, by default 90 s).
_AGAIN_SECONDS, _PATIENCE_SECONDS = 0.1, 60.0


def send_datagram(address: str, state: bytes) -> None:
    """Send a message to the service manager.

    :raises OSError: it can't be sent now; BlockingIOError if the manager's queue is full.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        sender.sendto(state, address)


class Notifier:
    """Tells the service manager of our state; without one, nobody.

    The manager's queue may hold as few as ten messages (net.unix.max_dgram_qlen). What finds
    no place there is tried again, in order, for a minute: a READY that is lost would have a
    service that runs be killed. Of each kind only the last message is kept.
    """

    def __init__(
        self,
        environment: MutableMapping[str, str],
        clock: Any,
        send: Callable[[str, bytes], None] = send_datagram,
    ) -> None:
        """Take the variables from the environment, as they aren't for children.

        :param clock: time.
        :param send: sends to an address; raises OSError.
        """
        path = environment.pop("NOTIFY_SOCKET", "")
        # @ stands for the zero byte that begins a name of the abstract name space (unix(7)).
        self._address = path.replace("@", "\0", 1) if path.startswith("@") else path
        microseconds = environment.pop("WATCHDOG_USEC", "")
        process = environment.pop("WATCHDOG_PID", str(os.getpid()))
        self.watchdog_seconds: float | None = None
        """After how many seconds without :meth:`alive` we are taken for stuck."""
        if microseconds.isdecimal() and process == str(os.getpid()):
            self.watchdog_seconds = int(microseconds) / 1e6
        self._clock = clock
        self._send = send
        self._unsent: dict[str, str] = {}
        self._patience_ends = 0.0
        self._again: Any = None
        self._has_complained = False

    def ready(self) -> None:
        """Started, or reloaded."""
        self._tell("READY", "1")

    def reloading(self) -> None:
        """A reload has begun; :meth:`ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING", f"1\nMONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Shutting down."""
        self._tell("STOPPING", "1")

    def status(self, text: str) -> None:
        """What ``systemctl status`` shows."""
        self._tell("STATUS", text)

    def alive(self) -> None:
        """Not stuck. It may get lost: the next one follows in time."""
        if self._address and not self._unsent:
            with contextlib.suppress(OSError):
                self._send(self._address, b"WATCHDOG=1")

    def give_up(self) -> None:
        """Try nothing again."""
        self._unsent.clear()
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _tell(self, name: str, value: str) -> None:
        if not self._address:
            return
        self._unsent.pop(name, None)
        self._unsent[name] = value
        self._patience_ends = self._clock.seconds() + _PATIENCE_SECONDS
        if self._again is None:
            self._send_all()

    def _send_all(self) -> None:
        self._again = None
        try:
            for name, value in tuple(self._unsent.items()):
                self._send(self._address, f"{name}={value}".encode())
                del self._unsent[name]
                self._has_complained = False
        except OSError as error:
            if self._clock.seconds() < self._patience_ends:
                self._again = self._clock.callLater(_AGAIN_SECONDS, self._send_all)
            else:
                self._complain(error)
                self._unsent.clear()

    def _complain(self, error: OSError) -> None:
        if self._has_complained:
            return
        self._has_complained = True
        lost = ", ".join(f"{name}={value}".splitlines()[0] for name, value in self._unsent.items())
        _log.warn(
            "can't tell the service manager {lost}: {reason}; it may take the service for stuck",
            lost=lost,
            reason=error.strerror or str(error),
        )

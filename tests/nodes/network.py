"""Hosts with links that can be cut: network namespaces on a switch of their own."""

import ctypes
import itertools
import os
import subprocess
from types import TracebackType
from typing import Self

from tests.programs import require, require_namespaces

_CLONE_NEWNET = 0x40000000  # sched.h
_numbers = itertools.count()


class Network:
    """A switch, and hosts on it. Nothing of it shows outside of its namespaces."""

    def __init__(self) -> None:
        require_namespaces()
        self._ip = require("ip", "iproute2")
        self._name = f"ipquery-{os.getpid()}-{next(_numbers)}"
        self._switch = f"{self._name}-switch"
        self._made: list[str] = []

    def host(self, name: str, address: str) -> "Host":
        """Add a host, with an address in 10.77.0.0/24."""
        space = f"{self._name}-{name}"
        self._make(space)
        self._in(self._switch, "link", "add", name, "type", "veth", "peer", "name", "eth0")
        self._in(self._switch, "link", "set", "eth0", "netns", space)
        self._in(self._switch, "link", "set", name, "master", "bridge", "up")
        self._in(space, "link", "set", "lo", "up")
        self._in(space, "address", "add", f"{address}/24", "dev", "eth0")
        self._in(space, "link", "set", "eth0", "up")
        return Host(self, name, address, space)

    def plug(self, host: "Host", state: str) -> None:
        """Turn the switch's port of a host ``up`` or ``down``."""
        self._in(self._switch, "link", "set", host.name, state)

    def addresses(self, host: "Host") -> list[str]:
        """A host's IPv4 addresses."""
        lines = self._in(host.space, "-4", "-oneline", "address", "show", "dev", "eth0")
        return [line.split()[3].split("/")[0] for line in lines.splitlines()]

    def within(self, space: str) -> list[str]:
        """The words before a command that run it in a namespace."""
        return [self._ip, "netns", "exec", space]

    def _make(self, space: str) -> None:
        self._run("netns", "add", space)
        self._made.append(space)

    def _in(self, space: str, *command: str) -> str:
        return self._run("-netns", space, *command)

    def _run(self, *command: str) -> str:
        done = subprocess.run([self._ip, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ip {' '.join(command)}: {done.stderr}"
        return done.stdout

    def __enter__(self) -> Self:
        self._make(self._switch)
        self._in(self._switch, "link", "add", "bridge", "type", "bridge")
        self._in(self._switch, "link", "set", "bridge", "up")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The links go with the namespaces that hold them.
        for space in self._made:
            self._run("netns", "delete", space)


class Host:
    """One namespace, and its link to the switch."""

    def __init__(self, network: Network, name: str, address: str, space: str) -> None:
        self._network = network
        self.name, self.address, self.space = name, address, space

    @property
    def within(self) -> list[str]:
        """The words before a command that run it on this host."""
        return self._network.within(self.space)

    @property
    def addresses(self) -> list[str]:
        """The IPv4 addresses it has now."""
        return self._network.addresses(self)

    def cut(self) -> None:
        """Pull its cable: it sees that there is no carrier, the others see nothing."""
        self._network.plug(self, "down")

    def mend(self) -> None:
        """Put the cable back."""
        self._network.plug(self, "up")

    def set(self, name: str, value: str) -> None:
        """Change a kernel setting of this host, such as ``net.ipv4.tcp_syncookies``."""
        path = f"/proc/sys/{name.replace('.', '/')}"
        command = [*self.within, "sh", "-c", f"echo {value} > {path}"]
        subprocess.run(command, check=True, capture_output=True)

    def enter(self) -> None:
        """Move the calling thread onto this host, for good.

        Python has ``os.setns`` from 3.12 on.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{self.space}") as space:
            if libc.setns(space.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"can't enter {self.space}")

"""What systemd and a service say to each other."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipquery.net.systemd import Notifier, take_sockets


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


def test_states_are_sent_as_sd_notify_has_them(manager: socket.socket, tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    for tell, said in (
        (notifier.ready, b"READY=1"),
        (notifier.stopping, b"STOPPING=1"),
        (notifier.alive, b"WATCHDOG=1"),
    ):
        tell()
        assert manager.recv(100) == said
    notifier.status("fine")
    assert manager.recv(100) == b"STATUS=fine"
    notifier.reloading()
    assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")


def test_abstract_names() -> None:
    name = f"ipquery-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert receiver.recv(100) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/missing/socket"}])
def test_without_a_manager_nothing_happens(environment: dict[str, str]) -> None:
    Notifier(environment).ready()


def test_the_variables_are_taken_so_that_children_do_not_see_them() -> None:
    environment = {
        "NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "LISTEN_FDS": "1", "LISTEN_PID": "1",
        "LISTEN_FDNAMES": "x", "OTHER": "y",
    }  # fmt: skip
    notifier = Notifier(environment)
    assert notifier.watchdog_seconds == 3
    assert take_sockets(environment) == [], "they are meant for another process"
    assert environment == {"OTHER": "y"}


def test_a_watchdog_for_another_process_is_not_ours() -> None:
    assert Notifier({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}).watchdog_seconds is None
    assert Notifier({}).watchdog_seconds is None


def test_a_promised_descriptor_that_is_no_socket_is_named() -> None:
    # In a process of its own: descriptor 3 is somebody's here.
    script = """
import os
from ipquery.net.systemd import take_sockets
try:
    take_sockets({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())})
except Exception as error:
    print(type(error).__name__, error)
"""
    said = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 3</dev/null', sys.executable, script],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    assert said.startswith("BindError LISTEN_FDS promises a socket as descriptor 3: ")

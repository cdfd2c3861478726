"""What systemd and a service say to each other."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from ipquery.net.systemd import Notifier, take_sockets
from tests.logs import Log


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


def test_states_are_sent_as_sd_notify_has_them(manager: socket.socket, tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}, Clock())
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
        Notifier({"NOTIFY_SOCKET": f"@{name}"}, Clock()).ready()
        assert receiver.recv(100) == b"READY=1"


def test_without_a_manager_nothing_happens() -> None:
    clock = Clock()
    Notifier({}, clock).ready()
    assert clock.getDelayedCalls() == []


def _fill(path: Path) -> int:
    """Fill a manager's queue. With how many messages."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for count in range(10_000):
            try:
                sender.sendto(b"X", str(path))
            except BlockingIOError:
                return count
    raise AssertionError("the queue never fills")


def test_what_finds_the_managers_queue_full_arrives_later_in_order(
    manager: socket.socket, tmp_path: Path
) -> None:
    path, clock = tmp_path / "notify", Clock()
    notifier = Notifier({"NOTIFY_SOCKET": str(path)}, clock)
    waiting = _fill(path)
    with Log() as log:
        notifier.status("old")
        notifier.ready()
        notifier.reloading()
        notifier.ready()
        notifier.alive()
        notifier.status("new")
        clock.advance(0.1)
        for _ in range(waiting):
            assert manager.recv(100) == b"X"
        clock.advance(0.1)
    manager.setblocking(False)
    assert manager.recv(100).startswith(b"RELOADING=1\n")
    assert manager.recv(100) == b"READY=1"
    assert manager.recv(100) == b"STATUS=new"
    with pytest.raises(BlockingIOError):
        manager.recv(100)
    assert clock.getDelayedCalls() == []
    assert log.lines == []


def test_who_never_reads_is_given_up_and_the_log_says_so_once(tmp_path: Path) -> None:
    clock, tried, sent = Clock(), [], []
    error: OSError | None = OSError(errno.EMFILE, "Too many open files")

    def send(address: str, state: bytes) -> None:
        tried.append(state)
        if error is not None:
            raise error
        sent.append(state)

    notifier = Notifier({"NOTIFY_SOCKET": "/x"}, clock, send)
    with Log() as log:
        for _ in range(2):
            notifier.ready()
            notifier.alive()
            clock.pump([0.1] * 650)
        assert clock.getDelayedCalls() == []
        assert log.lines == [
            "can't tell the service manager READY=1: Too many open files; "
            "it may take the service for stuck"
        ]
        assert b"WATCHDOG=1" not in tried, "it would take the place of what has to arrive"
        error = None
        notifier.alive()
        notifier.ready()
        error = OSError(errno.ENOENT, "No such file or directory")
        notifier.stopping()
        clock.pump([0.1] * 650)
    assert sent == [b"WATCHDOG=1", b"READY=1"]
    assert len(log.lines) == 2


def test_nothing_is_tried_again_after_the_end() -> None:
    def send(address: str, state: bytes) -> None:
        raise BlockingIOError

    clock = Clock()
    notifier = Notifier({"NOTIFY_SOCKET": "/x"}, clock, send)
    notifier.stopping()
    notifier.give_up()
    assert clock.getDelayedCalls() == []


def test_the_variables_are_taken_so_that_children_do_not_see_them() -> None:
    environment = {
        "NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "LISTEN_FDS": "1", "LISTEN_PID": "1",
        "LISTEN_FDNAMES": "x", "OTHER": "y",
    }  # fmt: skip
    notifier = Notifier(environment, Clock())
    assert notifier.watchdog_seconds == 3
    assert take_sockets(environment) == [], "they are meant for another process"
    assert environment == {"OTHER": "y"}


def test_a_watchdog_for_another_process_is_not_ours() -> None:
    assert Notifier({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}, Clock()).watchdog_seconds is None
    assert Notifier({}, Clock()).watchdog_seconds is None


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

"""The systemd units: systemd's own verdict, and the daemon run as they say."""

import configparser
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipquery.config import Config
from ipquery.net.sockets import BACKLOG
from tests.integration.daemon import exchange
from tests.nodes.front import CONF
from tests.nodes.node import ANSWER, free_ports, write_database
from tests.programs import require
from tests.serve.http.connection import get

UNITS = CONF / "systemd"
TWISTD = Path(sys.executable).parent / "twistd"
# It is set free of time and root by --offline and files of our own.
ANALYZE = ("systemd-analyze", "systemd")


def _read(name: str) -> configparser.RawConfigParser:
    # SystemCallFilter= stands twice.
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # as configparser documents
    unit.read(UNITS / name)
    return unit


SERVICE = _read("ipquery.service")["Service"]
SOCKET = _read("ipquery.socket")["Socket"]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with a command that is there."""
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/ipquery/bin/twistd", str(TWISTD))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def _analyze(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [require(*ANALYZE), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_systemd_understands_every_line(installed: Path) -> None:
    done = _analyze("verify", installed / "ipquery.service", installed / "ipquery.socket")
    said = [line for line in done.stderr.splitlines() if "ipquery" in line]
    assert (done.returncode, said) == (0, [])


def test_verify_would_see_a_mistake(installed: Path) -> None:
    unit = installed / "ipquery.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=30", "WatchdogSeconds=30"))
    assert "WatchdogSeconds" in _analyze("verify", unit).stderr


def test_the_sandbox_is_tight(installed: Path) -> None:
    """systemd's own measure, from 0 to 10: below 2 in tenths."""
    unit = installed / "ipquery.service"
    done = _analyze("security", "--offline=true", "--threshold=20", unit)
    assert done.returncode == 0, done.stdout[-500:]


def test_it_is_killed_only_after_it_had_time_to_drain() -> None:
    assert int(SERVICE["TimeoutStopSec"]) > Config().settings.http.drain_seconds + 5
    assert int(SERVICE["TimeoutStartSec"]) > Config().build_limits.seconds
    assert int(SERVICE["LimitNOFILE"]) > Config().settings.http.connections
    assert int(SOCKET["Backlog"]) == BACKLOG


class Manager:
    """The ends of sd_notify and of the socket that systemd would have."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self._receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._receiver.bind(str(folder / "notify"))
        self._receiver.settimeout(30)
        (folder / "ipquery.toml").write_text(
            f'workers = 2\n[[database]]\npath = "{write_database(folder / "db.xdb")}"\n'
        )
        command = shlex.split(SERVICE["ExecStart"].replace("/etc/ipquery/", f"{folder}/"))
        assert command[0] == "/opt/ipquery/bin/twistd"
        microseconds = int(SERVICE["WatchdogSec"]) * 1_000_000
        environment = {
            "NOTIFY_SOCKET": str(folder / "notify"),
            # A second instead of half a minute; what matters is that it comes in time.
            "WATCHDOG_USEC": str(microseconds // 30),
            "CACHE_DIRECTORY": str(folder / "cache"),
            "PATH": os.environ["PATH"],
        }
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [
                require("systemd-socket-activate", "systemd"),
                f"--listen=127.0.0.1:{self.port}",
                *(f"--setenv={name}={value}" for name, value in environment.items()),
                TWISTD,
                *command[1:],
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )

    def wait_for(self, message: str) -> None:
        """The next message that says this."""
        while not re.match(message, self._receiver.recv(4096).decode()):
            pass

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self._receiver.close()
        self._log.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    one = Manager(tmp_path)
    yield one
    one.close()


def test_the_daemon_does_what_the_unit_expects(manager: Manager, tmp_path: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            caller = socket.create_connection(("127.0.0.1", manager.port), 20)
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with caller:
        # The first caller is who starts it, and waits in the queue until it is up.
        assert exchange(caller, get("/api/ip_query?ip=1.2.3.4")).body == ANSWER
    assert (SERVICE["Type"], SERVICE["NotifyAccess"]) == ("notify", "main")
    manager.wait_for("READY=1")
    manager.wait_for("WATCHDOG=1")
    assert list((tmp_path / "cache").rglob("*.ipq")), "snapshots go where the unit says"
    assert SERVICE["ExecReload"] == "/bin/kill -HUP $MAINPID"
    manager.process.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1")
    manager.wait_for("READY=1")
    manager.process.send_signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    manager.process.wait(20)

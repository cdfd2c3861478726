"""Runs the real twistd, and talks to it over real sockets."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.serve.http.connection import Response, parse_responses

TWISTD = Path(sys.executable).parent / "twistd"
START_SECONDS = 30


class Daemon:
    """``twistd -n ipquery`` on a free port, with its log in a file."""

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        bind: str | None = "127.0.0.1:0",
        environment: Mapping[str, str] | None = None,
        twistd: Path = TWISTD,
        twistd_flags: Sequence[str] = (),
        within: Sequence[str] = (),
        output: int | None = None,
    ) -> None:
        """
        :param within: a command that runs another, as in a network namespace.
        :param output: descriptor of its standard output, if the log isn't to go there, too.
        """
        self.folder = folder
        """Where it runs."""
        self._log_path = folder / "twistd.log"
        binds = ["-b", bind] if bind else []
        if output is not None:
            twistd_flags = [*twistd_flags, f"--logfile={self._log_path}"]
        command = [*within, str(twistd), "-n", "--pidfile=", *twistd_flags, "ipquery", *binds]
        self._log_path.unlink(missing_ok=True)
        with self._log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log if output is None else output,
                stderr=log,
                cwd=folder,
                env={**os.environ, **(environment or {})},
            )

    @property
    def log(self) -> str:
        """Everything logged so far."""
        return self._log_path.read_text("utf-8", errors="replace")

    def wait_for_log(self, pattern: str) -> "re.Match[str]":
        """Wait until the log has a match."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            match = re.search(pattern, self.log)
            if match:
                return match
            if self.process.poll() is not None:
                match = re.search(pattern, self.log)
                assert match, f"exited with {self.process.returncode}:\n{self.log}"
                return match
            time.sleep(0.02)
        raise AssertionError(f"no {pattern!r} in:\n{self.log}")

    def wait_until_up(self) -> Self:
        """Wait until it listens."""
        self.wait_for_log(r"try: curl")
        return self

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return int(self.wait_for_log(r"listening on \S+:(\d+)")[1])

    @property
    def secure_port(self) -> int:
        """The port it speaks TLS on."""
        return int(self.wait_for_log(r"listening on tls:\S+:(\d+)")[1])

    @property
    def children(self) -> list[int]:
        """Process numbers of the processes that it has started and that run."""
        return children_of(self.process.pid)

    @property
    def workers(self) -> list[int]:
        """Process numbers of the workers that run."""
        return sorted(pid for pid in self.children if is_running(pid, "ipquery.fleet"))

    @property
    def has_read_all(self) -> bool:
        """Whether it has accepted every connection that was sent something, and read that."""
        local = f"{socket.htonl(0x7F000001):08X}:{self.port:04X}"
        # sl local_address rem_address st tx_queue:rx_queue ...; 01 is ESTABLISHED.
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        return all(
            int(words[4].partition(":")[2], 16) == 0
            for words in lines
            if words[1] == local and words[3] == "01"
        )

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def ask(self, request: bytes, heads_only: bool = False) -> Response:
        """One request on a connection of its own."""
        with self.connect() as connection:
            return exchange(connection, request, heads_only)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def children_of(pid: int) -> list[int]:
    """Process numbers of the processes that a process has started and that run."""
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except (FileNotFoundError, ProcessLookupError):  # it has ended, before or meanwhile
        return []


def is_running(pid: int, module: str) -> bool:
    """Whether a process runs a module of ours."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().endswith(module.encode() + b"\0")
    except (FileNotFoundError, ProcessLookupError):  # it has ended, before or meanwhile
        return False


def opened_by(pid: int) -> list[str]:
    """What the descriptors of a process are of: paths, and names such as ``socket:[1]``."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


class Daemons:
    """Starts daemons, each in a folder of its own, and stops them all."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, environment
        self._started: list[Daemon] = []

    def start(
        self, *flags: object, bind: str | None = "127.0.0.1:0", config: str = "", **more: str
    ) -> Daemon:
        """A daemon that is up.

        :param config: the content of its configuration file.
        :param more: environment variables.
        """
        folder = self._folder / f"daemon{len(self._started)}"
        folder.mkdir()
        if config:
            (folder / "c.toml").write_text(config)
            flags = ("--config", "c.toml", *flags)
        environment = {**self._environment, **more}
        self._started.append(Daemon(folder, *flags, bind=bind, environment=environment))
        return self._started[-1].wait_until_up()

    def stop(self) -> None:
        """Stop them."""
        for one in self._started:
            one.stop()


def exchange(connection: socket.socket, request: bytes, heads_only: bool = False) -> Response:
    """Send a request, and read one response, head and body."""
    connection.sendall(request)
    return receive(connection, heads_only)


def receive(connection: socket.socket, heads_only: bool = False) -> Response:
    """Read one response."""
    got = b""
    while True:
        head, end, rest = got.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if end and length and (heads_only or len(rest) >= int(length[1])):
            (response,) = parse_responses(got, heads_only)
            return response
        more = connection.recv(65536)
        assert more, f"closed after {got!r}"
        got += more

"""Runs the real redis-server."""

import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.programs import require


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """A server on loopback, without persistence, that can be stopped and started again."""

    def __init__(self, folder: Path, *options: str, sentinel: Path | None = None) -> None:
        self._program = require("redis-server", "redis-server")
        self._folder = folder
        self._options = options
        self._sentinel = sentinel
        self.port = free_port()
        self.socket = folder / f"redis-{self.port}.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        port = ["--port", str(self.port)]
        if "--tls-cert-file" in self._options:
            port = ["--tls-port", str(self.port), "--port", "0"]
        if self._sentinel is None:
            flags = [*port, "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        else:
            flags = [str(self._sentinel), "--sentinel", *port]
        with (self._folder / f"redis-{self.port}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *flags, "--bind", "127.0.0.1", *self._options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process.poll() is None, "redis-server ended"
                time.sleep(0.02)
            else:
                return self
        raise AssertionError("redis-server doesn't answer")

    def ask(self, *words: str) -> bytes:
        """One command, and what it answers."""
        return self.send(" ".join(words).encode() + b"\r\n")

    def send(self, command: bytes) -> bytes:
        """One command as its protocol has it, and what it answers."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(command + b"QUIT\r\n")
            got = b""
            while more := connection.recv(65536):
                got += more
        return got

    def send_signal(self, number: int) -> None:
        """Freeze it, or let it go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

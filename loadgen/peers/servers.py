"""How each server is started, on one core, on loopback."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

_COMMANDS = Path(sys.executable).parent
_HERE = Path(__file__).parent
_START_SECONDS = 120


@attrs.frozen
class Server:
    """A server to measure. ``{snapshot}`` and ``{folder}`` in its command and its
    environment are filled in."""

    name: str
    command: tuple[str | Path, ...]
    port: int
    environment: Mapping[str, str] = attrs.field(factory=dict)


def _python(*arguments: str) -> tuple[str | Path, ...]:
    return (sys.executable, *arguments)


def ipquery_command(port: int, database: str, *flags: str) -> tuple[str | Path, ...]:
    """How our own daemon is started."""
    bind = f"127.0.0.1:{port}"
    return (
        _COMMANDS / "twistd",
        *("-n", "--pidfile=", "ipquery", "-b", bind, "--db", database),
        *flags,
    )


_ONE = ("-w", "1")
IPQUERY = Server("ipquery", ipquery_command(18081, "{snapshot}", *_ONE), 18081)
ROUTES = Server(
    "ipquery --no-express", ipquery_command(18082, "{snapshot}", *_ONE, "--no-express"), 18082
)
KLEIN = Server("Klein, stock, epoll", _python("-m", "loadgen.peers.stock_klein", "18083"), 18083)
OLD = Server(
    "Flask, gunicorn, gevent (the old design)",
    (
        _COMMANDS / "gunicorn",
        *("-k", "gevent", "-w", "1", "-b", "127.0.0.1:18084", "--keep-alive", "600"),
        *("--worker-connections", "10000", "--timeout", "600", "loadgen.peers.old_service:app"),
    ),
    18084,
)
FASTAPI = Server(
    "FastAPI, uvicorn",
    (
        _COMMANDS / "uvicorn",
        *("--port", "18085", "--no-access-log", "--log-level", "warning"),
        *("--timeout-keep-alive", "600", "loadgen.peers.fastapi_app:app"),
    ),
    18085,
)
GRANIAN = Server(
    "granian, bare RSGI",
    (
        _COMMANDS / "granian",
        *("--interface", "rsgi", "--port", "18086", "--no-access-log"),
        *("--log-level", "warning", "loadgen.peers.granian_app:app"),
    ),
    18086,
)
_NGINX = ("nginx", "-c", "{folder}/nginx.conf")
GEOIP2 = Server("nginx, geoip2", _NGINX, 18087)
CONSTANT = Server("nginx, constant answer", _NGINX, 18088)
ECHO = Server("bare echo", _python("-m", "loadgen.peers.echo", "18089"), 18089)


class Running:
    """Servers that have been started, on one core or some."""

    def __init__(self, folder: Path, snapshot: Path, mmdb: Path | None, cores: int | str) -> None:
        """
        :param cores: as taskset(1) has them.
        """
        self._folder, self._snapshot, self._mmdb, self._cores = folder, snapshot, mmdb, cores
        self._started: dict[Sequence[str | Path], subprocess.Popen[bytes]] = {}

    def start(self, server: Server) -> None:
        """Start a server and wait until it answers."""
        process = self._started.get(server.command)
        if process is None:
            if server.command == _NGINX:
                self._write_nginx_conf()
            process = self._started[server.command] = self._spawn(server)
        self._wait_for(server, process)

    def _spawn(self, server: Server) -> "subprocess.Popen[bytes]":
        def fill(text: str | Path) -> str:
            return str(text).format(folder=self._folder, snapshot=self._snapshot)

        command = [fill(part) for part in server.command]
        environment = {name: fill(value) for name, value in server.environment.items()}
        with (self._folder / f"{server.port}.log").open("wb") as log:
            return subprocess.Popen(
                ["taskset", "-c", str(self._cores), *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "IPQUERY_BENCH_SNAPSHOT": str(self._snapshot),
                    **environment,
                },
                start_new_session=True,
            )

    def _write_nginx_conf(self) -> None:
        names: Mapping[str, object] = {
            "FOLDER": self._folder,
            "MMDB": self._mmdb,
            "GEOIP2_PORT": GEOIP2.port,
            "CONSTANT_PORT": CONSTANT.port,
        }
        text = (_HERE / "nginx.conf.in").read_text()
        for name, value in names.items():
            text = text.replace(f"@{name}@", str(value))
        (self._folder / "nginx.conf").write_text(text)

    def _wait_for(self, server: Server, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", server.port), 1) as one:
                    one.settimeout(5)
                    one.sendall(b"GET /api/ip_query?ip=1.2.3.4 HTTP/1.1\r\nHost: x\r\n\r\n")
                    if one.recv(100).startswith(b"HTTP/1.1 200"):
                        return
            except OSError:
                pass
            time.sleep(0.1)
        log = (self._folder / f"{server.port}.log").read_text(errors="replace")
        raise RuntimeError(f"{server.name} didn't start:\n{log[-2000:]}")

    def _processes(self, server: Server) -> list[int]:
        # The session that it leads holds all of its workers.
        leader = self._started[server.command].pid
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--sid", str(leader)], capture_output=True, text=True, check=True
        )
        return [int(pid) for pid in listed.stdout.split()]

    def send_signal(self, server: Server, number: int) -> None:
        """Tell a server's first process something."""
        # It is taskset, which has become the server.
        self._started[server.command].send_signal(number)

    def cpu_seconds(self, server: Server) -> float:
        """Processor time that a server has used."""
        ticks = 0
        for pid in self._processes(server):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _pss(self, server: Server) -> list[int]:
        sizes = []
        for pid in self._processes(server):
            match = re.search(
                r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE
            )
            sizes.append(int(match[1]) * 1024 if match else 0)
        return sizes

    def worker_pss(self, server: Server) -> int:
        """Memory of the process of a server that uses most, its share of shared pages, in bytes."""
        return max(self._pss(server))

    def total_pss(self, server: Server) -> int:
        """Memory of all processes of a server, in bytes."""
        return sum(self._pss(server))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._started.values():
            os.killpg(process.pid, signal.SIGTERM)
        for process in self._started.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

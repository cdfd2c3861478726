"""How each server is started, on one core, on loopback."""

import contextlib
import itertools
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

from ipquery.serve.guard.keys import Key, hash_of, to_text
from loadgen.peers.certificate import write_certificate

_COMMANDS = Path(sys.executable).parent
_HERE = Path(__file__).parent
_START_SECONDS = 120
_QUESTION = b"GET /api/ip_query?ip=1.2.3.4 HTTP/1.1\r\nHost: x\r\n"
_MADE = "2026-11-29T08:00:00Z"


# Below the ports that the kernel gives to connections (from 32768 on), which load has
# thousands of.
_ports = itertools.count(18081)


def next_port() -> int:
    """A port that no other server of this program has."""
    return next(_ports)


@attrs.frozen
class Server:
    """A server to measure. ``{port}``, ``{snapshot}`` and ``{folder}`` in its command and its
    environment are filled in."""

    name: str
    command: tuple[str | Path, ...]
    environment: Mapping[str, str] = attrs.field(factory=dict)
    port: int = attrs.field(factory=next_port)
    tls: bool = False
    """Whether the port speaks TLS, with the certificate of :class:`Running`."""
    fields: bytes = b""
    """Header fields without which it doesn't answer, each with its end."""


def _python(*arguments: str) -> tuple[str | Path, ...]:
    return (sys.executable, *arguments)


def ipquery_command(
    database: str, *flags: str, bind: str = "127.0.0.1:{port}"
) -> tuple[str | Path, ...]:
    """How our own daemon is started."""
    return (
        _COMMANDS / "twistd",
        *("-n", "--pidfile=", "ipquery", "-b", bind, "--db", database),
        *flags,
    )


_ONE = ("{snapshot}", "-w", "1")
IPQUERY = Server("ipquery", ipquery_command(*_ONE))
ROUTES = Server("ipquery --no-express", ipquery_command(*_ONE, "--no-express"))
LOGGED = Server("ipquery, access log", ipquery_command(*_ONE, "--config", "{folder}/logged.toml"))
TLS = Server(
    "ipquery, TLS",
    ipquery_command(*_ONE, "--config", "{folder}/tls.toml", bind="tls:127.0.0.1:{port}"),
    tls=True,
)
# Made up here, so that they are the same in each process that has a part in a run.
BENCH_KEYS = tuple(b"ipq_" + b"%043d" % number for number in range(64))
KEYED = Server(
    "ipquery, keys",
    ipquery_command(*_ONE, "--config", "{folder}/keyed.toml"),
    fields=b"X-Api-Key: %s\r\n" % BENCH_KEYS[0],
)
LIMITED = Server("ipquery, limit", ipquery_command(*_ONE, "--config", "{folder}/limited.toml"))
UNCOUNTED = Server(
    "ipquery, uncounted",
    (*_python("-m", "loadgen.peers.uncounted"), *ipquery_command(*_ONE)[1:]),
)
KLEIN = Server("Klein, stock, epoll", _python("-m", "loadgen.peers.stock_klein", "{port}"))
OLD = Server(
    "Flask, gunicorn, gevent (the old design)",
    (
        _COMMANDS / "gunicorn",
        *("-k", "gevent", "-w", "1", "-b", "127.0.0.1:{port}", "--keep-alive", "600"),
        *("--worker-connections", "10000", "--timeout", "600", "loadgen.peers.old_service:app"),
    ),
)
FASTAPI = Server(
    "FastAPI, uvicorn",
    (
        _COMMANDS / "uvicorn",
        *("--port", "{port}", "--no-access-log", "--log-level", "warning"),
        *("--timeout-keep-alive", "600", "loadgen.peers.fastapi_app:app"),
    ),
)
GRANIAN = Server(
    "granian, bare RSGI",
    (
        _COMMANDS / "granian",
        *("--interface", "rsgi", "--port", "{port}", "--no-access-log"),
        *("--log-level", "warning", "loadgen.peers.granian_app:app"),
    ),
)
# One nginx, and so one command, with a port for each of them.
_NGINX = ("nginx", "-c", "{folder}/nginx.conf")
GEOIP2 = Server("nginx, geoip2", _NGINX)
GEOIP2_MISSES = Server("nginx, geoip2, 501 for misses", _NGINX)
GEOIP2_LOGGED = Server("nginx, geoip2, access log", _NGINX)
GEOIP2_TLS = Server("nginx, geoip2, TLS", _NGINX, tls=True)
CONSTANT = Server("nginx, constant answer", _NGINX)
ECHO = Server("bare echo", _python("-m", "loadgen.peers.echo", "{port}"))


def _connected(server: Server) -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", server.port), 5)
    if not server.tls:
        return plain
    # Whoever answers on the port that we gave it is the one we started.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)


def _write_configurations(folder: Path) -> None:
    """What some of ipquery's servers read, and the certificate that it and nginx have."""
    (folder / "logged.toml").write_text(f'[access_log]\npath = "{folder}/ipquery.access.log"\n')
    keys = [Key(f"key-{n}", hash_of(key).hex(), _MADE) for n, key in enumerate(BENCH_KEYS)]
    (folder / "keys.json").write_text(to_text(keys))
    (folder / "keyed.toml").write_text(f'[guard]\nkeys = "{folder}/keys.json"\n')
    # So much that nobody is refused.
    (folder / "limited.toml").write_text(
        "[guard.limit]\nrequests_per_second = 1_000_000\nburst = 1_000_000\n"
    )
    write_certificate(folder / "tls.crt", folder / "tls.key")
    (folder / "tls.toml").write_text(
        f'[[tls.certificates]]\nchain = "{folder}/tls.crt"\nkey = "{folder}/tls.key"\n'
    )


def _is_worker(pid: int) -> bool:
    try:
        return b"ipquery.fleet" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class Running:
    """Servers that have been started, on one core or some."""

    def __init__(self, folder: Path, snapshot: Path, mmdb: Path | None, cores: int | str) -> None:
        """
        :param cores: as taskset(1) has them.
        """
        self._folder, self._snapshot, self._mmdb, self._cores = folder, snapshot, mmdb, cores
        # nginx's worker is somebody else, and reads here.
        folder.chmod(0o755)
        _write_configurations(folder)
        self._started: dict[tuple[str, ...], subprocess.Popen[bytes]] = {}

    def start(self, server: Server) -> None:
        """Start a server and wait until it answers."""
        process = self._started.get(self._command(server))
        if process is None:
            if server.command == _NGINX:
                self._write_nginx_conf()
            process = self._started[self._command(server)] = self._spawn(server)
        self._wait_for(server, process)

    def _fill(self, server: Server, text: str | Path) -> str:
        return str(text).format(port=server.port, folder=self._folder, snapshot=self._snapshot)

    def _command(self, server: Server) -> tuple[str, ...]:
        return tuple(self._fill(server, part) for part in server.command)

    def _spawn(self, server: Server) -> "subprocess.Popen[bytes]":
        environment = {n: self._fill(server, value) for n, value in server.environment.items()}
        with (self._folder / f"{server.port}.log").open("wb") as log:
            return subprocess.Popen(
                ["taskset", "-c", str(self._cores), *self._command(server)],
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
            "MISSES_PORT": GEOIP2_MISSES.port,
            "LOGGED_PORT": GEOIP2_LOGGED.port,
            "TLS_PORT": GEOIP2_TLS.port,
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
                with _connected(server) as one:
                    one.sendall(b"%s%s\r\n" % (_QUESTION, server.fields))
                    if one.recv(100).startswith(b"HTTP/1.1 200"):
                        return
            except OSError:
                pass
            time.sleep(0.1)
        log = (self._folder / f"{server.port}.log").read_text(errors="replace")
        raise RuntimeError(f"{server.name} didn't start:\n{log[-2000:]}")

    def _processes(self, server: Server) -> list[int]:
        # The first leads a session, which holds all of its workers.
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--sid", str(self.leader(server))],
            capture_output=True,
            text=True,
            check=True,
        )
        return [int(pid) for pid in listed.stdout.split()]

    def leader(self, server: Server) -> int:
        """The id of a server's first process."""
        # taskset has become the server by exec, so its process is the server's first.
        return self._started[self._command(server)].pid

    def workers(self, server: Server) -> list[int]:
        """The ids of the workers of one of ipquery's daemons, draining ones among them."""
        leader = self.leader(server)
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        return [int(pid) for pid in children if _is_worker(int(pid))]

    def send_signal(self, server: Server, number: int) -> None:
        """Tell a server's first process something."""
        os.kill(self.leader(server), number)

    def cpu_seconds(self, server: Server) -> float:
        """Processor time that a server has used."""
        ticks = 0
        for pid in self._processes(server):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def truncate_logs(self) -> None:
        """Empty the access logs, which grow by 20 MB a second. Servers append to them."""
        for log in self._folder.glob("*.access.log"):
            os.truncate(log, 0)

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

    def forget_peaks(self, server: Server) -> None:
        """Begin the high-water marks of its processes' memory anew."""
        for pid in self._processes(server):
            # proc(5): 5 resets the peak resident set size.
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def worker_peak(self, server: Server) -> int:
        """The largest high-water mark of resident memory of a server's processes, in bytes, with
        the pages of the snapshot that they have touched."""
        peaks = []
        for pid in self._processes(server):
            match = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)
            peaks.append(int(match[1]) * 1024 if match else 0)
        return max(peaks)

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
            # One that couldn't start is gone already.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._started.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

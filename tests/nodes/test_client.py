"""Whose request it is, behind the real nginx as shipped, and behind load balancers."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, exchange
from tests.nodes.front import Nginx, nginx_configuration
from tests.nodes.node import free_ports, write_database
from tests.serve.http.connection import get

# Addresses of loopback, each of which plays a part.
CALLER, BALANCER, TCP_BALANCER = "127.0.0.1", "127.0.0.2", "127.0.0.3"

CONFIG = f"""
proxy = ["{TCP_BALANCER}"]
[client]
trusted_proxies = ["unix", "{BALANCER}"]
[access_log]
path = "access.log"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, as a socket's must be, that nginx's workers get at."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _ask(port: int, source: str, headers: list[str], preface: bytes = b"") -> None:
    """On two connections: one that is kept, and one for a single request."""
    request = get("/api/ip_query?ip=1.2.3.4", *headers)
    with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as kept:
        for number in range(3):
            assert exchange(kept, preface * (number == 0) + request).status == 200
    once = get("/api/ip_query?ip=1.2.3.4", *headers, "Connection: close")
    with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as other:
        assert exchange(other, preface + once).status == 200


def test_the_log_has_who_came_to_nginx(folder: Path) -> None:
    (folder / "c.toml").write_text(CONFIG)
    database = write_database(folder / "db.xdb")
    flags = ("--db", database, "-w", 1, "--config", "c.toml", "-b", f"unix:{folder}/a.sock")
    (nginx_port,) = free_ports(1)
    places = {
        "include nodes.conf": "include nodes-unix.conf",
        "/run/ipquery/a.sock": f"{folder}/a.sock",
        "/run/ipquery/b.sock": f"{folder}/a.sock",
    }
    cache = {"XDG_CACHE_HOME": str(folder)}
    forged = "X-Forwarded-For: 6.6.6.6"
    with Daemon(folder, *flags, environment=cache) as node:
        port = node.wait_until_up().port
        with Nginx(nginx_configuration(folder / "nginx", nginx_port, places)):
            _ask(nginx_port, CALLER, [])
            _ask(nginx_port, CALLER, [forged])
            _ask(nginx_port, CALLER, [forged, f"Forwarded: for={BALANCER}", "X-Real-IP: 6.6.6.6"])
            _ask(nginx_port, BALANCER, [forged + ", 198.51.100.1"])
        _ask(port, CALLER, [forged])
        _ask(port, BALANCER, [forged + ", 198.51.100.2"])
        # The PROXY protocol comes first.
        _ask(port, TCP_BALANCER, [forged], b"PROXY TCP4 198.51.100.3 127.0.0.1 1 2\r\n")
        named = f"PROXY TCP4 {BALANCER} 127.0.0.1 1 2\r\n".encode()
        _ask(port, TCP_BALANCER, [forged + ", 198.51.100.4"], named)
    lines = (folder / "access.log").read_text().splitlines()
    expected = [CALLER] * 3 + ["198.51.100.1"] + [CALLER]
    expected += [f"198.51.100.{number}" for number in (2, 3, 4)]
    assert [line.split()[0] for line in lines] == [one for one in expected for _ in range(4)]

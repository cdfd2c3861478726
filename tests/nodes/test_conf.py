"""Configurations that nothing else here runs: Redis's by Redis itself, and the kernel's."""

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipquery.doctor import Needs, check
from ipquery.net.sockets import BACKLOG
from tests.nodes.front import CONF
from tests.nodes.node import free_ports
from tests.programs import require

PASSWORD = "of-this-test"


class RedisConnection:
    """Enough of Redis's protocol to ask one thing after another."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)

    def ask(self, *words: str) -> str:
        """The whole answer, as it comes; answers here are short."""
        self._socket.sendall(" ".join(words).encode() + b"\r\n")
        return self._socket.recv(65536).decode()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisConnection]:
    (port,) = free_ports(1)
    text = (CONF / "redis/redis.conf").read_text()
    for before, after in {
        "bind 127.0.0.1 10.0.0.20": "bind 127.0.0.1",
        "port 6379": f"port {port}",
        "CHANGE-ME": PASSWORD,
        "#user admin on >ANOTHER": f"user admin on >{PASSWORD}",
    }.items():
        assert before in text, before
        text = text.replace(before, after)
    (tmp_path / "redis.conf").write_text(text)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [require("redis-server", "redis-server"), tmp_path / "redis.conf"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
        )
    deadline = time.monotonic() + 10
    while "Ready to accept" not in (tmp_path / "log").read_text():
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    connection = RedisConnection(port)
    yield connection
    connection.close()
    process.terminate()
    process.wait(10)
    assert not list(tmp_path.glob("*.rdb")), "nothing goes to disk"


def _log_in(redis: RedisConnection, user: str) -> None:
    assert redis.ask("AUTH", user, PASSWORD) == "+OK\r\n"


def test_redis_is_a_cache_and_nothing_else(redis: RedisConnection) -> None:
    _log_in(redis, "admin")
    for name, value in {
        "maxmemory": str(256 << 20),
        "maxmemory-policy": "allkeys-lru",
        "save": "",
        "appendonly": "no",
        "protected-mode": "yes",
    }.items():
        assert redis.ask("CONFIG", "GET", name).split("\r\n")[4] == value
    assert "unknown command" in redis.ask("FLUSHALL")
    # Protected mode is about a default user without a password; there is none to be it.
    (default,) = re.findall("user default .*", redis.ask("ACL", "LIST"))
    assert "off" in default.split()
    assert "nopass" not in default


def test_nobody_comes_in_without_a_name(redis: RedisConnection) -> None:
    for command in ("GET ipquery:x", "PING", "AUTH x", f"AUTH {PASSWORD}", "AUTH default x"):
        assert re.match("-(NOAUTH|WRONGPASS)", redis.ask(command)), command


def test_the_nodes_user_can_do_what_they_do(redis: RedisConnection) -> None:
    _log_in(redis, "ipquery")
    assert redis.ask("SELECT", "1") == "+OK\r\n"
    assert redis.ask("SETEX", "ipquery:x", "100", "1") == "+OK\r\n"
    assert redis.ask("GET", "ipquery:x") == "$1\r\n1\r\n"
    assert redis.ask("PING") == "+PONG\r\n"
    assert "master" in redis.ask("ROLE")


@pytest.mark.parametrize(
    "command",
    [
        "GET x",
        "SETEX x 100 1",
        "SET ipquery:x 1",
        "DEL ipquery:x",
        "KEYS *",
        "SCAN 0",
        "CONFIG GET requirepass",
        "CONFIG SET dir /etc/cron.d",
        "ACL LIST",
        "EVAL return(1) 0",
        "REPLICAOF 10.0.0.66 6379",
        "SAVE",
        "BGSAVE",
        "MODULE LIST",
        "CLIENT LIST",
        "CLIENT KILL TYPE normal",
        "MONITOR",
        "PUBLISH x y",
        "SUBSCRIBE x",
        "SWAPDB 0 1",
        "INFO",
        "MIGRATE 10.0.0.66 6379 ipquery:x 0 100",
    ],
)
def test_the_nodes_user_can_do_nothing_else(redis: RedisConnection, command: str) -> None:
    _log_in(redis, "ipquery")
    assert redis.ask(command).startswith("-NOPERM")


def test_the_handbook_names_files_and_values_that_are_there() -> None:
    text = (CONF.parent / "docs/operations.md").read_text("utf-8")
    paths = set(re.findall(r"\b(?:conf|tests|docs)/[\w./-]*[\w]", text))
    assert len(paths) > 10
    for path in paths:
        assert (CONF.parent / path).exists(), path
    nodes = (CONF / "nginx/nodes.conf").read_text()
    nginx = (CONF / "nginx/nginx.conf").read_text()
    for address in ("10.0.0.11:8080", "10.0.0.12:8080"):
        assert address in text
        assert address in nodes
    for said, value in {
        "wait 1 s (`proxy_read_timeout`)": "proxy_read_timeout 1s;",
        "after two of them": "max_fails=2 ",
        "tried every 5 s": "fail_timeout=5s;",
    }.items():
        assert said in text
        assert value in nodes + nginx
    shared = (CONF / "keepalived/keepalived.conf").read_text()
    assert "10.0.0.10:9000" in text
    assert "10.0.0.10/24" in shared


def test_the_kernels_settings_satisfy_the_doctor(tmp_path: Path) -> None:
    text = (CONF / "sysctl/ipquery.conf").read_text()
    settings = dict(re.findall(r"^([a-z0-9_.]+) = (.+)$", text, re.MULTILINE))
    assert int(settings["net.core.somaxconn"]) == BACKLOG
    for name, value in settings.items():
        # sysctl would say that there is no such setting.
        assert Path("/proc/sys", name.replace(".", "/")).exists() or "core" in name
        path = tmp_path / "sys" / name.replace(".", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)
    assert check(tmp_path, Needs(connections=10_000, workers=16), 65536) == []
    # Load from the same machine; only the cookies are another matter then.
    measuring = Needs(connections=10_000, outgoing=50_000)
    assert [found.what for found in check(tmp_path, measuring, 65536)] == [
        "net.ipv4.tcp_syncookies"
    ]

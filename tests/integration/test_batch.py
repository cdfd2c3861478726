"""Batches over real sockets: large, hostile, slow, and while the databases change."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.files import xdb
from tests.integration.daemon import Daemon, exchange
from tests.programs import require
from tests.serve.http.connection import get, parse_chunks, parse_head

QUERY = get("/api/ip_query?ip=1.2.3.4")
PLACE = "中国|0|河南省|商丘市|联通"
CONFIG = """
workers = 1
[[database]]
path = "db.xdb"
[http]
body_seconds = 2
idle_seconds = 3
"""
TEN_THOUSAND = b"".join(b"1.2.%d.%d\n" % (n >> 8, n & 255) for n in range(10_000))


def batch(body: bytes, *headers: str, target: str = "/v1/batch") -> bytes:
    told = ["Content-Type: text/plain", f"Content-Length: {len(body)}", *headers]
    return get(target, *told, method="POST") + body


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("batch")
    (folder / "db.xdb").write_bytes(xdb([(0x01000000, 0x01FFFFFF, PLACE)]))
    (folder / "c.toml").write_text(CONFIG)
    with Daemon(folder, "--config", "c.toml", environment={"XDG_CACHE_HOME": str(folder)}) as one:
        yield one.wait_until_up()


@pytest.fixture
def memory(daemon: Daemon) -> Iterator[None]:
    """The worker must not grow by more than 40 MB, whatever a test does to it."""
    (worker,) = daemon.workers

    def size() -> int:
        status = Path(f"/proc/{worker}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert match
        return int(match[1])

    Path(f"/proc/{worker}/clear_refs").write_text("5")  # start the high-water mark anew
    before = size()
    yield
    assert size() - before < 40_000
    assert daemon.workers == [worker]
    assert "Traceback" not in daemon.log


def read_chunked(connection: socket.socket) -> bytes:
    """The body of one chunked response, to its last chunk."""
    got = bytearray()
    connection.settimeout(60)
    while not got.endswith(b"\r\n0\r\n\r\n"):
        more = connection.recv(1 << 20)
        assert more, "cut short"
        got += more
    body, rest, ends = parse_chunks(parse_head(bytes(got))[2])
    assert (rest, ends) == (b"", True)
    return body


def until_closed(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    connection.settimeout(20)
    got = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(1 << 20):
            got += more
    return bytes(got)


@pytest.mark.usefixtures("memory")
def test_thirty_two_batches_of_ten_thousand_at_the_same_time(daemon: Daemon) -> None:
    connections = [daemon.connect() for _ in range(32)]
    failed: list[BaseException] = []

    def ask(connection: socket.socket) -> None:
        try:
            connection.sendall(batch(TEN_THOUSAND))
            lines = read_chunked(connection).splitlines()
            assert len(lines) == 10_000
            assert json.loads(lines[-1])["ip"] == "1.2.39.15"
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(one,)) for one in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for connection in connections:
        connection.close()
    assert not failed


@pytest.mark.usefixtures("memory")
def test_clients_that_read_nothing_are_cut_off_and_others_answered(daemon: Daemon) -> None:
    silent = []
    for _ in range(50):
        connection = daemon.connect()
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(100):
                connection.send(batch(TEN_THOUSAND))
        silent.append(connection)
    for _ in range(20):
        with daemon.connect() as other:
            assert exchange(other, QUERY).status == 200
    poll = select.poll()
    for connection in silent:
        poll.register(connection, 0)
    # Reset: what the kernel still had to send is dropped.
    deadline = time.monotonic() + 30
    while len(poll.poll(1000)) < len(silent):
        assert time.monotonic() < deadline
    for connection in silent:
        connection.close()


@pytest.mark.usefixtures("memory")
def test_a_body_of_a_gigabyte(daemon: Daemon) -> None:
    with daemon.connect() as connection:
        connection.sendall(get("/v1/batch", "Content-Type: text/plain",
                               f"Content-Length: {1 << 30}", method="POST"))  # fmt: skip
        assert b" 413 " in until_closed(connection)[:20]
    for piece in (b"x" * 65536, b"1.2.3.4\n" * 8192):
        with daemon.connect() as connection:
            connection.settimeout(20)
            head = ("Content-Type: text/plain", "Transfer-Encoding: chunked")
            connection.sendall(get("/v1/batch", *head, method="POST"))
            # What comes behind the refusal is thrown away for two seconds.
            deadline = time.monotonic() + 10
            with contextlib.suppress(ConnectionError):
                while time.monotonic() < deadline:
                    connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            assert time.monotonic() < deadline


@pytest.mark.usefixtures("memory")
def test_a_body_that_dawdles(daemon: Daemon) -> None:
    with daemon.connect() as connection:
        connection.sendall(batch(TEN_THOUSAND)[:300])
        got = until_closed(connection)
    body, _, ends = parse_chunks(parse_head(got)[2])
    assert not ends
    assert json.loads(body.splitlines()[-1])["error"]["type"] == "/docs#problem-timed-out"


@pytest.mark.usefixtures("memory")
def test_ten_thousand_bad_addresses_and_look_ups_before_and_behind(daemon: Daemon) -> None:
    with daemon.connect() as connection:
        connection.sendall(QUERY + batch(b"x\n" * 10_000) + get("/healthz", "Connection: close"))
        got = until_closed(connection)
    _, headers, rest = parse_head(got)
    length = int(headers["Content-Length"])
    status, headers, rest = parse_head(rest[length:])
    body, rest, ends = parse_chunks(rest)
    assert (status, ends, body.count(b'"error"')) == (200, True, 10_000)
    assert parse_head(rest)[0] == 200


def test_a_batch_during_reloads_and_a_drain(tmp_path: Path) -> None:
    (tmp_path / "db.xdb").write_bytes(xdb([(0x01000000, 0x01FFFFFF, PLACE)]))
    (tmp_path / "c.toml").write_text(CONFIG.replace("body_seconds = 2", "body_seconds = 30"))
    with Daemon(
        tmp_path, "--config", "c.toml", environment={"XDG_CACHE_HOME": str(tmp_path)}
    ) as one:
        one.wait_until_up()
        with one.connect() as connection:
            connection.settimeout(20)
            head = get(
                "/v1/batch?fields=country,city", "Content-Type: text/plain",
                "Content-Length: 24", method="POST",
            )  # fmt: skip
            connection.sendall(head + b"1.2.3.4\n")
            got = connection.recv(65536)
            while b"\n\r\n" not in got:
                got += connection.recv(65536)
            replaced = tmp_path / "new.xdb"
            replaced.write_bytes(xdb([(0x01000000, 0x01FFFFFF, "日本|0|东京都|东京|0")]))
            os.replace(replaced, tmp_path / "db.xdb")
            one.process.send_signal(signal.SIGHUP)
            one.wait_for_log("answering from")
            connection.sendall(b"1.2.3.4\n")
            while got.count(b"\n\r\n") < 2:
                got += connection.recv(65536)
            one.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(b"1.2.3.4\n")
            got += until_closed(connection)
        body, rest, ends = parse_chunks(parse_head(got)[2])
        assert (rest, ends) == (b"", True)
        told = [json.loads(line)["country"] for line in body.splitlines()]
        assert told == ["中国", "日本", "日本"]
        assert one.process.wait(20) == -signal.SIGTERM


def test_curl_sends_what_it_is_given_and_waits_for_100(daemon: Daemon, tmp_path: Path) -> None:
    require("curl", "curl")
    file = tmp_path / "addresses"
    file.write_bytes(TEN_THOUSAND)
    url = f"http://127.0.0.1:{daemon.port}/v1/batch?fields=ip,country_code"
    ways = [[], ["--compressed"], ["-T", "-", "-X", "POST"], ["-0"], ["-H", "Expect: 100-continue"]]
    for more in ways:
        data = [] if "-T" in more else ["--data-binary", f"@{file}"]
        command = ["curl", "-sSf", "-H", "Content-Type: text/plain", *data, *more, url]
        done = subprocess.run(
            command, input=TEN_THOUSAND, capture_output=True, check=True, timeout=30
        )
        lines = done.stdout.splitlines()
        assert len(lines) == 10_000
        assert lines[0] == b'{"ip":"1.2.0.0","country_code":"CN"}'

"""Hostile callers against a running worker, by raw bytes: refused, bounded, and others served."""

import contextlib
import random
import re
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.files import xdb
from tests.integration.daemon import Daemon, exchange, receive, until
from tests.serve.http.connection import get, parse_responses, post
from tests.serve.http.requests import SMUGGLED

QUERY = get("/api/ip_query?ip=1.2.3.4")
CONFIG = """
workers = 1
[[database]]
path = "db.xdb"
[http]
header_seconds = 2
body_seconds = 2
idle_seconds = 3
connections = 1500
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("abuse")
    (folder / "db.xdb").write_bytes(xdb([(0x01000000, 0x01FFFFFF, "中国|0|河南省|商丘市|联通")]))
    (folder / "c.toml").write_text(CONFIG)
    environment = {"XDG_CACHE_HOME": str(folder)}
    with Daemon(folder, "--config", "c.toml", environment=environment) as running:
        yield running.wait_until_up()


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


def _read_all(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    connection.settimeout(20)
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(65536):
            got += more
    return got


@pytest.mark.parametrize("name", SMUGGLED)
def test_ambiguous_framing_gets_one_refusal_and_a_closed_connection(
    daemon: Daemon, name: str
) -> None:
    with daemon.connect() as connection:
        connection.sendall(SMUGGLED[name] + QUERY)
        (response,) = parse_responses(_read_all(connection))
    assert response.status in (400, 413, 501, 505)
    assert response.headers["Connection"] == "close"


def test_a_large_header_is_refused(daemon: Daemon, memory: None) -> None:
    with daemon.connect() as connection:
        with contextlib.suppress(OSError):
            connection.sendall(get("/healthz", "X: " + "x" * 100_000))
        assert parse_responses(_read_all(connection))[0].status == 431


def test_a_header_that_comes_a_byte_a_second_is_cut_off(daemon: Daemon) -> None:
    with daemon.connect() as connection:
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in QUERY[:20]:
                connection.sendall(bytes([byte]))
                connection.settimeout(1)
                try:
                    got = connection.recv(1000)
                except TimeoutError:
                    continue
                assert got.startswith(b"HTTP/1.1 408 ")
                break
        assert time.monotonic() - begun < 6


def test_a_body_that_never_ends_is_refused(daemon: Daemon, memory: None) -> None:
    with daemon.connect() as connection:
        connection.sendall(get("/api/ip_query", "Transfer-Encoding: chunked", method="POST"))
        with contextlib.suppress(OSError):
            for _ in range(10_000):
                connection.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
        assert parse_responses(_read_all(connection))[0].status == 413


def test_pipelined_answers_keep_their_order(daemon: Daemon) -> None:
    # The lane, the routes, an error, a form of its own: every way at once.
    requests = [
        QUERY,
        get("/api/ip_query?ip=9.9.9.9"),
        post(b'{"ip":"1.2.3.4"}'),
        get("/nowhere"),
        QUERY,
        get("/api/ip_query?ip=x"),
        post(b"nonsense"),
        get("/healthz"),
    ]
    expected = [200, 501, 200, 404, 200, 400, 400, 200] * 20
    with daemon.connect() as connection:
        connection.sendall(b"".join(requests) * 20)
        connection.shutdown(socket.SHUT_WR)
        assert [response.status for response in parse_responses(_read_all(connection))] == expected


def test_a_half_closed_client_gets_its_answer(daemon: Daemon) -> None:
    with daemon.connect() as connection:
        connection.sendall(QUERY)
        connection.shutdown(socket.SHUT_WR)
        assert receive(connection).status == 200
        assert _read_all(connection) == b""


def test_connections_that_are_never_used_are_closed_and_others_served(
    daemon: Daemon, memory: None
) -> None:
    unused = [daemon.connect() for _ in range(1000)]
    for _ in range(20):
        assert daemon.ask(QUERY).status == 200
    assert _read_all(unused[0]) == b""
    assert _read_all(unused[-1]) == b""
    for one in unused:
        one.close()


def test_half_requests_on_many_connections_take_bounded_memory(
    daemon: Daemon, memory: None
) -> None:
    held = [daemon.connect() for _ in range(1000)]
    for one in held:
        one.sendall(get("/healthz", "X: " + "x" * 10_000)[:-2])
    for _ in range(20):
        assert daemon.ask(QUERY).status == 200
    assert parse_responses(_read_all(held[0]))[0].status == 408
    for one in held:
        one.close()


def test_a_client_that_never_reads_is_cut_off(daemon: Daemon, memory: None) -> None:
    with daemon.connect() as connection:
        connection.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 30
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                try:
                    sent += connection.send(QUERY * 500)
                except BlockingIOError:
                    time.sleep(0.05)
                    assert daemon.ask(QUERY).status == 200
        assert time.monotonic() < deadline, "it was never cut off"
        assert sent > 0


def test_more_connections_than_allowed_are_told_so(daemon: Daemon) -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < 4000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4000, 4000))
    held = [daemon.connect() for _ in range(1500)]
    for one in held[:10]:
        assert exchange(one, QUERY).status == 200
    with daemon.connect() as refused:
        (response,) = parse_responses(_read_all(refused))
    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
    for one in held:
        one.close()
    until(lambda: daemon.ask(QUERY).status == 200)


def test_random_bytes_do_no_harm(daemon: Daemon, memory: None) -> None:
    chance = random.Random(1)
    for _ in range(200):
        with daemon.connect() as connection, contextlib.suppress(OSError):
            connection.sendall(chance.randbytes(chance.randrange(1, 3000)))
            connection.shutdown(socket.SHUT_WR)
            _read_all(connection)
    assert daemon.ask(QUERY).status == 200
    assert "Traceback" not in daemon.log

"""Hostile callers of TLS and PROXY ports: bounded, said once, and others served."""

import contextlib
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, exchange
from tests.integration.hostile_tls import hello
from tests.integration.load import Load
from tests.integration.secure import SecureSite, connect, plainly
from tests.serve.http.connection import get, parse_responses

QUERY = get("/api/ip_query?ip=1.2.3.4")
ONCE = get("/api/ip_query?ip=1.2.3.4", "Connection: close")
HEADER_SECONDS = 2
LINE = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n"
BALANCER = "127.0.0.2"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> SecureSite:
    return SecureSite(tmp_path_factory.mktemp("abuse"))


@pytest.fixture(scope="module")
def daemon(site: SecureSite, cached: dict[str, str]) -> Iterator[Daemon]:
    http = f"header_seconds = {HEADER_SECONDS}\nidle_seconds = 3\nconnections = 800"
    top = f'proxy = ["{BALANCER}"]\naccess_log = "{site.folder / "access.log"}"'
    config = site.config(top, http=http).replace("workers = 2", "workers = 1")
    (site.folder / "c.toml").write_text(config)
    flags = ("--config", "c.toml")
    with Daemon(site.folder, *flags, bind=None, environment=cached) as running:
        running.wait_until_up()
        # uvloop opens a file of its own with the first connection, and keeps it.
        running.ask(get("/healthz"))
        yield running


@pytest.fixture(autouse=True)
def nothing_is_left(daemon: Daemon) -> Iterator[None]:
    """No descriptor, no traceback, no memory to speak of, and the same worker."""
    (worker,) = daemon.workers

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{worker}/fd"))

    def memory() -> int:
        match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
        assert match
        return int(match[1])

    Path(f"/proc/{worker}/clear_refs").write_text("5")  # start the high-water mark anew
    before, memory_before = descriptors(), memory()
    yield
    deadline = time.monotonic() + 20
    while descriptors() > before:
        assert time.monotonic() < deadline, f"{descriptors()} descriptors instead of {before}"
        time.sleep(0.05)
    assert daemon.workers == [worker]
    assert memory() - memory_before < 40_000
    assert "Traceback" not in daemon.log


def from_balancer(port: int) -> socket.socket:
    """Connected from the load balancer's address."""
    return socket.create_connection(("127.0.0.1", port), 10, (BALANCER, 0))


def _read_all(connection: socket.socket) -> bytes:
    connection.settimeout(20)
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(65536):
            got += more
    return got


def _closed_after(connection: socket.socket, byte: bytes) -> float:
    """How long it lasts while a byte is sent now and then."""
    begun = time.monotonic()
    connection.settimeout(0.2)
    while time.monotonic() < begun + 10 * HEADER_SECONDS:
        try:
            connection.sendall(byte)
            if not connection.recv(1000):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - begun


# TLS


def test_slow_handshakes_are_closed_in_time(daemon: Daemon) -> None:
    first = hello()
    slow = [plainly(daemon) for _ in range(100)]
    for number, one in enumerate(slow):
        one.sendall(first[:number])
    with plainly(daemon) as dripping:
        # The length of a record that never ends.
        dripping.sendall(b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb")
        assert HEADER_SECONDS - 0.5 < _closed_after(dripping, b"\0") < HEADER_SECONDS + 2
    for one in slow:
        assert _read_all(one) == b""
        one.close()


def test_a_handshake_that_is_not_finished_is_closed_in_time(daemon: Daemon) -> None:
    begun = time.monotonic()
    with plainly(daemon) as one:
        one.sendall(hello())
        assert _read_all(one).startswith(b"\x16\x03\x03"), "our half of it"
    assert time.monotonic() - begun < HEADER_SECONDS + 2


def test_after_the_handshake_deadlines_are_https_own(daemon: Daemon, site: SecureSite) -> None:
    with connect(daemon, site.client()) as silent:
        begun = time.monotonic()
        assert _read_all(silent) == b""
        assert HEADER_SECONDS - 1 < time.monotonic() - begun < HEADER_SECONDS + 3
    with connect(daemon, site.client()) as slow:
        slow.sendall(QUERY[:20])
        assert parse_responses(_read_all(slow))[0].status == 408


def test_http_on_the_tls_port_is_closed_and_said_once(daemon: Daemon) -> None:
    for _ in range(20):
        with plainly(daemon) as one:
            one.sendall(QUERY)
            # TLS has a word for it, an alert, which isn't HTTP's.
            assert not _read_all(one).startswith(b"HTTP")
    assert daemon.log.count("the TLS handshake failed: http request") == 1


def test_tls_on_the_plain_port_is_a_bad_request(daemon: Daemon) -> None:
    with daemon.connect() as one:
        one.sendall(hello())
        (response,) = parse_responses(_read_all(one))
    assert response.status == 400


def test_random_bytes_do_no_harm(daemon: Daemon, site: SecureSite) -> None:
    chance = random.Random(1)
    first = hello()
    for _ in range(150):
        with plainly(daemon) as one, contextlib.suppress(OSError):
            whole = bytearray(first)
            for _ in range(chance.randrange(3)):
                whole[chance.randrange(len(whole))] = chance.randrange(256)
            one.sendall(bytes(whole) + chance.randbytes(chance.randrange(1, 3000)))
            one.shutdown(socket.SHUT_WR)
            _read_all(one)
    with connect(daemon, site.client()) as client:
        assert exchange(client, QUERY).status == 200


def test_who_never_says_close_notify_costs_nothing(daemon: Daemon, site: SecureSite) -> None:
    held = []
    for _ in range(50):
        held.append(connect(daemon, site.client()))
        held[-1].sendall(ONCE)
    # They stay open on their side; ours must be gone, which the fixture looks at.
    time_is_over = time.monotonic() + 20
    (worker,) = daemon.workers
    while len(os.listdir(f"/proc/{worker}/fd")) > 60:
        assert time.monotonic() < time_is_over
        time.sleep(0.05)
    for one in held:
        one.close()


def _beside(daemon: Daemon, seconds: float, tls: ssl.SSLContext) -> Load:
    mix = ["nice", sys.executable, "-m", "tests.integration.hostile_tls"]
    mix += [str(daemon.secure_port), str(seconds)]
    with Load(daemon.secure_port, kept=16, one_shot=1, pause=0.05, tls=tls) as load:
        load.wait_for(64)
        subprocess.run(mix, check=True, timeout=seconds + 60)
        load.wait_for(64)
    assert load.result.lost == []
    assert set(load.result.statuses) == {200}
    return load


def test_a_flood_of_handshakes_costs_steady_callers_nothing(
    daemon: Daemon, site: SecureSite
) -> None:
    _beside(daemon, 6, site.client())


@pytest.mark.soak
def test_a_long_flood_of_handshakes(daemon: Daemon, site: SecureSite) -> None:
    load = _beside(daemon, 120, site.client())
    print(f"\np99 beside a flood of handshakes: {load.result.percentile(0.99):.4f} s")


# PROXY


def test_the_client_is_in_the_access_log(daemon: Daemon, site: SecureSite) -> None:
    """By the fast way, by a protocol, over TLS, and where a request is refused."""
    log = site.folder / "access.log"
    with from_balancer(daemon.port) as one:
        one.sendall(LINE.replace(b"192.0.2.7", b"192.0.2.1") + ONCE)
        assert parse_responses(_read_all(one))[0].status == 200
    with from_balancer(daemon.port) as one:
        one.sendall(LINE.replace(b"192.0.2.7", b"192.0.2.2"))
        assert exchange(one, QUERY).status == 200
    with from_balancer(daemon.secure_port) as one:
        one.sendall(LINE.replace(b"192.0.2.7", b"192.0.2.3"))
        with site.client().wrap_socket(one, server_hostname="localhost") as client:
            assert exchange(client, QUERY).status == 200
    with from_balancer(daemon.port) as one:
        one.sendall(LINE.replace(b"192.0.2.7", b"192.0.2.4") + b"nonsense\r\n\r\n")
        assert parse_responses(_read_all(one))[0].status == 400
    with from_balancer(daemon.port) as one:
        one.sendall(b"PROXY UNKNOWN\r\n" + ONCE)
        assert parse_responses(_read_all(one))[0].status == 200
    deadline = time.monotonic() + 10
    expected = {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", BALANCER}
    while time.monotonic() < deadline:
        found = {line.split()[0].strip('"') for line in log.read_text().splitlines()}
        if expected <= found:
            return
        time.sleep(0.05)
    raise AssertionError(f"{expected} aren't all in {found}")


def test_from_others_a_header_is_a_bad_request(daemon: Daemon) -> None:
    with daemon.connect() as one:
        one.sendall(LINE + QUERY)
        (response,) = parse_responses(_read_all(one))
    assert response.status == 400


@pytest.mark.parametrize("secure", [False, True])
def test_without_a_header_nothing_is_sent(daemon: Daemon, site: SecureSite, secure: bool) -> None:
    with from_balancer(daemon.secure_port if secure else daemon.port) as one:
        one.sendall(hello() if secure else QUERY)
        assert _read_all(one) == b""


@pytest.mark.parametrize(
    "begin",
    [
        b"PROXY UNKNOWN ",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\x00",
    ],
    ids=["1", "2, too long", "2"],
)
def test_an_endless_header_is_closed(daemon: Daemon, begin: bytes) -> None:
    with from_balancer(daemon.port) as one, contextlib.suppress(OSError):
        one.sendall(begin)
        for _ in range(2000):
            one.sendall(b"x" * 1000)
        assert _read_all(one) == b""


@pytest.mark.parametrize("begin", [b"", b"PROXY UNKNOWN ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\x00"])
def test_a_header_that_drips_is_closed_in_time(daemon: Daemon, begin: bytes) -> None:
    with from_balancer(daemon.port) as one:
        one.sendall(begin)
        lasted = _closed_after(one, b" " if begin else b"")
    assert HEADER_SECONDS - 0.5 < lasted < HEADER_SECONDS + 2


def test_each_fault_of_a_header_is_said_once(daemon: Daemon) -> None:
    for _ in range(20):
        with from_balancer(daemon.port) as one:
            one.sendall(b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 443\r\n" + QUERY)
            assert _read_all(one) == b""
    daemon.wait_for_log("its PROXY header of version 1 has a bad port")
    assert daemon.log.count("its PROXY header of version 1 has a bad port") == 1

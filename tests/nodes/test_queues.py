"""Callers in the queue of a worker that goes, on a host with conf/sysctl/ipquery.conf."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, exchange, until
from tests.nodes.front import CONF
from tests.nodes.network import Host, Network
from tests.nodes.node import ANSWER, write_database

PORT = 8080
QUERY = b"GET /api/ip_query?ip=1.2.3.4 HTTP/1.1\r\nHost: t\r\n\r\n"
NAME = "net.ipv4.tcp_migrate_req"


@pytest.fixture
def host() -> Iterator[Host]:
    """A host whose kernel moves queues, as it does with the file that is shipped."""
    settings = (CONF / "sysctl/ipquery.conf").read_text()
    shipped = re.search(rf"^{re.escape(NAME)} = (\d)$", settings, re.MULTILINE)
    assert shipped is not None
    with Network() as network:
        host = network.host("node", "10.77.0.1")
        host.set(NAME, shipped[1])
        yield host


def _config(folder: Path, workers: int) -> Path:
    path = folder / "ipquery.toml"
    drain = "[http]\ndrain_seconds = 1\n"
    path.write_text(f"workers = {workers}\n[[database]]\npath = 'db.xdb'\n{drain}")
    return path


def _start(folder: Path, host: Host, workers: int) -> Daemon:
    write_database(folder / "db.xdb")
    return Daemon(
        folder,
        "--config",
        _config(folder, workers),
        bind=f"{host.address}:{PORT}",
        environment={"XDG_CACHE_HOME": str(folder / "cache")},
        within=host.within,
    )


def _callers(host: Host, count: int) -> list[socket.socket]:
    """Callers that have asked, and wait to be answered."""

    def call() -> list[socket.socket]:
        return [socket.create_connection((host.address, PORT), 20) for _ in range(count)]

    with ThreadPoolExecutor(1, initializer=host.enter) as inside:
        callers = inside.submit(call).result()
    for one in callers:
        one.sendall(QUERY)
    return callers


def _are_answered(callers: list[socket.socket]) -> None:
    for one in callers:
        with one:
            assert exchange(one, b"").body == ANSWER


def _is_answered(caller: socket.socket) -> bool:
    """Whether an answer comes within a tenth of a second."""
    with caller:
        caller.settimeout(0.1)
        try:
            return exchange(caller, b"").body == ANSWER
        except TimeoutError:
            return False


def test_a_reload_to_fewer_workers_resets_nobody(tmp_path: Path, host: Host) -> None:
    with _start(tmp_path, host, 3) as daemon:
        daemon.wait_until_up()
        # Workers that are stopped accept nobody. The new ones take over the queues of two of
        # them; that of the third is there until its socket is closed, when the worker is killed
        # because it hasn't drained.
        before = daemon.workers
        for pid in before:
            os.kill(pid, signal.SIGSTOP)
        callers = _callers(host, 60)
        _config(tmp_path, 2)
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: not set(before) & set(daemon.children))
        _are_answered(callers)
        assert len(daemon.workers) == 2


def test_callers_in_the_queue_of_a_killed_worker_go_to_the_others_at_once(
    tmp_path: Path, host: Host
) -> None:
    with _start(tmp_path, host, 2) as daemon:
        daemon.wait_until_up()
        before = daemon.workers
        os.kill(before[0], signal.SIGSTOP)
        callers = _callers(host, 40)
        os.kill(before[0], signal.SIGKILL)
        # The one that takes its place is kept from starting, so that it can't be who answers.
        until(lambda: set(daemon.children) - set(before))
        (new,) = set(daemon.children) - set(before)
        os.kill(new, signal.SIGSTOP)
        _are_answered(callers)
        _are_answered(_callers(host, 40))
        os.kill(new, signal.SIGCONT)
        # It takes part again: of so many callers some are its own.
        os.kill(before[1], signal.SIGSTOP)
        until(lambda: sum(map(_is_answered, _callers(host, 20))))
        os.kill(before[1], signal.SIGCONT)

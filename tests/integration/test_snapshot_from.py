"""The finished snapshot of one node, taken by another."""

import json
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.certificates import self_signed
from tests.data.files import xdb
from tests.integration.daemon import Daemon, Daemons, until
from tests.integration.databases import (
    ONE,
    ONE_ANSWER,
    OTHER,
    QUERY,
    SECOND,
    SECOND_ANSWER,
)
from tests.integration.load import Load
from tests.serve.http.connection import get

GIVING = """
cache_dir = "{folder}/giving"
workers = 1
[[database]]
path = "{folder}/giving.xdb"
[api]
snapshot = true
"""
TAKING = """
cache_dir = "{folder}/taking"
workers = 1
[[database]]
path = "{folder}/taking.xdb"
[build]
snapshot_from = "{url}"
"""


class Nodes:
    """One that gives, and one that takes."""

    def __init__(self, folder: Path, daemons: Daemons) -> None:
        self.folder, self._daemons = folder, daemons
        (folder / "giving.xdb").write_bytes(ONE)
        (folder / "taking.xdb").write_bytes(OTHER)

    def giving(self, more: str = "") -> Daemon:
        """Start the one."""
        text = GIVING.format(folder=self.folder) + more
        return self._daemons.start(config=text)

    def taking(self, url: str, more: str = "") -> Daemon:
        """Start the other."""
        text = TAKING.format(folder=self.folder, url=url) + more
        return self._daemons.start(config=text)


@pytest.fixture
def nodes(tmp_path: Path, daemons: Daemons) -> Nodes:
    return Nodes(tmp_path, daemons)


def _url(daemon: Daemon) -> str:
    return f"http://127.0.0.1:{daemon.port}"


def _identity(daemon: Daemon) -> str:
    found: str = json.loads(daemon.ask(get("/v1/databases")).body)["snapshot"]
    return found


def _reload(daemon: Daemon) -> None:
    before = daemon.log.count("reloaded; answering from")
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: daemon.log.count("reloaded; answering from") > before)


def test_one_builds_and_both_serve_the_same_bytes(nodes: Nodes) -> None:
    giving = nodes.giving()
    taking = nodes.taking(_url(giving))
    assert taking.ask(QUERY).body == ONE_ANSWER
    assert _identity(taking) == _identity(giving)
    (nodes.folder / "giving.xdb").write_bytes(SECOND)
    with Load(giving.port) as given, Load(taking.port) as taken:
        _reload(giving)
        _reload(taking)
        until(lambda: taken.result.answers[SECOND_ANSWER] > 20)
    assert _identity(taking) == _identity(giving)
    for result in (given.result, taken.result):
        assert result.lost == []
        assert set(result.answers) == {ONE_ANSWER, SECOND_ANSWER}


def test_it_is_asked_again_by_itself_and_guarded(nodes: Nodes) -> None:
    giving = nodes.giving()
    (nodes.folder / "taking.xdb").write_bytes(SECOND)
    # It was built here while the other couldn't be asked.
    taking = nodes.taking("http://127.0.0.1:9")
    assert taking.ask(QUERY).body == SECOND_ANSWER
    taking.wait_for_log(
        r"127\.0\.0\.1:9/v1/snapshot: can't take the snapshot: .*; building it here"
    )
    config = taking.folder / "c.toml"
    more = "[[update]]\nrecipe = 'node'\njitter = '0s'\n"
    config.write_text(TAKING.format(folder=nodes.folder, url=_url(giving)) + more)
    (nodes.folder / "giving.xdb").write_bytes(OTHER)
    _reload(giving)
    _reload(taking)
    taking.wait_for_log("databases refused, .* keeps serving: IPv4 has another country")
    assert taking.ask(QUERY).body == SECOND_ANSWER
    until(lambda: b'"recipe": "node"' in taking.ask(get("/v1/databases")).body)


def test_what_is_asked_for_is_the_file_itself(nodes: Nodes) -> None:
    giving = nodes.giving()
    answer = giving.ask(get("/v1/snapshot"))
    (path,) = (nodes.folder / "giving/snapshots").glob("*.ipq")
    assert answer.status == 200
    assert answer.body == path.read_bytes()
    assert answer.headers["ETag"] == f'"{_identity(giving)}"'
    head = giving.ask(get("/v1/snapshot", method="HEAD"), heads_only=True)
    assert head.headers["Content-Length"] == str(path.stat().st_size)
    unchanged = get("/v1/snapshot", f"If-None-Match: {answer.headers['ETag']}")
    with giving.connect() as connection:
        connection.sendall(unchanged)
        assert connection.recv(1000).startswith(b"HTTP/1.1 304 ")
    assert giving.ask(QUERY).body == ONE_ANSWER


def test_nobody_is_given_it_unless_it_is_said(nodes: Nodes, daemons: Daemons) -> None:
    quiet = daemons.start("--db", nodes.folder / "giving.xdb", "-w", 1)
    assert quiet.ask(get("/v1/snapshot")).status == 404


def test_where_there_is_an_admin_address_it_is_there_alone(nodes: Nodes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = nodes.folder / "admin"
    path.mkdir()
    (path / "c.toml").write_text(GIVING.format(folder=nodes.folder))
    flags = ("--config", "c.toml", "-b", f"admin:127.0.0.1:{port}")
    with Daemon(path, *flags) as giving:
        giving.wait_until_up()
        assert giving.ask(get("/v1/snapshot")).status == 404
        taking = nodes.taking(f"http://127.0.0.1:{port}")
        assert taking.ask(QUERY).body == ONE_ANSWER


def test_over_tls_it_is_verified_who_gives_it(nodes: Nodes) -> None:
    path = nodes.folder / "secure"
    path.mkdir()
    certificate, key = self_signed(path, "localhost")
    tls = f'[tls]\ncertificates = [{{ chain = "{certificate}", key = "{key}" }}]\n'
    (path / "c.toml").write_text(GIVING.format(folder=nodes.folder) + tls)
    with Daemon(path, "--config", "c.toml", bind="tls:127.0.0.1:0") as giving:
        giving.wait_until_up()
        url = f"https://localhost:{giving.secure_port}"
        stranger = nodes.taking(url)
        stranger.wait_for_log(
            "can't take the snapshot: .*CERTIFICATE_VERIFY_FAILED.*building it here"
        )
        taking = nodes.taking(url, f'snapshot_ca = "{certificate}"\n')
        assert taking.ask(QUERY).body == ONE_ANSWER


def test_a_reload_while_it_is_taken_does_not_change_what_is(nodes: Nodes) -> None:
    rows = [(at, at, f"中国|0|0|0|{at}") for at in range(1 << 24, (1 << 24) + 100_000, 2)]
    (nodes.folder / "giving.xdb").write_bytes(xdb(rows))
    giving = nodes.giving()
    (path,) = (nodes.folder / "giving/snapshots").glob("*.ipq")
    whole = path.read_bytes()
    with giving.connect() as slow:
        slow.sendall(get("/v1/snapshot"))
        received = slow.recv(1000)
        (nodes.folder / "giving.xdb").write_bytes(ONE)
        _reload(giving)
        assert giving.ask(QUERY).body == ONE_ANSWER
        deadline = time.monotonic() + 60
        while len(received) < len(whole) and time.monotonic() < deadline:
            received += slow.recv(1 << 20)
        head, _, body = received.partition(b"\r\n\r\n")
        while len(body) < len(whole):
            body += slow.recv(1 << 20)
    assert body == whole
    assert re.search(rb"Content-Length: (\d+)", head)

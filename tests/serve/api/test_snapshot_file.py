"""/v1/snapshot: the file, piece by piece, no faster than it is read."""

from functools import partial
from pathlib import Path

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from ipquery.data.snapshot import Snapshot
from ipquery.serve.api.snapshot_file import Sending, send_snapshot
from tests.serve.http.connection import Connection, Response, Server, get
from tests.serve.http.requests import QUERY
from tests.serve.sample import sample, write_sample

ASK = get("/v1/snapshot")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_sample(tmp_path / "sample.ipq")


@pytest.fixture
def server(path: Path) -> Server:
    made = Server()
    made.v1.switch(Snapshot(path))
    made.api._give_snapshot = partial(send_snapshot, time=made.clock)
    return made


def _ask(server: Server, *more: bytes) -> Connection:
    connection = server.connect()
    connection.send(ASK, *more)
    return connection


def _read_all(connection: Connection) -> list[Response]:
    """Read it, as the transport then has its producer write."""
    transport = connection.transport
    while isinstance(transport.producer, Sending):
        transport.producer.resumeProducing()
    connection.server.run()
    return connection.received()


def test_it_is_the_file_under_its_identity(server: Server, path: Path) -> None:
    (answer,) = _read_all(_ask(server))
    assert answer.status == 200
    assert answer.body == path.read_bytes()
    assert answer.headers["ETag"] == f'"{sample().identity}"'
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_the_connection_goes_on(server: Server) -> None:
    first, second = _read_all(_ask(server, QUERY))
    assert (first.status, second.status) == (200, 200)


def test_a_reload_meanwhile_does_not_change_it(server: Server, path: Path) -> None:
    whole = path.read_bytes()
    connection = _ask(server)
    server.v1.switch(sample())
    path.unlink()
    (answer,) = _read_all(connection)
    assert answer.body == whole


def test_who_does_not_read_is_let_go(server: Server) -> None:
    connection = _ask(server)
    server.advance(29)
    assert not connection.transport.aborted
    server.advance(1)
    assert connection.transport.aborted


def test_who_goes_away_leaves_nothing_behind(server: Server) -> None:
    connection = _ask(server)
    producer = connection.transport.producer
    assert isinstance(producer, Sending)
    producer.stopProducing()
    connection.channel.connectionLost(Failure(ConnectionLost()))
    producer.resumeProducing()
    server.advance(60)
    assert not connection.transport.aborted


@pytest.mark.parametrize("given", ["{}", "W/{}", '"x", {}', "*"])
def test_who_has_it_is_not_sent_it(server: Server, given: str) -> None:
    had = given.format(f'"{sample().identity}"')
    answer = server.connect().ask(get("/v1/snapshot", f"If-None-Match: {had}"))
    assert (answer.status, answer.body) == (304, b"")


def test_head_says_how_long_it_is(server: Server, path: Path) -> None:
    connection = server.connect()
    connection.send(get("/v1/snapshot", method="HEAD"))
    (answer,) = connection.received(heads_only=True)
    assert answer.headers["Content-Length"] == str(path.stat().st_size)


def test_by_default_it_is_not_there() -> None:
    for method in ("GET", "HEAD"):
        connection = Server().connect()
        connection.send(get("/v1/snapshot", method=method))
        (answer,) = connection.received(heads_only=method == "HEAD")
        assert answer.status == 404

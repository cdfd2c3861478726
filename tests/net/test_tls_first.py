"""Handshakes on the bare socket; test_accept.py has what is alike without TLS."""

import contextlib
import gc
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent

from ipquery.net.accept import Entrance
from ipquery.net.endpoint import make_endpoint
from ipquery.net.opening import Openings
from ipquery.net.tls import Contexts, TlsSettings, read_certificate
from ipquery.net.tls_first import _Opening
from ipquery.net.tls_records import Records
from ipquery.net.tls_stream import TlsStream, TlsTransport
from tests.certificates import self_signed
from tests.net.streams import (
    First,
    HalfCloseable,
    Harness,
    TlsPort,
    open_descriptors,
    read_all,
    tls,
    until,
)
from tests.net.tls_client import TlsClient


class Port(TlsPort):
    """One whose factory answers what comes first."""

    factory: First

    def __init__(self) -> None:
        super().__init__(First())
        self.openings = Openings(_reactor(), 1000, 60)
        self.contexts, self.client_context = tls()
        self.send_buffer: int | None = None
        self.harness = Harness(self._make, is_secure=True)

    def _make(self, listening: socket.socket) -> Any:
        if self.send_buffer is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer)
        return make_endpoint(reactor, listening, Entrance(self.openings, tls=self.contexts))

    async def client(self) -> TlsClient:
        client = TlsClient(await self.plain_client(), self.client_context)
        await deferToThread(client.shake_hands)
        return client


def _reactor() -> Any:
    return reactor


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.harness.close()


@pytest_twisted.ensureDeferred
async def test_an_answer_that_closes_says_close_notify(port: Port) -> None:
    client = await port.client()
    client.sendall(b"once")
    assert await deferToThread(read_all, client) == b"done"
    assert client.heard_close
    assert len(port.openings) == 0


@pytest_twisted.ensureDeferred
async def test_a_request_may_come_with_the_end_of_the_handshake(port: Port) -> None:
    client = TlsClient(await port.plain_client(), port.client_context)

    def at_once() -> bytes:
        client.plain.sendall(client.begin())
        while True:
            client._fill()
            with contextlib.suppress(ssl.SSLWantReadError):
                client.tls.do_handshake()
                break
        client.sendall(b"once")
        return read_all(client)

    assert await deferToThread(at_once) == b"done"


@pytest_twisted.ensureDeferred
async def test_all_may_come_byte_by_byte(port: Port) -> None:
    client = TlsClient(await port.plain_client(), port.client_context)

    def slowly() -> bytes:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        for byte in client.begin():
            client.plain.sendall(bytes([byte]))
        client.shake_hands()
        client.tls.write(b"once")
        for byte in client._outgoing.read():
            client.plain.sendall(bytes([byte]))
        return read_all(client)

    assert await deferToThread(slowly) == b"done"


@pytest_twisted.ensureDeferred
async def test_a_request_and_close_notify_in_one_read(port: Port) -> None:
    client = await port.client()
    client.tls.write(b"more")
    client.say_close()
    assert await deferToThread(client.plain.recv, 1000) != b""
    assert await deferToThread(client.plain.recv, 1000) == b"", "closed, as it says no more"
    assert port.factory.quiet == set()


@pytest_twisted.ensureDeferred
async def test_a_protocol_is_told_that_the_peer_has_said_close_notify(port: Port) -> None:
    port.factory.kind = HalfCloseable
    made = port.expect()
    client = await port.client()
    client.tls.write(b"something")
    client.say_close()
    server: Any = await made
    await until(lambda: "read lost" in server.events)
    assert server.received == b"something"
    server.transport.write(b"answer")
    server.transport.loseConnection()
    assert await deferToThread(client.plain.recv, 1000) != b""
    await server.lost


@pytest_twisted.ensureDeferred
async def test_who_says_close_notify_after_the_answer_needs_no_protocol(port: Port) -> None:
    before = open_descriptors()
    client = await port.client()
    client.sendall(b"more")
    assert await deferToThread(client.recv, 100) == b"go on"
    client.say_close()
    assert await deferToThread(read_all, client.plain) != b"", "our close_notify"
    client.close()
    await until(lambda: open_descriptors() <= before + 1)
    assert (port.factory.addresses, port.factory.quiet) == ([], set())


@pytest_twisted.ensureDeferred
async def test_garbage_after_the_answer_closes_that_connection(port: Port) -> None:
    client = await port.client()
    client.sendall(b"more")
    assert await deferToThread(client.recv, 100) == b"go on"
    client.plain.sendall(bytes(100))
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        assert await deferToThread(read_all, client) == b""
    await until(lambda: not port.factory.quiet)
    assert port.factory.addresses == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "the TLS handshake failed: http request"),
        (b"\x00\x01\x02\x03" * 100, "the TLS handshake failed: "),
        (b"\x16\x03\x01\xff\xff" + bytes(100), "the TLS handshake failed: "),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_tls_is_closed_and_said_once(port: Port, data: bytes, says: str) -> None:
    with capturedLogs() as logs:
        for _ in range(3):
            client = await port.plain_client()
            client.sendall(data)
            with contextlib.suppress(ConnectionResetError):
                await deferToThread(read_all, client)
    (said,) = [formatEvent(event) for event in logs]
    assert says in said
    assert "127.0.0.1" in said
    assert len(port.openings) == 0


@pytest_twisted.ensureDeferred
async def test_a_handshake_that_is_late_is_closed_and_a_request_that_is_late_waited_for(
    port: Port,
) -> None:
    port.openings = Openings(_reactor(), 1000, 0.3)
    made = port.expect()
    silent = await port.plain_client()
    client = await port.client()
    assert await deferToThread(read_all, silent) == b""
    server = await made
    assert server.received == b""
    client.sendall(b"late")
    await until(lambda: server.received == b"late")
    assert len(port.openings) == 0


@pytest_twisted.ensureDeferred
async def test_who_has_not_asked_yet_when_it_stops_gets_a_protocol(port: Port) -> None:
    made = port.expect()
    client = await port.client()
    stopped = maybeDeferred(port.harness.ports.pop().stopListening)
    server: Any = await made
    await stopped
    client.sendall(b"late")
    await until(lambda: server.received == b"late")


@pytest_twisted.ensureDeferred
async def test_a_chain_that_a_socket_does_not_take_at_once_is_sent_whole(
    port: Port, tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(certificate.read_bytes() * 100)
    port.contexts = Contexts(TlsSettings((read_certificate(chain, key),)), None)
    port.client_context = ssl.create_default_context(cafile=str(certificate))
    port.send_buffer = 4096
    made = port.expect()
    client = await port.client()
    client.sendall(b"twice")
    server = await made
    await until(lambda: server.received == b"twice")
    assert port.factory.asked == [], "a stream has taken it over before"


@pytest_twisted.ensureDeferred
async def test_connections_leave_nothing_for_the_garbage_collector(port: Port) -> None:
    async def use(data: bytes, answer: bytes) -> None:
        client = await port.client()
        client.sendall(data)
        assert await deferToThread(client.recv, 100) == answer
        client.close()

    kinds = (_Opening, Records, TlsStream, TlsTransport)
    gc.collect()
    gc.disable()
    # What another test had logged, with its traceback, may be kept by the log.
    before = {id(one) for one in gc.get_objects() if isinstance(one, kinds)}
    try:
        for _ in range(5):
            await use(b"once", b"done")
            await use(b"more", b"go on")
        refused = await port.plain_client()
        refused.sendall(b"no TLS")
        with contextlib.suppress(ConnectionResetError):
            await deferToThread(read_all, refused)
        await until(
            lambda: {id(one) for one in gc.get_objects() if isinstance(one, kinds)} <= before
        )
    finally:
        gc.enable()

"""Twisted protocols on the loop's own streams, and on Twisted's: the same tests for both."""

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, capturedLogs, formatEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ipquery.net.sockets import Bind
from tests.certificates import self_signed
from tests.net.streams import (
    ENDPOINTS,
    HalfCloseable,
    Harness,
    Recorder,
    open_descriptors,
    read_all,
    soon,
    until,
)

BIG = bytes(range(256)) * 8192  # 2 MB: more than the kernel buffers


@pytest_twisted.ensureDeferred
async def test_data_goes_both_ways(harness: Harness) -> None:
    server, client = await harness.connect()
    server.on_data = lambda data: server.transport.write(data.upper())
    client.sendall(b"hello")
    assert await deferToThread(client.recv, 100) == b"HELLO"
    server.transport.writeSequence([b"a", b"b"])
    assert await deferToThread(client.recv, 100) == b"ab"


@pytest_twisted.ensureDeferred
async def test_the_transport_keeps_its_promises(harness: Harness) -> None:
    server, client = await harness.connect()
    verifyObject(ITCPTransport, server.transport)
    assert server.transport.getPeer() == IPv4Address("TCP", *client.getsockname())
    assert server.transport.getHost() == IPv4Address("TCP", *client.getpeername())
    for enabled in (True, False):
        server.transport.setTcpNoDelay(enabled)
        server.transport.setTcpKeepAlive(enabled)
        assert bool(server.transport.getTcpNoDelay()) is enabled
        assert bool(server.transport.getTcpKeepAlive()) is enabled
    assert server.transport.connected
    assert not server.transport.disconnecting
    server.transport.loseConnection()
    assert server.transport.disconnecting
    await server.lost
    assert not server.transport.connected


@pytest_twisted.ensureDeferred
async def test_ipv6(harness: Harness) -> None:
    server, client = await harness.connect(bind=Bind("::1"))
    assert isinstance(server.transport.getPeer(), IPv6Address)
    assert server.transport.getPeer().port == client.getsockname()[1]


@pytest_twisted.ensureDeferred
async def test_unix_sockets(harness: Harness, tmp_path: Path) -> None:
    server, client = await harness.connect(bind=Bind(path=str(tmp_path / "s")))
    assert isinstance(server.transport.getPeer(), UNIXAddress)
    assert server.transport.getHost() == UNIXAddress(str(tmp_path / "s"))
    server.transport.write(b"x")
    assert await deferToThread(client.recv, 100) == b"x"


@pytest_twisted.ensureDeferred
async def test_lose_connection_sends_what_was_written(harness: Harness) -> None:
    server, client = await harness.connect()
    server.transport.write(BIG)
    server.transport.loseConnection()
    assert await deferToThread(read_all, client) == BIG
    await server.lost
    assert server.reason.check(ConnectionDone)
    server.transport.write(b"nobody hears")
    server.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_a_producer_with_nothing_more_does_not_hold_a_connection(harness: Harness) -> None:
    server, client = await harness.connect()
    server.transport.registerProducer(PushProducer(), True)
    server.transport.write(b"last")
    server.transport.loseConnection()
    assert await deferToThread(read_all, client) == b"last"
    await server.lost


@pytest_twisted.ensureDeferred
async def test_abort_connection_sends_nothing_more(harness: Harness) -> None:
    server, client = await harness.connect()
    server.transport.write(BIG)
    server.transport.abortConnection()
    await server.lost
    assert server.reason.check(ConnectionAborted)
    server.transport.abortConnection()
    with pytest.raises(ConnectionResetError):
        await deferToThread(read_all, client)


@pytest_twisted.ensureDeferred
async def test_a_client_that_closes(harness: Harness) -> None:
    server, client = await harness.connect()
    client.close()
    await server.lost
    assert server.reason.check(ConnectionDone)
    assert server.events == ["made", "lost"]


@pytest_twisted.ensureDeferred
async def test_a_client_that_resets(harness: Harness) -> None:
    server, client = await harness.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    await server.lost
    assert not server.reason.check(ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_a_half_closed_client_is_answered(harness: Harness) -> None:
    server, client = await harness.connect(HalfCloseable)
    client.sendall(b"ask")
    client.shutdown(socket.SHUT_WR)
    await until(lambda: "read lost" in server.events)
    assert server.received == b"ask"
    server.transport.write(BIG)
    server.transport.loseConnection()
    assert await deferToThread(read_all, client) == BIG
    await server.lost


@pytest_twisted.ensureDeferred
async def test_half_closing_towards_the_client(plain_harness: Harness) -> None:
    server, client = await plain_harness.connect(HalfCloseable)
    server.transport.write(b"answer")
    server.transport.loseWriteConnection()
    assert await deferToThread(read_all, client) == b"answer"
    await until(lambda: "write lost" in server.events)
    client.sendall(b"more")
    await until(lambda: server.received == b"more")
    client.close()
    await until(lambda: "read lost" in server.events)
    server.transport.loseConnection()
    await server.lost


@pytest_twisted.ensureDeferred
async def test_reading_can_be_paused(harness: Harness) -> None:
    server, client = await harness.connect()
    server.transport.pauseProducing()
    client.sendall(b"x")
    await soon(0.1)
    assert server.received == b""
    server.transport.resumeProducing()
    await until(lambda: server.received == b"x")


class PushProducer:
    """Counts how often it is told to pause and to go on."""

    def __init__(self) -> None:
        self.paused = self.resumed = self.stopped = 0

    def pauseProducing(self) -> None:
        self.paused += 1

    def resumeProducing(self) -> None:
        self.resumed += 1

    def stopProducing(self) -> None:
        self.stopped += 1


@pytest_twisted.ensureDeferred
async def test_a_push_producer_goes_at_the_clients_pace(harness: Harness) -> None:
    server, client = await harness.connect()
    producer = PushProducer()
    server.transport.registerProducer(producer, True)
    with pytest.raises(RuntimeError):
        server.transport.registerProducer(producer, True)
    server.transport.write(BIG * 4)
    await until(lambda: producer.paused == 1)
    assert producer.resumed == 0
    done = deferToThread(read_all, client)
    await until(lambda: producer.resumed == 1)
    server.transport.loseConnection()
    server.transport.write(b"last")
    server.transport.unregisterProducer()
    assert await done == BIG * 4 + b"last"


class PullProducer:
    """Gives a piece whenever it is asked."""

    def __init__(self, transport: Any, pieces: int) -> None:
        self.transport, self.pieces, self.stopped = transport, pieces, 0

    def resumeProducing(self) -> None:
        self.transport.write(bytes(10_000))
        self.pieces -= 1
        if not self.pieces:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def stopProducing(self) -> None:
        self.stopped += 1


@pytest_twisted.ensureDeferred
async def test_a_pull_producer_is_asked_for_more(harness: Harness) -> None:
    server, client = await harness.connect()
    producer = PullProducer(server.transport, 1500)
    server.transport.registerProducer(producer, False)
    await soon(0.2)
    assert producer.pieces > 0, "the client has read nothing yet"
    assert len(await deferToThread(read_all, client)) == 15_000_000
    assert producer.stopped == 0


@pytest_twisted.ensureDeferred
async def test_a_producer_is_stopped_when_the_client_goes(harness: Harness) -> None:
    server, client = await harness.connect()
    push = PushProducer()
    server.transport.registerProducer(push, True)
    client.close()
    await server.lost
    assert push.stopped == 1


@pytest_twisted.ensureDeferred
async def test_a_producer_on_a_lost_connection_is_stopped_at_once(harness: Harness) -> None:
    server, client = await harness.connect()
    client.close()
    await server.lost
    producer = PushProducer()
    server.transport.registerProducer(producer, True)
    assert producer.stopped == 1


@pytest_twisted.ensureDeferred
async def test_a_fault_in_a_protocol_is_logged_and_cuts_its_connection(harness: Harness) -> None:
    faults: list[str] = []

    @implementer(ILogObserver)
    def observe(event: dict[str, Any]) -> None:
        if event["log_level"].name in ("error", "critical"):
            faults.append(str(event))

    def fail(data: bytes) -> None:
        raise RuntimeError("a fault of the protocol")

    server, client = await harness.connect()
    server.on_data = fail
    globalLogPublisher.addObserver(observe)
    try:
        client.sendall(b"x")
        await server.lost
    finally:
        globalLogPublisher.removeObserver(observe)
    assert any("a fault of the protocol" in fault for fault in faults)
    assert not server.reason.check(ConnectionDone)


# Whole stacks on top


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"hello"


def _http(client: socket.socket) -> bytes:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return read_all(client)


@pytest_twisted.ensureDeferred
async def test_twisted_webs_own_site(plain_harness: Harness) -> None:
    port: Any = await plain_harness.serve(Site(Hello()))
    client = socket.create_connection((port.getHost().host, port.getHost().port))
    plain_harness.clients.append(client)
    answer = await deferToThread(_http, client)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhello")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[CertificateOptions, Path]:
    """A certificate for localhost, and the file a client verifies it with."""
    certificate, key = self_signed(tmp_path_factory.mktemp("tls"), "localhost")
    both = key.read_bytes() + certificate.read_bytes()
    return PrivateCertificate.loadPEM(both).options(), certificate


@pytest_twisted.ensureDeferred
async def test_tls_by_twisteds_own_wrapper(
    plain_harness: Harness, certificate: tuple[CertificateOptions, Path]
) -> None:
    options, path = certificate
    port: Any = await plain_harness.serve(TLSMemoryBIOFactory(options, False, Site(Hello())))
    context = ssl.create_default_context(cafile=str(path))

    def ask() -> bytes:
        address = (port.getHost().host, port.getHost().port)
        with (
            socket.create_connection(address, 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            return _http(client)

    assert (await deferToThread(ask)).endswith(b"\r\n\r\nhello")


@pytest_twisted.ensureDeferred
async def test_large_transfers_over_tls(
    plain_harness: Harness, certificate: tuple[CertificateOptions, Path]
) -> None:
    options, path = certificate

    class Big(Resource):
        isLeaf = True

        def render_GET(self, request: Request) -> bytes:
            return BIG

    port: Any = await plain_harness.serve(TLSMemoryBIOFactory(options, False, Site(Big())))
    context = ssl.create_default_context(cafile=str(path))

    def ask() -> bytes:
        address = (port.getHost().host, port.getHost().port)
        with (
            socket.create_connection(address, 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            return _http(client)

    assert (await deferToThread(ask)).endswith(BIG)


class Faulty(Recorder):
    """Raises wherever it is told of something."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    def _at(self, where: str) -> None:
        if where == self._where:
            raise RuntimeError(f"a fault in {where}")

    def connectionMade(self) -> None:
        self._at("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        self._at("dataReceived")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override] # as above
        self._at("connectionLost")


class FaultyFactory(Factory):
    def __init__(self, where: str) -> None:
        self._where = where

    def buildProtocol(self, addr: Any) -> Faulty:
        if self._where == "buildProtocol":
            raise RuntimeError("a fault in buildProtocol")
        return Faulty(self._where)


@pytest.mark.parametrize(
    "where", ["buildProtocol", "connectionMade", "dataReceived", "connectionLost"]
)
@pytest_twisted.ensureDeferred
async def test_a_fault_in_a_protocol_closes_its_connection(where: str) -> None:
    harness = Harness(ENDPOINTS["loop"])
    port: Any = await harness.serve(FaultyFactory(where))
    host = port.getHost()
    before = open_descriptors()
    with capturedLogs() as logged, socket.socket() as client:
        client.settimeout(10)
        client.connect((host.host, host.port))
        client.sendall(b"x")
        client.shutdown(socket.SHUT_WR)

        def read() -> bytes:
            with contextlib.suppress(ConnectionResetError):
                return client.recv(1)
            return b""

        assert await deferToThread(read) == b""
        client.close()
        await until(lambda: open_descriptors() == before)
    said = " ".join(
        str(event.get("log_failure", "")) + (formatEvent(event) or "") for event in logged
    )
    assert f"a fault in {where}" in said
    await port.stopListening()

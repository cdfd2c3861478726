"""Twisted protocols on the loop's own streams, and on Twisted's: the same tests for both."""

import contextlib
import os
import resource
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IStreamServerEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, capturedLogs, formatEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ipquery.net.endpoint import make_endpoint
from ipquery.net.sockets import Bind, listen, open_sockets
from ipquery.net.stream import LoopEndpoint
from tests.certificates import self_signed

ENDPOINTS: dict[str, Callable[[socket.socket], IStreamServerEndpoint]] = {
    "loop": lambda listening: make_endpoint(reactor, listening),
    "stock": lambda listening: AdoptedStreamServerEndpoint(
        reactor, _dup(listening), listening.family
    ),
}


def _dup(listening: socket.socket) -> int:
    number = os.dup(listening.fileno())
    listening.close()
    return number


class Recorder(Protocol):
    """Keeps what happens to it; the test does the rest."""

    def __init__(self) -> None:
        self.received = b""
        self.events: list[str] = []
        self.lost: Deferred[None] = Deferred()
        self.on_data: Callable[[bytes], None] = lambda data: None

    def connectionMade(self) -> None:
        self.events.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.on_data(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override] # without a default
        self.events.append("lost")
        self.reason = reason
        self.lost.callback(None)


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    def readConnectionLost(self) -> None:
        self.events.append("read lost")

    def writeConnectionLost(self) -> None:
        self.events.append("write lost")


class Servers(Factory):
    """Builds one kind of protocol, and hands each to the test."""

    def __init__(self, kind: type[Recorder]) -> None:
        self.kind = kind
        self.addresses: list[Any] = []
        self.waiting: list[Deferred[Recorder]] = []
        self.started = self.stopped = 0

    def startFactory(self) -> None:
        self.started += 1

    def stopFactory(self) -> None:
        self.stopped += 1

    def buildProtocol(self, addr: Any) -> Recorder:
        self.addresses.append(addr)
        protocol = self.kind()
        protocol.factory = self
        waiting = self.waiting.pop(0)
        # Not before connectionMade
        reactor.callLater(0, waiting.callback, protocol)
        return protocol


LOOPBACK = Bind("127.0.0.1")


class Harness:
    """A listening port, and blocking clients in threads."""

    def __init__(self, make: Callable[[socket.socket], IStreamServerEndpoint]) -> None:
        self._make = make
        self.ports: list[IListeningPort] = []
        self.clients: list[socket.socket] = []

    async def serve(self, factory: Any, bind: Bind = LOOPBACK) -> IListeningPort:
        opened = open_sockets([bind])
        listen(opened)
        port: IListeningPort = await self._make(opened[0]).listen(factory)
        self.ports.append(port)
        return port

    async def connect(
        self, kind: type[Recorder] = Recorder, bind: Bind = LOOPBACK
    ) -> tuple[Any, socket.socket]:
        """A server protocol and the client's socket."""
        factory = Servers(kind)
        port = await self.serve(factory, bind)
        return await self.client(factory, port)

    async def client(self, factory: Servers, port: IListeningPort) -> tuple[Any, socket.socket]:
        made: Deferred[Recorder] = Deferred()
        factory.waiting.append(made)
        host: Any = port.getHost()
        if isinstance(host, UNIXAddress):
            client = socket.socket(socket.AF_UNIX)
            client.connect(host.name or b"")
        else:
            client = socket.create_connection((host.host, host.port))
        client.settimeout(10)
        self.clients.append(client)
        return await made, client

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for port in self.ports:
            pytest_twisted.blockon(port.stopListening() or _soon())


@pytest.fixture(params=ENDPOINTS)
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    made = Harness(ENDPOINTS[request.param])
    yield made
    made.close()


def _soon(seconds: float = 0.02) -> Deferred[None]:
    later: Deferred[None] = deferLater(reactor, seconds)
    return later


def _read_all(client: socket.socket) -> bytes:
    got = b""
    while more := client.recv(65536):
        got += more
    return got


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await _soon(0.01)
    raise AssertionError("waited in vain")


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
    assert await deferToThread(_read_all, client) == BIG
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
    assert await deferToThread(_read_all, client) == b"last"
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
        await deferToThread(_read_all, client)


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
    await _until(lambda: "read lost" in server.events)
    assert server.received == b"ask"
    server.transport.write(BIG)
    server.transport.loseConnection()
    assert await deferToThread(_read_all, client) == BIG
    await server.lost


@pytest_twisted.ensureDeferred
async def test_half_closing_towards_the_client(harness: Harness) -> None:
    server, client = await harness.connect(HalfCloseable)
    server.transport.write(b"answer")
    server.transport.loseWriteConnection()
    assert await deferToThread(_read_all, client) == b"answer"
    await _until(lambda: "write lost" in server.events)
    client.sendall(b"more")
    await _until(lambda: server.received == b"more")
    client.close()
    await _until(lambda: "read lost" in server.events)
    server.transport.loseConnection()
    await server.lost


@pytest_twisted.ensureDeferred
async def test_reading_can_be_paused(harness: Harness) -> None:
    server, client = await harness.connect()
    server.transport.pauseProducing()
    client.sendall(b"x")
    await _soon(0.1)
    assert server.received == b""
    server.transport.resumeProducing()
    await _until(lambda: server.received == b"x")


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
    await _until(lambda: producer.paused == 1)
    assert producer.resumed == 0
    done = deferToThread(_read_all, client)
    await _until(lambda: producer.resumed == 1)
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
    producer = PullProducer(server.transport, 3000)
    server.transport.registerProducer(producer, False)
    await _soon(0.2)
    assert producer.pieces > 0, "the client has read nothing yet"
    assert len(await deferToThread(_read_all, client)) == 30_000_000
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


@pytest_twisted.ensureDeferred
async def test_a_port_that_stops_refuses_but_keeps_connections(harness: Harness) -> None:
    factory = Servers(Recorder)
    port = await harness.serve(factory)
    host: Any = port.getHost()
    assert (factory.started, factory.stopped) == (1, 0)
    server, client = await harness.client(factory, port)
    harness.ports.remove(port)
    await port.stopListening()  # type: ignore[misc] # always a Deferred here
    assert factory.stopped == 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host.host, host.port))
    server.transport.write(b"still here")
    assert await deferToThread(client.recv, 100) == b"still here"


@pytest_twisted.ensureDeferred
async def test_a_factory_may_refuse_a_connection(harness: Harness) -> None:
    class Refusing(Factory):
        def buildProtocol(self, addr: Any) -> None:
            return None

    port: Any = await harness.serve(Refusing())
    client = socket.create_connection((port.getHost().host, port.getHost().port))
    harness.clients.append(client)
    client.settimeout(10)
    with contextlib.suppress(ConnectionResetError):
        assert await deferToThread(client.recv, 100) == b""


# Connections that are used once


class First(Servers):
    """Does without a protocol where "once" comes in."""

    def __init__(self) -> None:
        super().__init__(Recorder)
        self.asked: list[bytes] = []

    def answer_first(self, data: bytes, peer: Any) -> bytes | None:
        self.asked.append(data)
        if data == b"fault":
            raise ValueError(data)
        return b"done" if data == b"once" else None


class OneShot:
    """Such a factory on the loop's own endpoint; what clients send is there before it accepts."""

    def __init__(self) -> None:
        self.harness = Harness(ENDPOINTS["loop"])
        self.factory = First()

    async def client(self, data: bytes) -> socket.socket:
        if not self.harness.ports:
            await self.harness.serve(self.factory)
        host: Any = self.harness.ports[0].getHost()
        client = socket.create_connection((host.host, host.port))
        client.settimeout(10)
        self.harness.clients.append(client)
        client.sendall(data)
        return client


@pytest.fixture
def one_shot() -> Iterator[OneShot]:
    made = OneShot()
    yield made
    made.harness.close()


@pytest_twisted.ensureDeferred
async def test_what_is_used_once_is_answered_and_closed_without_a_protocol(
    one_shot: OneShot,
) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    clients = [await one_shot.client(b"once") for _ in range(20)]
    for client in clients:
        assert await deferToThread(_read_all, client) == b"done"
        client.close()
    assert one_shot.factory.addresses == []
    assert len(os.listdir("/proc/self/fd")) <= open_before + 1, "and the listening socket"


@pytest_twisted.ensureDeferred
async def test_anything_else_gets_a_protocol_and_what_came_in_first(one_shot: OneShot) -> None:
    made: Deferred[Recorder] = Deferred()
    one_shot.factory.waiting.append(made)
    client = await one_shot.client(b"twice")
    server: Any = await made
    client.sendall(b", and more")
    server.on_data = lambda data: server.transport.write(b"seen")
    assert await deferToThread(client.recv, 100) == b"seen"
    assert server.received == b"twice, and more"
    assert server.events == ["made"]
    assert one_shot.factory.asked == [b"twice"]


@pytest_twisted.ensureDeferred
async def test_who_is_paused_by_what_came_in_first_is_not_read(one_shot: OneShot) -> None:
    class Pausing(Recorder):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            if data == b"twice":
                transport: Any = self.transport
                transport.pauseProducing()

    one_shot.factory.kind = Pausing
    made: Deferred[Recorder] = Deferred()
    one_shot.factory.waiting.append(made)
    client = await one_shot.client(b"twice")
    server: Any = await made
    received = b"twice"
    for _ in range(20):
        client.sendall(b"x")
        received += b"x"
        await _soon(0.005)
    # What had come in before the pause could take hold, and no more.
    assert len(server.received) <= len(b"twice") + 2
    server.transport.resumeProducing()
    await _until(lambda: server.received == received)


@pytest_twisted.ensureDeferred
async def test_a_fault_closes_that_connection_only(one_shot: OneShot) -> None:
    with capturedLogs() as logs:
        client = await one_shot.client(b"fault")
        assert await deferToThread(_read_all, client) == b""
    assert [event["log_format"] for event in logs if "log_failure" in event] == [
        "a fault in a new connection; closing it"
    ]
    assert await deferToThread(_read_all, await one_shot.client(b"once")) == b"done"


@pytest_twisted.ensureDeferred
async def test_who_closes_or_resets_without_a_word_costs_nothing(one_shot: OneShot) -> None:
    await one_shot.client(b"")
    (await one_shot.client(b"")).close()
    reset = await one_shot.client(b"once")
    reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reset.close()
    # The first has sent nothing yet: it gets a protocol, as one that may still ask.
    made: Deferred[Recorder] = Deferred()
    one_shot.factory.waiting.append(made)
    assert (await made).received == b""
    assert await deferToThread(_read_all, await one_shot.client(b"once")) == b"done"


# Whole stacks on top


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"hello"


def _http(client: socket.socket) -> bytes:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return _read_all(client)


@pytest_twisted.ensureDeferred
async def test_twisted_webs_own_site(harness: Harness) -> None:
    port: Any = await harness.serve(Site(Hello()))
    client = socket.create_connection((port.getHost().host, port.getHost().port))
    harness.clients.append(client)
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
    harness: Harness, certificate: tuple[CertificateOptions, Path]
) -> None:
    options, path = certificate
    port: Any = await harness.serve(TLSMemoryBIOFactory(options, False, Site(Hello())))
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
    harness: Harness, certificate: tuple[CertificateOptions, Path]
) -> None:
    options, path = certificate

    class Big(Resource):
        isLeaf = True

        def render_GET(self, request: Request) -> bytes:
            return BIG

    port: Any = await harness.serve(TLSMemoryBIOFactory(options, False, Site(Big())))
    context = ssl.create_default_context(cafile=str(path))

    def ask() -> bytes:
        address = (port.getHost().host, port.getHost().port)
        with (
            socket.create_connection(address, 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            return _http(client)

    assert (await deferToThread(ask)).endswith(BIG)


def test_the_loop_endpoint_is_the_one_that_is_used() -> None:
    (opened,) = open_sockets([Bind("127.0.0.1")])
    assert isinstance(make_endpoint(reactor, opened), LoopEndpoint)
    opened.close()


@pytest.mark.parametrize(("busy", "turns"), [(0, 50), (0.05, 6)])
@pytest_twisted.ensureDeferred
async def test_a_burst_of_callers_is_let_in_by_several(
    harness: Harness, busy: float, turns: int
) -> None:
    """A few in each turn of a quiet loop, many in one that others keep busy.

    One by one, callers would wait for a turn of all busy connections each; all at once,
    they would hold up those who are connected.
    """
    factory = Servers(Recorder)
    port: Any = await harness.serve(factory)
    made: list[Deferred[Recorder]] = [Deferred() for _ in range(200)]
    factory.waiting.extend(made)
    for _ in made:
        host = port.getHost()
        harness.clients.append(socket.create_connection((host.host, host.port)))
    for _turn in range(turns):
        time.sleep(busy)
        await _soon(0)
    assert len(factory.addresses) == 200
    for one in made:
        await one


@pytest_twisted.ensureDeferred
async def test_who_waits_when_the_port_is_closed_is_let_in() -> None:
    harness = Harness(ENDPOINTS["loop"])
    factory = Servers(Recorder)
    port: Any = await harness.serve(factory)
    made: list[Deferred[Recorder]] = [Deferred() for _ in range(20)]
    factory.waiting.extend(made)
    host = port.getHost()
    clients: list[socket.socket] = []

    def connect() -> None:
        clients.extend(socket.create_connection((host.host, host.port)) for _ in made)

    # In the same turn as the stop, so that the loop has no chance to accept before.
    loop: Any = reactor
    loop.loop.call_soon(connect)
    await port.stopListening()
    for client, waiting in zip(clients, made, strict=True):
        server = await waiting
        client.close()
        await server.lost


def _reset(address: tuple[str, int]) -> None:
    """Connect, and reset the connection before anybody can have accepted it."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.connect(address)


def _open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", [Recorder, HalfCloseable])
@pytest_twisted.ensureDeferred
async def test_callers_that_reset_before_they_are_accepted_leave_nothing(
    kind: type[Recorder],
) -> None:
    built: list[Recorder] = []

    class Building(Factory):
        def buildProtocol(self, addr: Any) -> Recorder:
            built.append(kind())
            return built[-1]

    port: Any = await Harness(ENDPOINTS["loop"]).serve(Building())
    host = port.getHost()
    before = _open_descriptors()
    with capturedLogs() as logged:
        for _ in range(300):
            _reset((host.host, host.port))
        # The last in the queue comes in when all others have.
        with socket.create_connection((host.host, host.port)) as last:
            last.sendall(b"last")
            await _until(lambda: any(one.received == b"last" for one in built))
        if kind is HalfCloseable:
            transport: Any = built[-1].transport
            transport.loseConnection()
        await _until(lambda: _open_descriptors() == before)
    assert [formatEvent(event) for event in logged] == []
    await port.stopListening()


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
    before = _open_descriptors()
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
        await _until(lambda: _open_descriptors() == before)
    said = " ".join(
        str(event.get("log_failure", "")) + (formatEvent(event) or "") for event in logged
    )
    assert f"a fault in {where}" in said
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_without_open_files_callers_wait_instead_of_the_processor_burning() -> None:
    """Twisted's own port keeps a spare file and turns callers away instead."""
    harness = Harness(ENDPOINTS["loop"])
    factory = Servers(Recorder)
    port: Any = await harness.serve(factory)
    made: Deferred[Recorder] = Deferred()
    factory.waiting.append(made)
    with socket.socket() as client, capturedLogs() as logged:
        with _no_more_files():
            client.connect((port.getHost().host, port.getHost().port))
            await _soon(0.1)
            assert not port.can_accept
        assert ["can't accept connections" in formatEvent(event) for event in logged] == [True]
        server = await made
        assert port.can_accept
        client.close()
        await server.lost
    await port.stopListening()


@contextlib.contextmanager
def _no_more_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in taken:
            os.close(number)

"""Connections that we make, on the loop's own streams and on Twisted's: the same tests for both."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import error as failures
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionDone,
    DNSLookupError,
    NoProtocol,
)
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from ipquery.net.connect import LoopClientEndpoint
from ipquery.net.endpoint import make_client_endpoint

Connect = Callable[..., IStreamClientEndpoint]

ENDPOINTS: dict[str, Connect] = {
    "loop": lambda *where, **more: make_client_endpoint(reactor, *where, **more),
    "stock": lambda *where, **more: HostnameEndpoint(reactor, *where, **more),
}


@pytest.fixture(params=ENDPOINTS)
def make(request: pytest.FixtureRequest) -> Connect:
    return ENDPOINTS[request.param]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        opened.settimeout(10)
        yield opened


class Client(Protocol):
    def __init__(self, events: list[str]) -> None:
        self.events = events
        self.received = b""
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.events.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.events.append("data")
        self.received += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override] # without a default
        self.reason = reason
        self.lost.callback(None)


class Clients(Factory):
    """Notes what is asked of it."""

    noisy = False

    def __init__(self) -> None:
        self.events: list[str] = []

    def startFactory(self) -> None:
        self.events.append("start")

    def stopFactory(self) -> None:
        self.events.append("stop")

    def buildProtocol(self, addr: object) -> Client | None:
        self.events.append(f"build for {addr}")
        return Client(self.events)


class Refusing(Clients):
    def buildProtocol(self, addr: object) -> None:
        return None


async def _error(connecting: Deferred[IProtocol]) -> BaseException:
    try:
        await connecting
    except BaseException as error:
        return error
    raise AssertionError("connected")


def test_it_is_an_endpoint(make: Connect) -> None:
    verifyObject(IStreamClientEndpoint, make("127.0.0.1", 1))


@pytest_twisted.ensureDeferred
async def test_data_goes_both_ways(make: Connect, listening: socket.socket) -> None:
    factory = Clients()
    connecting = make(*listening.getsockname()).connect(factory)
    server, _ = await deferToThread(listening.accept)
    server.settimeout(10)
    client = await connecting
    assert isinstance(client, Client)
    assert client.transport is not None
    assert client.transport.getPeer() == IPv4Address("TCP", *listening.getsockname())
    assert client.transport.getHost() == IPv4Address("TCP", *server.getpeername())
    client.transport.write(b"ask")
    assert await deferToThread(server.recv, 100) == b"ask"
    server.sendall(b"answer")
    server.close()
    await client.lost
    assert client.reason.check(ConnectionDone)
    assert client.received == b"answer"
    assert factory.events[0] == "start"
    assert factory.events[1].startswith("build for IPv4Address")
    assert factory.events[2:4] == ["made", "data"]
    await deferToThread(lambda: None)
    assert factory.events[-1] == "stop"


@pytest_twisted.ensureDeferred
async def test_the_protocol_is_handed_over_before_its_first_data(
    make: Connect, listening: socket.socket
) -> None:
    factory = Clients()
    connecting = make(*listening.getsockname()).connect(factory)

    def note(client: IProtocol) -> IProtocol:
        factory.events.append("handed over")
        return client

    connecting.addCallback(note)
    server, _ = await deferToThread(listening.accept)
    server.sendall(b"greeting")
    client = await connecting
    assert isinstance(client, Client)
    server.close()
    await client.lost
    assert factory.events[2:5] == ["made", "handed over", "data"]


@pytest_twisted.ensureDeferred
async def test_nobody_listens(make: Connect, listening: socket.socket) -> None:
    address = listening.getsockname()
    listening.close()
    factory = Clients()
    error = await _error(make(*address).connect(factory))
    assert isinstance(error, failures.ConnectionRefusedError)
    assert factory.events == ["start", "stop"]


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_none(make: Connect) -> None:
    # RFC 6761 section 6.4: such a name never exists.
    error = await _error(make("nowhere.invalid", 80).connect(Clients()))
    assert isinstance(error, DNSLookupError)


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """An address that never answers: the kernel leaves connections over the backlog waiting."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        yield full.getsockname()
        for one in waiting:
            one.close()


@pytest_twisted.ensureDeferred
async def test_an_answer_that_never_comes(make: Connect, silent: tuple[str, int]) -> None:
    error = await _error(make(*silent, timeout=0.2).connect(Clients()))
    assert isinstance(error, failures.TimeoutError)


@pytest_twisted.ensureDeferred
async def test_who_is_connected_as_the_deadline_passes_hears_of_the_end(
    listening: socket.socket,
) -> None:
    factory, make = Clients(), ENDPOINTS["loop"]
    outcomes = [make(*listening.getsockname(), timeout=0.01).connect(factory) for _ in range(50)]
    await deferLater(reactor, 0)
    time.sleep(0.01)  # the loop is busy: the next turn has both to tell of
    results = await DeferredList(outcomes, consumeErrors=True)
    listening.close()
    clients: list[Any] = [client for is_connected, client in results if is_connected]
    for client in clients:
        client.transport.write(b"as long as it is connected, it may")
        client.transport.abortConnection()
    await DeferredList([client.lost for client in clients])
    assert factory.events.count("stop") == 1
    assert factory.events.count("made") == len(clients)


@pytest_twisted.ensureDeferred
async def test_connecting_can_be_cancelled(make: Connect, silent: tuple[str, int]) -> None:
    factory = Clients()
    connecting = make(*silent).connect(factory)
    await deferLater(reactor, 0.05)
    connecting.cancel()
    assert isinstance(await _error(connecting), ConnectingCancelledError)
    await deferLater(reactor, 0.05)
    assert factory.events == ["start", "stop"]


@pytest_twisted.ensureDeferred
async def test_a_factory_may_refuse(make: Connect, listening: socket.socket) -> None:
    error = await _error(make(*listening.getsockname()).connect(Refusing()))
    assert isinstance(error, NoProtocol)


def test_the_loops_own_is_the_one_that_is_used() -> None:
    assert isinstance(make_client_endpoint(reactor, "127.0.0.1", 1), LoopClientEndpoint)

"""A port under test, protocols that record what happens to them, and blocking clients."""

import functools
import os
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from zope.interface import implementer

from ipquery.net.accept import Entrance
from ipquery.net.endpoint import make_endpoint
from ipquery.net.opening import Openings
from ipquery.net.sockets import Bind, listen, open_sockets
from ipquery.net.tls import Contexts, TlsSettings, read_certificate
from tests.certificates import self_signed
from tests.net.tls_client import TlsClient


@functools.cache
def tls() -> tuple[Contexts, ssl.SSLContext]:
    """What a server shows, and what a client that believes it is made with."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = self_signed(Path(folder), "localhost")
        settings = TlsSettings((read_certificate(certificate, key),))
        client = ssl.create_default_context(cafile=str(certificate))
    return Contexts(settings, None), client


def entrance(**more: Any) -> Entrance:
    """What connections go through; without bounds that a test could meet by chance."""
    running: Any = reactor
    return Entrance(Openings(running, 1000, 60), **more)


ENDPOINTS: dict[str, Callable[[socket.socket], IStreamServerEndpoint]] = {
    "loop": lambda listening: make_endpoint(reactor, listening),
    "stock": lambda listening: AdoptedStreamServerEndpoint(
        reactor, _dup(listening), listening.family
    ),
    "tls": lambda listening: make_endpoint(reactor, listening, entrance(tls=tls()[0])),
}
PLAIN = ("loop", "stock")


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

    noisy = False

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

    def __init__(
        self, make: Callable[[socket.socket], IStreamServerEndpoint], is_secure: bool = False
    ) -> None:
        """:param is_secure: whether clients speak TLS."""
        self._make = make
        self._is_secure = is_secure
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
    ) -> tuple[Any, Any]:
        """A server protocol and the client's socket."""
        factory = Servers(kind)
        port = await self.serve(factory, bind)
        return await self.client(factory, port)

    async def client(self, factory: Servers, port: IListeningPort) -> tuple[Any, Any]:
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
        if not self._is_secure:
            return await made, client
        secured = TlsClient(client, tls()[1])
        await deferToThread(secured.shake_hands)
        return await made, secured

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for port in self.ports:
            pytest_twisted.blockon(port.stopListening() or soon())


def soon(seconds: float = 0.02) -> Deferred[None]:
    later: Deferred[None] = deferLater(reactor, seconds)
    return later


def read_all(client: Any) -> bytes:
    got = b""
    while more := client.recv(65536):
        got += more
    return got


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await soon(0.01)
    raise AssertionError("waited in vain")


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class TlsPort:
    """A TLS port whose clients shake hands as they like."""

    def __init__(self, factory: Servers) -> None:
        self.factory = factory
        self.harness = Harness(ENDPOINTS["tls"], is_secure=True)

    async def plain_client(self) -> socket.socket:
        """Connected; the rest is the test's."""
        if not self.harness.ports:
            await self.harness.serve(self.factory)
        host: Any = self.harness.ports[0].getHost()
        client = socket.create_connection((host.host, host.port))
        client.settimeout(10)
        self.harness.clients.append(client)
        return client

    def expect(self) -> "Deferred[Recorder]":
        """The next protocol that is built."""
        made: Deferred[Recorder] = Deferred()
        self.factory.waiting.append(made)
        return made


# More than the kernel takes of an answer at once, whatever it is set to.
MUCH = bytes(1 << 24)

_ANSWERS = {
    b"once": (b"done", True),
    b"more": (b"go on", False),
    b"much once": (MUCH, True),
    b"much more": (MUCH, False),
}


class First(Servers):
    """Does without a protocol where "once" comes in, and at first where "more" does."""

    quiet_seconds = 60.0
    silent_seconds = 0.05

    def __init__(self) -> None:
        super().__init__(Recorder)
        self.asked: list[tuple[bytes, Any]] = []
        self.quiet: set[socket.socket] = set()
        self.answered = 0

    def answer_first(self, data: bytes, peer: Any) -> tuple[bytes, bool] | None:
        self.asked.append((data, peer))
        if data == b"fault":
            raise ValueError(data)
        return _ANSWERS.get(data)

    def build_answered(self, address: Any) -> Recorder:
        self.answered += 1
        return self.buildProtocol(address)

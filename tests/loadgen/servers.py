"""Servers whose faults and delays are known."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory

from ipquery.net.endpoint import serve
from ipquery.net.sockets import Bind, listen, open_sockets

BODY = b'["here"]'


def answer(body: bytes = BODY, status: str = "200 OK", *fields: str) -> bytes:
    """An answer, as bytes."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


PLAIN = answer()


class Served(Protocol):
    """Takes requests without a body apart, and does with each what the factory says."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self._rest = b""

    def connectionMade(self) -> None:
        self.server.connections += 1

    def dataReceived(self, data: bytes) -> None:
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for _ in requests:
            self.server.requests += 1
            self.server.act(self, self.server.requests)

    def later(self, seconds: float, data: bytes = PLAIN) -> None:
        """Answer after a time."""
        later: Any = reactor
        later.callLater(seconds, self.write, data)

    def write(self, data: bytes = PLAIN) -> None:
        """Answer."""
        transport: Any = self.transport
        transport.write(data)

    def close(self) -> None:
        """Close."""
        transport: Any = self.transport
        transport.loseConnection()


Act = Callable[[Served, int], None]
"""What to do with a request, given its number, from 1."""


class Server(Factory):
    """Counts what comes in."""

    noisy = False

    def __init__(self, act: Act) -> None:
        self.act = act
        self.requests = self.connections = 0
        self.url = ""

    def buildProtocol(self, addr: object) -> Served:
        return Served(self)


@asynccontextmanager
async def serving(act: Act, tls: Any = None) -> AsyncIterator[Server]:
    """A server on a free port, for as long as the block runs.

    :param tls: Twisted's options, for HTTPS.
    """
    server = Server(act)
    (opened,) = opened_list = open_sockets([Bind("127.0.0.1")])
    listen(opened_list)
    scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
    server.url = f"{scheme}://{host}:{opened.getsockname()[1]}/"
    factory: Any = TLSMemoryBIOFactory(tls, False, server) if tls else server
    port: Any = await serve(reactor, opened, factory)
    try:
        yield server
    finally:
        await port.stopListening()

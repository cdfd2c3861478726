"""What TLS does beyond carrying a stream; that it does, test_transport.py has."""

import contextlib
import gc
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from ipquery.net.accept import Entrance
from ipquery.net.endpoint import make_endpoint
from ipquery.net.opening import Openings
from ipquery.net.tls_records import Records
from ipquery.net.tls_stream import TlsStream, TlsTransport
from tests.net.streams import (
    HalfCloseable,
    Harness,
    Recorder,
    Servers,
    TlsPort,
    entrance,
    open_descriptors,
    read_all,
    tls,
    until,
)
from tests.net.tls_client import TlsClient


class Port(TlsPort):
    """One whose factory builds a protocol for each connection."""

    def __init__(self) -> None:
        super().__init__(Servers(Recorder))

    def use(self, made: Entrance) -> None:
        self.harness = Harness(lambda listening: make_endpoint(reactor, listening, made))


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.harness.close()


def _closed(client: socket.socket) -> bool:
    try:
        return not read_all(client) or True
    except ConnectionResetError:
        return True


@pytest_twisted.ensureDeferred
async def test_the_transport_says_that_it_is_secure(port: Port) -> None:
    server, _ = await port.harness.connect()
    assert ISSLTransport.providedBy(server.transport)
    verifyObject(ISSLTransport, server.transport)
    assert server.transport.getPeerCertificate() is None


@pytest_twisted.ensureDeferred
async def test_closing_says_close_notify(port: Port) -> None:
    server, client = await port.harness.connect()
    server.transport.write(b"last")
    server.transport.loseConnection()
    assert await deferToThread(read_all, client) == b"last"
    assert client.heard_close
    await server.lost


@pytest_twisted.ensureDeferred
async def test_nobody_waits_for_a_client_that_never_says_close_notify(port: Port) -> None:
    before = open_descriptors()
    server, _ = await port.harness.connect()
    server.transport.loseConnection()
    await server.lost
    assert server.reason.check(ConnectionDone)
    # The listening socket, and the client's.
    await until(lambda: open_descriptors() <= before + 2)


@pytest_twisted.ensureDeferred
async def test_what_comes_after_our_last_answer_is_thrown_away(port: Port) -> None:
    server, client = await port.harness.connect(HalfCloseable)
    server.transport.write(b"answer")
    server.transport.loseWriteConnection()
    assert await deferToThread(read_all, client) == b"answer"
    assert client.heard_close
    await until(lambda: "write lost" in server.events)
    client.sendall(b"more")
    client.plain.sendall(b"not even TLS")
    client.shutdown(socket.SHUT_WR)
    await until(lambda: "read lost" in server.events)
    assert server.received == b""
    server.transport.loseConnection()
    await server.lost


@pytest_twisted.ensureDeferred
async def test_a_client_that_says_close_notify_is_still_answered(port: Port) -> None:
    server, client = await port.harness.connect(HalfCloseable)
    client.sendall(b"ask")
    client.say_close()
    await until(lambda: "read lost" in server.events)
    assert server.received == b"ask"
    server.transport.write(b"answer")
    server.transport.loseConnection()
    assert await deferToThread(client.plain.recv, 1000) != b""
    await server.lost


@pytest_twisted.ensureDeferred
async def test_ask_and_close_notify_in_one_read(port: Port) -> None:
    server, client = await port.harness.connect(HalfCloseable)
    client.tls.write(b"a")
    client.tls.write(b"sk")
    client.say_close()
    await until(lambda: "read lost" in server.events)
    assert server.received == b"ask"
    server.transport.loseConnection()
    await server.lost


@pytest_twisted.ensureDeferred
async def test_a_handshake_may_come_byte_by_byte(port: Port) -> None:
    made = port.expect()
    client = TlsClient(await port.plain_client(), tls()[1])

    def slowly() -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        for byte in client.begin():
            client.plain.sendall(bytes([byte]))
        client.shake_hands()

    await deferToThread(slowly)
    server = await made
    client.sendall(b"x")
    await until(lambda: server.received == b"x")


@pytest_twisted.ensureDeferred
async def test_a_request_may_come_with_the_end_of_the_handshake(port: Port) -> None:
    made = port.expect()
    client = TlsClient(await port.plain_client(), tls()[1])

    def at_once() -> None:
        client.plain.sendall(client.begin())
        while True:
            client._fill()
            try:
                client.tls.do_handshake()
            except ssl.SSLWantReadError:
                continue
            break
        client.sendall(b"request")

    await deferToThread(at_once)
    server = await made
    await until(lambda: server.received == b"request")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "the TLS handshake failed: http request"),
        (b"\x00\x01\x02\x03" * 100, "the TLS handshake failed: "),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "the TLS handshake failed: "),
        (b"\x16\x03\x01\xff\xff" + bytes(100), "the TLS handshake failed: "),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_tls_is_closed_and_said_once(port: Port, data: bytes, says: str) -> None:
    with capturedLogs() as logs:
        for _ in range(3):
            client = await port.plain_client()
            client.sendall(data)
            assert await deferToThread(_closed, client)
    (said,) = [formatEvent(event) for event in logs]
    assert says in said
    assert "127.0.0.1" in said


@pytest_twisted.ensureDeferred
async def test_garbage_in_the_midst_of_a_stream_closes_it(port: Port) -> None:
    with capturedLogs() as logs:
        server, client = await port.harness.connect()
        client.sendall(b"x")
        client.plain.sendall(bytes(1000))
        await server.lost
    assert server.received == b"x"
    assert [formatEvent(event) for event in logs] == []


@pytest_twisted.ensureDeferred
async def test_handshakes_are_bounded_in_time(port: Port) -> None:
    running: Any = reactor
    openings = Openings(running, 1000, 0.2)
    port.use(Entrance(openings, tls=tls()[0]))
    silent, slow = await port.plain_client(), await port.plain_client()
    slow.sendall(TlsClient(slow, tls()[1]).begin()[:50])
    assert await deferToThread(_closed, silent)
    assert await deferToThread(_closed, slow)
    await until(lambda: len(openings) == 0)


@pytest_twisted.ensureDeferred
async def test_handshakes_are_bounded_in_number(port: Port) -> None:
    running: Any = reactor
    openings = Openings(running, 10, 60)
    port.use(Entrance(openings, tls=tls()[0]))
    before = open_descriptors()
    silent = [await port.plain_client() for _ in range(100)]
    await until(lambda: len(openings) == 10)
    await until(lambda: open_descriptors() <= before + 1 + 100 + 10)
    made = port.expect()
    client = TlsClient(await port.plain_client(), tls()[1])
    await deferToThread(client.shake_hands)
    client.sendall(b"served")
    server = await made
    await until(lambda: server.received == b"served")
    for one in silent:
        one.close()
    await until(lambda: len(openings) == 0)


@pytest_twisted.ensureDeferred
async def test_a_new_context_is_for_new_connections(port: Port) -> None:
    contexts, client_context = tls()
    mine = type(contexts)(contexts.settings, None)
    port.use(entrance(tls=mine))
    made = port.expect()
    first = TlsClient(await port.plain_client(), client_context)
    await deferToThread(first.shake_hands)
    server = await made
    mine.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # which has no certificate
    client = await port.plain_client()
    with pytest.raises(ssl.SSLError):
        await deferToThread(TlsClient(client, client_context).shake_hands)
    first.sendall(b"goes on")
    await until(lambda: server.received == b"goes on")


@pytest_twisted.ensureDeferred
async def test_connections_leave_nothing_for_the_garbage_collector(port: Port) -> None:
    async def use() -> None:
        server, client = await port.harness.connect(HalfCloseable)
        client.sendall(b"ask")
        await until(lambda: server.received == b"ask")
        server.transport.write(b"answer")
        server.transport.loseWriteConnection()
        await deferToThread(read_all, client)
        client.close()
        await until(lambda: "read lost" in server.events)
        server.transport.loseConnection()
        await server.lost

    gc.collect()
    gc.disable()
    # What another test had logged, with its traceback, may be kept by the log.
    before = _left()
    try:
        for _ in range(5):
            await use()
        refused = await port.plain_client()
        refused.sendall(b"no TLS")
        await deferToThread(_closed, refused)
        await until(lambda: _left() <= before)
    finally:
        gc.enable()


def _left() -> set[int]:
    kinds = (TlsStream, TlsTransport, ssl.SSLObject)
    # Clients have an SSLObject, too, but theirs is in a TlsClient that is gone.
    return {id(one) for one in gc.get_objects() if isinstance(one, kinds)}


class Above:
    """A transport that counts what it is given."""

    def __init__(self) -> None:
        self.received = 0

    def connection_made(self, stream: TlsStream) -> None:
        stream.set_protocol(self)  # type: ignore[arg-type] # as far as it goes

    def data_received(self, data: bytes) -> None:
        self.received += len(data)


class Below:
    """The loop's stream, in memory."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def _that_was_given(size: int) -> TlsStream:
    """An open stream that so many bytes have come in on, in one read."""
    above: Any = Above()
    below: Any = Below()
    stream = TlsStream(Records(tls()[0].context), above, Openings(Clock(), 1000, 60))
    stream.connection_made(below)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls()[1].wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    stream.data_received(outgoing.read())
    incoming.write(below.written)
    client.do_handshake()
    stream.data_received(outgoing.read())
    rest = memoryview(bytes(size))
    while rest := rest[client.write(rest) :]:
        pass
    stream.data_received(outgoing.read())
    assert above.received == size
    return stream


def _resident_bytes() -> int:
    match = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) << 10


def test_a_stream_keeps_little_of_what_it_once_held() -> None:
    """OpenSSL's buffers never shrink: with 240 KB put in at once, each kept 250 KB."""
    before = _resident_bytes()
    streams = [_that_was_given(240_000) for _ in range(300)]
    assert _resident_bytes() - before < 120_000 * len(streams)

"""Ports behind load balancers: a PROXY header first, whatever comes next."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent

from ipquery.net.accept import Entrance
from ipquery.net.endpoint import make_endpoint
from ipquery.net.opening import Openings
from ipquery.net.peers import parse_peers
from ipquery.net.proxy_stream import ProxyStream
from ipquery.net.sockets import Bind
from tests.net.proxy_headers import BAD, GOOD
from tests.net.streams import (
    LOOPBACK,
    First,
    Harness,
    Recorder,
    entrance,
    read_all,
    tls,
    until,
)
from tests.net.tls_client import TlsClient

LINE = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n"
CLIENT = IPv4Address("TCP", "192.0.2.7", 4711)
FROM_HERE = parse_peers(["127.0.0.0/8", "::1"])


class Port:
    def __init__(self) -> None:
        self.factory = First()
        self.use(entrance(balancers=FROM_HERE))

    def use(self, made: Entrance, bind: Bind = LOOPBACK) -> None:
        self.harness = Harness(lambda listening: make_endpoint(reactor, listening, made))
        self.bind = bind

    async def client(self, *pieces: bytes) -> socket.socket:
        if not self.harness.ports:
            await self.harness.serve(self.factory, self.bind)
        host: Any = self.harness.ports[0].getHost()
        if self.bind.path is not None:
            client = socket.socket(socket.AF_UNIX)
            client.connect(self.bind.path)
        else:
            client = socket.create_connection((host.host, host.port))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        client.settimeout(10)
        self.harness.clients.append(client)
        for piece in pieces:
            client.sendall(piece)
        return client

    def expect(self) -> "Deferred[Recorder]":
        made: Deferred[Recorder] = Deferred()
        self.factory.waiting.append(made)
        return made


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.harness.close()


def _closed(client: socket.socket) -> bytes:
    try:
        return read_all(client)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("name", GOOD)
@pytest_twisted.ensureDeferred
async def test_the_client_is_who_the_header_says(port: Port, name: str) -> None:
    header, source = GOOD[name]
    made = port.expect()
    client = await port.client(header + b"request")
    server = await made
    assert server.received == b"request"
    assert server.transport
    found: Any = server.transport.getPeer()
    if source is None:
        assert (found.host, found.port) == client.getsockname()
    elif len(source) == 2:
        assert found == IPv4Address("TCP", *source)
    else:
        assert found == IPv6Address("TCP", *source)
    assert port.factory.asked[-1] == (b"request", source or client.getsockname())


@pytest_twisted.ensureDeferred
async def test_a_request_behind_the_header_is_answered_without_a_protocol(port: Port) -> None:
    client = await port.client(LINE + b"once")
    assert await deferToThread(read_all, client) == b"done"
    assert port.factory.asked == [(b"once", ("192.0.2.7", 4711))]
    assert port.factory.addresses == []


@pytest.mark.parametrize("pause", [False, True])
@pytest.mark.parametrize("name", ["1, TCP4", "2, TCP4", "2, checksum"])
@pytest_twisted.ensureDeferred
async def test_a_header_may_come_byte_by_byte(port: Port, name: str, pause: bool) -> None:
    header, source = GOOD[name]
    assert source is not None
    made = port.expect()
    client = await port.client()

    def send() -> None:
        for byte in header + b"request":
            client.sendall(bytes([byte]))

    await deferToThread(send) if pause else send()
    server = await made
    await until(lambda: server.received == b"request")
    assert port.factory.addresses == [IPv4Address("TCP", source[0], source[1])]


class Stream:
    """A stream of the loop's, as far as a header goes."""

    def __init__(self) -> None:
        self.is_closed = False
        self.protocol: Any = None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def close(self) -> None:
        self.is_closed = True


class Following:
    """What reads on."""

    def __init__(self, peer: Any, first: bytes) -> None:
        self.peer, self.got = peer, first

    def connection_made(self, stream: Any) -> None:
        self.stream = stream

    def data_received(self, data: bytes) -> None:
        self.got += data


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False) if begin < end]


@given(
    name=st.sampled_from(sorted(GOOD)),
    rest=st.binary(max_size=50),
    cuts=st.lists(st.integers(0, 500)),
)
def test_any_pieces_come_to_the_same(name: str, rest: bytes, cuts: list[int]) -> None:
    header, source = GOOD[name]
    running: Any = reactor
    openings = Openings(running, 10, 60)
    built: list[Any] = []

    def build(peer: Any, first: bytes) -> Any:
        built.append(Following(peer, first))
        return built[-1]

    stream: Any = Stream()
    stream.protocol = reading = ProxyStream(build, "balancer", openings, b"")
    reading.connection_made(stream)
    assert len(openings) == 1
    for piece in _pieces(header + rest, cuts):
        stream.protocol.data_received(piece)
    (following,) = built
    assert (following.peer, following.got) == (source or "balancer", rest)
    assert following.stream is stream
    assert len(openings) == 0
    assert not stream.is_closed


@given(name=st.sampled_from(sorted(BAD)), cuts=st.lists(st.integers(0, 500)))
def test_bad_ones_are_closed_whatever_the_pieces(name: str, cuts: list[int]) -> None:
    running: Any = reactor
    openings = Openings(running, 10, 60)
    stream: Any = Stream()
    reading = ProxyStream(lambda *_: pytest.fail("built"), "balancer", openings, b"")
    reading.connection_made(stream)
    for piece in _pieces(BAD[name], cuts):
        reading.data_received(piece)
    assert stream.is_closed
    reading.connection_lost(None)
    assert len(openings) == 0


@pytest.mark.parametrize("piecewise", [False, True])
@pytest.mark.parametrize("name", ["HTTP", "TLS", "1, port too large", "2, checksum wrong"])
@pytest_twisted.ensureDeferred
async def test_bad_ones_are_closed_with_nothing_sent_and_said_once(
    port: Port, name: str, piecewise: bool
) -> None:
    data = BAD[name]
    with capturedLogs() as logs:
        for _ in range(3):
            client = await port.client(*([] if piecewise else [data]))

            def send(client: socket.socket = client) -> None:
                try:
                    for byte in data:
                        client.sendall(bytes([byte]))
                except OSError:
                    return  # closed already

            if piecewise:
                await deferToThread(send)
            assert await deferToThread(_closed, client) == b""
    assert len([formatEvent(event) for event in logs]) == 1
    assert port.factory.addresses == []


@pytest_twisted.ensureDeferred
async def test_a_header_that_does_not_come_in_time_closes_the_connection(port: Port) -> None:
    running: Any = reactor
    openings = Openings(running, 1000, 0.2)
    port.use(Entrance(openings, FROM_HERE))
    for begun in (b"", LINE[:10]):
        client = await port.client(begun)
        assert await deferToThread(_closed, client) == b""
    assert len(openings) == 0


@pytest_twisted.ensureDeferred
async def test_balancers_that_leave_before_the_end_leave_nothing(port: Port) -> None:
    running: Any = reactor
    openings = Openings(running, 1000, 60)
    port.use(Entrance(openings, FROM_HERE))
    with capturedLogs() as logs:
        for _ in range(20):
            (await port.client(LINE[:10])).close()
        await until(lambda: len(openings) == 0)
    assert [formatEvent(event) for event in logs] == []


@pytest_twisted.ensureDeferred
async def test_from_others_a_header_is_not_taken(port: Port) -> None:
    port.use(entrance(balancers=parse_peers(["10.0.0.0/8", "unix"])))
    made = port.expect()
    client = await port.client(LINE + b"request")
    server = await made
    assert server.received == LINE + b"request"
    assert server.transport
    assert server.transport.getPeer() == IPv4Address("TCP", *client.getsockname())


@pytest_twisted.ensureDeferred
async def test_callers_on_unix_sockets_may_be_balancers(port: Port, tmp_path: Any) -> None:
    port.use(entrance(balancers=parse_peers(["unix"])), Bind(path=str(tmp_path / "s")))
    made = port.expect()
    await port.client(LINE + b"request")
    await made
    assert port.factory.addresses == [CLIENT]


@pytest.mark.parametrize("split", [0, 10, len(LINE), len(LINE) + 10])
@pytest_twisted.ensureDeferred
async def test_the_header_comes_before_the_tls_handshake(port: Port, split: int) -> None:
    port.use(entrance(balancers=FROM_HERE, tls=tls()[0]))
    made = port.expect()
    client = await port.client()
    secured = TlsClient(client, tls()[1])

    def begin() -> None:
        sent = LINE + secured.begin()
        client.sendall(sent[:split])
        client.sendall(sent[split:])
        secured.shake_hands()
        secured.sendall(b"request")

    await deferToThread(begin)
    server = await made
    await until(lambda: server.received == b"request")
    assert port.factory.addresses == [CLIENT]
    # Where the whole header was there at once, the first request was, too, tried without a stream.
    assert {peer for _, peer in port.factory.asked} <= {(CLIENT.host, CLIENT.port)}


@pytest_twisted.ensureDeferred
async def test_without_the_header_there_is_no_tls_handshake(port: Port) -> None:
    port.use(entrance(balancers=FROM_HERE, tls=tls()[0]))
    client = await port.client(TlsClient(socket.socket(), tls()[1]).begin())
    assert await deferToThread(_closed, client) == b""

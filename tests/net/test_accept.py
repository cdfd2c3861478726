"""Listening sockets whose connections the loop owns, and connections that are used once."""

import contextlib
import os
import resource
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent

from ipquery.net.accept import LoopEndpoint
from ipquery.net.endpoint import make_endpoint
from ipquery.net.sockets import Bind, open_sockets
from tests.net.streams import (
    ENDPOINTS,
    MUCH,
    First,
    HalfCloseable,
    Harness,
    Recorder,
    Servers,
    open_descriptors,
    read_all,
    soon,
    tls,
    until,
)
from tests.net.tls_client import TlsClient


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
async def test_a_factory_may_refuse_a_connection(plain_harness: Harness) -> None:
    class Refusing(Factory):
        def buildProtocol(self, addr: Any) -> None:
            return None

    port: Any = await plain_harness.serve(Refusing())
    client = socket.create_connection((port.getHost().host, port.getHost().port))
    plain_harness.clients.append(client)
    client.settimeout(10)
    with contextlib.suppress(ConnectionResetError):
        assert await deferToThread(client.recv, 100) == b""


# Connections that are used once


class OneShot:
    """Such a factory on the loop's own endpoint, bare or over TLS.

    What bare clients send is there before it accepts.
    """

    def __init__(self, is_secure: bool) -> None:
        self.harness = Harness(ENDPOINTS["tls" if is_secure else "loop"], is_secure)
        self.is_secure = is_secure
        self.factory = First()

    async def client(self, data: bytes) -> Any:
        if not self.harness.ports:
            await self.harness.serve(self.factory)
        host: Any = self.harness.ports[0].getHost()
        plain = socket.create_connection((host.host, host.port))
        plain.settimeout(10)
        self.harness.clients.append(plain)
        client: Any = plain
        if self.is_secure:
            client = TlsClient(plain, tls()[1])
            await deferToThread(client.shake_hands)
        if data:
            client.sendall(data)
        return client


@pytest.fixture(params=[False, True], ids=["bare", "tls"])
def one_shot(request: pytest.FixtureRequest) -> Iterator[OneShot]:
    made = OneShot(request.param)
    yield made
    made.harness.close()


@pytest_twisted.ensureDeferred
async def test_what_is_used_once_is_answered_and_closed_without_a_protocol(
    one_shot: OneShot,
) -> None:
    open_before = open_descriptors()
    clients = [await one_shot.client(b"once") for _ in range(20)]
    for client in clients:
        assert await deferToThread(read_all, client) == b"done"
        client.close()
    assert one_shot.factory.addresses == []
    assert open_descriptors() <= open_before + 1, "and the listening socket"


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
    assert [data for data, _ in one_shot.factory.asked] == [b"twice"]


@pytest_twisted.ensureDeferred
async def test_who_is_answered_once_and_closes_never_gets_a_protocol(one_shot: OneShot) -> None:
    open_before = open_descriptors()
    for _ in range(20):
        client = await one_shot.client(b"more")
        assert await deferToThread(client.recv, 100) == b"go on"
        client.close()
    await until(lambda: not one_shot.factory.quiet)
    assert one_shot.factory.addresses == []
    assert open_descriptors() <= open_before + 1, "and the listening socket"


@pytest_twisted.ensureDeferred
async def test_whose_first_words_come_late_needs_no_protocol_either(one_shot: OneShot) -> None:
    one_shot.factory.silent_seconds = 60.0
    clients = [await one_shot.client(b"") for _ in range(3)]
    await until(lambda: one_shot.is_secure or len(one_shot.factory.quiet) == 3)
    clients[0].sendall(b"once")
    assert await deferToThread(read_all, clients[0]) == b"done"
    clients[1].sendall(b"more")
    assert await deferToThread(clients[1].recv, 100) == b"go on"
    for client in clients:
        client.close()
    await until(lambda: not one_shot.factory.quiet)
    assert one_shot.factory.addresses == []


@pytest.mark.parametrize("one_shot", [False], indirect=True)
@pytest_twisted.ensureDeferred
async def test_who_is_silent_when_it_stops_gets_one_that_can_still_be_asked(
    one_shot: OneShot,
) -> None:
    one_shot.factory.silent_seconds = 60.0
    made: Deferred[Recorder] = Deferred()
    one_shot.factory.waiting.append(made)
    client = await one_shot.client(b"")
    await until(lambda: len(one_shot.factory.quiet) == 1)
    await maybeDeferred(one_shot.harness.ports.pop().stopListening)
    server: Any = await made
    assert (server.received, one_shot.factory.quiet) == (b"", set())
    client.sendall(b"once")
    await until(lambda: server.received == b"once")


@pytest_twisted.ensureDeferred
async def test_who_says_more_gets_one(one_shot: OneShot) -> None:
    made: Deferred[Recorder] = Deferred()
    one_shot.factory.waiting.append(made)
    client = await one_shot.client(b"more")
    assert await deferToThread(client.recv, 100) == b"go on"
    assert len(one_shot.factory.quiet) == 1
    client.sendall(b"a word")
    server = await made
    await until(lambda: server.received == b"a word")
    assert (one_shot.factory.answered, one_shot.factory.quiet) == (1, set())


@pytest.mark.parametrize("kind", [Recorder, HalfCloseable])
@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_not_taken_at_once_is_sent_to_its_end(
    one_shot: OneShot, kind: type[Recorder]
) -> None:
    class Closing(kind):  # type: ignore[valid-type,misc] # as the parameter says
        def readConnectionLost(self) -> None:
            self.transport.loseConnection()

    one_shot.factory.kind = Closing
    made: Deferred[Recorder] = Deferred()
    one_shot.factory.waiting.append(made)
    client = await one_shot.client(b"much once")
    assert await deferToThread(read_all, client) == MUCH
    assert one_shot.factory.answered == 1
    await (await made).lost


@pytest_twisted.ensureDeferred
async def test_a_connection_is_kept_behind_an_answer_that_is_not_taken_at_once(
    one_shot: OneShot,
) -> None:
    made: Deferred[Recorder] = Deferred()
    one_shot.factory.waiting.append(made)
    client = await one_shot.client(b"much more")
    server: Any = await made
    assert await deferToThread(_read, client, len(MUCH)) == MUCH
    client.sendall(b"a word")
    server.on_data = lambda data: server.transport.write(b"seen")
    assert await deferToThread(client.recv, 100) == b"seen"
    assert server.received == b"a word"
    assert (one_shot.factory.answered, one_shot.factory.quiet) == (1, set())


@pytest_twisted.ensureDeferred
async def test_who_does_not_read_such_an_answer_is_not_read_either(one_shot: OneShot) -> None:
    class Producing(Recorder):
        def connectionMade(self) -> None:
            super().connectionMade()
            transport: Any = self.transport
            transport.registerProducer(self, True)

        def pauseProducing(self) -> None:
            self.events.append("paused")

        def resumeProducing(self) -> None:
            self.events.append("resumed")

        def stopProducing(self) -> None:
            pass

    one_shot.factory.kind = Producing
    made: Deferred[Recorder] = Deferred()
    one_shot.factory.waiting.append(made)
    client = await one_shot.client(b"much once")
    server = await made
    await until(lambda: server.events == ["made", "paused"])
    assert await deferToThread(read_all, client) == MUCH
    await server.lost
    assert server.events[:3] == ["made", "paused", "resumed"]


@pytest_twisted.ensureDeferred
async def test_who_says_nothing_for_too_long_is_closed(one_shot: OneShot) -> None:
    one_shot.factory.quiet_seconds = 0.05
    clients = [await one_shot.client(b"more") for _ in range(3)]
    for client in clients:
        assert await deferToThread(read_all, client) == b"go on"
    assert one_shot.factory.addresses == []


@pytest_twisted.ensureDeferred
async def test_who_is_quiet_when_it_stops_gets_one_to_be_drained(one_shot: OneShot) -> None:
    made: Deferred[Recorder] = Deferred()
    one_shot.factory.waiting.append(made)
    client = await one_shot.client(b"more")
    assert await deferToThread(client.recv, 100) == b"go on"
    await maybeDeferred(one_shot.harness.ports.pop().stopListening)
    server: Any = await made
    assert (server.received, one_shot.factory.quiet) == (b"", set())
    server.transport.write(b"bye")
    server.transport.loseConnection()
    assert await deferToThread(read_all, client) == b"bye"


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
        await soon(0.005)
    # What had come in before the pause could take hold, and no more.
    assert len(server.received) <= len(b"twice") + 2
    server.transport.resumeProducing()
    await until(lambda: server.received == received)


@pytest_twisted.ensureDeferred
async def test_a_fault_closes_that_connection_only(one_shot: OneShot) -> None:
    with capturedLogs() as logs:
        client = await one_shot.client(b"fault")
        assert await deferToThread(read_all, client) == b""
    assert [event["log_format"] for event in logs if "log_failure" in event] == [
        "a fault in a new connection; closing it"
    ]
    assert await deferToThread(read_all, await one_shot.client(b"once")) == b"done"


@pytest_twisted.ensureDeferred
async def test_who_closes_or_resets_without_a_word_costs_nothing(one_shot: OneShot) -> None:
    await one_shot.client(b"")
    (await one_shot.client(b"")).close()
    reset = await one_shot.client(b"once")
    reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reset.close()
    if not one_shot.is_secure:
        # The first has sent nothing yet: it gets a protocol, as one that may still ask.
        made: Deferred[Recorder] = Deferred()
        one_shot.factory.waiting.append(made)
        assert (await made).received == b""
    assert await deferToThread(read_all, await one_shot.client(b"once")) == b"done"


def _read(client: Any, count: int) -> bytes:
    got = b""
    while len(got) < count and (more := client.recv(count - len(got))):
        got += more
    return got


def test_the_loop_endpoint_is_the_one_that_is_used() -> None:
    (opened,) = open_sockets([Bind("127.0.0.1")])
    assert isinstance(make_endpoint(reactor, opened), LoopEndpoint)
    opened.close()


# A turn may find less than it could take: the kernel, on a busy machine, has not yet put
# all of them into the queue. One in each turn would take 200 turns, and four 50.
@pytest.mark.parametrize(("busy", "most_turns"), [(0, 100), (0.05, 12)])
@pytest_twisted.ensureDeferred
async def test_a_burst_of_callers_is_let_in_by_several(
    plain_harness: Harness, busy: float, most_turns: int
) -> None:
    """A few in each turn of a quiet loop, many in one that others keep busy.

    One by one, callers would wait for a turn of all busy connections each; all at once,
    they would hold up those who are connected.
    """
    factory = Servers(Recorder)
    port: Any = await plain_harness.serve(factory)
    made: list[Deferred[Recorder]] = [Deferred() for _ in range(200)]
    factory.waiting.extend(made)
    for _ in made:
        host = port.getHost()
        plain_harness.clients.append(socket.create_connection((host.host, host.port)))
    turns = 0
    while len(factory.addresses) < 200:
        turns += 1
        assert turns <= most_turns
        time.sleep(busy)
        await soon(0)
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
    before = open_descriptors()
    with capturedLogs() as logged:
        for _ in range(300):
            _reset((host.host, host.port))
        # The last in the queue comes in when all others have.
        with socket.create_connection((host.host, host.port)) as last:
            last.sendall(b"last")
            await until(lambda: any(one.received == b"last" for one in built))
        if kind is HalfCloseable:
            transport: Any = built[-1].transport
            transport.loseConnection()
        await until(lambda: open_descriptors() == before)
    assert [formatEvent(event) for event in logged] == []
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
            await soon(0.1)
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

"""Remote sources by raw bytes: what they may cost, over real sockets."""

import itertools
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.web.client import URI, Agent, HTTPConnectionPool, readBody
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ipquery.serve.lookup.connections import HEAD_BYTES, HEAD_LINES, Connections
from ipquery.serve.lookup.remote import RemoteError, RemoteSource, make_remote_source
from ipquery.serve.lookup.upstreams import FallbackSettings
from tests.certificates import self_signed
from tests.serve.http.connection import KNOWN

Script = Callable[[socket.socket], None]

BODY = b"Content-Length: %d\r\n\r\n%b" % (len(KNOWN), KNOWN)


class RawServer:
    """Lets a script have its way with each connection, once a request has come."""

    def __init__(self, script: Script, certificate: tuple[Path, Path] | None = None) -> None:
        self.script = script
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        self._listening = socket.create_server(("127.0.0.1", 0))
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://localhost:{self._listening.getsockname()[1]}/{{ip}}"
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                # A reset must not be taken for the end of what is read.
                connection = self._tls.wrap_socket(connection, server_side=True)
            self.connections.append(connection)
            while connection.recv(65536):
                self.script(connection)
        except OSError:
            pass

    def are_closed(self) -> bool:
        """Wait until the other side has closed every connection, goodbye or not."""
        return all(_is_closed(connection, 3) for connection in self.connections)

    def stop(self) -> None:
        self._listening.close()
        for connection in self.connections:
            connection.close()


def _is_closed(connection: socket.socket, seconds: float) -> bool:
    if connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(seconds * 1000))


Serve = Callable[..., RawServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[RawServer] = []

    def start(script: Script, certificate: tuple[Path, Path] | None = None) -> RawServer:
        started.append(RawServer(script, certificate))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return self_signed(tmp_path, "localhost")


def _source(server: RawServer, certificate: Any = None, **more: Any) -> RemoteSource:
    ca_file = certificate[0] if certificate else None
    settings = FallbackSettings(server.url, ca_file=ca_file, **({"deadline_ms": 3000} | more))
    return make_remote_source(reactor, settings)


async def _reason(source: RemoteSource) -> str:
    """Why it gives no answer."""
    with pytest.raises(RemoteError) as caught:
        await source.ask("9.9.9.9")
    return str(caught.value)


def _says(*parts: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return script


def _says_for_ever(begin: bytes, again: bytes) -> Script:
    """Until nobody reads it any more; at most 50 MB."""

    def script(connection: socket.socket) -> None:
        connection.sendall(begin)
        for _ in range(50_000_000 // len(again)):
            connection.sendall(again)

    return script


OK = b"HTTP/1.1 200 OK\r\n"
LINES = f"more than {HEAD_LINES} lines"
BYTES = f"longer than {HEAD_BYTES} bytes"

ENDLESS_HEADS = {
    "short fields": (OK, b"a:\r\n" * 1000, LINES),
    "long fields": (OK, b"a: " + b"x" * 8000 + b"\r\n", BYTES),
    "one field in many lines": (OK + b"a: b\r\n", b" c\r\n" * 1000, LINES),
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, LINES),
    "large interim responses": (
        b"",
        b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 8000 + b"\r\n\r\n",
        BYTES,
    ),
    "one line": (OK, b"x" * 8000, ""),
    "a status line": (b"HTTP/1.1 200 ", b"x" * 8000, ""),
}


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("what", ENDLESS_HEADS)
@pytest_twisted.ensureDeferred
async def test_a_head_without_end_is_cut_off(
    serve: Serve, certificate: tuple[Path, Path], what: str, tls: bool
) -> None:
    begin, again, complaint = ENDLESS_HEADS[what]
    files = certificate if tls else None
    server = serve(_says_for_ever(begin, again), files)
    begun = time.monotonic()
    reason = await _reason(_source(server, files))
    assert complaint in reason
    assert "ms" not in reason
    assert time.monotonic() - begun < 2
    assert await deferToThread(server.are_closed)


@pytest.mark.parametrize(
    "head",
    [
        b"a:b\r\n" * (HEAD_LINES - 3),
        b"".join(b"a: %b\r\n" % (b"x" * 4000) for _ in range(8)),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_head_within_the_bounds_is_read_whatever_comes_after(
    serve: Serve, head: bytes
) -> None:
    start, head = (head + OK, b"") if head.startswith(b"HTTP") else (OK, head)
    # In one piece; what follows the head is counted by its own limit alone.
    body = KNOWN + b"\n" * 60_000
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    server = serve(_says(start + head + length + body))
    source = make_remote_source(
        reactor, FallbackSettings(server.url, fields=(("org", "0"),), deadline_ms=3000)
    )
    for _ in range(3):
        assert await source.ask("9.9.9.9") is not None
    # Each on the same connection, with a head of its own.
    assert len(server.connections) == 1
    await source.stop()


# Goodbyes that aren't waited for


def _silent(connection: socket.socket) -> None:
    """Neither reads nor closes any more, so that a goodbye stays without an answer."""
    time.sleep(20)  # longer than any test


def _says_and_is_silent(*parts: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        _says(*parts)(connection)
        _silent(connection)

    return script


CUT_OFF = {
    "no head": ((), "no answer within 300 ms"),
    "half a head": ((OK,), "no answer within 300 ms"),
    "half a body": ((OK, b"Content-Length: 100\r\n\r\n["), "no answer within 300 ms"),
    "half a chunk": ((OK, b"Transfer-Encoding: chunked\r\n\r\n9\r\n["), "no answer within 300 ms"),
    "too long": ((OK, b"\r\n" + b" " * 5000), "the response is longer than 4000 bytes"),
    "no HTTP": ((b"hello\r\n",), "wrong number of parts"),
    "no encoding": ((OK, b"Transfer-Encoding: rot13\r\n\r\n"), "rot13"),
}


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("what", CUT_OFF)
@pytest_twisted.ensureDeferred
async def test_what_is_cut_off_is_closed_at_once(
    serve: Serve, certificate: tuple[Path, Path], what: str, tls: bool
) -> None:
    parts, complaint = CUT_OFF[what]
    files = certificate if tls else None
    server = serve(_says_and_is_silent(*parts), files)
    deadline = 300 if "ms" in complaint else 3000
    source = _source(server, files, deadline_ms=deadline, response_bytes=4000)
    assert complaint in await _reason(source)
    assert len(server.connections) == 1
    assert await deferToThread(server.are_closed)


@pytest.mark.parametrize("tls", [False, True])
@pytest_twisted.ensureDeferred
async def test_stopping_waits_for_no_goodbye(
    serve: Serve, certificate: tuple[Path, Path], tls: bool
) -> None:
    files = certificate if tls else None
    server = serve(_says_and_is_silent(OK, BODY), files)
    source = _source(server, files)
    assert await source.ask("9.9.9.9") == KNOWN
    stopping: Deferred[Any] = source.stop()
    await stopping.addTimeout(3, reactor)
    assert await deferToThread(server.are_closed)


@pytest_twisted.ensureDeferred
async def test_one_that_talks_unasked_is_closed(serve: Serve, certificate: Any) -> None:
    is_answered = threading.Event()

    def script(connection: socket.socket) -> None:
        _says(OK, BODY)(connection)
        is_answered.wait(20)
        _says_and_is_silent(b"and another thing")(connection)

    server = serve(script, certificate)
    source = _source(server, certificate)
    assert await source.ask("9.9.9.9") == KNOWN
    is_answered.set()
    assert await deferToThread(server.are_closed)
    await source.stop()


@pytest.mark.parametrize("tls", [False, True])
@pytest_twisted.ensureDeferred
async def test_connections_are_kept_as_ever(
    serve: Serve, certificate: tuple[Path, Path], tls: bool
) -> None:
    files = certificate if tls else None
    server = serve(_says(OK, BODY), files)
    source = _source(server, files)
    for _ in range(5):
        assert await source.ask("9.9.9.9") == KNOWN
    assert len(server.connections) == 1
    await source.stop()


# What they say is no command to a terminal


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://\x1b]0;owned\x07.example/\x1b[2J\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\x1b[2J/\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /a b\x1b[2J\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /\xe4\xbd\xa0\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xe2\x84\x80\x9b2J/\r\n",
        b"HTTP/1.1 302 Found\r\n",
        b"HTTP/1.1 \x1b[2J \x1b[2J\r\n",
        b"\x1b[2J\r\n",
        b"HTTP/\x1b[2J 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \x1b[2J\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \x1b[2J\r\n",
        b"HTTP/1.1 200 OK\r\n\x1b[2J\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://" + b"x" * 10_000 + b"/\r\n",
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_reaches_the_log_is_printable_and_short(serve: Serve, head: bytes) -> None:
    length = b"" if b"-Length" in head or b"-Encoding" in head else b"Content-Length: 0\r\n"
    server = serve(_says(head + length + b"Connection: close\r\n\r\n"))
    source = _source(server, deadline_ms=5000)
    with capturedLogs() as logged:
        for _ in range(5):
            await _reason(source)
    texts = [formatEvent(event) for event in logged if "left alone" in formatEvent(event)]
    (text,) = texts
    assert "no answer within" not in text
    assert text.isprintable()
    assert len(text) < 400
    assert not [event for event in logged if "log_failure" in event]
    await source.stop()


# Whatever the pieces


class Wire(StringTransport):
    """The transport of a client in memory."""

    def abortConnection(self) -> None:
        """Close it."""
        self.loseConnection()


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class Memory:
    """Connects to nobody: a test is the server."""

    def __init__(self) -> None:
        self.client: IProtocol | None = None

    def endpointForURI(self, uri: URI) -> "Memory":
        """Whatever is asked."""
        return self

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """At once."""
        self.client = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 80))
        assert self.client is not None
        self.client.makeConnection(Wire())
        return succeed(self.client)


def _received(pieces: list[bytes], pool: type[HTTPConnectionPool]) -> object:
    """Status and body of a response that arrives in these pieces."""
    clock, memory = Clock(), Memory()
    out: list[Any] = []
    agent = Agent.usingEndpointFactory(clock, memory, pool(clock))
    asking: Deferred[Any] = agent.request(b"GET", b"http://a/")
    asking.addCallback(
        lambda response: readBody(response).addCallback(lambda body: (response.code, body))
    )
    asking.addBoth(out.append)
    client: Any = memory.client
    for piece in pieces:
        client.dataReceived(piece)
    return out


@given(
    fields=st.lists(st.binary(max_size=30).filter(lambda text: b"\n" not in text), max_size=20),
    body=st.binary(max_size=300) | st.just(b"\n" * 500),
    interim=st.integers(0, 3),
    chunked=st.booleans(),
    cuts=st.lists(st.integers(0, 1500), max_size=10),
)
def test_the_bounds_change_nothing_within_them(
    fields: list[bytes], body: bytes, interim: int, chunked: bool, cuts: list[int]
) -> None:
    head = b"".join(b"x: %b\r\n" % text for text in fields)
    if chunked:
        sent = b"Transfer-Encoding: chunked\r\n\r\n" + (b"%x\r\n%b\r\n" % (len(body), body)) * (
            len(body) > 0
        )
        sent += b"0\r\n\r\n"
    else:
        sent = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    whole = b"HTTP/1.1 100 Continue\r\n\r\n" * interim + OK + head + sent
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[begin:end] for begin, end in itertools.pairwise(places)]
    plain, bounded = _received(pieces, HTTPConnectionPool), _received(pieces, Connections)
    assert bounded == plain == [(200, body)]

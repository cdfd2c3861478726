"""A connection in memory: the real channel, site and routes, on a clock."""

import json
import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from zope.interface import implementer

from ipquery.serve.api.admin import some
from ipquery.serve.api.app import Api, Readiness, refusal_of, route_of
from ipquery.serve.api.batch import Batches
from ipquery.serve.api.documents import make_documents
from ipquery.serve.api.express import Lane, carrying, without_record
from ipquery.serve.api.figures import Figures
from ipquery.serve.api.lookups import Lookups
from ipquery.serve.api.refusals import OPEN_PATHS, Refusals
from ipquery.serve.api.settings import ApiSettings
from ipquery.serve.api.v1 import V1
from ipquery.serve.api.where import Where
from ipquery.serve.guard.guard import make_guard
from ipquery.serve.guard.settings import GuardSettings
from ipquery.serve.http.access_log import AccessLog
from ipquery.serve.http.channel import Channel
from ipquery.serve.http.counts import Counts
from ipquery.serve.http.exchange import Begin
from ipquery.serve.http.fast import nothing
from ipquery.serve.http.guarded_site import GuardedSite
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.settings import ClientSettings
from ipquery.serve.http.site import ApiSite
from ipquery.serve.lookup.resolver import Resolver
from ipquery.serve.totals import HandedOver, Told, Totals
from tests.serve.sample import sample

PEER = IPv4Address("TCP", "192.0.2.7", 4711)
HOST = IPv4Address("TCP", "192.0.2.1", 80)

KNOWN = '["中国","CN","河南省","410000","商丘市","411400","","联通"]'.encode()


OTHER = b'["\xe6\x97\xa5\xe6\x9c\xac","JP","","None","","None","",""]'
"""What is known of one address, so that answers can be told from each other."""


class FakeSnapshot:
    """Knows 1.0.0.0/8 and 2000::/8; of 1.0.0.0 itself something else."""

    identity = "0123456789abcdef" * 4

    def answer_number(self, version: int, number: int) -> int:
        is_known = number >> (24 if version == 4 else 120) == (1 if version == 4 else 0x20)
        return is_known + (number == 1 << 24)

    def answer(self, number: int) -> bytes:
        return OTHER if number == 2 else KNOWN


@implementer(ITCPTransport, IConsumer, IPushProducer)
class MemoryTransport:
    """What a TCP transport does, as far as a protocol can tell."""

    def __init__(self, protocol: Channel, peer: IAddress = PEER) -> None:
        self.protocol = protocol
        self._peer = peer
        self.sent = b""
        self.writes = 0
        self.paused = False
        self.inbox: deque[bytes] = deque()
        """Sent by the client, and not yet read."""
        self.producer: Any = None
        self.write_closed = False
        self.closed = False
        self.aborted = False

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        if not (self.closed or self.write_closed):
            self.sent += data
            self.writes += 1

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def _lost(self, reason: BaseException) -> None:
        if not self.closed:
            self.closed = True
            self.protocol.connectionLost(Failure(reason))

    def loseConnection(self) -> None:
        self._lost(ConnectionDone())

    def abortConnection(self) -> None:
        self.aborted = True
        self._lost(ConnectionAborted())

    def loseWriteConnection(self) -> None:
        self.write_closed = True
        IHalfCloseableProtocol(self.protocol).writeConnectionLost()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> Any:
        return self._peer

    def getHost(self) -> IPv4Address:
        return HOST

    def getTcpKeepAlive(self) -> bool:
        return False

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass


@attrs.frozen
class Response:
    """One response, parsed strictly."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        (key,) = self.json
        assert key == "message"
        text: str = self.json[key]
        return text


_HEAD = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [^\r\n]+\r\n((?:[^\r\n]+\r\n)*)\r\n")


def parse_responses(sent: bytes, heads_only: bool = False) -> list[Response]:
    """All responses in ``sent``, which must hold nothing else."""
    responses = []
    while sent:
        status, headers, rest = parse_head(sent)
        if "Transfer-Encoding" in headers:
            assert "Content-Length" not in headers
            body, sent, ends = parse_chunks(rest)
            assert ends, "cut short"
        else:
            bodiless = heads_only or status in (100, 204, 304)
            length = 0 if bodiless else int(headers["Content-Length"])
            body, sent = rest[:length], rest[length:]
            assert len(body) == length, "cut short"
        responses.append(Response(status, headers, body))
    return responses


def parse_head(sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status and fields of a response, and what follows its head."""
    match = _HEAD.match(sent)
    assert match, sent
    headers = {}
    for line in match[2].decode().splitlines():
        name, value = line.split(": ", 1)
        assert name not in headers
        headers[name] = value
    return int(match[1]), headers, sent[match.end() :]


def parse_chunks(sent: bytes) -> tuple[bytes, bytes, bool]:
    """A chunked body, what follows it, and whether it has an end."""
    pieces: list[bytes] = []
    while sent:
        size, _, sent = sent.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert sent.startswith(b"\r\n")
            return b"".join(pieces), sent[2:], True
        pieces.append(sent[:length])
        assert sent[length : length + 2] == b"\r\n"
        sent = sent[length + 2 :]
    return b"".join(pieces), b"", False


class TurningClock(Clock):
    """Leaves what is asked for during a turn to the next one, as reactors do."""

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class Server:
    """A site on a clock, and connections to it."""

    def __init__(
        self,
        limits: HttpLimits = HttpLimits(),
        resource: IResource | None = None,
        log: AccessLog | None = None,
        express: bool = True,
        client: ClientSettings = ClientSettings(),
        api: ApiSettings = ApiSettings(),
        resolver: Resolver | None = None,
        begin_exchange: Begin | None = None,
        page: bool = True,
        guard: GuardSettings = GuardSettings(),
        where: Where = Where.EVERYBODY,
    ) -> None:
        """:param resolver: asks others about addresses without a record; by default, nobody."""
        self.clock = TurningClock()
        self.clock.advance(1_700_000_000)
        self.readiness = Readiness(None)
        snapshot = sample()
        self.v1 = V1(snapshot, api, resolver is None, self.clock.seconds, not guard.is_exclusive)
        documents = make_documents(page, where)
        # Klein keeps only a weak reference to what its routes are bound to.
        self.counts = Counts()
        self.lookups = lookups = Lookups(self.v1, self.counts)
        self.totals = Totals()
        self.figures = Figures(self._ask_figures, lambda: self.monotonic)
        self.api = Api(
            resolver or Resolver(snapshot),
            self.readiness,
            self.v1,
            documents,
            lookups,
            self.figures,
        )
        self.lane = None
        if express and resource is None and where is not Where.OPERATORS:
            missing = without_record(snapshot.answer_number) if resolver is None else nothing
            self.lane = Lane(self.v1, snapshot.finder(carrying), missing, lookups)
        made = self.guard = make_guard(
            guard, Refusals(self.v1.cors_headers).say, OPEN_PATHS, self._nanoseconds
        )
        self.site = (ApiSite if made is None else GuardedSite)(
            resource or some(self.api.app.resource(), where),
            limits,
            self.clock,
            log,
            self.lane,
            monotonic=lambda: self.monotonic,
            forwarding=client.forwarding,
            begin_exchange=begin_exchange
            or Batches(self.v1, api.batch_addresses, counts=self.counts, lookups=lookups).begin,
            counts=self.counts,
            route_of=route_of,
            refusal_of=refusal_of,
            guard=made,
        )
        self.monotonic = 0.0
        """What the clock says that runs while requests are answered."""
        self.connections: list[Connection] = []
        self.site.start()

    def _nanoseconds(self) -> int:
        return round(self.clock.seconds() * 1e9)

    def _ask_figures(self) -> Deferred[Told]:
        self.totals.take("worker", HandedOver(self.counts.take(), self.site.gauges()))
        return succeed(self.totals.told())

    def connect(self, peer: IAddress = PEER) -> "Connection":
        return Connection(self, peer=peer)

    def advance(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.run()

    def turn(self) -> bool:
        """One turn of the reactor: what is due, then what has come in. Whether anything was."""
        due = any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls())
        self.clock.advance(0)
        read = [connection.read() for connection in list(self.connections)]
        return due or any(read)

    def run(self) -> None:
        """Turns, until there is nothing left to do at this time."""
        for _ in range(100_000):
            if not self.turn():
                return
        raise AssertionError("it never comes to rest")


class Connection:
    """One connection, as its client sees it."""

    def __init__(
        self,
        server: Server,
        build: Callable[[IAddress], Channel] | None = None,
        peer: IAddress = PEER,
    ) -> None:
        self.server = server
        self.channel = (build or server.site.buildProtocol)(peer)
        self.transport = MemoryTransport(self.channel, peer)
        self.channel.makeConnection(self.transport)
        server.connections.append(self)

    def read(self) -> bool:
        """Let the server read a piece, if it reads. Whether it did."""
        transport = self.transport
        if transport.closed:
            transport.inbox.clear()
            self.server.connections.remove(self)
            return False
        if transport.paused or not transport.inbox:
            return False
        self.channel.dataReceived(transport.inbox.popleft())
        return True

    def queue(self, *pieces: bytes) -> None:
        """Send pieces, each of which comes in by a read of its own."""
        self.transport.inbox.extend(pieces)

    def send(self, *pieces: bytes) -> None:
        """Send pieces, and wait until the server has done what it can."""
        self.queue(*pieces)
        self.server.run()

    def finish_sending(self) -> None:
        """Half-close: the client sends no more."""
        self.channel.readConnectionLost()

    def received(self, heads_only: bool = False) -> list[Response]:
        """What has arrived since the last call."""
        sent, self.transport.sent = self.transport.sent, b""
        return parse_responses(sent, heads_only)

    def ask(self, *pieces: bytes) -> Response:
        self.send(*pieces)
        (response,) = self.received()
        return response

    @property
    def open(self) -> bool:
        """Whether the server would answer more."""
        return not (self.transport.closed or self.transport.write_closed)


def get(target: str, *headers: str, version: str = "1.1", method: str = "GET") -> bytes:
    """A request without a body."""
    lines = [f"{method} {target} HTTP/{version}", "Host: test", *headers, "", ""]
    return "\r\n".join(lines).encode()


def post(body: bytes, *headers: str, target: str = "/api/ip_query") -> bytes:
    """A request with a body."""
    length = f"Content-Length: {len(body)}"
    return get(target, length, *headers, method="POST") + body

"""The connections of one process: as many as the plan has, made again when they go."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure

from ipquery.net.endpoint import make_client_endpoint
from loadgen.send.connection import Connection
from loadgen.send.load import Load, clock
from loadgen.send.plan import Plan, PlanError
from loadgen.send.requests import Ask

# At most so many are being made at a time: a server may have room for 128 that it hasn't
# accepted yet (listen(2), backlog).
_CONNECTING_AT_ONCE = 100
# The pause after a connection that couldn't be made, or that ended before it had an answer.
_RETRY_SECONDS = 0.1


class Connections(Protocol):
    """All connections of a process."""

    failed: int
    """How many couldn't be made."""
    first_failure: str
    """Why the first of them couldn't."""

    def connect(self) -> Deferred[None]:
        """Get ready; fires when every connection is made, or has failed once."""

    def start(self) -> None:
        """Begin to ask."""

    def stop(self) -> None:
        """Make no more connections."""

    def each(self) -> Iterable[Connection]:
        """Those that are open."""

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""

    @property
    def usable(self) -> int:
        """How many can be asked on."""


def open_connections(reactor: Any, plan: Plan, load: Load) -> Connections:
    """What keeps the connections of a plan.

    :raises PlanError: the certificates to trust can't be read.
    """
    endpoint = _endpoint(reactor, plan)
    if plan.keep_alive:
        return KeptConnections(reactor, endpoint, plan, load)
    return OneShots(reactor, endpoint, plan, load)


def _endpoint(reactor: Any, plan: Plan) -> IStreamClientEndpoint:
    target = plan.target
    plain = make_client_endpoint(reactor, target.peer, target.port, plan.timeout)
    if not target.tls:
        return plain
    trust = None if plan.ca is None else _trusted(Path(plan.ca))
    return wrapClientTLS(optionsForClientTLS(target.host, trustRoot=trust), plain)


_PEM_BEGIN = b"-----BEGIN CERTIFICATE-----"


def _trusted(path: Path) -> Any:
    try:
        pieces = path.read_bytes().split(_PEM_BEGIN)[1:]
        found = [Certificate.loadPEM(_PEM_BEGIN + piece) for piece in pieces]
    except Exception as error:  # OpenSSL's have no base of their own
        raise PlanError(f"{path}: can't read these certificates: {error}") from None
    if not found:
        raise PlanError(f"{path}: no certificates in PEM format in it")
    return trustRootFromCertificates(found)


class KeptConnections(Factory):
    """Connections that last."""

    noisy = False

    def __init__(
        self, reactor: Any, endpoint: IStreamClientEndpoint, plan: Plan, load: Load
    ) -> None:
        self._later: Callable[..., Any] = reactor.callLater
        self._endpoint = endpoint
        self._plan = plan
        self._load = load
        self.tls = plan.target.tls
        self._open: set[Connection] = set()
        # Connections to be made, those of the plan that were never tried, and those on
        # their way.
        self._to_make = self._untried = plan.connections
        self._connecting = 0
        self._running = self._stopped = False
        self._up: Deferred[None] = Deferred()
        self.failed = 0
        self.first_failure = ""

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """A connection."""
        return Connection(self._load, self, self._plan.pipeline, self._plan.keep_alive)

    def each(self) -> Iterable[Connection]:
        """Those that are open."""
        return list(self._open)

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return sum(len(one.asked) for one in self._open)

    @property
    def usable(self) -> int:
        """How many can be asked on."""
        return sum(one.usable for one in self._open)

    def connect(self) -> Deferred[None]:
        """Make all connections, a hundred at a time."""
        self._make()
        return self._up

    def start(self) -> None:
        """Begin to ask on all."""
        self._running = True
        for connection in self.each():
            if connection.usable:
                connection.start(clock())

    def stop(self) -> None:
        """Make no more."""
        self._stopped = True

    def _make(self) -> None:
        while self._to_make and self._connecting < _CONNECTING_AT_ONCE and not self._stopped:
            self._to_make -= 1
            self._connecting += 1
            self._endpoint.connect(self).addErrback(self._not_made)

    def _make_again(self) -> None:
        self._to_make += 1
        self._make()

    def _tried(self) -> None:
        self._connecting -= 1
        if self._untried:
            self._untried -= 1
            if not self._untried:
                self._up.callback(None)
        self._make()

    def _not_made(self, reason: Failure) -> None:
        self.failed += 1
        self.first_failure = self.first_failure or explain(reason)
        self._later(_RETRY_SECONDS, self._make_again)
        self._tried()

    def ready(self, connection: Connection) -> None:
        """A connection can be used."""
        self._open.add(connection)
        if self._running:
            connection.start(clock())
        self._tried()

    def lost(self, connection: Connection, reason: Failure) -> None:
        """A connection is gone: make another."""
        if connection not in self._open:
            self._not_made(reason)  # it didn't get through the TLS handshake
            return
        self._open.discard(connection)
        # A pause for one without an answer: a server that ends every connection at once
        # must not keep us busy with making others.
        self._later(0 if connection.used else _RETRY_SECONDS, self._make_again)


class OneShot(Factory):
    """One caller that makes a connection for each request."""

    noisy = False

    def __init__(self, pool: "OneShots", load: Load) -> None:
        self._pool = pool
        self._load = load
        self.tls = pool.tls
        self._waiting: tuple[int, Ask] | None = None
        self.connection: Connection | None = None

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """A connection for one request."""
        return Connection(self._load, self, 1, keep_alive=False)

    @property
    def in_flight(self) -> int:
        """Requests without an answer: one or none."""
        asked = 0 if self.connection is None else len(self.connection.asked)
        return asked + (self._waiting is not None)

    def start(self, now: int) -> None:
        """Ask, at once or when it is time."""
        self._load.go_on(self, now)

    def send(self, begun: int, ask: Ask) -> None:
        """Connect, and send a request. Its latency holds the time to connect."""
        self._waiting = (begun, ask)
        self._pool.endpoint.connect(self).addErrback(self._not_made)

    def _not_made(self, reason: Failure) -> None:
        self._pool.note(reason)
        self._waiting = None
        self._load.fail("connect", f"not connected: {explain(reason)}")
        self._pool.later(_RETRY_SECONDS, lambda: self.start(clock()))

    def ready(self, connection: Connection) -> None:
        """Connected."""
        self.connection = connection
        assert self._waiting is not None
        waiting, self._waiting = self._waiting, None
        connection.send(*waiting)

    def lost(self, connection: Connection, reason: Failure) -> None:
        """The connection is closed: on to the next."""
        if self.connection is None:
            self._not_made(reason)
            return
        self.connection = None
        self.start(clock())


class OneShots:
    """A connection for each request, so many at a time."""

    def __init__(
        self, reactor: Any, endpoint: IStreamClientEndpoint, plan: Plan, load: Load
    ) -> None:
        self.later: Callable[..., Any] = reactor.callLater
        self.endpoint = endpoint
        self.tls = plan.target.tls
        self._callers = [OneShot(self, load) for _ in range(plan.connections)]
        self._reachable = 0
        self.failed = 0
        self.first_failure = ""

    def note(self, reason: Failure) -> None:
        """A connection couldn't be made."""
        self.failed += 1
        self.first_failure = self.first_failure or explain(reason)

    def connect(self) -> Deferred[None]:
        """Find out with one connection whether anybody is there."""
        trying = self.endpoint.connect(Factory.forProtocol(protocol.Protocol))

        def reached(tried: Any) -> None:
            self._reachable = len(self._callers)
            tried.transport.abortConnection()

        return trying.addCallbacks(reached, self.note)

    def start(self) -> None:
        """Begin to ask."""
        for caller in self._callers:
            caller.start(clock())

    def stop(self) -> None:
        """Nothing to do: a connection is made only for a request."""

    def each(self) -> Iterable[Connection]:
        """Those that are open."""
        return [one.connection for one in self._callers if one.connection is not None]

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return sum(caller.in_flight for caller in self._callers)

    @property
    def usable(self) -> int:
        """How many callers there are, if anybody can be reached."""
        return self._reachable


def explain(reason: Failure) -> str:
    """Why a connection was lost or not made, in a line."""
    error: Any = reason.value
    if isinstance(error, VerificationError):
        return "the server's certificate is not for this host"
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        # Of each error OpenSSL has the library, the function and the reason.
        return ", ".join(str(one[-1]) for one in error.args[0]) or "TLS failed"
    return " ".join(reason.getErrorMessage().split())

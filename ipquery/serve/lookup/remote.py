"""Second opinions: remote sources, asked for what the snapshot has no record for."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError
from twisted.internet.defer import (
    Deferred,
    DeferredSemaphore,
    gatherResults,
    succeed,
)
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from ipquery.data.record import UNKNOWN, Record
from ipquery.metrics import FALLBACK
from ipquery.serve.http.counts import Counts
from ipquery.serve.lookup.breaker import Breaker
from ipquery.serve.lookup.connections import Connections, HeadError
from ipquery.serve.lookup.resolver import Opinion
from ipquery.serve.lookup.trust import trust_root
from ipquery.serve.lookup.upstreams import LOOP_HEADER, LOOP_TOKEN, FallbackSettings

_log = Logger()

_REDIRECTS = {301, 302, 307, 308}
_MOST_REDIRECTS = 3

# Characters that a URL may have (RFC 3986 section 2): printable ASCII.
_URL = re.compile(r"[!-~]+")


class RemoteError(Exception):
    """A source that gave no answer, and why."""


class RemoteSource:
    """One remote source over HTTP(S)."""

    def __init__(
        self,
        settings: FallbackSettings,
        agent: IAgent,
        clock: Any,
        close: Callable[[], Deferred[None]] = lambda: succeed(None),
    ) -> None:
        """
        :param agent: makes the requests.
        :param clock: time, for deadlines and pauses.
        :param close: closes connections that are kept; fires when they are.
        """
        self.breaker = Breaker(f"the fallback {settings.name}", clock.seconds)
        self.name = settings.name
        self._settings = settings
        self._agent = agent
        self._close = close
        self._clock = clock
        self._turns = DeferredSemaphore(settings.concurrent)
        headers = Headers({b"Accept": [b"application/json"], b"User-Agent": [b"ipquery"]})
        if settings.is_node:
            headers.setRawHeaders(LOOP_HEADER, [LOOP_TOKEN])
        for name, value in settings.headers:
            headers.setRawHeaders(name.encode(), [value.encode()])
        self._headers = headers

    def ask(self, ip: str) -> Deferred[bytes | None]:
        """Ask for an address.

        :returns: the contract's array, ``None`` if the source has no record;
            fails with RemoteError.
        """
        seconds = self._settings.deadline_ms / 1000
        asking: Deferred[bytes | None] = self._turns.run(self._begin, ip)
        asking.addTimeout(seconds, self._clock, self._late)
        return asking.addCallbacks(self._answered, self._failed)

    def _begin(self, ip: str) -> Deferred[bytes | None]:
        return Deferred.fromCoroutine(self._ask(ip))

    async def _ask(self, ip: str) -> bytes | None:
        url = self._settings.url.replace("{ip}", quote(ip, safe=""))
        for _ in range(_MOST_REDIRECTS):
            response: IResponse = await self._agent.request(b"GET", url.encode(), self._headers)
            body = await _read(response, self._settings.response_bytes)
            if response.code not in _REDIRECTS:
                return self._answer(response.code, body)
            url = _redirected(url, response)
        raise RemoteError(f"more than {_MOST_REDIRECTS - 1} redirects")

    def _answer(self, status: int, body: bytes) -> bytes | None:
        """The contract's array of a whole response."""
        no_record = (501,) if self._settings.is_node else (204, 404)
        if status in no_record:
            return None
        if status != 200:
            raise RemoteError(f"status {status}")
        try:
            record = self._record(body)
            return None if record == UNKNOWN else record.to_answer()
        except UnicodeEncodeError:
            raise RemoteError("the response holds half a character") from None

    def _record(self, body: bytes) -> Record:
        if self._settings.is_node:
            try:
                # Read and written anew, so that blanks and escapes of theirs don't matter.
                return Record.from_answer(body)
            except (ValueError, RecursionError):
                raise RemoteError("the response isn't an answer of ipquery") from None
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            raise RemoteError("the response isn't JSON") from None
        texts: dict[str, Any] = {
            field: _text_at(content, path) for field, path in self._settings.fields
        }
        return Record(**texts)

    def _late(self, result: object, seconds: float) -> object:
        if isinstance(result, Failure):
            raise RemoteError(f"no answer within {self._settings.deadline_ms} ms")
        return result

    def _answered(self, answer: bytes | None) -> bytes | None:
        self.breaker.succeeded()
        return answer

    def _failed(self, failure: Failure) -> bytes | None:
        reason = _reason(failure)
        if reason is None:
            # A fault of ours. It is logged, and counts as a failure of this source: the next is
            # asked.
            _log.failure("asking {name}", failure, name=self.name)
            reason = f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
        self.breaker.failed(reason)
        raise RemoteError(reason)

    def stop(self) -> Deferred[None]:
        """Fires when all connections are closed."""
        return self._close()


_EXPECTED = (
    RemoteError,
    HeadError,
    ConnectError,
    ConnectionClosed,
    DNSLookupError,
    ResponseFailed,
    RequestTransmissionFailed,
    VerificationError,
    SSLError,
)


def _reason(failure: Failure) -> str | None:
    """In a line, what went wrong between us and a source; ``None``: it isn't of that kind."""
    error = failure.value
    if not isinstance(error, _EXPECTED):
        return None
    reasons = getattr(error, "reasons", None)
    if reasons:
        return _reason(reasons[0]) or reasons[0].getErrorMessage()
    return str(error).strip() or type(error).__name__


def _text_at(content: Any, path: str) -> str | None:
    """The text at a place, as in ``subdivisions.0.name``; ``None`` if there is none."""
    for step in path.split("."):
        if isinstance(content, dict):
            content = content.get(step)
        elif isinstance(content, list) and step.isdecimal() and int(step) < len(content):
            content = content[int(step)]
        else:
            return None
    if isinstance(content, bool) or not isinstance(content, str | int | float):
        return None
    return str(content)


def _redirected(url: str, response: Any) -> str:
    """Where to ask instead.

    :raises RemoteError: it is no URL, or another host, where our headers don't belong.
    """
    (location,) = response.headers.getRawHeaders(b"Location", [b""])[:1]
    try:
        target: str = urljoin(url, location.decode("ascii"))
        before, after = urlsplit(url), urlsplit(target)
    except ValueError:
        raise RemoteError("redirects to what is no URL") from None
    if not _URL.fullmatch(target):
        raise RemoteError("redirects to what is no URL")
    is_same = before[:2] == after[:2]
    is_safer = after.scheme == "https" and after.netloc == before.hostname
    if not (is_same or is_safer):
        raise RemoteError(f"redirects to {after.scheme}://{after.netloc}, which isn't followed")
    return target


class _Body(Protocol):
    """Collects a body, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._cut_off())
        self._limit = limit
        # Not bytes, which are copied by every +=: a body of 65,536 chunks of one byte would
        # take a third of a second.
        self._received = bytearray()
        self._done = False

    def dataReceived(self, data: bytes) -> None:
        if self._done:
            return
        self._received += data
        if len(self._received) > self._limit:
            self._cut_off()
            self.whole.errback(RemoteError(f"the response is longer than {self._limit} bytes"))

    def _cut_off(self) -> None:
        self._done = True
        transport: Any = self.transport
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._done:
            return
        self._done = True
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(bytes(self._received))
        else:
            self.whole.errback(reason)


def _read(response: IResponse, limit: int) -> Deferred[bytes]:
    body = _Body(limit)
    response.deliverBody(body)
    return body.whole


class RemoteSources:
    """All remote sources, in order."""

    def __init__(self, sources: Sequence[RemoteSource], counts: Counts | None = None) -> None:
        """:param counts: where it is counted what each was asked."""
        self._sources = sources
        self._counts = counts or Counts()

    async def ask(self, ip: str) -> Opinion:
        """The first record that a source has for an address."""
        sure = True
        for place, source in enumerate(self._sources, 1):
            if not source.breaker.allows():
                self._count(place, "left alone")
                sure = False
                continue
            try:
                answer = await source.ask(ip)
            except RemoteError:
                self._count(place, "failed")
                sure = False
                continue
            self._count(place, "unknown" if answer is None else "found")
            if answer is not None:
                return Opinion(answer, True)
        return Opinion(None, sure)

    def _count(self, place: int, outcome: str) -> None:
        # By place: callers who see it aren't told which hosts they are.
        self._counts.add(FALLBACK, (f"fallback-{place}", outcome))

    @property
    def states(self) -> list[dict[str, str]]:
        """Of each source's circuit breaker, in order. Callers see it: no hosts."""
        return [{"breaker": one.breaker.state} for one in self._sources]

    def stop(self) -> Deferred[Any]:
        """Fires when all connections are closed."""
        return gatherResults([source.stop() for source in self._sources])


def make_remote_source(reactor: Any, settings: FallbackSettings) -> RemoteSource:
    """A remote source, with connections that are kept.

    :raises OSError: the certificate file can't be read.
    """
    pool = Connections(reactor)
    pool.maxPersistentPerHost = settings.concurrent
    agent = Agent(
        reactor,
        # Verifies the certificate and, by service-identity, that it is the host's.
        BrowserLikePolicyForHTTPS(trust_root(settings.ca_file)),
        connectTimeout=settings.deadline_ms / 1000,
        pool=pool,
    )
    return RemoteSource(settings, agent, reactor, pool.closeCachedConnections)

"""ApiSite: what all connections of a worker share."""

import time
from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http import combinedLogFormatter, datetimeToLogString, datetimeToString
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from werkzeug.exceptions import HTTPException

from ipquery.serve.api import contract
from ipquery.serve.api.contract import Reply
from ipquery.serve.api.express import LONGEST_TARGET, Lane
from ipquery.serve.http.channel import Channel
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.plain import read_plain
from ipquery.serve.http.turns import Turns

_log = Logger()

# To refuse a request that is late takes 20 us.
_EXPIRED_AT_ONCE = 32


class ApiRequest(Request):
    """A request whose failures, too, are answered in the contract's shape."""

    def process(self) -> None:
        """Refuse a path that isn't written as the routes are.

        They would match it decoded and without doubled slashes: rules of a proxy in
        front, which sees it as it stands, could be passed by.
        """
        if b"%" in self.path or b"//" in self.path:
            self._send(contract.refusal(404))
            return
        super().process()

    def getRequestHostname(self) -> bytes:
        """A name for werkzeug: no route depends on it, and a caller may give none."""
        return b"localhost"

    def processingFailed(self, reason: Failure) -> Failure:
        """Routing itself failed: by the request's fault (a Host that is no name), or ours."""
        error = reason.value
        if isinstance(error, HTTPException):
            self._send(contract.refusal(error.code or 500))
        else:
            _log.failure("answering {request}", reason, request=self)
            self._send(contract.INTERNAL_ERROR)
        return reason

    def _send(self, reply: Reply) -> None:
        self.setResponseCode(reply.status)
        self.setHeader(b"Content-Type", contract.CONTENT_TYPE)
        self.setHeader(b"Content-Length", b"%d" % len(reply.body))
        self.write(reply.body)
        self.finish()


class ApiSite(Site):
    """Makes the channels, keeps their clock, and drains them."""

    requestFactory = ApiRequest
    noisy = False

    def __init__(
        self,
        resource: IResource,
        limits: HttpLimits,
        reactor: IReactorTime,
        access_log: Callable[[str], None] | None = None,
        lane: Lane | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        :param monotonic: a clock that runs while requests are answered, in seconds.
        :param access_log: called with each line, in the combined format.
        :param lane: the express lane; without it, or with an access log, every
            request takes the other way.
        """
        # Forms aren't parsed: a body is JSON, whatever its Content-Type says,
        # as curl -d sends it with a form's.
        super().__init__(resource, parsePOSTFormSubmission=False, reactor=reactor)
        self.limits = limits
        self.connections: set[Channel] = set()
        self.turns = Turns(reactor, monotonic)
        self.draining = False
        self._access_log = access_log
        self.lane = lane or Lane()
        self.express = (
            lane is not None and access_log is None and limits.request_line_bytes >= LONGEST_TARGET
        )
        self._drained: Deferred[None] | None = None
        self._due: deque[Channel] = deque()
        self._clock = LoopingCall(self._tick)
        self._clock.clock = reactor
        self._read_clock()

    # HTTPFactory would open a log file, and keep a timer of its own.
    def startFactory(self) -> None:
        """Nothing to do: :meth:`start` starts the clock."""

    def stopFactory(self) -> None:
        """Nothing to do: connections may outlive the port; :meth:`drain` ends them."""

    def start(self) -> None:
        """Start the clock that deadlines and the Date header go by."""
        self._clock.start(1, now=True)

    def drain(self) -> Deferred[None]:
        """Answer what has been asked and close every connection.

        :returns: fires when all are closed, at the latest after
            ``limits.drain_seconds``.
        """
        self.draining = True
        self._drained = Deferred()
        # It is up to a second behind, and what is given to idle connections is no more.
        self._read_clock()
        deadline = self.reactor.callLater(self.limits.drain_seconds, self._abort)
        for channel in list(self.connections):
            channel.drain()
        self._check_drained()
        return self._drained.addBoth(self._stop, deadline)

    def _stop(self, result: None, deadline: IDelayedCall) -> None:
        if deadline.active():
            deadline.cancel()
        self._clock.stop()

    def _abort(self) -> None:
        _log.warn(
            "{count} connections not done after {seconds} s of draining; closing them",
            count=len(self.connections),
            seconds=self.limits.drain_seconds,
        )
        for channel in list(self.connections):
            channel.transport.abortConnection()

    def _check_drained(self) -> None:
        if self._drained is not None and not self._drained.called and not self.connections:
            self._drained.callback(None)

    def buildProtocol(  # type: ignore[override] # Twisted names a proxy for its own channel
        self, addr: IAddress | None
    ) -> Channel:
        """A channel for a new connection."""
        return Channel(self, overloaded=self._is_full)

    @property
    def _is_full(self) -> bool:
        return len(self.connections) >= self.limits.connections

    def answer_first(self, data: bytes) -> bytes | None:
        """The answer to what came in first on a connection, if that is all that is to be done.

        A plain look-up after which the connection is closed needs no channel. See
        :class:`ipquery.net.stream.AnswersFirst`.
        """
        if not self.express or self.draining or self._is_full:
            return None
        plain = read_plain(data, 0, self.limits)
        if plain is None:
            return None
        method, target, framing, body, end = plain
        if end != len(data) or framing.persists:
            return None
        return self.lane.respond(method, target, body, framing.is_1_0, last=True)

    def make_request(self, channel: Channel) -> ApiRequest:
        """A request that writes to ``channel``."""
        return ApiRequest(channel)

    def forget(self, channel: Channel) -> None:
        """A connection is gone."""
        self.connections.discard(channel)
        self._check_drained()

    def log(self, request: http.Request) -> None:
        """Note an answered request in the access log."""
        if self._access_log is not None:
            self._access_log(combinedLogFormatter(datetimeToLogString(self.now), request))

    def log_refusal(self, peer: IAddress, reply: Reply) -> None:
        """Note a refusal of what was no request, or not a whole one."""
        if self._access_log is not None:
            host = getattr(peer, "host", "-")
            time = datetimeToLogString(self.now)
            self._access_log(f'"{host}" - - {time} "-" {reply.status} {len(reply.body)} "-" "-"')

    def _tick(self) -> None:
        before = self.now
        self._read_clock()
        is_idle = not self._due
        self._due += [one for one in self.connections if one.is_due(before, self.now)]
        if is_idle:
            self.go_on()

    def go_on(self) -> None:
        """Act on deadlines that are over: ten thousand may be over in the same second."""
        for _ in range(min(len(self._due), _EXPIRED_AT_ONCE)):
            channel = self._due.popleft()
            try:
                channel.expire()
            except Exception:
                _log.failure("a fault in a connection; closing it")
                channel.transport.abortConnection()
        if self._due:
            self.turns.wait(self)

    def _read_clock(self) -> None:
        self.now = self.reactor.seconds()
        """Seconds since the epoch, to the second; what deadlines are measured by."""
        self.date_header = b"Date: " + datetimeToString(self.now) + b"\r\n"
        self.lane.head = b"HTTP/1.1 200 OK\r\n" + self.date_header
        self.lane.missing_head = b"HTTP/1.1 501 Not Implemented\r\n" + self.date_header

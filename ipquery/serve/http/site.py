"""ApiSite: what all connections of a worker share."""

import time
from collections import deque
from collections.abc import Callable
from socket import SocketType
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web import http
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource

from ipquery.metrics import ACTIVE, CONNECTIONS, DURATION, LIMITS
from ipquery.serve.http.access_log import AccessLog
from ipquery.serve.http.channel import Channel
from ipquery.serve.http.client import Forwarding, host_of, log_text
from ipquery.serve.http.counts import ONE_OF, ONE_OF_REPEATS, Counts, Entry, Tally, method_label
from ipquery.serve.http.exchange import Begin
from ipquery.serve.http.exchange_channel import ExchangeChannel
from ipquery.serve.http.fast import FastWay, nothing
from ipquery.serve.http.guard import Gate, Guard, GuardedWay
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.noting_site import NotingSite
from ipquery.serve.http.plain import PlainReader
from ipquery.serve.http.repeat import Lessons, Repeat
from ipquery.serve.http.reply import Reply, refusal
from ipquery.serve.http.request import ApiRequest
from ipquery.serve.http.request_channel import RequestChannel
from ipquery.serve.http.turns import Turns

_log = Logger()

# To refuse a request that is late takes 20 us.
_EXPIRED_AT_ONCE = 32

# Of callers who ask at once, one in five is accepted before its request has come in, which
# takes 1 ms more. Who connects beforehand, to ask later, gets a channel, and its deadlines.
_SILENT_SECONDS = 0.1

# Prime to the number of repeats of which one is looked at, and far from a simple part of it.
_STRIDE = 97


class ApiSite(NotingSite):
    """Makes the channels, keeps their clock, and drains them."""

    def __init__(
        self,
        resource: IResource,
        limits: HttpLimits,
        reactor: IReactorTime,
        access_log: AccessLog | None = None,
        fast_way: FastWay | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        forwarding: Forwarding | None = None,
        begin_exchange: Begin | None = None,
        counts: Counts | None = None,
        route_of: Callable[[bytes], str] = lambda path: "",
        refusal_of: Callable[[bytes, int], Reply] = lambda path, status: refusal(status),
        guard: Guard | None = None,
    ) -> None:
        """
        :param monotonic: a clock that runs while requests are answered, in seconds.
        :param fast_way: what answers requests at once; without it all go to the resource.
        :param forwarding: who clients are behind proxies; without it, the peers.
        :param begin_exchange: tells which requests are exchanges; without it none are.
        :param counts: where everything is counted.
        :param route_of: what the route of a path is called, "" where there is none.
        :param refusal_of: what is said to a request that never comes to the resource, by its path
            and the status.
        :param guard: whose requests are answered; without it, everybody's. It takes a
            :class:`~ipquery.serve.http.guarded_site.GuardedSite`.
        """
        super().__init__(resource, reactor, access_log, forwarding)
        self.limits = limits
        self.connections: set[Channel] = set()
        self.quiet: set[SocketType] = set()
        self.quiet_seconds = limits.idle_seconds
        self.silent_seconds = _SILENT_SECONDS
        self.exchanging: set[ExchangeChannel] = set()
        """Those in the middle of an exchange."""
        self.turns = Turns(reactor, monotonic)
        self.draining = False
        self.monotonic = monotonic
        self.counts = counts or Counts()
        self.counts.before_taking(self._count_repeats)
        self.active = 0
        """Requests that the resource is answering."""
        self._route_of = route_of
        self.refusal_of = refusal_of
        self._looked_at = 0
        self.fast_way = fast_way
        self.begin_exchange = begin_exchange
        self.guard = guard
        self.plain = PlainReader(limits)
        # Of requests that come first on a connection: what tells the next like the last one, and
        # whether it closes the connection, too.
        self._lessons = Lessons(limits, guard)
        self._repeat: Repeat = nothing
        self._repeat_is_last = False
        self._repeat_tally = Tally()
        self._log_ending: bytes | None = None
        self._answered_first = self._counted_first = 0
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
        return len(self.connections) + len(self.quiet) >= self.limits.connections

    def answer_first(
        self, data: bytes, peer: object, gate: Gate | None = None
    ) -> tuple[bytes, bool] | None:
        """The answer to what came in first on a connection, if that is a plain request.

        It needs no channel: if the connection is closed then, it never gets one. See
        :class:`ipquery.net.accept.AnswersFirst`.

        :param gate: what the request has to pass; ``None`` if all do.
        """
        if self.fast_way is None or self.draining or self._is_full:
            return None
        if self._answered_first % ONE_OF_REPEATS:
            found = self._repeat(data)
        else:
            found = self._look_at_repeat(data)
        if found is not None and gate is not None:
            # What it was learnt from has passed, perhaps on another connection.
            told = gate.admit(data)
            found = None if told is None else told + found
        if found is not None:
            self._answered_first += 1
            self._repeat_tally.answered += 1
            if self.access_log is not None:
                self.note_repeated(host_of(peer), None, data, found, self._log_ending)
            return self.fast_way.head + found, self._repeat_is_last
        way = self.fast_way if gate is None else GuardedWay(self, self.fast_way, gate)
        return self._answer_first_whole(data, peer, way)

    def _answer_first_whole(
        self, data: bytes, peer: object, fast_way: FastWay
    ) -> tuple[bytes, bool] | None:
        """The same of one that isn't as the one before."""
        begun = self.monotonic()
        plain = self.plain.read(data, 0)
        if plain is None:
            return None
        method, target, framing, body, end = plain
        if end != len(data):
            return None
        is_last = not framing.persists or self.limits.requests_per_connection == 1
        answer = fast_way.respond(method, target, framing, body, is_last)
        if answer is None:
            return None
        self._answered_first += 1
        tally = fast_way.tally
        if tally.answered % ONE_OF == 1:
            tally.measure(self.monotonic() - begun, len(data), len(answer), ONE_OF)
        self._repeat_is_last = is_last
        self._repeat = self._lessons.learn(
            self._answered_first, method, target, framing, body, is_last, fast_way
        )
        if self._lessons.kind is not None:
            self._repeat_tally = self._lessons.kind.tally
        if self.access_log is not None:
            self._log_ending = self.log_ending(self._lessons, framing)
            host = host_of(peer)
            forwarding = self.forwarding_of(host)
            if forwarding is not None:
                host = forwarding.client(host, framing.fields.get(forwarding.field))
            self.note(log_text(host), method, target, framing, answer)
        return answer, is_last

    def _look_at_repeat(self, data: bytes) -> bytes | None:
        """Answer one as all others, and count how long it took and what it asked for."""
        kind, begun = self._lessons.kind, self.monotonic()
        found = None if kind is None else kind.look_at(self._repeat, data)
        if found is not None:
            assert self.fast_way is not None
            sent = len(self.fast_way.head) + len(found)
            seconds = self.monotonic() - begun
            self._repeat_tally.measure(seconds, len(data), sent, ONE_OF_REPEATS)
        return found

    def build_answered(self, address: IAddress | None) -> Channel:
        """A channel for a connection whose first request :meth:`answer_first` has answered."""
        return Channel(self, overloaded=False, answered=1)

    def forget_lessons(self) -> None:
        """Look at each request anew, as what the guard goes by has changed."""
        self._repeat = nothing
        for channel in self.connections:
            channel.forget_lessons()

    def make_request(self, channel: RequestChannel) -> ApiRequest:
        """A request that writes to ``channel``."""
        request = ApiRequest(channel)
        request.begun = self.monotonic()
        return request

    # Counting

    def until_looked_at(self) -> int:
        """After how many repeats a new connection has one looked at.

        Each has another number, so that of connections that are asked a few times some are
        looked at, too.
        """
        self._looked_at = (self._looked_at + _STRIDE) % ONE_OF_REPEATS
        return self._looked_at + 1

    def gauges(self) -> list[Entry]:
        """What is so at this moment."""
        return [
            (CONNECTIONS.name, (), len(self.connections) + len(self.quiet)),
            (ACTIVE.name, (), self.active + len(self.exchanging)),
        ]

    def _count_repeats(self) -> None:
        # Each came on a connection of its own.
        self.counts.opened += self._answered_first - self._counted_first
        self._counted_first = self._answered_first
        for channel in self.connections:
            channel.count_repeats()

    def route_of(self, target: bytes) -> str:
        """What the route of a target is called, "" where there is none."""
        return self._route_of(target.partition(b"?")[0])

    def count(self, method: bytes, route: str, status: int, begun: float) -> None:
        """Count a request that wasn't answered on the fast way.

        :param begun: when it was in hand.
        """
        labels = method_label(method), route, str(status)
        self.counts.observe(DURATION, self.monotonic() - begun, labels)

    def count_refusal(self, reply: Reply, limit: str | None = None) -> None:
        """Count a refusal of what was no request, or not a whole one: as it was read.

        :param limit: the setting that it is due to.
        """
        self.count(b"", "", reply.status, self.monotonic())
        if limit is not None:
            self.counts.add(LIMITS, (limit,))

    def forget(self, channel: Channel) -> None:
        """A connection is gone."""
        self.connections.discard(channel)
        self.exchanging.discard(channel)
        self._check_drained()

    def log(self, request: http.Request) -> None:
        """Count an answered request, and note it in the access log."""
        route = self.route_of(request.uri)
        self.count(request.method, route, request.code, cast(ApiRequest, request).begun)
        self.note_request(request)

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
        if self.fast_way is not None:
            self.fast_way.tell_date(self.date_header)
        if self.access_log is not None:
            self.access_log.tell_time(self.now)

"""One HTTP/1.1 connection: order and persistence (RFC 9112 section 9).

A complete message becomes an ordinary ``twisted.web`` request, which the site's resource
answers, or is answered at once on the fast way. One message is parsed at a time: what a
client sends before it has its answer stays as it came in, and meanwhile nothing more is read.
An exchange (:mod:`ipquery.serve.http.streaming`) is answered while its body comes in: each
piece is answered before the next is parsed, and while there is one, no more is read.

===========  ===============================  =======================================
phase        what goes on                     what is read
===========  ===============================  =======================================
UNUSED       connected, nothing sent yet      all
IDLE         between two requests             all; one whole request at a time is
                                              answered without leaving this phase
HEADER       a request line has begun         all
BODY         the header is complete, and      all
             what came in of an exchange is
             answered
BUSY         a request is being answered, or  until more came in than that request:
             more than one portion came in    that waits for its turn
CLOSING      our last answer is written       all, and thrown away
===========  ===============================  =======================================

:mod:`ipquery.serve.http.deadlines` says what ends each phase. In any phase a client that
doesn't read its answers isn't read either, and gets no more answers to wait for.

What one connection can make us keep, besides what the kernel buffers for it, is
:func:`most_kept_bytes`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from ipquery.metrics import LIMITS
from ipquery.serve.http.client import Forwarding, host_of, log_text
from ipquery.serve.http.counts import ONE_OF, ONE_OF_REPEATS
from ipquery.serve.http.deadlines import Deadlines, Phase
from ipquery.serve.http.exchange import Exchange
from ipquery.serve.http.fast import FastWay, nothing
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.guard import Gate, GuardedWay, Refusal, refusing, watched
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.message import Incoming, Message
from ipquery.serve.http.outgoing import Outgoing
from ipquery.serve.http.refused import Refused
from ipquery.serve.http.repeat import Lessons, Repeat
from ipquery.serve.http.reply import END_OF_HEAD, Reply, retry_after, unavailable
from ipquery.serve.http.streaming import MOST_KEPT_BYTES, Streaming

if TYPE_CHECKING:
    from ipquery.serve.http.request import ApiRequest
    from ipquery.serve.http.site import ApiSite

_log = Logger()

# What a connection may have answered in one turn: 32 requests on the fast way, or 4 by the
# routes, take 0.3 to 0.8 ms.
_PORTION, _BY_ROUTE, _BY_FAST_WAY = 32, 8, 1

# uvloop reads into 250 KiB at a time, asyncio into 256; a transport that was told to
# pause may bring one read more.
_READ_BYTES = 2 << 18
# Measured: a parsed field takes 170 bytes besides its own, a connection 6 KB.
_FIELD_BYTES, _CONNECTION_BYTES = 200, 10_000
# What is at fault for a refusal with a status, as [http] calls it.
_LIMITS = {413: "body_bytes", 414: "request_line_bytes", 431: "header_bytes"}
# A portion's answers; 31 of them are look-ups of up to 1 KB, one may be any route's.
_ANSWER_BYTES = 1 << 16


def most_kept_bytes(limits: HttpLimits, in_exchange: bool = False) -> int:
    """How much memory one connection can take at most, in bytes.

    :param in_exchange: while the body of an exchange comes in, or is answered.
    """
    message = limits.request_line_bytes + limits.header_bytes + limits.body_bytes
    fields = limits.header_count * _FIELD_BYTES
    # The message stands there as it came in, parsed, and as the request it became.
    kept = _READ_BYTES + 3 * (message + fields) + _ANSWER_BYTES + _CONNECTION_BYTES
    return kept + (MOST_KEPT_BYTES if in_exchange else 0)


class Transport(ITCPTransport, IConsumer, IPushProducer):
    """What every stream transport in use provides."""


def _write_nowhere(data: bytes) -> None:
    """Before a connection is made there is nobody to write to."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class Channel(Protocol):
    """One connection: transport on one side, requests on the other.

    To a ``twisted.web`` request it is the channel it writes to.
    """

    # What each request on the fast way looks at. Of an object with more than 30 attributes
    # Python finds those in slots sooner.
    __slots__ = (
        "_access_log",
        "_client",
        "_counted_left",
        "_due_left",
        "_fast_way",
        "_is_resting",
        "_learnt",
        "_lessons",
        "_now",
        "_read_plain",
        "_repeat",
        "_requests_left",
        "_ungated",
        "_write",
    )

    transport: Transport
    _outgoing: Outgoing
    _fast_way: FastWay
    _ungated: FastWay

    def __init__(self, site: "ApiSite", overloaded: bool, answered: int = 0) -> None:
        """
        :param overloaded: whether the worker has as many connections as it may;
            this one is then told so and closed.
        :param answered: how many requests have been answered on the connection.
        """
        # What lives as long as the worker
        self.site = self.factory = site
        if site.fast_way is not None:
            # The one that knows the head of answers, and what answers: the same, or a gate before.
            self._ungated = self._fast_way = site.fast_way
        self._read_plain = site.plain.read
        self._access_log = site.access_log
        self._counts = site.counts
        self._now = site.monotonic
        # What lives as long as the connection
        self._overloaded = overloaded
        self._client = b"-"
        # Only behind a proxy that is trusted: each request may have another client.
        self._host: str | None = None
        self._forwarding: Forwarding | None = None
        self._gate: Gate | None = None
        self._incoming = Incoming(site.limits, site.begin_exchange)
        self._deadlines = Deadlines(site.limits)
        self._write: Callable[[bytes], None] = _write_nowhere
        # Requests that may still be asked before the last one, which is told to
        # close; and how many there were when the deadline was set.
        most = site.limits.requests_per_connection
        self._requests_left = self._settled_left = most - 1 - answered
        self._is_unused = not answered
        # How many there were when repeats were counted last; how many there will be when one is
        # to be looked at, and when that one came in.
        self._counted_left = self._requests_left
        self._due_left = max(self._requests_left - site.until_looked_at(), 0)
        self._begun: float | None = None
        self._may_be_fast = site.fast_way is not None
        self._reading_paused = False
        self._peer_done = False
        self._lessons = Lessons(site.limits)
        # What lives until the next read: whether that may be answered without leaving IDLE, and
        # what tells that it is like the one before, whose log line begins and ends so.
        self._is_resting = False
        self._repeat: Repeat = nothing
        self._learnt: Repeat = nothing
        self._log_client: bytes | None = None
        self._log_ending: bytes | None = None
        # What lives until it is answered: what has come in and isn't parsed yet, and from
        # where on; the message that waits for its turn; the request, or the exchange, that
        # is being answered.
        self._unread, self._unread_at = b"", 0
        self._waiting: Message | None = None
        self._request: ApiRequest | None = None
        self._streaming: Streaming | None = None
        # What lives for one turn
        self._portion = 0
        self._is_working = False
        self._is_queued = False

    # The transport's side

    def connectionMade(self) -> None:
        """Start the clock; or, with too many connections, say so."""
        self.site.connections.add(self)
        self.transport.registerProducer(self, True)
        self._outgoing = Outgoing(self.transport, self._counts)
        if self._is_unused:
            self._counts.opened += 1
        guard = self.site.guard
        if self._access_log is not None or guard is not None:
            self._host = host_of(self.transport.getPeer())
            self._client = log_text(self._host)
            self._forwarding = self.site.forwarding_of(self._host)
        if guard is not None:
            self._set_gate(guard.gate(self._host, self._forwarding, self.transport))
        if self._overloaded:
            self._outgoing.is_last = True
            reply = unavailable("too many connections")
            self._outgoing.reply(reply, self.site.date_header, True)
            self.site.count_refusal(reply, "connections")
            self._close_lingering()
            return
        if self._is_unused:
            self._deadlines.connected(self.site.now)
        else:
            self._deadlines.idle(self.site.now)
        self._is_resting = self._may_be_fast and self._requests_left > 0
        self._write = self.transport.write

    def _set_gate(self, gate: Gate | None) -> None:
        """Have all requests pass a gate."""
        if gate is None:
            return
        site = self.site
        self._gate = gate
        self._lessons = Lessons(site.limits, site.guard)
        self._incoming.forget()
        self._incoming = Incoming(site.limits, self._begin_guarded)
        if site.fast_way is not None:
            self._fast_way = GuardedWay(site, site.fast_way, gate)

    def dataReceived(self, data: bytes) -> None:
        """Parse what came in, and answer what is complete."""
        if self._is_resting:
            # Most requests are like the one before. This isn't a method of its own, as calling
            # one would take 2 % of a busy worker's time.
            found = self._repeat(data)
            if found is not None:
                self._write(self._ungated.head + found)
                # All that counting costs here is a comparison: these are counted once a second,
                # by what is left, and one of 256 is looked at.
                left = self._requests_left = self._requests_left - 1
                if left <= self._due_left:
                    self._look_at_one(data, found)
                log = self._access_log
                if log is None:
                    return
                if self._log_client is None or self._log_ending is None:
                    self.site.note_repeated(
                        self._host, self._log_client, data, found, self._log_ending
                    )
                else:
                    log.note_repeat(self._log_client, data, found, self._log_ending)
                return
            if self._answer_whole(data):
                return
        self._counts.received += len(data)
        if self._deadlines.phase is Phase.CLOSING:
            return
        if self._unread:
            # The transport was told to pause, and had this read already.
            self._unread = self._unread[self._unread_at :] + data
            self._unread_at = 0
            return
        self._unread = data
        self._work()

    def _answer_whole(self, data: bytes) -> bool:
        """Answer a read that is one plain request."""
        begun = self._now()
        plain = self._read_plain(data, 0)
        if plain is None or plain[-1] != len(data):
            return False
        method, target, framing, body, _ = plain
        is_last = not framing.persists
        answer = self._fast_way.respond(method, target, framing, body, is_last)
        if answer is None:
            return False
        left = self._requests_left
        if left != self._counted_left:
            self.count_repeats()
        self._requests_left = self._counted_left = left - 1
        self._write(answer)
        tally = self._fast_way.tally
        if tally.answered % ONE_OF == 1:
            tally.measure(self._now() - begun, len(data), len(answer), ONE_OF)
        client = self._client
        if self._access_log is not None:
            client = self._client_of(framing)
            self.site.note(client, method, target, framing, answer)
        if is_last:
            self._settled_left = self._requests_left
            self._close_lingering()
            return True
        if not self._requests_left:
            self._is_resting = False
        self._learn(method, target, framing, body, client)
        return True

    def _learn(
        self, method: bytes, target: bytes, framing: Framing, body: bytes, client: bytes
    ) -> None:
        """Have the next request told by its likeness to this one, which was answered."""
        # What is learnt now may be of another kind.
        self.count_repeats()
        answered = self.site.limits.requests_per_connection - self._requests_left
        learnt = self._lessons.learn(answered, method, target, framing, body, False, self._fast_way)
        self._repeat = self._learnt = learnt if self._gate is None else watched(learnt, self._gate)
        if self._access_log is not None:
            self._log_ending = self.site.log_ending(self._lessons, framing)
            forwarding = self._forwarding
            is_same = forwarding is None or forwarding.field not in self._lessons.varying
            self._log_client = client if is_same else None

    def forget_lessons(self) -> None:
        """What was learnt may not be so any more, as what a guard goes by has changed."""
        self._repeat = self._learnt = nothing

    def _use_up_one(self) -> None:
        """One more request is answered, or begins to be, other than by a repeat."""
        self.count_repeats()
        self._requests_left = self._counted_left = max(self._requests_left - 1, 0)

    def count_repeats(self) -> None:
        """Count what was answered by repeats since the last time."""
        repeats = self._counted_left - self._requests_left
        if not repeats:
            return
        self._counted_left = self._requests_left
        kind = self._lessons.kind
        assert kind is not None
        kind.tally.answered += repeats

    def _look_at_one(self, data: bytes, found: bytes) -> None:
        """So many repeats were answered that the next one is to be looked at; or that was it,
        or no more may be asked.

        :param data: the last one, and
        :param found: what it was answered with, from behind the Date header on.
        """
        left, begun, kind = self._requests_left, self._begun, self._lessons.kind
        if not left:
            self._is_resting = False
        if begun is None:
            self._repeat, self._due_left = self._repeat_looked_at, max(left - 1, 0)
            return
        assert kind is not None
        sent = len(self._ungated.head) + len(found)
        kind.tally.measure(self._now() - begun, len(data), sent, ONE_OF_REPEATS)
        self._begun, self._due_left = None, max(left - ONE_OF_REPEATS, 0)

    def _repeat_looked_at(self, data: bytes) -> bytes | None:
        """Answer one as all others, and note when it came and what it asked for."""
        kind, self._repeat = self._lessons.kind, self._learnt
        if kind is None:
            return None
        begun = self._now()
        found = kind.look_at(self._learnt, data)
        if found is not None:
            self._begun = begun
        return found

    def _client_of(self, framing: Framing) -> bytes:
        """How the access log tells whose request it is."""
        forwarding = self._forwarding
        if forwarding is None:
            return self._client
        return log_text(forwarding.client(self._host, framing.fields.get(forwarding.field)))

    def _has_more(self) -> bool:
        """Whether anything that has come in isn't answered."""
        return bool(self._unread) or self._incoming.has_begun

    def _work(self) -> None:
        """Parse and answer what has come in, in order: one portion, or until one takes its time."""
        self._portion = _PORTION
        self._is_working = True
        # All answers of a portion leave in one write.
        self._outgoing.hold()
        try:
            while self._may_work() and self._do_next():
                pass
        except Refused as refused:
            self._refuse(refused)
        finally:
            self._is_working = False
            self._outgoing.release()
        self._settle()

    def _may_work(self) -> bool:
        deadlines = self._deadlines
        return (
            self._request is None
            and not deadlines.is_blocked
            and deadlines.phase is not Phase.CLOSING
        )

    def _do_next(self) -> bool:
        """Take one step. Whether another may follow."""
        if self._streaming is not None:
            return self._stream(self._streaming)
        waiting, turns = self._waiting, self.site.turns
        if waiting is not None:
            if self._portion <= 0 or turns.is_over():
                self._wait_turn()
                return False
            self._portion -= _BY_ROUTE
            self._waiting = None
            if self._gate is None or not self._refuse_one(self._gate, waiting):
                self._start(waiting)
            return True
        if not self._unread:
            return False
        # The first of a read never waits: who sends one request at a time is answered in
        # the turn in which it came.
        if self._portion <= 0 or (self._portion < _PORTION and turns.is_over()):
            self._wait_turn()
            return False
        if not (self._may_be_fast and self._answer_plain()):
            incoming = self._incoming
            self._unread_at = incoming.feed(self._unread, self._unread_at)
            if incoming.exchange is not None:
                self._begin_streaming()
            elif incoming.is_complete:
                self._received()
        self._drop_read()
        return True

    def _drop_read(self) -> None:
        """Let go of what came in, if all of it is parsed."""
        if self._unread_at == len(self._unread):
            self._unread, self._unread_at = b"", 0

    def _begin_streaming(self) -> None:
        """The head of an exchange has come in."""
        incoming, outgoing = self._incoming, self._outgoing
        framing = incoming.head_framing
        outgoing.is_1_0 = framing.is_1_0
        outgoing.is_last = not framing.persists or self._requests_left == 0
        if len(self.site.exchanging) >= self.site.limits.exchanges:
            self.site.counts.add(LIMITS, ("exchanges",))
            raise Refused(503, "too many at the same time", headers=retry_after())
        self._use_up_one()
        self._deadlines.begin_pieces()
        exchange = incoming.take_exchange()
        self.site.exchanging.add(self)
        streaming = Streaming(exchange, incoming.method, incoming.target, framing, self.site)
        self._streaming = streaming
        streaming.start(outgoing)
        streaming.take(b"", incoming.is_complete)

    def _stream(self, streaming: Streaming) -> bool:
        """Take one step of an exchange. Whether another may follow."""
        if not streaming.has_work and not self._unread:
            streaming.run_dry()
            return False
        # Its steps differ, and none is long: the time of the turn is all that counts.
        if self.site.turns.is_over():
            self._wait_turn()
            return False
        if not streaming.has_work:
            incoming, begin = self._incoming, self._unread_at
            self._unread_at = incoming.feed_body(self._unread, begin)
            self._deadlines.piece_came(self._unread_at - begin, self.site.now)
            streaming.take(incoming.take_piece(), incoming.is_complete)
            self._drop_read()
            return True
        try:
            streaming.work()
        except Refused as refused:
            # Where nothing of the body is to come, what follows can still be understood.
            if streaming.has_begun or not streaming.is_complete:
                raise
            self._refuse_exchange(streaming, refused.reply)
            return True
        if streaming.is_finished:
            self._end_streaming(streaming, 200)
        return True

    def _refuse_exchange(self, streaming: Streaming, reply: Reply) -> None:
        status = 200 if streaming.has_begun else reply.status
        streaming.refuse(reply)
        self._end_streaming(streaming, status)

    def _end_streaming(self, streaming: Streaming, status: int) -> None:
        """All of the answer of an exchange is written that will be."""
        self._streaming = None
        self.site.exchanging.discard(self)
        self._note_exchange(streaming, status)
        self.site.count(streaming.method, streaming.exchange.route, status, streaming.begun)
        # It may have begun before a drain did, or before a trailer said close.
        if self._outgoing.is_last or self.site.draining or not self._incoming.persists:
            self._close_lingering()

    def _answer_repeats(self) -> bool:
        """Answer what comes next, if it is like the one before: all that are, of one portion."""
        kind, learnt = self._lessons.kind, self._learnt
        most = min(self._portion, self._requests_left)
        if kind is None or most <= 0:
            return False
        begun, data, begin = self._now(), self._unread, self._unread_at
        # Without its body, a request that has one is like none before.
        end = data.find(END_OF_HEAD, begin) + len(END_OF_HEAD)
        found, address = kind.find_noting(learnt, data[begin:end])
        asked: list[bytes] = []
        answers: list[bytes] = []
        while found is not None:
            asked.append(data[begin:end])
            answers.append(found)
            begin = end
            if len(answers) == most:
                break
            end = data.find(END_OF_HEAD, begin) + len(END_OF_HEAD)
            found = learnt(data[begin:end])
        count = len(answers)
        if not count:
            return False
        self._unread_at = begin
        self._portion -= count * _BY_FAST_WAY
        self.count_repeats()
        self._requests_left = self._counted_left = self._requests_left - count
        self._outgoing.write(self._ungated.head.join([b"", *answers]))
        self._note_repeats(asked, answers)
        tally = kind.tally
        tally.answered += count
        # Their bytes are counted with all others of this read.
        tally.weighed += count
        tally.see(kind.whence(address), count)
        tally.time((self._now() - begun) / count, count)
        return True

    def _note_repeats(self, asked: Sequence[bytes], answers: Sequence[bytes]) -> None:
        if self._access_log is not None:
            for data, found in zip(asked, answers, strict=True):
                self.site.note_repeated(self._host, self._log_client, data, found, self._log_ending)

    def _answer_plain(self) -> bool:
        """Answer what comes next, if it is a plain request that can be answered at once."""
        if self._incoming.has_begun:
            return False
        if self._answer_repeats():
            return True
        begin = self._unread_at
        plain = self._read_plain(self._unread, begin)
        if plain is None:
            return False
        method, target, framing, body, self._unread_at = plain
        if self._answer_at_once(method, target, framing, body):
            if framing.persists:
                client = self._client if self._access_log is None else self._client_of(framing)
                self._learn(method, target, framing, body, client)
            return True
        self._unread_at = begin
        return False

    def _received(self) -> None:
        """A whole request has come in through the parser: answer it, or keep it for its turn."""
        incoming = self._incoming
        if not self._may_be_fast or not self._answer_at_once(
            incoming.method, incoming.target, incoming.framing, incoming.body
        ):
            self._waiting = incoming.take()

    def _answer_at_once(self, method: bytes, target: bytes, framing: Framing, body: bytes) -> bool:
        """Answer on the fast way, if that can be done here and now."""
        is_last = not framing.persists or self._requests_left == 0
        begun = self._now()
        answer = self._fast_way.respond(method, target, framing, body, is_last)
        if answer is None:
            return False
        self._portion -= _BY_FAST_WAY
        self._use_up_one()
        self._outgoing.write(answer)
        tally = self._fast_way.tally
        # Its bytes are counted with all others of this read.
        tally.weighed += 1
        if tally.answered % ONE_OF == 1:
            tally.time(self._now() - begun, ONE_OF)
        if self._access_log is not None:
            self.site.note(self._client_of(framing), method, target, framing, answer)
        if is_last:
            self._close_lingering()
        return True

    def _begin_guarded(self, method: bytes, target: bytes, framing: Framing) -> Exchange | None:
        """Begin an exchange, if this is one and it isn't refused; see :data:`Begin`."""
        begin, gate = self.site.begin_exchange, self._gate
        if begin is None:
            return None
        assert gate is not None
        try:
            exchange = begin(method, target, framing)
        except Refused as refused:
            # Who isn't answered doesn't learn what is wrong with the request.
            self._check_exchange(gate.refuse(method, target, framing))
            raise refused from None
        if exchange is not None:
            self._check_exchange(gate.refuse(method, target, framing))
            self._outgoing.told = gate.take(target, framing)
        return exchange

    def _check_exchange(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            self.site.counts.add(LIMITS, (refusal.limit,))
            raise Refused(refusal.reply.status, reply=refusal.reply)

    def _refuse_one(self, gate: Gate, message: Message) -> bool:
        """Refuse a request that would be the routes' to answer, if it isn't to be answered."""
        site, method, target = self.site, message.method, message.target
        begun, length = self._now(), len(message.body)
        framing = Framing(message.is_1_0, message.persists, length, pairs=message.headers)
        refusal = gate.refuse(method, target, framing)
        if refusal is None:
            self._outgoing.told = gate.take(target, framing)
            return False
        is_last = not message.persists or self._requests_left == 0 or site.draining
        self._use_up_one()
        answer = refusing(site, refusal, method, framing, is_last)
        self._outgoing.write(answer)
        site.count(method, site.route_of(target), refusal.reply.status, begun)
        if self._access_log is not None:
            site.note(self._client_of(framing), method, target, framing, answer)
        if is_last:
            self._close_lingering()
        return True

    def _note_exchange(self, streaming: Streaming, status: int) -> None:
        if self._access_log is not None:
            self.site.note_exchange(self._client_of(streaming.framing), streaming, status)

    def _wait_turn(self) -> None:
        if not self._is_queued:
            self._is_queued = True
            self.site.turns.wait(self)

    def go_on(self) -> None:
        """It is this connection's turn again."""
        self._is_queued = False
        if self._deadlines.phase is Phase.CLOSING:
            return
        try:
            self._work()
        except Exception:  # as the transport does for a read: said, and cut off
            _log.failure("a fault in a connection; closing it")
            self.transport.abortConnection()

    def _refuse(self, refused: Refused) -> None:
        """Nothing after this point can be understood: answer so, and close."""
        outgoing, reply, incoming = self._outgoing, refused.reply, self._incoming
        outgoing.is_last = True
        streaming = self._streaming
        if streaming is not None:
            self._refuse_exchange(streaming, reply)
            return
        if incoming.exchange is not None:
            reply = incoming.take_exchange().refusal(reply)
        outgoing.reply(reply, self.site.date_header, with_body=not incoming.is_head)
        known = self._access_log is not None and incoming.knows_head
        client = self._client_of(incoming.head_framing) if known else self._client
        self.site.note_refusal(client, reply)
        self.site.count_refusal(reply, self._limit_hit(reply.status))
        self._close_lingering()

    def _limit_hit(self, status: int) -> str | None:
        """The setting that a refusal with this status is due to, if it is to one."""
        if status == 408:
            is_body = self._deadlines.phase is Phase.BODY
            return "body_seconds" if is_body else "header_seconds"
        return _LIMITS.get(status)

    def _settle(self) -> None:
        """After a read or an answer: what is awaited now, and until when."""
        was_used = self._requests_left != self._settled_left
        self._settled_left = self._requests_left
        self._is_resting = False
        deadlines = self._deadlines
        if deadlines.phase is Phase.CLOSING:
            return
        has_more = self._waiting is not None or bool(self._unread)
        streaming = self._streaming
        # A client that doesn't read its answers isn't waited for.
        if streaming is not None and (streaming.has_work or deadlines.is_blocked):
            has_more = True
        # While a request is answered, and with nothing waiting, reading goes on, so
        # that a client that leaves is noticed; the first read that brings more is the
        # last.
        if has_more:
            self._pause_reading()
        else:
            self._resume_reading()
        if has_more or self._request is not None:
            deadlines.busy()
        elif self._peer_done:
            self._close()
        else:
            self._await_input(was_used)

    def _await_input(self, was_used: bool) -> None:
        """:param was_used: whether a request was answered since the last time."""
        incoming, deadlines, now = self._incoming, self._deadlines, self.site.now
        if self._streaming is not None:
            deadlines.awaiting_piece(now)
        elif incoming.is_in_body:
            deadlines.in_message(Phase.BODY, incoming.begun, now)
        elif incoming.is_in_header:
            deadlines.in_message(Phase.HEADER, incoming.begun, now)
        elif was_used or deadlines.phase is Phase.BUSY:
            # Not for an empty line: sent again and again, it would never end.
            deadlines.idle(now)
        self._is_resting = (
            self._may_be_fast
            and self._requests_left > 0
            and not incoming.has_begun
            and not deadlines.is_blocked
        )
        if incoming.continue_due:
            incoming.continue_due = False
            if not incoming.has_body:
                self._outgoing.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def is_due(self, before: float, now: float) -> bool:
        """Whether a deadline is over. The site asks once a second.

        :param before: what its clock has said since the last call.
        """
        if self._requests_left != self._settled_left:
            # Requests were answered without leaving IDLE, which left the book-keeping to this.
            self._settled_left = self._requests_left
            self._deadlines.idle(before)
        return self._deadlines.are_over(now)

    def expire(self) -> None:
        """Act on a deadline, if it is still over."""
        now, deadlines = self.site.now, self._deadlines
        if deadlines.has_blocked(now):
            self.site.counts.add(LIMITS, ("idle_seconds",))
            self.transport.abortConnection()
        elif not self.is_due(now, now):
            # It was asked again since the site looked.
            return
        elif deadlines.phase is Phase.CLOSING:
            self.transport.abortConnection()
        elif deadlines.phase in (Phase.HEADER, Phase.BODY):
            self._refuse(Refused(408))
        else:
            self._close()

    def drain(self) -> None:
        """Close with the next answer, or soon.

        An idle connection isn't closed at once: a request may be on its way, and
        its sender would get no answer. One in steady use is asked again within
        the second, and told to close.
        """
        self._may_be_fast = self._is_resting = False
        self._settled_left = self._requests_left
        self._deadlines.last_call(self.site.now)

    def readConnectionLost(self) -> None:
        """The client sends nothing more; it may still wait for answers."""
        self._peer_done = True
        if self._deadlines.phase is not Phase.BUSY:
            self._close()

    def writeConnectionLost(self) -> None:
        """Our last answer has left."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the connection; a request in progress is told."""
        self.count_repeats()
        self.site.forget(self)
        self._drop_unread()
        self._write = _write_nowhere
        self._incoming.forget()
        self._deadlines.gone()
        streaming, self._streaming = self._streaming, None
        if streaming is not None and streaming.has_begun:
            self._note_exchange(streaming, 200)
            self.site.count(streaming.method, streaming.exchange.route, 200, streaming.begun)
        request, self._request = self._request, None
        if request is not None:
            self.site.active -= 1
            request.connectionLost(reason)

    def pauseProducing(self) -> None:
        """The client doesn't read its answers: give it no more to wait for."""
        self._is_resting = False
        self._deadlines.blocked(self.site.now)
        if self._streaming is not None:
            # Nor is it waited for: it can't be read now.
            self._deadlines.piece_came(0, self.site.now)
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._deadlines.unblocked()
        if not self._reading_paused:
            self.transport.resumeProducing()
            if self._streaming is not None and not self._is_working:
                self._settle()
        elif self._request is None and self._deadlines.phase is not Phase.CLOSING:
            self._wait_turn()

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost says so too."""

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pauseProducing()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if not self._deadlines.is_blocked:
                self.transport.resumeProducing()

    def _drop_unread(self) -> None:
        self._unread, self._unread_at, self._waiting = b"", 0, None

    def _close(self) -> None:
        self._outgoing.flush()
        self._settled_left = self._requests_left
        self._may_be_fast = self._is_resting = False
        self._deadlines.closing(self.site.now)
        self._drop_unread()
        self.transport.loseConnection()

    def _close_lingering(self) -> None:
        """Close for writing now, and for reading when the client has, or soon."""
        if self._peer_done:
            self._close()
            return
        self._outgoing.flush()
        self._may_be_fast = self._is_resting = False
        self._deadlines.lingering(self.site.now)
        self._drop_unread()
        self._resume_reading()
        self.transport.loseWriteConnection()

    # The requests' side

    def _start(self, message: Message) -> None:
        outgoing = self._outgoing
        outgoing.is_1_0 = message.is_1_0
        outgoing.is_last = not message.persists or self._requests_left == 0
        self._use_up_one()
        self.site.active += 1
        request = self._request = self.site.make_request(self)
        for name, value in message.headers:
            request.requestHeaders.addRawHeader(name, value)
        request.gotLength(len(message.body))
        request.handleContentChunk(message.body)
        version = b"HTTP/1.0" if message.is_1_0 else b"HTTP/1.1"
        request.requestReceived(message.method, message.target, version)

    def requestDone(self, request: "ApiRequest") -> None:
        """A request has written all of its answer."""
        if self._request is not None:
            self.site.active -= 1
        self._request = None
        if self._outgoing.is_last:
            self._close_lingering()
        elif not self._is_working:
            self._work()

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write the head of an answer."""
        outgoing, site = self._outgoing, self.site
        outgoing.is_last = outgoing.is_last or site.draining
        fields = [(name, value) for name, values in headers.getAllRawHeaders() for value in values]
        outgoing.begin(int(code), site.date_header, fields)

    def write(self, data: bytes) -> None:
        """Write a piece of an answer's body."""
        self._outgoing.write(data)

    def writeSequence(self, pieces: Sequence[bytes]) -> None:
        """Write pieces of an answer."""
        self._outgoing.write(b"".join(pieces))

    def loseConnection(self) -> None:
        """Close when what is written has left."""
        self._close()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """A request writes its answer piece by piece, at the transport's pace."""
        self.transport.unregisterProducer()
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The request has written its last piece."""
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)

    def getPeer(self) -> IAddress:
        """The client's address."""
        return self.transport.getPeer()

    def getHost(self) -> IAddress:
        """Our address."""
        return self.transport.getHost()

    def isSecure(self) -> bool:
        """Whether the connection is over TLS."""
        return ISSLTransport.providedBy(self.transport)

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

What one connection can make us keep is :func:`ipquery.serve.http.bounds.most_kept_bytes`.

A channel is one object in layers. Each is a class in a file of its own, and knows those before
it in this table, but of those after it only that ``_work`` goes on with what has come in:

===============  ===========================  =======================================
layer            what it is about             what lives there, and how long
===============  ===========================  =======================================
Connection       who is there; reading and    the worker's clock and counts; of the
                 closing                      connection client, gate and deadlines;
                                              until it is answered, what came in and
                                              what is being answered; for one turn,
                                              its portion
RepeatChannel    requests like the one        as long as the connection, lessons and
                 before                       counts of repeats; until the next read,
                                              what tells that it is a repeat
RequestChannel   requests that the routes     -
                 answer
Channel          what comes in, taken apart   -
                 and answered
===============  ===========================  =======================================

These are no objects beside each other, as every request on the fast way would pay for each step
from one to the next. What is inherited is found as fast as what is one's own.
"""

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ipquery.metrics import LIMITS
from ipquery.serve.http.client import host_of, log_text
from ipquery.serve.http.connection import BY_FAST_WAY, BY_ROUTE, PORTION, write_nowhere
from ipquery.serve.http.counts import ONE_OF
from ipquery.serve.http.deadlines import Phase
from ipquery.serve.http.exchange import Exchange
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.guard import Gate, GuardedWay, Refusal
from ipquery.serve.http.message import Incoming
from ipquery.serve.http.outgoing import Outgoing
from ipquery.serve.http.refused import Refused
from ipquery.serve.http.repeat import Lessons
from ipquery.serve.http.reply import Reply, retry_after, unavailable
from ipquery.serve.http.request_channel import RequestChannel
from ipquery.serve.http.streaming import Streaming

# What is at fault for a refusal with a status, as [http] calls it.
_LIMITS = {413: "body_bytes", 414: "request_line_bytes", 431: "header_bytes"}


@implementer(IHalfCloseableProtocol, IPushProducer)
class Channel(RequestChannel):
    """One connection: transport on one side, requests on the other."""

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

    def _work(self) -> None:
        """Parse and answer what has come in, in order: one portion, or until one takes its time."""
        self._portion = PORTION
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
            self._portion -= BY_ROUTE
            self._waiting = None
            if self._gate is None or not self._refuse_one(self._gate, waiting):
                self._start(waiting)
            return True
        if not self._unread:
            return False
        # The first of a read never waits: who sends one request at a time is answered in
        # the turn in which it came.
        if self._portion <= 0 or (self._portion < PORTION and turns.is_over()):
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
        self._portion -= BY_FAST_WAY
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

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the connection; a request in progress is told."""
        self.count_repeats()
        self.site.forget(self)
        self._drop_unread()
        self._write = write_nowhere
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

    def _note_exchange(self, streaming: Streaming, status: int) -> None:
        if self._access_log is not None:
            self.site.note_exchange(self._client_of(streaming.framing), streaming, status)

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

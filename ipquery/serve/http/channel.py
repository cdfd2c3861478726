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
ExchangeChannel  what is answered piece by    -
                 piece
DeadlineChannel  what is awaited, and until   -
                 when
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

from ipquery.serve.http.client import host_of, log_text
from ipquery.serve.http.connection import BY_FAST_WAY, BY_ROUTE, PORTION, write_nowhere
from ipquery.serve.http.counts import ONE_OF
from ipquery.serve.http.deadline_channel import DeadlineChannel
from ipquery.serve.http.deadlines import Phase
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.guard import Gate, GuardedWay
from ipquery.serve.http.message import Incoming
from ipquery.serve.http.outgoing import Outgoing
from ipquery.serve.http.refused import Refused
from ipquery.serve.http.repeat import Lessons
from ipquery.serve.http.reply import unavailable


@implementer(IHalfCloseableProtocol, IPushProducer)
class Channel(DeadlineChannel):
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

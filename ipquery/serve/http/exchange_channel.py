"""A connection's exchanges: begun, answered piece by piece, refused, ended.

A layer of :class:`~ipquery.serve.http.channel.Channel`. What goes on in an exchange is the
business of :mod:`ipquery.serve.http.streaming`; here is when it is its turn, and what it means
for the connection.
"""

from ipquery.metrics import LIMITS
from ipquery.serve.http.exchange import Exchange
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.guard import Refusal
from ipquery.serve.http.refused import Refused
from ipquery.serve.http.reply import Reply, retry_after
from ipquery.serve.http.request_channel import RequestChannel
from ipquery.serve.http.streaming import Streaming


class ExchangeChannel(RequestChannel):
    """See above."""

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

"""What a connection awaits, and until when.

A layer of :class:`~ipquery.serve.http.channel.Channel`: after each read or answer it settles in
which phase the connection is, whether more is read, and which deadline runs
(:mod:`ipquery.serve.http.deadlines`), and it acts on one that is over.
"""

from ipquery.metrics import LIMITS
from ipquery.serve.http.deadlines import Phase
from ipquery.serve.http.exchange_channel import ExchangeChannel
from ipquery.serve.http.refused import Refused

# What is at fault for a refusal with a status, as [http] calls it.
_LIMITS = {413: "body_bytes", 414: "request_line_bytes", 431: "header_bytes"}


class DeadlineChannel(ExchangeChannel):
    """See above."""

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

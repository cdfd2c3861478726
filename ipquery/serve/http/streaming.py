"""One exchange under way on a connection: its body decoded, its answer encoded and framed.

===========  ===============================  =======================================
phase        what goes on                     what a refusal is answered with
===========  ===============================  =======================================
HELD         answers are kept back            its status code
BEGUN        answers leave as they are made   last words, and an answer without end
FINISHED     all of the answer is written     -
===========  ===============================  =======================================

An answer that ends in HELD has a length; one that has begun goes out in chunks, or in
HTTP/1.0 until the connection is closed. One that can't go on stays without its last chunk, so
that whoever gets it can tell.
"""

from enum import Enum
from typing import TYPE_CHECKING

from ipquery.serve.http.codings import (
    CODING_BYTES,
    PORTION_BYTES,
    Encoder,
    accepted_coding,
    make_decoder,
    supported,
)
from ipquery.serve.http.exchange import Exchange
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.refused import Refused
from ipquery.serve.http.reply import Reply

if TYPE_CHECKING:
    from ipquery.serve.http.outgoing import Outgoing
    from ipquery.serve.http.site import ApiSite

# What is kept back of an answer, so that a request that turns out to be bad gets its status
# code, and a short answer a length.
_HELD_BYTES = 1 << 15

# Below that, an encoded answer fits in no fewer packets.
_LEAST_ENCODED = 1 << 10

# A piece of the answer, by those who make them: 128 objects of 2 KB.
_MOST_PIECE_BYTES = 1 << 18

MOST_KEPT_BYTES = 2 * PORTION_BYTES + CODING_BYTES + _HELD_BYTES + 3 * _MOST_PIECE_BYTES
"""What an exchange makes a connection keep, besides what every connection may."""


class _Phase(Enum):
    """See the table at the top."""

    HELD = "answers are kept back"
    BEGUN = "answers leave as they are made"
    FINISHED = "all of the answer is written"


class Streaming:
    """See above."""

    def __init__(
        self,
        exchange: Exchange,
        method: bytes,
        target: bytes,
        framing: Framing,
        site: "ApiSite",
    ) -> None:
        self.exchange = exchange
        self.method, self.target, self.framing = method, target, framing
        self.begun = site.monotonic()
        """When its head had come in."""
        self.is_complete = False
        """Whether the whole body has come in."""
        self.sent_bytes = 0
        """Of the answer's body, for the access log."""
        self._site = site
        self._phase = _Phase.HELD
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._has_ended = False
        self._has_fresh = False
        self._to_encode = b""
        self._is_chunked = not framing.is_1_0
        self._encoder: Encoder | None = None

    def start(self, outgoing: "Outgoing") -> None:
        """Look at what the head asks for.

        :param outgoing: where the answer goes.
        :raises Refused: the body is in a coding that isn't known here.
        """
        self._outgoing = outgoing
        coding = self.framing.fields.get(b"content-encoding", b"")
        decoder = make_decoder(coding, self.exchange.body_bytes)
        if decoder is None:
            # RFC 9110 section 12.5.3: in a response it says what a request may be in.
            known = {"Accept-Encoding": ", ".join(supported())}
            raise Refused(415, "the body's Content-Encoding is not known here", headers=known)
        self._decoder = decoder

    @property
    def has_begun(self) -> bool:
        """Whether the answer has."""
        return self._phase is not _Phase.HELD

    @property
    def is_finished(self) -> bool:
        """Whether all of the answer is written."""
        return self._phase is _Phase.FINISHED

    @property
    def has_work(self) -> bool:
        """Whether :meth:`work` has something to do before more of the body comes."""
        return (
            bool(self._to_encode)
            or self.exchange.has_work
            or self._decoder.has_more
            or (self.is_complete and not self.is_finished)
        )

    def take(self, piece: bytes, is_complete: bool) -> None:
        """A piece of the body as it was sent, perhaps empty. Only if there is no work to do.

        :param is_complete: whether it is the last.
        """
        if piece:
            self._decoder.feed(piece)
        self.is_complete = is_complete

    def work(self) -> None:
        """Do a portion.

        :raises Refused: the request can't be answered, or not to its end.
        """
        exchange = self.exchange
        if self._to_encode:
            self._encode()
        elif exchange.has_work:
            self._add(exchange.work())
        elif self._decoder.has_more:
            piece = self._decoder.read()
            if piece:
                exchange.feed(piece)
        elif self._has_ended:
            self._finish()
        else:
            self._decoder.finish()
            self._has_ended = True
            exchange.end()

    def run_dry(self) -> None:
        """The client keeps us waiting for more of the body: let it have what is answered."""
        if not self._has_fresh or not self.exchange.answers_early:
            return
        if not self.has_begun:
            self._begin()
        while self._to_encode:
            self._encode()
        if self._encoder is not None:
            self._send(self._encoder.flush())
        self._has_fresh = False

    def refuse(self, reply: Reply) -> None:
        """Say why the request isn't answered, or not to its end."""
        if not self.has_begun:
            reply = self.exchange.refusal(reply)
            self._outgoing.reply(reply, self._site.date_header, with_body=True)
            self.sent_bytes = len(reply.body)
            return
        self._pass_on(self._to_encode + self.exchange.last_words(reply))
        while self._to_encode:
            self._encode()
        if self._encoder is not None:
            self._send(self._encoder.finish())

    def _add(self, piece: bytes) -> None:
        if not piece:
            return
        self._has_fresh = True
        if self.has_begun:
            self._pass_on(piece)
            return
        self._held.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes > _HELD_BYTES:
            self._begin()

    def _finish(self) -> None:
        if not self.has_begun:
            self._send_whole()
        else:
            if self._encoder is not None:
                self._send(self._encoder.finish())
            if self._is_chunked:
                self._outgoing.write(b"0\r\n\r\n")
        self._phase = _Phase.FINISHED

    def _send_whole(self) -> None:
        body, self._held = b"".join(self._held), []
        if len(body) > _LEAST_ENCODED:
            self._choose_encoder()
        if self._encoder is not None:
            body = self._encoder.encode(body) + self._encoder.finish()
        self._write_head((b"Content-Length", b"%d" % len(body)))
        self._outgoing.write(body)
        self.sent_bytes += len(body)

    def _begin(self) -> None:
        self._phase = _Phase.BEGUN
        self._choose_encoder()
        if self._is_chunked:
            self._write_head((b"Transfer-Encoding", b"chunked"))
        else:
            self._outgoing.is_last = True
            self._write_head()
        held, self._held = b"".join(self._held), []
        self._pass_on(held)

    def _pass_on(self, piece: bytes) -> None:
        if self._encoder is None:
            self._send(piece)
        else:
            self._to_encode = piece

    def _encode(self) -> None:
        """In portions of its own: it takes as long as to make what is encoded."""
        assert self._encoder is not None
        part, self._to_encode = self._to_encode[:PORTION_BYTES], self._to_encode[PORTION_BYTES:]
        self._send(self._encoder.encode(part))

    def _choose_encoder(self) -> None:
        coding = accepted_coding(self.framing.fields.get(b"accept-encoding", b""))
        if coding is not None:
            self._encoder = Encoder(coding)

    def _write_head(self, *more: tuple[bytes, bytes]) -> None:
        outgoing, site = self._outgoing, self._site
        outgoing.is_last = outgoing.is_last or site.draining
        fields = [*self.exchange.fields, *more]
        if self._encoder is not None:
            fields.append((b"Content-Encoding", self._encoder.coding.encode()))
        outgoing.begin(200, site.date_header, fields)

    def _send(self, piece: bytes) -> None:
        """Write a piece of an answer that has begun."""
        if not piece:
            return
        self.sent_bytes += len(piece)
        write = self._outgoing.write
        if self._is_chunked:
            # Three pieces, which are joined with all that leaves in this turn.
            write(b"%x\r\n" % len(piece))
            write(piece)
            write(b"\r\n")
        else:
            write(piece)

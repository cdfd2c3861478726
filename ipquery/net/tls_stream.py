"""TLS between a stream that an asyncio loop owns and the transport on top of it.

The loop has a TLS of its own, and so has Twisted. Measured in one run beside nginx, processor
time for a request on a kept connection: nginx 12.0 us, this 11.8, the loop's 14.0, Twisted's 27.8;
a handshake takes about as long with all three (450 to 500 us, of which OpenSSL has 250 and up;
nginx 330), so that what is asked first is answered without any (:mod:`ipquery.net.tls_first`).
What decided is that this one lets us say who waits for what: handshakes are bounded in
number and time by :mod:`ipquery.net.opening`, no timer is kept for each, nobody waits for a peer's
close_notify, and what has been read from the socket before can be given to it (the first record
may come in one read with a PROXY header).

=========  ============================================  ====================================
state      what goes on                                  ends
=========  ============================================  ====================================
HANDSHAKE  records go to OpenSSL, nothing to the         done: OPEN; an error, or the peer
           transport, which isn't connected yet          leaves: CLOSED; too late: aborted
OPEN       data goes both ways                           close, write_eof: WRITTEN;
                                                         an error: CLOSED
WRITTEN    all that was written and close_notify are on  the peer closes: CLOSED; the
           their way, and what comes in is thrown away   transport's owner has a deadline
CLOSED     nothing                                       never
=========  ============================================  ====================================

Whoever closes says close_notify first, and needs not wait for the other's (RFC 8446 section
6.1). So a half-closed stream is to be had: after :meth:`TlsStream.write_eof` the last answer
reaches a peer that still sends, as it would without TLS. What the peer says after that isn't
even decrypted.

A peer that says close_notify, or ends its stream without it, sends no more (``eof_received``).
What is protected from being cut short is HTTP's own framing: a message without its end isn't
answered.
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import ISSLTransport
from zope.interface import implementer

from ipquery.net.opening import Openings
from ipquery.net.tls_records import RECORD_BYTES, Records, handshake_fault
from ipquery.net.transport import LoopTransport

if TYPE_CHECKING:
    from cryptography import x509

# What OpenSSL is given to decrypt at once, and what it may have encrypted before it is sent.
_PIECE_BYTES = 1 << 15


@implementer(ISSLTransport)
class TlsTransport(LoopTransport):
    """A stream over TLS."""

    def getPeerCertificate(self) -> "x509.Certificate | None":
        """The client's certificate, verified; ``None`` if it sent none."""
        # Not above: it takes 8 MB in each worker, and few ask for it.
        from cryptography import x509

        certificate = self._stream.peer_certificate()
        return x509.load_der_x509_certificate(certificate) if certificate else None


class TlsStream(asyncio.Protocol):
    """An asyncio protocol to the loop's stream, an asyncio transport to a :class:`TlsTransport`."""

    def __init__(
        self,
        records: Records,
        transport: LoopTransport,
        openings: Openings,
        first: bytes = b"",
        peer_is_done: bool = False,
    ) -> None:
        """
        :param records: new, or those of a connection that was begun without this.
        :param transport: is told that it is connected once the handshake is done.
        :param openings: keeps it until then.
        :param first: what has been read from the stream already, and isn't in the records.
        :param peer_is_done: whether the peer has said close_notify already.
        """
        self._transport: Any = transport
        self._openings = openings
        self._first = first
        self._peer_was_done = peer_is_done
        self._records = records
        self._incoming, self._outgoing = records.incoming, records.outgoing
        self._tls = records.tls
        self._stream: Any = None
        self._deliver: Any = None
        self._is_open = records.is_open
        self._is_written = False
        if not self._is_open:
            openings.add(self)

    # The loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, which is the client's to open, or go on with it."""
        self._stream = transport
        if self._is_written:
            self.abort()
        unsent = self._records.take()
        if unsent:
            self._stream.write(unsent)
        if self._is_open:
            self._transport.connection_made(self)
            if self._peer_was_done and not self._is_written:
                self._peer_is_done()
            return
        first, self._first = self._first, b""
        if first:
            self.data_received(first)

    def data_received(self, data: bytes) -> None:
        """Decrypt what came in, and hand it on."""
        if self._is_written:
            return
        incoming = self._incoming
        if len(data) > _PIECE_BYTES and self._is_open:
            self._receive_large(memoryview(data))
            return
        incoming.write(data)
        # Asked for more than there is, OpenSSL raises, which takes as long as to decrypt.
        if not self._is_open and not (self._shake_hands() and incoming.pending):
            return
        try:
            data = self._tls.read(RECORD_BYTES)
        except ssl.SSLWantReadError:
            self._flush()  # less than a record, or one of TLS itself
            return
        except ssl.SSLError as error:
            self._fail(error)
            return
        if not data:
            self._peer_is_done()
        elif incoming.pending or len(data) == RECORD_BYTES:
            records = [data]
            self._hand_on(records, self._read_records(records))
        else:
            self._deliver(data)

    def _receive_large(self, data: memoryview) -> None:
        """Decrypt in pieces: OpenSSL's buffer stays as large as what it once had to hold."""
        records: list[bytes] = []
        may_continue = True
        for begin in range(0, len(data), _PIECE_BYTES):
            self._incoming.write(data[begin : begin + _PIECE_BYTES])
            may_continue = self._read_records(records)
            if not may_continue:
                break
        self._hand_on(records, may_continue)

    def _read_records(self, records: list[bytes]) -> bool:
        """Decrypt what there is. Whether more may come."""
        try:
            data, peer_is_done = self._records.read()
        except ssl.SSLError as error:
            self._fail(error)
            return False
        if data:
            records.append(data)
        return not peer_is_done

    def _hand_on(self, records: list[bytes], may_continue: bool) -> None:
        if self._is_written:
            return  # a record was damaged
        if records:
            self._deliver(b"".join(records))
        if not may_continue and not self._is_written:
            self._peer_is_done()

    def _peer_is_done(self) -> None:
        """The peer has said close_notify."""
        if not self._transport.eof_received():
            self.close()

    def _shake_hands(self) -> bool:
        """Whether the handshake is done, and the stream is to be read."""
        try:
            self._is_open = self._records.shake_hands()
        except ssl.SSLError as error:
            self._fail(error)
            return False
        self._flush()
        if not self._is_open:
            return False
        self._openings.done(self)
        self._transport.connection_made(self)
        return not self._is_written

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._stream.write(self._outgoing.read())

    def _fail(self, error: ssl.SSLError) -> None:
        """Tell the peer what is wrong, in the words that OpenSSL has for it, and close."""
        if not self._is_open:
            self._openings.refuse(handshake_fault(error), self._transport.peer_name)
        self._is_written = True
        self._flush()
        self._stream.close()

    def eof_received(self) -> bool:
        """The peer has ended its stream. Whether to keep it for writing."""
        return self._is_open and bool(self._transport.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream is gone."""
        self._openings.done(self)
        self._is_written = True
        transport, self._transport, self._deliver = self._transport, None, None
        if self._is_open:
            transport.connection_lost(exc)

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        if self._is_open:
            self._transport.pause_writing()

    def resume_writing(self) -> None:
        """Most of it has left."""
        if self._is_open:
            self._transport.resume_writing()

    # The transport's side

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Give what comes in to the transport's protocol."""
        above: Any = protocol
        self._deliver = above.data_received

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """From how many bytes that wait to be sent writing is paused, and resumed."""
        self._stream.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str) -> Any:
        """What is known about the socket."""
        return self._stream.get_extra_info(name)

    def peer_certificate(self) -> bytes | None:
        """The client's certificate in DER, verified; ``None`` if it sent none."""
        return self._tls.getpeercert(binary_form=True)

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if self._is_written:
            return
        sent = self._tls.write(data)
        if sent < len(data):
            rest = memoryview(data)
            while rest := rest[sent:]:
                if self._outgoing.pending >= _PIECE_BYTES:
                    self._flush()
                sent = self._tls.write(rest)
        self._stream.write(self._outgoing.read())

    def write_eof(self) -> None:
        """Nothing more will be written; what comes in is thrown away."""
        self._say_close()
        self._stream.write_eof()

    def close(self) -> None:
        """Close when what was written has left."""
        self._say_close()
        self._stream.close()

    def _say_close(self) -> None:
        if self._is_written:
            return
        self._is_written = True
        self._records.say_close()
        self._flush()

    def abort(self) -> None:
        """Close now."""
        self._is_written = True
        if self._stream is not None:
            self._stream.abort()

    def is_closing(self) -> bool:
        """Whether the stream is closed, or about to be."""
        return bool(self._stream.is_closing())

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._stream.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._stream.resume_reading()

"""Requests as they come in: framing by llhttp (httptools), and what a server has to decide.

llhttp refuses ambiguous framing by itself: duplicate, signed or listed
Content-Length, Content-Length with Transfer-Encoding, bad chunk sizes, bare CR
or LF, obs-fold, NUL, blanks before the colon. What it lets pass is decided in
:mod:`ipquery.serve.http.decisive`, by RFC 9112.
"""

from collections.abc import Sequence
from enum import Enum

import attrs
import httptools

from ipquery.serve.http.decisive import (
    HTTP_1_0,
    HTTP_1_1,
    HTTP_2_0,
    check_coding,
    check_host,
    check_version,
    decisive_fields,
    expects_continue,
    target_of,
    tokens,
    without_upgrade,
)
from ipquery.serve.http.exchange import Begin, Exchange
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.refused import Refused

# Of a request line besides its target: the longest method llhttp knows has 11
# characters.
_LINE_EXTRA = 32

# RFC 9112 section 2.2: at least one empty line before a request is to be ignored. Old
# clients send one behind a body; more than a few are no request to come.
_MOST_EMPTY_BYTES = 64

# A body sent in chunks of one byte takes six ("1\r\nx\r\n"), and then some.
_CHUNK_OVERHEAD = 8

# What is parsed of the body of an exchange at once: so much, or so many lines of a chunked one,
# takes 0.1 ms.
_PIECE_BYTES, _PIECE_LINES = 1 << 15, 64


class _Part(Enum):
    """What comes next of a message."""

    HEAD = "the request line and the header"
    LENGTH = "a body of stated length"
    CHUNKED = "a chunked body"


@attrs.frozen
class Message:
    """A complete request."""

    method: bytes
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    persists: bool
    """Whether the client wants to keep the connection."""
    is_1_0: bool


class Incoming:
    """The message that a connection is receiving.

    httptools calls the methods named ``on_``. The parser is fed up to where a
    message may end, and no further: so what comes behind it stays unparsed until
    its turn, a message's size is known to the byte, and its request line can be
    looked at as it was sent. llhttp ends a message behind an empty line, behind
    a body of stated length, or behind a line of a chunked body.

    =========  =================================  ====================================
    part       what comes in                      fed up to
    =========  =================================  ====================================
    HEAD       empty lines, request line, header  the empty line that ends the header
    LENGTH     a body of stated length            its end
    CHUNKED    a chunked body and its trailers    the end of each line
    =========  =================================  ====================================

    When a message is complete, it may be looked at here until :meth:`feed` is called
    again; :meth:`take` makes a value of it. Of a message that is an exchange only the head
    is fed so, and its body by :meth:`feed_body`.
    """

    exchange: Exchange | None = None
    """What takes the body of the message piece by piece, if something does; known when the
    header is complete."""

    is_complete = False
    """Whether the last :meth:`feed` ended a message."""
    continue_due = False
    """Whether the client waits for 100 before it sends the body."""

    knows_head = False
    """Whether the header of the message that the last :meth:`feed` parsed is complete, and
    unambiguous."""

    begun = 0
    """How many messages have begun on this connection."""
    method = b""
    target = b""
    is_1_0 = False
    persists = False
    """Whether the client wants to keep the connection; known when the message is complete."""

    def __init__(self, limits: HttpLimits, begin: Begin | None = None) -> None:
        """
        :param begin: tells which messages are exchanges; without it none are.
        """
        self._limits = limits
        self._begin_exchange = begin
        self._most_body = limits.body_bytes
        self._silent_bytes = 0
        self._parser = httptools.HttpRequestParser(self)
        self._most_head_bytes = (
            _MOST_EMPTY_BYTES + limits.request_line_bytes + _LINE_EXTRA + limits.header_bytes
        )
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._length = 0
        self._in_message = False
        self._says_close = False
        self._head_without_upgrade = b""
        self._expect_head()

    def _expect_head(self) -> None:
        self._part = _Part.HEAD
        self._part_bytes = 0
        self._end_of_read = b""
        self._line = b""
        self._line_ends_at = 0

    @property
    def has_begun(self) -> bool:
        """Whether something of a message has come in, be it an empty line before it."""
        return self._part_bytes > 0 or self._part is not _Part.HEAD

    @property
    def is_in_header(self) -> bool:
        """Whether a request line has begun, and the header isn't complete."""
        return self._part is _Part.HEAD and self._in_message

    @property
    def is_in_body(self) -> bool:
        """Whether the header is complete, and the body isn't."""
        return self._part is not _Part.HEAD

    def feed(self, data: bytes, begin: int) -> int:
        """Parse up to the end of a message, or as far as the data go.

        :param begin: where in the data to begin.
        :returns: where it stopped.
        :raises Refused: this message can't be answered, and what follows not be
            understood.
        """
        self.is_complete = False
        if not self._in_message:
            self.knows_head = False
        end = begin
        while end < len(data) and not self.is_complete:
            end = self._feed_once(data, end, self._next_stop(data, end))
            if self.exchange is not None:
                break
        return end

    def feed_body(self, data: bytes, begin: int) -> int:
        """Parse a portion of the body of an exchange, or up to the end of its message.

        :param begin: where in the data to begin.
        :returns: where it stopped.
        :raises Refused: as :meth:`feed`.
        """
        # A slice is to what looks for the ends of lines what a read is otherwise.
        portion, end = data[begin : begin + _PIECE_BYTES], 0
        for _ in range(_PIECE_LINES):
            before, received = end, self._body_bytes
            end = self._feed_once(portion, end, self._next_stop(portion, end))
            if self.is_complete:
                break
            self._silent_bytes += end - before
            if self._body_bytes > received:
                self._silent_bytes = 0
            # llhttp keeps the trailer field that is coming in.
            elif self._silent_bytes > self._limits.header_bytes:
                raise Refused(413)
            if end == len(portion):
                break
        return begin + end

    def take_exchange(self) -> Exchange:
        """What takes the body of this message, which there must be; once."""
        exchange, self.exchange = self.exchange, None
        assert exchange is not None
        return exchange

    def take_piece(self) -> bytes:
        """What has come in of the body since the last call."""
        piece, self._body = b"".join(self._body), []
        return piece

    def _feed_once(self, data: bytes, begin: int, end: int) -> int:
        """:returns: the end."""
        piece = data[begin:end]
        self._part_bytes += end - begin
        if self._part is _Part.HEAD:
            self._watch_line(piece)
        self._parse(piece)
        if not self.is_complete:
            self._check_unfinished()
        return end

    def _next_stop(self, data: bytes, begin: int) -> int:
        """Where the message may end, or what is parsed at once does."""
        if self._part is _Part.LENGTH:
            return min(begin + self._length - self._part_bytes, len(data))
        if self._part is _Part.CHUNKED:
            return self._find_end(data, begin, b"\r\n")
        most = begin + self._most_head_bytes - self._part_bytes + 1
        return min(self._find_end(data, begin, b"\r\n\r\n"), most)

    def _find_end(self, data: bytes, begin: int, mark: bytes) -> int:
        """Where the next mark ends, or the data do; it may have begun in the read before."""
        before, length = self._end_of_read, len(mark)
        if before:
            self._end_of_read = b""
            across = (before + data[begin : begin + length - 1]).find(mark)
            if across >= 0:
                return begin + across + length - len(before)
        found = data.find(mark, begin)
        if found >= 0:
            return found + length
        self._end_of_read = (before + data[max(begin, len(data) - length + 1) :])[1 - length :]
        return len(data)

    def _watch_line(self, piece: bytes) -> None:
        """Keep the end of the request line, which says the protocol."""
        if self._line_ends_at:
            return
        line = self._line + piece if self._line else piece.lstrip(b"\r\n")
        end = line.find(b"\r\n")
        if end < 0:
            self._line = line
            return
        self._line_ends_at = self._part_bytes - len(line) + end + 2
        self._line = line[max(end - len(HTTP_1_1), 0) : end]

    def _parse(self, piece: bytes) -> None:
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserCallbackError as error:
            # httptools hides what a callback raised behind an error of its own.
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            if self._line == HTTP_2_0:  # as in the preface of HTTP/2 (RFC 9113 section 3.4)
                raise Refused(505) from None
            raise Refused(400, f"bad request: {error}") from None
        if self._head_without_upgrade:
            # llhttp stops after the head, and would take a body for what comes after
            # the upgrade. It gets the head again without it.
            head, self._head_without_upgrade = self._head_without_upgrade, b""
            self._parser = httptools.HttpRequestParser(self)
            self._parse(head)

    def _check_unfinished(self) -> None:
        """Bound a message that never ends; a complete one is measured when it is."""
        limits, received = self._limits, self._part_bytes
        if self._part is _Part.CHUNKED:
            if received > limits.header_bytes + _CHUNK_OVERHEAD * self._most_body:
                raise Refused(413)
        elif self._part is _Part.HEAD:
            if len(self.target) > limits.request_line_bytes:
                raise Refused(414)
            if received >= self._most_head_bytes:
                raise Refused(431)
            if not self._in_message and received > _MOST_EMPTY_BYTES:
                raise Refused(400, "bad request: empty lines instead of a request")
            self._check_header()

    def _check_header(self) -> None:
        """Hold the fields against the limits, as they were sent, blanks included."""
        limits = self._limits
        # Behind them comes an empty line.
        size = self._part_bytes - self._line_ends_at - len(b"\r\n") if self._line_ends_at else 0
        if size > limits.header_bytes:
            raise Refused(431)

    def forget(self) -> None:
        """Nothing more comes. The parser refers to this, and goes with it only if this lets go;
        so may what begins exchanges."""
        del self._parser
        self._begin_exchange = None

    def take(self) -> Message:
        """The message just completed, as a value that outlives the next one."""
        return Message(
            self.method,
            self.target,
            self._headers,
            self.body,
            self.persists,
            self.is_1_0,
        )

    @property
    def head_framing(self) -> Framing:
        """How a message is framed whose head is complete."""
        # Connection stands in trailers, too, to llhttp: what is told here may be less.
        persists = self._parser.should_keep_alive() and not self._says_close
        return Framing(self.is_1_0, persists, self._length, pairs=self._headers)

    @property
    def framing(self) -> Framing:
        """How the message just completed is framed."""
        return Framing(self.is_1_0, self.persists, len(self.body), pairs=self._headers)

    @property
    def body(self) -> bytes:
        """The whole body, without chunk framing."""
        return b"".join(self._body)

    @property
    def has_body(self) -> bool:
        """Whether some of the body has come in."""
        return self._body_bytes > 0

    @property
    def is_head(self) -> bool:
        """Whether it is a HEAD request, as far as is known yet."""
        # Target and parser still are those of the message before until another begins.
        is_known = self._in_message and bool(self.target)
        return is_known and self._parser.get_method() == b"HEAD"

    # Called by httptools

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_message = True
        self.begun += 1
        self.target = b""
        self._headers = []
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """The request target, or a piece of it."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field, or after the body a trailer field, which is left out.

        :raises Refused: through the parser, see :meth:`feed`.
        """
        if self._part is not _Part.HEAD:
            return
        self._headers.append((name, value))
        # At once: 4,000 fields in 16 KB would take 3 ms, garbage collections included.
        if len(self._headers) > self._limits.header_count:
            raise Refused(414 if len(self.target) > self._limits.request_line_bytes else 431)

    def on_headers_complete(self) -> None:
        """Decide on what llhttp lets pass.

        :raises Refused: through the parser, see :meth:`feed`.
        """
        parser = self._parser
        self.method = parser.get_method()
        if parser.should_upgrade() and self.method != b"CONNECT":
            version = parser.get_http_version().encode()
            self._head_without_upgrade = without_upgrade(
                self.method, self.target, version, self._headers
            )
            return
        if len(self.target) > self._limits.request_line_bytes:
            raise Refused(414)
        self._check_header()
        self.is_1_0 = is_1_0 = self._line == HTTP_1_0
        check_version(self._line)
        self.target = target_of(self.method, self.target)
        fields = decisive_fields(self._headers)
        check_host(fields.get(b"host", ()), is_1_0)
        check_coding(fields.get(b"transfer-encoding", ()), is_1_0)
        self._length = int(fields.get(b"content-length", (b"0",))[0])
        # RFC 9112 section 9.3: close stands before keep-alive; llhttp looks
        # at keep-alive alone in HTTP/1.0.
        self._says_close = b"close" in tokens(fields.get(b"connection", ()))
        self.knows_head = True
        self._begin_body()
        self._part = _Part.CHUNKED if b"transfer-encoding" in fields else _Part.LENGTH
        self._part_bytes = self._silent_bytes = 0
        self.continue_due = expects_continue(fields.get(b"expect", ()), is_1_0)

    def _begin_body(self) -> None:
        """Learn how large the body may be, and whether it is taken piece by piece."""
        self._most_body, self.exchange = self._limits.body_bytes, None
        if self._begin_exchange is not None:
            self.exchange = self._begin_exchange(self.method, self.target, self.head_framing)
            if self.exchange is not None:
                self._most_body = self.exchange.body_bytes
        if self._length > self._most_body:
            raise Refused(413)

    def on_body(self, body: bytes) -> None:
        """A piece of the body, without chunk framing."""
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._most_body:
            raise Refused(413)

    def on_message_complete(self) -> None:
        """A whole request."""
        if self._head_without_upgrade:
            return
        self.is_complete = True
        # Trailers can change it, and the parser forgets it with the next byte.
        self.persists = self._parser.should_keep_alive() and not self._says_close
        self.continue_due = False
        self._in_message = False
        self._expect_head()

"""Requests as they come in: framing by llhttp (httptools), and what a server has to decide.

llhttp refuses ambiguous framing by itself: duplicate, signed or listed
Content-Length, Content-Length with Transfer-Encoding, bad chunk sizes, bare CR
or LF, obs-fold, NUL, blanks before the colon. What it lets pass is decided in
:meth:`Incoming.on_headers_complete`, by RFC 9112.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import attrs
import httptools

from ipquery.serve import contract
from ipquery.serve.limits import HttpLimits

# RFC 9110 section 7.2, RFC 3986 section 3.2.2: the characters of host and port.
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
# RFC 9112 section 3.2.2: absolute-form; the authority counts for nothing here.
_ABSOLUTE_FORM = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)

# A body sent in chunks of one byte takes six ("1\r\nx\r\n"), and then some.
_CHUNK_OVERHEAD = 8

_DECISIVE = frozenset(
    {b"connection", b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade"}
)
"""Fields that say how a message is to be read; the others are only passed on."""

# What callers send over and over is looked up instead of worked out: 100 ns less
# for every field. Bounded, as names and hosts are the callers' to choose.
_KNOWN = 1000
_decisive_names: dict[bytes, bytes | None] = {}
_good_hosts: set[bytes] = set()


class Refused(Exception):
    """The message is refused, and with it all that follows on the connection."""

    def __init__(self, status: int, text: str | None = None) -> None:
        super().__init__(status, text)
        self.reply = contract.refusal(status, text)


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

    httptools calls the methods named ``on_``. When a message is complete,
    ``deliver`` is called, and may look at it here; :meth:`take` makes a value of it.
    """

    in_message = False
    """Whether a request has begun and isn't complete."""
    headers_done = False
    """Whether its header is complete."""
    continue_due = False
    """Whether the client waits for 100 before it sends the body."""

    begun = 0
    """How many messages have begun on this connection."""
    method = b""
    target = b""
    is_plain = False
    """HTTP/1.1, kept alive, a body of stated length or none, nothing expected."""

    def __init__(self, limits: HttpLimits, deliver: Callable[[], None]) -> None:
        self._limits = limits
        self._deliver = deliver
        self._parser = httptools.HttpRequestParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._is_1_0 = False
        self._says_close = False
        self._begun_in_this_read = False
        self._earlier_bytes = 0
        self._head_without_upgrade = b""

    def feed(self, data: bytes) -> None:
        """Parse one read.

        :raises Refused: this message can't be answered, and what follows not be
            understood. Messages before it have been delivered.
        """
        rest = data
        while rest:
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                # llhttp stops after the head, and would take a body for what
                # comes after the upgrade. It gets the head again without it.
                rest = self._head_without_upgrade + rest[upgrade.args[0] :]
                self._head_without_upgrade = b""
                self._parser = httptools.HttpRequestParser(self)
            except httptools.HttpParserCallbackError as error:
                # httptools hides what a callback raised behind an error of its own.
                raise error.__context__ or error from None
            except httptools.HttpParserError as error:
                raise Refused(400, f"bad request: {error}") from None
            else:
                rest = b""
        if self.in_message:
            self._check_unfinished(len(data))

    def _check_unfinished(self, received: int) -> None:
        """Bound a message that never ends; a complete one is measured exactly.

        The read that a message begins with isn't counted: how much of it
        belongs to messages before isn't known.
        """
        if self._begun_in_this_read:
            self._begun_in_this_read = False
        else:
            self._earlier_bytes += received
        limits = self._limits
        header = limits.request_line_bytes + limits.header_bytes
        if len(self.target) > limits.request_line_bytes:
            raise Refused(414)
        if not self.headers_done and self._earlier_bytes > header:
            raise Refused(431)
        if self._earlier_bytes > header + _CHUNK_OVERHEAD * limits.body_bytes:
            raise Refused(413)

    def take(self) -> Message:
        """The message just completed, as a value that outlives the next one."""
        return Message(
            self.method,
            self.target,
            self._headers,
            self.body,
            self._parser.should_keep_alive() and not self._says_close,
            self._is_1_0,
        )

    @property
    def body(self) -> bytes:
        """The whole body, without chunk framing."""
        return b"".join(self._body)

    @property
    def is_head(self) -> bool:
        """Whether it is a HEAD request, as far as is known yet."""
        return bool(self.target) and self._parser.get_method() == b"HEAD"

    # Called by httptools

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.in_message = True
        self.begun += 1
        self.headers_done = False
        self.target = b""
        self._headers = []
        self._body = []
        self._body_bytes = 0
        self._begun_in_this_read = True
        self._earlier_bytes = 0

    def on_url(self, url: bytes) -> None:
        """The request target, or a piece of it."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field, or after the body a trailer field, which is left out."""
        if not self.headers_done:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Decide on what llhttp lets pass.

        :raises Refused: through the parser, see :meth:`feed`.
        """
        self.headers_done = True
        parser = self._parser
        self.method = parser.get_method()
        if parser.should_upgrade() and self.method != b"CONNECT":
            self._head_without_upgrade = self._without_upgrade()
            return
        self._check_sizes()
        fields = self._decisive_fields()
        # HTTP/1.1 is the only version that llhttp keeps alive without being asked;
        # to ask it for the version takes longer than all other checks.
        kept = parser.should_keep_alive()
        version = "1.1" if kept and b"connection" not in fields else parser.get_http_version()
        self._check_version(version)
        self._check_target()
        _check_host(fields.get(b"host", ()), version)
        _check_coding(fields.get(b"transfer-encoding", ()), version)
        if int(fields.get(b"content-length", (b"0",))[0]) > self._limits.body_bytes:
            raise Refused(413)
        self.continue_due = _expects_continue(fields.get(b"expect", ()), version)
        # RFC 9112 section 9.3: close stands before keep-alive; llhttp looks
        # at keep-alive alone in HTTP/1.0.
        self._says_close = b"close" in _tokens(fields.get(b"connection", ()))
        self.is_plain = (
            kept
            and version == "1.1"
            and b"transfer-encoding" not in fields
            and not self.continue_due
        )

    def _check_sizes(self) -> None:
        limits = self._limits
        if len(self.target) > limits.request_line_bytes:
            raise Refused(414)
        if len(self._headers) > limits.header_count:
            raise Refused(431)
        if sum(len(name) + len(value) for name, value in self._headers) > limits.header_bytes:
            raise Refused(431)

    def _decisive_fields(self) -> Mapping[bytes, Sequence[bytes]]:
        fields: dict[bytes, list[bytes]] = {}
        for name, value in self._headers:
            try:
                decisive = _decisive_names[name]
            except KeyError:
                decisive = _learn_name(name)
            if decisive is not None:
                fields.setdefault(decisive, []).append(value)
        return fields

    def _check_version(self, version: str) -> None:
        if version not in ("1.0", "1.1"):
            raise Refused(400 if version == "0.9" else 505)
        self._is_1_0 = version == "1.0"

    def _check_target(self) -> None:
        """RFC 9112 section 3.2: the form of the target must fit the method."""
        if self.target.startswith(b"/"):
            return
        if self.method == b"CONNECT":
            raise Refused(405)
        if self.target == b"*" and self.method == b"OPTIONS":
            return
        absolute = _ABSOLUTE_FORM.match(self.target)
        if absolute is None:
            raise Refused(400, "bad request target")
        rest = self.target[absolute.end() :]
        self.target = rest if rest.startswith(b"/") else b"/" + rest

    def _without_upgrade(self) -> bytes:
        """The head again, as if no upgrade were wanted (RFC 9110 section 7.8: it may be ignored).

        Java's HTTP client asks for h2c with every first request, whatever its method.
        """
        version = self._parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.method, self.target, version)]
        for name, value in self._headers:
            if name.lower() == b"connection":
                value = b", ".join(_tokens([value]) - {b"upgrade"})
            if name.lower() != b"upgrade":
                lines.append(b"%s: %s" % (name, value))
        return b"\r\n".join([*lines, b"", b""])

    def on_body(self, body: bytes) -> None:
        """A piece of the body, without chunk framing."""
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            raise Refused(413)

    def on_message_complete(self) -> None:
        """A whole request."""
        if self._head_without_upgrade:
            return
        self.in_message = False
        self.continue_due = False
        self._deliver()


def _learn_name(name: bytes) -> bytes | None:
    lower = name.lower()
    decisive = lower if lower in _DECISIVE else None
    if len(_decisive_names) < _KNOWN:
        _decisive_names[name] = decisive
    return decisive


def _tokens(values: Sequence[bytes]) -> set[bytes]:
    """The members of a list-valued field, in lower case (RFC 9110 section 5.6.1)."""
    return {token.strip().lower() for value in values for token in value.split(b",")}


def _check_host(values: Sequence[bytes], version: str) -> None:
    """RFC 9112 section 3.2: exactly one Host, but for HTTP/1.0, and a possible one."""
    if len(values) != 1:
        if values or version == "1.1":
            raise Refused(400, "a request needs one Host header")
        return
    host = values[0]
    if host in _good_hosts:
        return
    if not _HOST.fullmatch(host):
        raise Refused(400, "bad Host header")
    if len(_good_hosts) < _KNOWN:
        _good_hosts.add(host)


def _check_coding(values: Sequence[bytes], version: str) -> None:
    """RFC 9112 section 6.1: chunked alone, and not before HTTP/1.1."""
    if not values:
        return
    if version == "1.0":
        raise Refused(400, "bad request: Transfer-Encoding in HTTP/1.0")
    if [value.strip().lower() for value in values] != [b"chunked"]:
        raise Refused(501)


def _expects_continue(values: Sequence[bytes], version: str) -> bool:
    """RFC 9110 section 10.1.1: 100-continue is the only expectation there is."""
    if not values or version == "1.0":
        return False
    if [value.lower() for value in values] != [b"100-continue"]:
        raise Refused(417)
    return True

"""Replies, and how the head of a response is written: nowhere else is one put together.

Date comes first behind the status line, so that all that follows it can be kept ready, and
Connection last. The version is always ours (RFC 9110 section 6.2), and the software's name
is told to nobody.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus

import attrs

JSON = b"application/json"

RETRY_AFTER_SECONDS = 1
"""Long enough for a load balancer to have chosen another node."""

END_OF_HEAD = b"\r\n\r\n"


@attrs.frozen
class Reply:
    """A status code, a body, and header fields beyond those every reply has."""

    status: int
    body: bytes
    headers: Mapping[str, str] = attrs.field(factory=dict)
    content_type: bytes | None = JSON
    """``None`` where there is no content: of 204 and 304."""

    def fields(self) -> Iterable[tuple[bytes, bytes]]:
        """All its header fields but Date and Connection."""
        if self.content_type is not None:
            yield b"Content-Type", self.content_type
            # Without it the answer would go out in chunks; for HEAD it says what GET has.
            yield b"Content-Length", b"%d" % len(self.body)
        for name, value in self.headers.items():
            yield name.encode(), value.encode()


def message(status: int, text: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An error in the shape callers know: ``{"message": text}``.

    ASCII, so that a caller's broken text can't break the reply.
    """
    return Reply(status, json.dumps({"message": text}).encode(), headers or {})


def unavailable(why: str) -> Reply:
    """Not now: starting, draining, or too many connections."""
    return message(503, why, retry_after())


def retry_after() -> Mapping[str, str]:
    """Header fields of an answer that says so."""
    return {"Retry-After": str(RETRY_AFTER_SECONDS)}


INTERNAL_ERROR = message(500, "internal error")
"""All a caller learns of a fault of ours; the log has the rest."""

_REFUSALS = {
    400: "bad request",
    404: "not found",
    405: "method not allowed",
    408: "request not complete in time",
    413: "request body too large",
    414: "request line too long",
    417: "unknown expectation",
    431: "request headers too large",
    501: "transfer encoding not supported",
    505: "HTTP version not supported",
}


def refusal(code: int, text: str | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply to a request that never reaches a route."""
    return message(code, text or _REFUSALS.get(code, "request refused"), headers)


@cache
def status_line(status: int) -> bytes:
    """The first line of a response, with its end."""
    # Not Twisted's table of phrases, which has no 431.
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()


def field_lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Header fields as they are sent."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def after_date(reply: Reply) -> bytes:
    """What follows the Date header in the response that carries a reply."""
    return b"%b\r\n%b" % (field_lines(reply.fields()), reply.body)


def connection_line(is_1_0: bool, last: bool) -> bytes:
    """What is to be said of the connection, if anything (RFC 9112 section 9.3)."""
    if last:
        return b"Connection: close\r\n"
    return b"Connection: keep-alive\r\n" if is_1_0 else b""


def with_connection(response: bytes, line: bytes) -> bytes:
    """A response with a line more at the end of its head."""
    return response.replace(END_OF_HEAD, b"\r\n%b\r\n" % line, 1) if line else response


def head_of(response: bytes) -> bytes:
    """A response without its body, as HEAD is answered."""
    return response[: response.index(END_OF_HEAD) + len(END_OF_HEAD)]


def in_form(response: bytes, method: bytes, is_1_0: bool, last: bool) -> bytes:
    """A whole response as a request is to get it.

    :param response: as to a GET of HTTP/1.1 on a connection that is kept.
    :param last: whether the connection is closed after it.
    """
    if last or is_1_0:
        response = with_connection(response, connection_line(is_1_0, last))
    return head_of(response) if method == b"HEAD" else response


def status_of(response: bytes) -> int:
    """The status code of a response."""
    return int(response[len(b"HTTP/1.1 ") :][:3])


def body_bytes(response: bytes) -> int:
    """How many bytes a response, or the end of one, has behind its head."""
    return len(response) - response.index(END_OF_HEAD) - len(END_OF_HEAD)

"""Bodies, status codes and messages: what every way to an answer shares."""

import json
from collections.abc import Mapping

import attrs

from ipquery.address import shorten

QUERY_PATH = "/api/ip_query"
HEALTH_PATH = "/healthz"
READY_PATH = "/readyz"

CONTENT_TYPE = b"application/json"

RETRY_AFTER_SECONDS = 1
"""Long enough for a load balancer to have chosen another node."""


@attrs.frozen
class Reply:
    """A status code, a JSON body, and headers beyond those every reply has."""

    status: int
    body: bytes
    headers: Mapping[str, str] = attrs.field(factory=dict)


class BadRequest(Exception):
    """What the caller sent can't be answered: 400, with this message."""


def message(status: int, text: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An error in the shape callers know: ``{"message": text}``.

    ASCII, so that a caller's broken text can't break the reply.
    """
    return Reply(status, json.dumps({"message": text}).encode(), headers or {})


def no_record(ip: str) -> Reply:
    """No database has a record for an address."""
    return message(501, f"no ip info in ip db for ip: {ip}")


def unavailable(why: str) -> Reply:
    """Not now: starting, draining, or too many connections."""
    return message(503, why, {"Retry-After": str(RETRY_AFTER_SECONDS)})


def status(text: str, more: Mapping[str, object] | None = None) -> Reply:
    """A good answer of a health check."""
    return Reply(200, json.dumps({"status": text, **(more or {})}).encode())


INTERNAL_ERROR = message(500, "internal error")
"""All a caller learns of a fault of ours; the log has the rest."""

REFUSALS = {
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
"""Messages for requests that never reach a route, by status code."""


def refusal(code: int, text: str | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply to a request that never reaches a route."""
    return message(code, text or REFUSALS.get(code, "request refused"), headers)


def ip_of_query(values: list[bytes]) -> str:
    """The ``ip`` of a query string, from its decoded values; the first one counts.

    :raises BadRequest: there is none, or it isn't UTF-8.
    """
    if not values:
        raise BadRequest(f"no ip given; ask {QUERY_PATH}?ip=ADDRESS")
    try:
        return values[0].decode()
    except UnicodeDecodeError:
        raise BadRequest("ip is not UTF-8") from None


def ip_of_body(body: bytes) -> str:
    """The ``ip`` of a JSON body.

    :raises BadRequest: the body isn't JSON or not an object, or ``ip`` is
        missing or no string.
    """
    try:
        # RFC 8259 section 8.1: UTF-8. json.loads by itself would guess UTF-16.
        given = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(given, dict):
        raise BadRequest("the body is not a JSON object")
    if "ip" not in given:
        raise BadRequest('no ip given; send {"ip": ADDRESS}')
    ip = given["ip"]
    if not isinstance(ip, str):
        raise BadRequest("ip is not a string")
    return ip


def bad_address(ip: str) -> BadRequest:
    """``ip`` isn't an address."""
    return BadRequest(f"not an IP address: {shorten(ip)}")

"""Paths, bodies and messages of the contract: what every way to an answer shares."""

import json
from collections.abc import Mapping

from ipquery.address import shorten
from ipquery.serve.http.reply import Reply, message

QUERY_PATH = "/api/ip_query"
HEALTH_PATH = "/healthz"
READY_PATH = "/readyz"


class BadRequest(Exception):
    """What the caller sent can't be answered: 400, with this message."""


def no_record(ip: str) -> Reply:
    """No database has a record for an address."""
    return message(501, f"no ip info in ip db for ip: {ip}")


def status(text: str, more: Mapping[str, object] | None = None) -> Reply:
    """A good answer of a health check."""
    return Reply(200, json.dumps({"status": text, **(more or {})}).encode())


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

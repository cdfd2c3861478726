"""A bare RSGI application under granian."""

import json
from typing import Any
from urllib.parse import parse_qs

from loadgen.peers.records import answer, open_database

_db = open_database()
_HEADERS = [("content-type", "application/json")]


async def app(scope: Any, protocol: Any) -> None:
    """Answer a look-up."""
    try:
        found = answer(_db, parse_qs(scope.query_string)["ip"][0])
    except (KeyError, ValueError):
        protocol.response_empty(400, _HEADERS)
        return
    if found is None:
        protocol.response_empty(501, _HEADERS)
        return
    protocol.response_bytes(200, _HEADERS, json.dumps(found, ensure_ascii=False).encode())

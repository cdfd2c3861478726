"""What schemathesis can't know by itself; it is loaded by ``SCHEMATHESIS_HOOKS``."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """The body is a text already."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@schemathesis.hook
def filter_query(context: Any, query: dict[str, Any] | None) -> bool:
    """Whether a query is sent as it was meant: an empty list or object isn't sent at all, so
    that what should be a wrong value is none."""
    return all(value not in ([], {}) for value in (query or {}).values())

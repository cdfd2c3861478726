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


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Whether a body is sent as it was meant: what isn't a text becomes one where all bodies
    are texts, so that what should be a wrong body is none."""
    is_text = case.media_type in ("text/plain", "application/x-ndjson")
    return not (is_text and isinstance(case.body, bool | int | float | list | dict | None))

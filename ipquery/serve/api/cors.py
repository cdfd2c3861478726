"""What OPTIONS is answered: what may be done, and by which pages (CORS, Fetch standard)."""

from collections.abc import Mapping

from ipquery.serve.http.reply import Reply

METHODS = "GET, HEAD, OPTIONS"

# A day; browsers keep it for ten minutes to two hours at most.
_KEPT_SECONDS = 86400

KEYS = "Authorization, X-Api-Key"
"""Header fields in which a guard looks for a key."""

# Those that aren't allowed by themselves and change an answer.
_HEADERS = f"If-None-Match, {KEYS}"


def options(headers: Mapping[str, str], methods: str = METHODS, sent: str = _HEADERS) -> Reply:
    """The answer to OPTIONS.

    :param headers: what is said of the page that asks; with none of it that page may not.
    :param methods: what may be done.
    :param sent: header fields that may be sent, besides those that always may.
    """
    told = {"Allow": methods, **headers}
    if "Access-Control-Allow-Origin" in headers:
        told |= {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": sent,
            "Access-Control-Max-Age": str(_KEPT_SECONDS),
        }
    return Reply(204, b"", told, None)

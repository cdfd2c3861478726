"""How the API answers, as the operator sets it."""

import re

import attrs

from ipquery.errors import ConfigError
from ipquery.kinds import Natural

ANY_ORIGIN = "*"

# RFC 6454 section 6.2, as browsers send it.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s\"'<>,;]+")


def _check_origins(settings: object, field: object, origins: tuple[str, ...]) -> None:
    for origin in origins:
        if origin != ANY_ORIGIN and not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f'api.cors: {origin} is no origin; give ["https://app.example.com"], without a '
                'path and in lower case, or ["*"] for every page'
            )


@attrs.frozen
class ApiSettings:
    """What the routes under ``/v1`` say."""

    max_age: Natural = 3600
    """Seconds that whoever asked may keep an answer without asking again."""

    cors: tuple[str, ...] = attrs.field(default=(), validator=_check_origins)
    """Origins of web pages whose scripts may read the answers, or ``*`` for all. None by
    default."""

    batch_addresses: int = 10_000
    """Of one batch at most; else 413."""

    snapshot: bool = False
    """Whether other nodes may take the snapshot, at ``/v1/snapshot``."""

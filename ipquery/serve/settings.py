"""Settings: everything that a worker is told of the configuration, as one value."""

import attrs

from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.settings import AccessLogSettings
from ipquery.serve.lookup.upstreams import CacheSettings, FallbackSettings


@attrs.frozen
class Settings:
    """What the operator sets of a worker's work.

    Each field is a key of ``ipquery.toml``, and so is each field of the classes below it:
    the names are the same, and the types tell what may be given. A new setting needs its
    field, the place that uses it, and its lines in ``conf/ipquery.toml``.
    """

    http: HttpLimits = HttpLimits()
    """What callers may take."""

    express: bool = True
    """Whether plain look-ups take the short way past the routes."""

    access_log: AccessLogSettings | None = None
    """Without it, none is written."""

    cache: CacheSettings = CacheSettings()
    """How results are kept for the next caller."""

    fallback: tuple[FallbackSettings, ...] = ()
    """Who is asked, in order, for addresses that the snapshot has no record for."""

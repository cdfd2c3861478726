"""Settings: everything that a worker is told of the configuration, as one value."""

import attrs

from ipquery.errors import ConfigError
from ipquery.net.peers import parse_peers
from ipquery.serve.api.settings import ApiSettings
from ipquery.serve.guard.settings import GuardSettings
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.settings import AccessLogSettings, ClientSettings
from ipquery.serve.lookup.upstreams import CacheSettings, FallbackSettings


def _check_proxy(settings: "Settings", field: object, texts: tuple[str, ...]) -> None:
    try:
        parse_peers(texts)
    except ConfigError as error:
        raise ConfigError(f"proxy: {error}") from None


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

    page: bool = True
    """Whether there is the page at ``/``, and the reference at ``/docs``."""

    client: ClientSettings = ClientSettings()
    """Who the client is, where proxies pass requests on."""

    guard: GuardSettings = GuardSettings()
    """Whose requests are answered."""

    api: ApiSettings = ApiSettings()
    """What the routes under ``/v1`` say."""

    access_log: AccessLogSettings | None = None
    """Without it, none is written."""

    cache: CacheSettings = CacheSettings()
    """How results are kept for the next caller."""

    fallback: tuple[FallbackSettings, ...] = ()
    """Who is asked, in order, for addresses that the snapshot has no record for."""

    proxy: tuple[str, ...] = attrs.field(default=(), validator=_check_proxy)
    """The load balancers whose connections begin with a PROXY header: networks, or ``unix``."""

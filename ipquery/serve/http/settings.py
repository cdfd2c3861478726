"""How answers are logged, as the operator sets it."""

from typing import Literal

import attrs

from ipquery.errors import ConfigError
from ipquery.kinds import STANDARD_OUTPUT, OutputFile
from ipquery.net.peers import parse_peers
from ipquery.serve.http.client import Forwarding, Header


@attrs.frozen
class AccessLogSettings:
    """The access log: a line for every answer, or for one of so many."""

    path: OutputFile
    """A file, or ``-`` for the daemon's standard output."""

    format: Literal["combined", "combined_with_ids", "json"] = "combined"
    """``combined`` is the format that web servers use, ``combined_with_ids`` the same with the
    values of X-Request-Id and traceparent behind it, ``json`` one object a line."""

    sample: int = 1
    """One of so many requests is logged."""

    @property
    def is_output(self) -> bool:
        """Whether lines go to the daemon's standard output."""
        return self.path == STANDARD_OUTPUT


def _check_proxies(settings: "ClientSettings", field: object, texts: tuple[str, ...]) -> None:
    try:
        parse_peers(texts)
    except ConfigError as error:
        raise ConfigError(f"client.trusted_proxies: {error}") from None


@attrs.frozen
class ClientSettings:
    """Whose word is taken for who the client is."""

    trusted_proxies: tuple[str, ...] = attrs.field(default=(), validator=_check_proxies)
    """Proxies in front: addresses, networks, or ``unix`` for those on UNIX sockets."""

    forwarded: Header = "x-forwarded-for"
    """The header field in which they tell whom they got a request from; the other is ignored."""

    @property
    def forwarding(self) -> Forwarding | None:
        """What finds clients behind them; ``None`` if there are none."""
        proxies = parse_peers(self.trusted_proxies)
        return Forwarding(proxies, self.forwarded) if proxies else None

"""Whose requests are answered, as the operator sets it."""

import attrs

from ipquery.errors import ConfigError
from ipquery.net.peers import parse_peers


def _check_allow(settings: "GuardSettings", field: object, texts: tuple[str, ...]) -> None:
    try:
        parse_peers(texts)
    except ConfigError as error:
        raise ConfigError(f"guard.allow: {error}") from None


@attrs.frozen
class GuardSettings:
    """Whom to answer. By default, everybody."""

    allow: tuple[str, ...] = attrs.field(default=(), validator=_check_allow)
    """Clients that are answered: addresses, networks, or ``unix`` for those on UNIX sockets that
    no trusted proxy tells more of. Others get 403; without any, nobody does."""

    @property
    def is_exclusive(self) -> bool:
        """Whether some are never answered."""
        return bool(self.allow)

"""Whose requests are answered, as the operator sets it."""

import attrs

from ipquery.errors import ConfigError
from ipquery.kinds import KeysFile
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

    keys: KeysFile | None = attrs.field(default=None, repr=False)
    """API keys, as `ipquery key` writes them to a file: without one of them, 401."""

    @property
    def is_on(self) -> bool:
        """Whether anything is to be guarded."""
        return self.is_exclusive

    @property
    def is_exclusive(self) -> bool:
        """Whether some are never answered."""
        return bool(self.allow) or self.keys is not None

"""The key that all workers encrypt TLS session tickets with."""

from collections.abc import Callable

from twisted.logger import Logger

from ipquery.net import tickets

_log = Logger()

RENEWAL_SECONDS = 24 * 3600
"""How long a key is in use. Who has it can read connections of TLS 1.2 that were resumed by it."""


class TicketKeys:
    """Makes the key when it is first asked for, and another from time to time."""

    def __init__(self, why_not: Callable[[], str | None] = tickets.why_not_shared) -> None:
        """:param why_not: tells why tickets can't be shared here, if they can't."""
        self._why_not = why_not
        self._key: str | None = None
        self._has_complained = False

    def key(self) -> str | None:
        """The key in use, in hexadecimal digits; ``None`` if Python's OpenSSL takes none."""
        return self._key or self.renewed()

    @property
    def is_in_use(self) -> bool:
        """Whether workers have it."""
        return self._key is not None

    def renewed(self) -> str | None:
        """Another key, which is in use from now on."""
        why_not = self._why_not()
        if why_not is None:
            self._key = tickets.new_key().hex()
        elif not self._has_complained:
            self._has_complained = True
            _log.warn(
                "TLS session tickets aren't shared by the workers ({reason}): who lands on "
                "another worker shakes hands in full",
                reason=why_not,
            )
        return self._key

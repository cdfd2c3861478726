"""Whose requests are answered, as the operator sets it."""

from collections.abc import Callable

import attrs

from ipquery.errors import ConfigError
from ipquery.kinds import KeysFile
from ipquery.net.peers import parse_peers


def _check_allow(settings: "GuardSettings", field: object, texts: tuple[str, ...]) -> None:
    try:
        parse_peers(texts)
    except ConfigError as error:
        raise ConfigError(f"guard.allow: {error}") from None


def _check_subjects(settings: "GuardSettings", field: object, texts: tuple[str, ...]) -> None:
    for text in texts:
        usual_subject(text)


def usual_subject(text: str) -> str:
    """A distinguished name as it is compared: each is written in one way.

    :param text: as RFC 4514 has it.
    :raises ConfigError: it isn't.
    """
    # Not above: it takes 8 MB in each worker, and few need it.
    from cryptography import x509

    try:
        return x509.Name.from_rfc4514_string(text).rfc4514_string()
    except ValueError:
        raise ConfigError(
            f"guard.subjects: {text}: not a subject as RFC 4514 writes it, such as "
            "CN=billing,O=Example"
        ) from None


def _at_most(most: int, name: str) -> Callable[[object, object, int], None]:
    def check(settings: object, field: object, value: int) -> None:
        if not 0 < value <= most:
            raise ConfigError(f"guard.limit.{name} must be from 1 to {most}")

    return check


@attrs.frozen
class LimitSettings:
    """How often each client may ask a worker."""

    requests_per_second: int = attrs.field(validator=_at_most(1_000_000, "requests_per_second"))
    """Of one client, in the long run."""

    burst: int = attrs.field(default=100, validator=_at_most(1_000_000, "burst"))
    """How many it may ask at once, when it hasn't asked for a while."""

    ipv4_prefix: int = attrs.field(default=32, validator=_at_most(32, "ipv4_prefix"))
    """How many first bits of an IPv4 address make a client."""

    ipv6_prefix: int = attrs.field(default=64, validator=_at_most(128, "ipv6_prefix"))
    """Those of an IPv6 address: a household has 64."""

    clients: int = attrs.field(default=50_000, validator=_at_most(10_000_000, "clients"))
    """Of how many a worker keeps how often they have asked: 450 bytes each."""


@attrs.frozen
class GuardSettings:
    """Whom to answer. By default, everybody."""

    allow: tuple[str, ...] = attrs.field(default=(), validator=_check_allow)
    """Clients that are answered: addresses, networks, or ``unix`` for those on UNIX sockets that
    no trusted proxy tells more of. Others get 403; without any, nobody does."""

    keys: KeysFile | None = attrs.field(default=None, repr=False)
    """API keys, as `ipquery key` writes them to a file: without one of them, 401."""

    subjects: tuple[str, ...] = attrs.field(default=(), validator=_check_subjects)
    """Subjects of clients' certificates, as RFC 4514 writes them: connections that show none of
    these get 403. Without any, certificates say nothing of who is answered."""

    limit: LimitSettings | None = None
    """How often each client may ask; else 429. Without it, as often as it likes."""

    @property
    def is_on(self) -> bool:
        """Whether anything is to be guarded."""
        return self.is_exclusive or self.limit is not None

    @property
    def is_exclusive(self) -> bool:
        """Whether some are never answered."""
        return bool(self.allow or self.subjects) or self.keys is not None

"""What may be asked beside the snapshot, as the operator writes it: Redis, remote sources."""

import re
from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import attrs

from ipquery.data.record import CONTRACT_FIELDS
from ipquery.errors import ConfigError
from ipquery.kinds import AuthoritiesFile, Secret

# RFC 8586: a node that is asked by another doesn't ask on, so that two nodes that
# name each other don't ask for ever.
LOOP_HEADER, LOOP_TOKEN = b"CDN-Loop", b"ipquery"

_REDIS_PORT, _SENTINEL_PORT = 6379, 26379
_REDIS_FORMS = (
    "redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://..., unix:PATH[?db=N&password=...], "
    "redis+sentinel://HOST[:PORT],.../MASTER[/DB]"
)


@attrs.frozen
class RedisAddress:
    """Where Redis is: a host, a socket, or the sentinels that know the master."""

    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    master: str | None = None
    database: int = 0
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    tls: bool = False

    def __str__(self) -> str:
        """As in the log: without user and password."""
        if self.path is not None:
            return f"unix:{self.path}"
        hosts = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )
        if self.master is not None:
            return f"redis+sentinel://{hosts}/{self.master}"
        return f"{'rediss' if self.tls else 'redis'}://{hosts}"


def parse_redis(text: str) -> RedisAddress:
    """Read where Redis is.

    :raises ConfigError: it isn't one of the known forms.
    """
    url = urlsplit(text)
    try:
        if url.scheme == "unix":
            return _unix(url)
        if url.scheme in ("redis", "rediss"):
            (host,) = _hosts(url, _REDIS_PORT)
            return attrs.evolve(
                _named(url), hosts=(host,), database=_database(url.path), tls=url.scheme == "rediss"
            )
        if url.scheme == "redis+sentinel":
            master, _, database = url.path.removeprefix("/").partition("/")
            if master:
                return attrs.evolve(
                    _named(url),
                    hosts=tuple(_hosts(url, _SENTINEL_PORT)),
                    master=master,
                    database=_database(database),
                )
    except ValueError:
        pass
    # Passwords are left out of the message.
    shown = re.sub(r"(//)[^@]*(?=@)|(password=)[^&]*", r"\1\2...", text)
    raise ConfigError(f"{shown}: not an address of Redis; give {_REDIS_FORMS}")


def _unix(url: SplitResult) -> RedisAddress:
    path = url.netloc + url.path
    if not path:
        raise ValueError
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    return RedisAddress(
        path=path,
        database=_database(query.get("db", "")),
        username=query.get("username"),
        password=query.get("password"),
    )


def _named(url: SplitResult) -> RedisAddress:
    name, _, password = url.netloc.rpartition("@")[0].partition(":")
    return RedisAddress(username=unquote(name) or None, password=unquote(password) or None)


def _hosts(url: SplitResult, port: int) -> Iterable[tuple[str, int]]:
    for text in url.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{text}")
        if not one.hostname:
            raise ValueError
        yield one.hostname, one.port or port


def _database(text: str) -> int:
    return int(text.removeprefix("/") or 0)


@attrs.frozen
class CacheSettings:
    """How results are kept for the next caller."""

    redis: Secret | None = attrs.field(default=None, repr=False)
    """See :func:`parse_redis`. Without it, each process keeps what remote sources say."""

    scope: Literal["fallback", "all"] = "fallback"
    """What is kept: what the snapshot has no record for, or everything; plain look-ups then
    ask Redis, too."""

    found_seconds: int = 86_400
    """How long an answer is kept."""

    unknown_seconds: int = 300
    """How long it is kept that nobody has a record."""

    deadline_ms: int = 50
    """How long a command to Redis may take."""

    connections: int = 4
    """To Redis, of each process."""

    commands: int = 1000
    """That may be under way at a time, of each process."""

    entries: int = 50_000
    """That a process keeps itself where there is no Redis."""

    ca_file: AuthoritiesFile | None = None
    """Whom to trust for ``rediss://``, in PEM; without it, whom the system trusts."""

    @redis.validator
    def _check_redis(self, field: Any, value: str | None) -> None:
        if value is not None:
            parse_redis(value)


# RFC 9110 section 5.1: field-name = token
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@attrs.frozen
class FallbackSettings:
    """A remote source for addresses that the snapshot has no record for."""

    url: str
    """Where to ask, with ``{ip}`` where the address goes."""

    headers: tuple[tuple[str, Secret], ...] = attrs.field(default=(), repr=False)
    """To send: names and values."""

    fields: tuple[tuple[str, str], ...] = ()
    """For each field of the answer where it is in their JSON, as in ``country.names.zh-CN``
    or ``subdivisions.0.name``. Without any, it is an ipquery node."""

    deadline_ms: int = 500
    """How long everything may take, waiting for a turn included."""

    concurrent: int = 32
    """Requests under way at a time, of each process."""

    response_bytes: int = 65_536
    """Of a body at most."""

    ca_file: AuthoritiesFile | None = None
    """Whom to trust for ``https://``, in PEM; without it, whom the system trusts."""

    def __attrs_post_init__(self) -> None:
        url = urlsplit(self.url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigError(f"{self.url}: not an http:// or https:// URL")
        if url.username or url.password:
            raise ConfigError(f"{self.name}: name and password belong into headers")
        if "{ip}" not in url.path + "?" + url.query:
            raise ConfigError(f"{self.url}: write {{ip}} where the address goes")
        for name, value in self.headers:
            if not _TOKEN.fullmatch(name) or re.search(r"[\r\n\0]", value):
                raise ConfigError(f"{self.url}: {name!r} can't be sent as a header")
        for name, _ in self.fields:
            if name not in CONTRACT_FIELDS:
                raise ConfigError(f"unknown field {name}; fields: {', '.join(CONTRACT_FIELDS)}")

    @property
    def is_node(self) -> bool:
        """Whether it is another ipquery."""
        return not self.fields

    @property
    def name(self) -> str:
        """As in the log: without what may be a secret."""
        url = urlsplit(self.url)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"

"""What may be asked beside the snapshot, as the operator writes it: Redis, remote sources."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import attrs

from ipquery.data.record import CONTRACT_FIELDS

# RFC 8586: a node that is asked by another doesn't ask on, so that two nodes that
# name each other don't ask for ever.
LOOP_HEADER, LOOP_TOKEN = b"CDN-Loop", b"ipquery"

SCOPES = ("fallback", "all")

_REDIS_PORT, _SENTINEL_PORT = 6379, 26379
_REDIS_FORMS = (
    "redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://..., unix:PATH[?db=N&password=...], "
    "redis+sentinel://HOST[:PORT],.../MASTER[/DB]"
)


class UpstreamError(Exception):
    """A setting that can't be used. The message is one line for the user."""


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

    :raises UpstreamError: it isn't one of the known forms.
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
    # Without what may be a password.
    shown = re.sub(r"(//)[^@]*(?=@)|(password=)[^&]*", r"\1\2...", text)
    raise UpstreamError(f"{shown}: not an address of Redis; give {_REDIS_FORMS}")


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
    """How results are kept for the next caller.

    :param redis: see :func:`parse_redis`; without it, what remote sources say is
        kept in each process.
    :param scope: ``fallback``: what the snapshot has no record for. ``all``:
        everything; plain look-ups then ask Redis, too.
    :param found_seconds: how long an answer is kept.
    :param unknown_seconds: how long it is kept that nobody has a record.
    :param deadline_ms: how long a command to Redis may take.
    :param connections: to Redis, of each process.
    :param commands: that may be under way at a time, of each process.
    :param entries: that a process keeps itself where there is no Redis.
    :param ca_file: whom to trust for ``rediss://``; without it, whom the system trusts.
    """

    redis: str | None = attrs.field(default=None, repr=False)
    scope: str = attrs.field(default="fallback")
    found_seconds: int = 86_400
    unknown_seconds: int = 300
    deadline_ms: int = 50
    connections: int = 4
    commands: int = 1000
    entries: int = 50_000
    ca_file: str | None = None

    @redis.validator
    def _check_redis(self, field: Any, value: str | None) -> None:
        if value is not None:
            parse_redis(value)

    @scope.validator
    def _check_scope(self, field: Any, value: str) -> None:
        if value not in SCOPES:
            raise UpstreamError(f"{value}: no such scope; scopes: {', '.join(SCOPES)}")


def _pairs(given: Iterable[Iterable[str]]) -> tuple[tuple[str, str], ...]:
    """As tuples, whether they come from a configuration or from JSON."""
    return tuple((name, value) for name, value in given)


# RFC 9110 section 5.1: field-name = token
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@attrs.frozen
class FallbackSettings:
    """A remote source for addresses that the snapshot has no record for.

    :param url: with ``{ip}`` where the address goes.
    :param headers: to send, names and values.
    :param fields: for each field of the answer where it is in their JSON, as in
        ``country.names.zh-CN`` or ``subdivisions.0.name``. None: it is an ipquery node.
    :param deadline_ms: how long everything may take, waiting for a turn included.
    :param concurrent: requests under way at a time, of each process.
    :param response_bytes: of a body at most.
    :param ca_file: whom to trust for ``https://``; without it, whom the system trusts.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_pairs, repr=False)
    fields: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_pairs)
    deadline_ms: int = 500
    concurrent: int = 32
    response_bytes: int = 65_536
    ca_file: str | None = None

    def __attrs_post_init__(self) -> None:
        url = urlsplit(self.url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise UpstreamError(f"{self.url}: not an http:// or https:// URL")
        if url.username or url.password:
            raise UpstreamError(f"{self.name}: name and password belong into headers")
        if "{ip}" not in url.path + "?" + url.query:
            raise UpstreamError(f"{self.url}: write {{ip}} where the address goes")
        for name, value in self.headers:
            if not _TOKEN.fullmatch(name) or re.search(r"[\r\n\0]", value):
                raise UpstreamError(f"{self.url}: {name!r} can't be sent as a header")
        for name, _ in self.fields:
            if name not in CONTRACT_FIELDS:
                raise UpstreamError(f"unknown field {name}; fields: {', '.join(CONTRACT_FIELDS)}")

    @property
    def is_node(self) -> bool:
        """Whether it is another ipquery."""
        return not self.fields

    @property
    def name(self) -> str:
        """As in the log: without what may be a secret."""
        url = urlsplit(self.url)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"

"""Values: how files are got from web servers, and how that fails."""

import datetime
import os
import random
import ssl
import time
from collections.abc import Callable, Mapping

import attrs

from ipquery.data.record import DataError

Progress = Callable[[str, float], None]
"""Called with what is being got, and how much of it is there, 0 to 1."""


class Unreachable(DataError):
    """The server can't be reached, or is out of order: another one may do."""


class NotThere(DataError):
    """The server has no such file."""


class QuotaReached(DataError):
    """No more is to be had for now, and asking again makes it worse."""


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@attrs.frozen
class Web:
    """How web servers are asked.

    :param attempts: each file is asked for at most.
    :param stall: seconds that a server may take to connect, and to send anything more.
    :param seconds: that one file may take in all, pauses included.
    :param most: bytes that one file may have.
    :param pause: seconds before the second attempt; twice as much before each further one.
    :param longest_pause: seconds, also of what a server asks for by ``Retry-After``.
    :param mirrors: URLs that take the place of recipes' own, by their names.
    :param context: what certificates are checked by; the system's authorities if ``None``.
    :param progress: told how far a download is.
    """

    attempts: int = 5
    stall: float = 60
    seconds: float = 3600
    most: int = 4 << 30
    pause: float = 1
    longest_pause: float = 120
    mirrors: Mapping[str, str] = attrs.field(factory=dict)
    environ: Mapping[str, str] = attrs.field(factory=lambda: os.environ, repr=False)
    context: ssl.SSLContext | None = None
    progress: Progress = lambda what, done: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random
    now: Callable[[], datetime.datetime] = _utc_now


@attrs.frozen
class Address:
    """A URL, and what its server and no other may know.

    ``headers`` carry credentials. ``secrets`` are those that are in them or in the URL.
    """

    url: str = attrs.field(repr=False)
    shown: str
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    quota: str = ""


@attrs.frozen
class Validators:
    """By which a server tells editions of a file apart (RFC 9110, 8.8)."""

    etag: str | None = None
    last_modified: str | None = None

    @property
    def for_range(self) -> str | None:
        """What ``If-Range`` may hold: a strong one (RFC 9110, 13.1.5)."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    @property
    def conditions(self) -> dict[str, str]:
        """Header fields that ask for what is newer only."""
        fields = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in fields.items() if value is not None}

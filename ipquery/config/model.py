"""Config: everything that the operator sets, as one value."""

import hashlib
import os
from pathlib import Path

import attrs

from ipquery.data.blend.policy import Policy
from ipquery.data.build import Elsewhere, Limits, ListPaths, default_cache
from ipquery.data.sources import Source
from ipquery.data.update.guard import Expectation, Guard, MaxChange
from ipquery.data.update.recipes import parse_recipe
from ipquery.errors import ConfigError
from ipquery.net.sockets import Bind
from ipquery.net.tls import TlsSettings
from ipquery.serve.settings import Settings

LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("info", "warn", "error")


def cores() -> int:
    """How many cores this process may use: what ``auto`` means."""
    return len(os.sched_getaffinity(0))


def parse_workers(text: str) -> int:
    """Read a number of workers, or ``auto``.

    :raises ConfigError: neither.
    """
    if text == "auto":
        return cores()
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{text}: not a number of workers; give 1 or more, or auto")
    return int(text)


NODE = "node"
"""What stands for a recipe where the snapshot of another node is taken."""


@attrs.frozen
class Update:
    """A recipe by which a newer database is fetched again and again, every so many seconds, and
    up to ``jitter`` seconds later; or :data:`NODE`."""

    recipe: str
    every: int = 24 * 60 * 60
    jitter: int = 2 * 60 * 60

    @property
    def name(self) -> str:
        """What the recipe is called, in short."""
        return NODE if self.recipe == NODE else parse_recipe(self.recipe).name


@attrs.frozen
class Config:
    """Everything the service needs to know."""

    binds: tuple[Bind, ...] = (Bind("127.0.0.1", 8080),)
    databases: tuple[Source, ...] = ()
    named: tuple[str, ...] = attrs.field(default=(), eq=False)
    """How the databases were named: what ``databases`` comes to may change with what is fetched."""
    workers: int = attrs.field(factory=cores)
    cache_dir: Path = attrs.field(factory=default_cache)
    codes: ListPaths = ListPaths()
    build_limits: Limits = Limits()
    blend: Policy = Policy()
    elsewhere: Elsewhere | None = None
    """The node that the finished snapshot is taken from."""
    max_change: MaxChange | None = None
    """How much a reload may change, if it was set."""
    expect: tuple[Expectation, ...] = ()
    """What must hold after a reload."""
    updates: tuple[Update, ...] = ()
    """What the daemon fetches by itself."""
    log_format: str = "text"
    """How the daemon's log tells an event, one of :data:`LOG_FORMATS`."""
    log_level: str = "info"
    """Events of lower levels aren't logged; one of :data:`LOG_LEVELS`, lowest first."""
    tls: TlsSettings | None = None
    """What connections to addresses with ``tls:`` are shown."""
    settings: Settings = Settings()
    """What the workers are told."""

    @property
    def line(self) -> str:
        """Tells these databases from others, whatever is in them."""
        return hashlib.sha256(repr(self.named).encode()).hexdigest()[:16]

    @property
    def guard(self) -> Guard | None:
        """What a new snapshot of the same databases must pass; ``None`` if it is let through."""
        # What the daemon fetches by itself, the next HUP would build as well: nobody has looked
        # at it by then.
        if self.max_change is None and not self.expect and not self.updates:
            return None
        return Guard(self.max_change or MaxChange(), self.expect)

    @property
    def connections(self) -> int:
        """How many a worker may have at the same time.

        Before a TLS handshake or a PROXY header is done there may be as many again.
        """
        most = self.settings.http.connections
        return 2 * most if self.tls is not None or self.settings.proxy else most

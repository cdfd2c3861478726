"""What a fleet runs on, as one value that is never changed: a reload makes another."""

from pathlib import Path
from typing import BinaryIO

import attrs
from twisted.logger import Logger

from ipquery.config import Config
from ipquery.data.build import hold, note_served
from ipquery.data.record import DataError
from ipquery.errors import ConfigError
from ipquery.net.sockets import Listeners

_log = Logger()


@attrs.frozen(eq=False)
class State:
    """What workers are started with. Every worker carries the one it is on.

    ``code`` changes when the installed code does, see :func:`code_stamp`.
    ``held`` keeps the snapshot from being pruned: whoever drops the state closes it.
    """

    config: Config
    listeners: Listeners
    snapshot: Path
    code: str
    held: BinaryIO

    def note(self) -> None:
        """Note for ``ipquery rollback`` that this is answered from."""
        try:
            note_served(self.snapshot, self.config.line)
        except DataError as error:
            # As in a cache folder of root's, or on a read-only disk: it is of use all the same.
            _log.info("{reason}; `ipquery rollback` won't know of it", reason=str(error))


def hold_state(config: Config, listeners: Listeners, snapshot: Path) -> State:
    """The state of today's code with this configuration, these sockets and this snapshot.

    :raises OSError: the snapshot is gone.
    """
    return State(config, listeners, snapshot, code_stamp(), hold(snapshot))


def check_binds(config: Config, listeners: Listeners) -> None:
    """Look that there is a certificate where one is needed, and an address for callers.

    :param listeners: what is listened on now.
    :raises ConfigError: there is none.
    """
    binds = listeners.groups if listeners.activated else config.binds
    if all(bind.admin for bind in binds):
        raise ConfigError("every address is for admin: alone; name one for callers, too")
    for bind in binds:
        if bind.tls and config.tls is None:
            raise ConfigError(
                f"{bind}: TLS needs a certificate; name it under [tls] in the configuration"
            )


def in_place(before: Config, after: Config) -> bool:
    """Whether no worker needs to be replaced.

    They take over databases and what guards and gets them, codes, certificates and API keys
    running; the log is the supervisor's.
    """
    guard = after.settings.guard
    if guard.keys is not None and before.settings.guard.keys is not None:
        guard = attrs.evolve(guard, keys=before.settings.guard.keys)
    same = attrs.evolve(
        after,
        databases=before.databases,
        max_change=before.max_change,
        expect=before.expect,
        updates=before.updates,
        codes=before.codes,
        build_limits=before.build_limits,
        blend=before.blend,
        elsewhere=before.elsewhere,
        log_format=before.log_format,
        log_level=before.log_level,
        settings=attrs.evolve(after.settings, guard=guard),
        tls=before.tls if before.tls and after.tls else after.tls,
    )
    return same == before


def code_stamp() -> str:
    """Changes when the installed code does."""
    package = Path(__file__).parents[1]
    files = sorted(package.rglob("*.py"))
    return repr([(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files])

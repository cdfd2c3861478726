"""Addresses to listen on, and the sockets bound to them."""

import contextlib
import errno
import os
import re
import socket
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

# host:port, [v6]:port; gunicorn's notation, which the users know
_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
_UNIX, _TLS, _ADMIN = "unix:", "tls:", "admin:"

# Linux cuts it to net.core.somaxconn (4096 by default since 5.4).
BACKLOG = 4096


class BindError(Exception):
    """An address that can't be listened on. The message is one line for the user."""


class InUseError(BindError):
    """An address that somebody listens on already."""


@attrs.frozen
class Bind:
    """An address to listen on: ``host`` and ``port``, or ``path`` of a UNIX socket.

    An empty ``host`` means every IPv4 interface; port 0 any free port. With ``tls``,
    connections begin with a TLS handshake. One for ``admin`` is for those who run the service.
    """

    host: str = ""
    port: int = 0
    path: str | None = None
    tls: bool = False
    admin: bool = False

    def __str__(self) -> str:
        return (_ADMIN if self.admin else "") + (_TLS if self.tls else "") + self._address

    @property
    def _address(self) -> str:
        if self.path is not None:
            return _UNIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_bind(text: str) -> Bind:
    """Read ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:PATH``, with ``tls:`` before it or not, and
    ``admin:`` before that.

    :raises BindError: none of these.
    """
    if text.startswith(_ADMIN):
        return attrs.evolve(parse_bind(text.removeprefix(_ADMIN)), admin=True)
    if text.startswith(_TLS):
        return attrs.evolve(parse_bind(text.removeprefix(_TLS)), tls=True)
    if text.startswith(_UNIX) and len(text) > len(_UNIX):
        return Bind(path=text.removeprefix(_UNIX))
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise BindError(
            f"{text}: not an address to listen on; give HOST:PORT, tls:HOST:PORT or unix:PATH; "
            "admin: may stand before it"
        )
    return Bind(match["v6"] or match["host"] or "", int(match["port"]))


def open_sockets(binds: Sequence[Bind]) -> list[socket.socket]:
    """Bind a socket for each address, in order. They don't listen yet.

    :raises BindError: an address is in use or isn't this machine's; then none is open.
    """
    return open_listeners(binds, 1).all()


@attrs.frozen
class Listeners:
    """The bound sockets of a fleet: for each address a group that shares its connections.

    The kernel deals connections out to those of a group that listen
    (SO_REUSEPORT). A UNIX socket, or one that systemd opened, can't be shared
    so: its group is one socket, on which all workers accept.
    """

    groups: Mapping[Bind, tuple[socket.socket, ...]]
    activated: bool = False
    """Whether systemd opened them; then no address can be added."""

    def of_slot(self, number: int) -> list[socket.socket]:
        """What a worker listens on, one socket for each address.

        :param number: the worker's, from 0.
        """
        return [group[number if len(group) > 1 else 0] for group in self.groups.values()]

    @property
    def are_shared(self) -> bool:
        """Whether workers, if there are several, have a socket in common."""
        return any(len(group) == 1 for group in self.groups.values())

    def regrouped(self, binds: Sequence[Bind], size: int) -> "Listeners":
        """Sockets for other addresses or another number of workers; those there are stay open.

        :raises BindError: an address can't be bound; then nothing has been opened.
        """
        if self.activated:
            return self
        groups: dict[Bind, tuple[socket.socket, ...]] = {}
        # One address may be there several times: port 0 is another port each time.
        others = {_bare(bind): group for bind, group in self.groups.items() if bind not in binds}
        try:
            for bind in binds:
                held = self.groups.get(bind) or others.pop(_bare(bind), ())
                groups[bind] = held or _open_group(bind, size)
                if bind.path is None:
                    groups[bind] = _resized(groups[bind], size)
        except BaseException:
            close_all(Listeners(groups), keep=self)
            raise
        return Listeners(groups)

    @property
    def bound(self) -> list[Bind]:
        """What is listened on, with the port that 0 became."""
        return [
            attrs.evolve(bound_to(group[0]), tls=bind.tls, admin=bind.admin)
            for bind, group in self.groups.items()
        ]

    def all(self) -> list[socket.socket]:
        """Every socket once."""
        return [one for group in self.groups.values() for one in group]


def _bare(bind: Bind) -> Bind:
    """An address alone: what is spoken there, and with whom, isn't the socket's matter."""
    return attrs.evolve(bind, tls=False, admin=False)


def open_listeners(binds: Sequence[Bind], size: int) -> Listeners:
    """Bind the sockets of a fleet of ``size`` workers. None listens yet.

    :raises BindError: an address is in use or isn't this machine's; then none is open.
    """
    return Listeners({}).regrouped(binds, size)


def adopt_listeners(activated: Sequence[tuple[socket.socket, str]]) -> Listeners:
    """The sockets that systemd opened, with their names: ``tls`` has one begin with TLS, and
    ``admin`` is for those who run the service."""
    groups = {
        attrs.evolve(bound_to(one), tls=name == "tls", admin=name == "admin"): (one,)
        for one, name in activated
    }
    return Listeners(groups, activated=True)


def close_all(listeners: Listeners, keep: Listeners | None = None) -> None:
    """Close sockets, but for those that other listeners have, too."""
    kept = {id(one) for one in keep.all()} if keep else set()
    for one in listeners.all():
        if id(one) not in kept:
            close(one)


def _resized(group: tuple[socket.socket, ...], size: int) -> tuple[socket.socket, ...]:
    bind = bound_to(group[0])
    more: list[socket.socket] = []
    try:
        while len(group) + len(more) < size:
            more.append(_open_tcp(bind, shared=True))
    except OSError as error:
        for one in more:
            one.close()
        raise _refusal(bind, error) from None
    return (*group[:size], *more)


def moves_callers(proc: Path = Path("/proc")) -> bool:
    """Whether those who wait at a socket that stops listening are moved to its group's others.

    Linux does so if net.ipv4.tcp_migrate_req is set; else they are reset.

    :param proc: where proc(5) is mounted.
    """
    try:
        return (proc / "sys/net/ipv4/tcp_migrate_req").read_text().strip() == "1"
    except OSError:
        return False  # before 5.14


def stop_listening(one: socket.socket) -> None:
    """Take no more connections; those not accepted are moved or reset, see
    :func:`moves_callers`. It may listen again later.

    On Linux, shutdown(2) turns a listening socket back into a bound one. One that doesn't listen
    mustn't be shut down: Linux says that it isn't connected, but marks it all the same, and hands
    the mark on to each connection that is accepted once it listens again. There, whoever reads
    before the request is in would be told that the peer says no more.
    """
    if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        one.shutdown(socket.SHUT_RD)


def listen(opened: Sequence[socket.socket]) -> None:
    """Let bound sockets take connections.

    :raises BindError: another process has begun to listen there since.
    """
    for one in opened:
        try:
            one.listen(BACKLOG)
        except OSError as error:
            raise _refusal(bound_to(one), error) from None


def close(bound: socket.socket) -> None:
    """Close a bound socket; a UNIX socket's file goes with it."""
    path = bound.getsockname() if bound.family == socket.AF_UNIX else None
    bound.close()
    if path:
        remove_file(path)


def remove_file(path: str) -> None:
    """Remove a UNIX socket's file, if it is still there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def bound_to(bound: socket.socket) -> Bind:
    """The address a socket is bound to, with the port that 0 became."""
    name = bound.getsockname()
    if bound.family == socket.AF_UNIX:
        return Bind(path=name)
    return Bind(name[0], name[1])


def _open_group(bind: Bind, size: int) -> tuple[socket.socket, ...]:
    try:
        if bind.path is not None:
            return (_open_unix(bind.path),)
        # With SO_REUSEPORT alone, a second daemon of the same user would take
        # half of the connections instead of being refused.
        first = _open_tcp(bind, shared=False)
        taken = bound_to(first)
        first.close()
        return tuple(_open_tcp(taken, shared=True) for _ in range(size))
    except OSError as error:
        raise _refusal(bind, error) from None


def _open_tcp(bind: Bind, shared: bool) -> socket.socket:
    found = socket.getaddrinfo(
        bind.host or "0.0.0.0",  # noqa: S104 # only when the operator leaves the host out
        bind.port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setblocking(False)
        # A restart must not wait for the connections of the process before
        # (TIME_WAIT). Linux still refuses an address that is listened on.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # [::]:8080 beside 0.0.0.0:8080 works only so.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound


def _open_unix(path: str) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        if _is_stale(path):
            os.unlink(path)
        bound.bind(path)
        # Open to every local user, as a TCP port on loopback is; the folder's
        # permissions can narrow it.
        os.chmod(path, 0o666)  # noqa: S103
    except BaseException:
        bound.close()
        raise
    return bound


def _is_stale(path: str) -> bool:
    """Whether a socket file is left over from a process that is gone."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _refusal(bind: Bind, error: OSError) -> BindError:
    kind = InUseError if error.errno == errno.EADDRINUSE else BindError
    return kind(f"{bind}: {_explain(error)}")


def _explain(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host"
    if error.errno == errno.EADDRINUSE:
        return "already in use; stop what listens there (see `ss -ltnp`), or choose another with -b"
    if error.errno == errno.EADDRNOTAVAIL:
        return "not an address of this machine (see `ip address`)"
    if error.errno == errno.EACCES:
        return "not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE"
    return error.strerror or str(error)

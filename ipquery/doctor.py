"""Which kernel settings and limits of a machine are too low for a load, and what mends them.

The settings are described in the kernel's Documentation/admin-guide/sysctl/
(fs.rst, net.rst) and networking/ip-sysctl.rst and nf_conntrack-sysctl.rst.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from ipquery.net.limits import OTHER_FILES
from ipquery.net.sockets import BACKLOG

# Memory of a worker that has no connections, of a connection (in the worker and the kernel),
# and of a build that runs beside the workers. All are rounded up.
_WORKER_BYTES = 64 << 20
_CONNECTION_BYTES = 32 << 10
_BUILD_BYTES = 256 << 20

# The kernel's default for net.core.netdev_max_backlog.
_PACKETS = 1000

_WIDE_PORTS, _ALL_PORTS = (10240, 65535), (1024, 65535)


@attrs.frozen
class Needs:
    """A load to check a machine for."""

    connections: int
    """Connections that come in, to each worker, at the same time."""
    workers: int = 1
    outgoing: int = 0
    """Connections that a load generator on this machine opens to one address."""
    listens: bool = True
    """Whether the service runs here; a machine for the load generator alone has no workers."""

    @property
    def incoming(self) -> int:
        """Connections of all workers together."""
        return self.connections * self.workers if self.listens else 0


@attrs.frozen
class Finding:
    """A setting that doesn't suit the load."""

    what: str
    found: str
    wanted: str
    why: str
    mend: str
    """A command or a line of configuration."""
    is_hint: bool = False
    """Whether the load is carried all the same."""


def check(proc: Path, needs: Needs, open_files: int) -> list[Finding]:
    """Hold a machine's settings against a load.

    A setting that the machine doesn't have, or doesn't show, is left out.

    :param proc: where proc(5) is mounted.
    :param open_files: the hard limit on open files (RLIMIT_NOFILE).
    """
    return [
        *_open_files(proc, needs, open_files),
        *_queues(proc, needs),
        *_moved_queues(proc, needs),
        *_ports(proc, needs),
        *_tracked(proc, needs),
        *_memory(proc, needs),
    ]


def _read(proc: Path, name: str) -> list[int]:
    """A setting's numbers; none if it isn't there."""
    try:
        return [int(word) for word in (proc / "sys" / name.replace(".", "/")).read_text().split()]
    except (OSError, ValueError):
        return []


def _too_low(proc: Path, name: str, wanted: int, why: str) -> Iterator[Finding]:
    for found in _read(proc, name)[:1]:
        if found < wanted:
            yield Finding(name, str(found), str(wanted), why, f"sysctl -w {name}={wanted}")


def _open_files(proc: Path, needs: Needs, open_files: int) -> Iterator[Finding]:
    per_worker = needs.connections + OTHER_FILES if needs.listens else 0
    per_process = max(per_worker, needs.outgoing + OTHER_FILES if needs.outgoing else 0)
    # The limit on open files can't be set above fs.nr_open, so this one comes first.
    yield from _too_low(
        proc, "fs.nr_open", per_process, "no process may be allowed more open files than this"
    )
    if 0 <= open_files < per_process:
        yield Finding(
            "the hard limit on open files",
            str(open_files),
            str(per_process),
            "each connection is an open file; without one left, callers are kept waiting",
            f"LimitNOFILE={per_process} in the systemd unit, minfds={per_process} in "
            f"supervisord.conf, or `ulimit -Hn {per_process}` as root before starting by hand",
        )
    all_files = needs.incoming + needs.outgoing + OTHER_FILES * needs.workers
    for in_use in _read(proc, "fs.file-nr")[:1]:
        yield from _too_low(
            proc, "fs.file-max", in_use + all_files, "it is for all processes together"
        )


def _queues(proc: Path, needs: Needs) -> Iterator[Finding]:
    if needs.listens:
        yield from _listen_queues(proc, needs)
    yield from _too_low(
        proc,
        "net.core.netdev_max_backlog",
        max(_PACKETS, min(needs.outgoing, BACKLOG)),
        "packets over loopback wait here for a core; one too many is dropped and sent again "
        "200 ms later",
    )


def _listen_queues(proc: Path, needs: Needs) -> Iterator[Finding]:
    wanted = min(BACKLOG, needs.connections)
    yield from _too_low(
        proc,
        "net.core.somaxconn",
        wanted,
        "callers that come all at once, as after a restart, wait here to be accepted; "
        "one too many tries again 1 s later",
    )
    for cookies in _read(proc, "net.ipv4.tcp_syncookies")[:1]:
        measuring = needs.outgoing > 0
        if measuring and cookies:
            yield Finding(
                "net.ipv4.tcp_syncookies",
                str(cookies),
                "0 while you measure",
                "a burst of new connections is taken for an attack, and what is measured then is "
                "the defence; it must be 1 again in production",
                "sysctl -w net.ipv4.tcp_syncookies=0  # afterwards: net.ipv4.tcp_syncookies=1",
            )
        if not measuring and not cookies:
            yield Finding(
                "net.ipv4.tcp_syncookies",
                "0",
                "1",
                "without cookies, anybody who sends SYN packets can keep callers out; 0 is for "
                "measuring only",
                "sysctl -w net.ipv4.tcp_syncookies=1",
            )
        if measuring or not cookies:
            # With cookies, what bounds half-open connections is somaxconn. Without, a
            # quarter of this is kept for callers who have been here before.
            yield from _too_low(
                proc,
                "net.ipv4.tcp_max_syn_backlog",
                wanted * 4 // 3,
                "without SYN cookies this bounds half-open connections",
            )


def _moved_queues(proc: Path, needs: Needs) -> Iterator[Finding]:
    if not needs.listens or needs.workers == 1:
        return
    name = "net.ipv4.tcp_migrate_req"  # Linux 5.14 or later
    for found in _read(proc, name)[:1]:
        if not found:
            yield Finding(
                name,
                "0",
                "1",
                "each worker has a queue of callers; when one is closed, as by a reload to fewer "
                "workers, the kernel then moves them to the others instead of resetting them",
                f"sysctl -w {name}=1",
                is_hint=True,
            )


def _ports(proc: Path, needs: Needs) -> Iterator[Finding]:
    name = "net.ipv4.ip_local_port_range"
    found = _read(proc, name)
    if len(found) != 2:
        return
    low, high = found
    if high - low + 1 >= needs.outgoing:
        return
    wide = next(
        (pair for pair in (_WIDE_PORTS, _ALL_PORTS) if pair[1] - pair[0] + 1 >= needs.outgoing),
        None,
    )
    first, last = wide or _ALL_PORTS
    mend = f'sysctl -w {name}="{first} {last}"'
    if wide is None:
        mend += f"  # that is {last - first + 1}: spread the rest over several addresses"
    yield Finding(
        name,
        f"{low} to {high}, {high - low + 1} ports",
        f"{needs.outgoing} ports",
        "each connection to one address takes a port of its own",
        mend,
    )


def _tracked(proc: Path, needs: Needs) -> Iterator[Finding]:
    yield from _too_low(
        proc,
        "net.netfilter.nf_conntrack_max",
        # Twice as many, as closed connections stay in the table for two minutes.
        2 * (needs.incoming + needs.outgoing),
        "the firewall remembers every connection; when its table is full, packets are dropped",
    )


def _memory(proc: Path, needs: Needs) -> Iterator[Finding]:
    try:
        match = re.search(r"^MemTotal:\s+(\d+) kB", (proc / "meminfo").read_text(), re.MULTILINE)
    except OSError:
        return
    if match is None:
        return
    found = int(match[1]) << 10
    workers = needs.workers * _WORKER_BYTES + _BUILD_BYTES if needs.listens else 0
    wanted = workers + (needs.incoming + needs.outgoing) * _CONNECTION_BYTES
    if found < wanted:
        yield Finding(
            "memory",
            f"{found >> 20} MB",
            f"about {wanted >> 20} MB",
            "that is what so many workers and connections take if all are in use",
            "workers or http.connections, lowered in ipquery.toml, or a larger machine",
        )

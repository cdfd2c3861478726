"""What would spoil a run on this machine, found out before it: ``ipquery doctor``'s checks."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from ipquery.doctor import Needs, check
from ipquery.net.limits import open_files_limit
from loadgen.send.plan import Plan

_PROC = Path("/proc")


def warnings(plan: Plan, proc: Path = _PROC) -> Iterator[str]:
    """What to mend before a run, a line each.

    :param proc: where proc(5) is mounted.
    """
    here = ip_address(plan.target.peer).is_loopback
    needs = Needs(plan.connections if here else 0, outgoing=plan.connections, listens=here)
    for finding in check(proc, needs, open_files_limit()):
        yield (
            f"{finding.what} is {finding.found}, should be {finding.wanted}: {finding.why}. "
            f"Mend it: {finding.mend}"
        )
    if not plan.keep_alive:
        yield from _reuse(proc)


def _reuse(proc: Path) -> Iterator[str]:
    """A connection for each request: ports of closed ones are taken for a minute."""
    try:
        found = (proc / "sys/net/ipv4/tcp_tw_reuse").read_text().strip()
    except OSError:
        return
    # 2, the kernel's default since 4.19, is for loopback only.
    if found == "0":
        yield (
            "net.ipv4.tcp_tw_reuse is 0: a closed connection keeps its port for 60 s, so that "
            "a few hundred connections a second are all there can be. "
            "Mend it: sysctl -w net.ipv4.tcp_tw_reuse=2"
        )

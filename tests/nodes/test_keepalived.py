"""Two hosts with nginx share an address by keepalived."""

import http.client
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
import pytest

from tests.nodes.front import CONF, Nginx, nginx_configuration
from tests.nodes.network import Host, Network
from tests.nodes.node import ANSWER, Node
from tests.programs import require

SHARED = "10.77.0.10"
HIGHEST_SECONDS = 2.0


def _configuration(folder: Path, host: Host, other: Host) -> Path:
    """What is shipped, with the places of this test in it."""
    folder.mkdir()
    script = str(shutil.copy2(CONF / "keepalived/check-ipquery", folder))
    # The script's user is nobody, and pytest's folders are for ours alone.
    text = (CONF / "keepalived/keepalived.conf").read_text()
    for before, after in {
        "/etc/keepalived/check-ipquery": script,
        "unicast_src_ip 10.0.0.2\n": f"unicast_src_ip {host.address}\n",
        " 10.0.0.3\n": f" {other.address}\n",
        "10.0.0.10/24": f"{SHARED}/24",
    }.items():
        assert before in text, before
        text = text.replace(before, after)
    path = folder / "keepalived.conf"
    path.write_text(text)
    return path


class Front:
    """A host with nginx and keepalived."""

    def __init__(self, folder: Path, host: Host, other: Host, node: str) -> None:
        self.host = host
        self._folder = folder
        replaced = {"10.0.0.11:8080": node, "10.0.0.12:8080": node}
        self._nginx_configuration = nginx_configuration(folder / "nginx", 9000, replaced)
        self._nginx_pid = folder / "nginx/nginx.pid"
        self._configuration = _configuration(folder / "keepalived", host, other)
        self.start_nginx()
        self.start_keepalived()

    def start_nginx(self) -> None:
        self.nginx = Nginx(self._nginx_configuration, self.host.within)

    def start_keepalived(self) -> None:
        folder = self._configuration.parent
        flags = ["--dont-fork", "--log-console", "--no-syslog", "--vrrp", "--release-vips"]
        places = {"--use-file": self._configuration}
        places |= {"--pid": folder / "pid", "--vrrp_pid": folder / "vrrp_pid"}
        with (folder / "log").open("ab") as log:
            self.keepalived = subprocess.Popen(
                [
                    *self.host.within,
                    require("keepalived", "keepalived"),
                    *flags,
                    *(f"{flag}={path}" for flag, path in places.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def has_address(self) -> bool:
        return SHARED in self.host.addresses

    @property
    def log(self) -> str:
        return (self._configuration.parent / "log").read_text()

    def kill_nginx(self) -> None:
        _kill(self.nginx.process)

    def kill(self) -> None:
        """What a power failure does to the host."""
        _kill(self.keepalived)
        _kill(self.nginx.process)
        self.host.cut()

    def come_back(self) -> None:
        """As after a reboot: what was in /run is gone."""
        for left in (*self._configuration.parent.glob("*pid"), self._nginx_pid):
            left.unlink(missing_ok=True)
        self.host.mend()
        self.start_nginx()
        self.start_keepalived()

    def stop(self) -> None:
        self.keepalived.terminate()
        self.keepalived.wait(10)
        self.nginx.stop()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in [process.pid, *map(int, children)]:
        os.kill(pid, signal.SIGKILL)
    process.wait(10)


@attrs.define
class Caller:
    """Asks the shared address every few milliseconds, each time anew."""

    host: Host
    asked: list[tuple[float, str]] = attrs.field(factory=list)
    """When, and what went wrong; nothing if the right answer came."""
    _stopping: threading.Event = attrs.field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def _run(self) -> None:
        self.host.enter()
        while not self._stopping.is_set():
            begun = time.monotonic()
            self.asked.append((begun, self._ask()))
            self._stopping.wait(0.02)

    @staticmethod
    def _ask() -> str:
        connection = http.client.HTTPConnection(SHARED, 9000, timeout=0.2)
        try:
            connection.request("GET", "/api/ip_query?ip=1.2.3.4")
            return "" if connection.getresponse().read() == ANSWER else "another answer"
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        finally:
            connection.close()

    def answered_after(self, begin: float) -> float:
        """When the first of ten answers in a row was asked for."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            asked = [one for one in list(self.asked) if one[0] >= begin]
            good = [when for when, wrong in asked[-10:] if not wrong]
            if len(good) == 10:
                last_bad = max((when for when, wrong in asked if wrong), default=begin)
                return min(when for when, wrong in asked if not wrong and when >= last_bad)
            time.sleep(0.02)
        raise AssertionError(self.asked[-10:])

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._thread is not None
        self._stopping.set()
        self._thread.join(10)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Front, Front, Caller]]:
    """The one that has the address, the other, and somebody who asks."""
    with ExitStack() as stack:
        # nobody has to get at the check script.
        for folder in [tmp_path, *tmp_path.parents][:3]:
            folder.chmod(0o755)
        network = stack.enter_context(Network())
        behind = network.host("node", "10.77.0.11")
        one, other = network.host("one", "10.77.0.2"), network.host("other", "10.77.0.3")
        caller = network.host("caller", "10.77.0.9")
        cached = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        node = Node(tmp_path / "node", f"{behind.address}:8080", cached, behind.within)
        stack.callback(lambda: node.daemon.stop())
        node.daemon.wait_until_up()
        fronts = [
            Front(tmp_path / host.name, host, peer, "10.77.0.11:8080")
            for host, peer in ((one, other), (other, one))
        ]
        for front in fronts:
            stack.callback(front.stop)
        _until(lambda: any(front.has_address for front in fronts), 10)
        fronts.sort(key=lambda front: not front.has_address)
        asking = stack.enter_context(Caller(caller))
        asking.answered_after(0)
        yield fronts[0], fronts[1], asking


def _until(condition: Callable[[], object], seconds: float, *fronts: Front) -> float:
    """Wait for something; how long it took."""
    begin = time.monotonic()
    while not condition():
        logs = "\n".join(front.log for front in fronts)
        assert time.monotonic() < begin + seconds, f"waited in vain\n{logs}"
        time.sleep(0.01)
    return time.monotonic() - begin


def _moves(act: Callable[[], None], to: Front, caller: Caller) -> tuple[float, float]:
    """Seconds until the address is elsewhere, and until callers are answered there."""
    begin = time.monotonic()
    act()
    moved = _until(lambda: to.has_address, 10)
    return moved, caller.answered_after(begin + moved) - begin


def test_the_address_leaves_a_host_that_dies(hosts: tuple[Front, Front, Caller]) -> None:
    master, backup, caller = hosts
    assert not backup.has_address
    moved, answered = _moves(master.kill, backup, caller)
    print(f"moved within {moved:.2f} s, answered after {answered:.2f} s")
    assert moved < HIGHEST_SECONDS
    assert answered < HIGHEST_SECONDS

    # The host that comes back leaves the address where it is.
    master.come_back()
    back = time.monotonic()
    _until(
        lambda: "Entering BACKUP STATE" in master.log.rpartition("Starting Keepalived")[2],
        10,
        master,
    )
    time.sleep(1.5)
    wrong = [wrong for when, wrong in caller.asked if when > back and wrong]
    assert wrong == []
    assert backup.has_address


def test_the_address_leaves_a_host_whose_nginx_dies(hosts: tuple[Front, Front, Caller]) -> None:
    master, backup, caller = hosts
    moved, answered = _moves(master.kill_nginx, backup, caller)
    print(f"moved within {moved:.2f} s, answered after {answered:.2f} s")
    assert moved < HIGHEST_SECONDS
    assert answered < HIGHEST_SECONDS
    _until(lambda: not master.has_address, 2)


def _advert(source: str, target: str) -> bytes:
    """RFC 5798 section 5.2: version 3, the highest priority there is but the owner's."""
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 112, 12)
    begin, rest = struct.pack("!BBBBH", 0x31, 90, 254, 1, 20), socket.inet_aton(SHARED)
    total = sum(struct.unpack("!11H", pseudo + begin[:6] + rest))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return begin + struct.pack("!H", ~total & 0xFFFF) + rest


def _claim_the_address(attacker: Host, victims: list[Host], seconds: float) -> None:
    attacker.enter()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 112) as raw:
        # What comes from farther away than one link is no advert.
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for victim in victims:
                raw.sendto(_advert(attacker.address, victim.address), (victim.address, 0))
            # More often and it is a flood, which only a firewall keeps off.
            time.sleep(0.5)


def test_nobody_else_can_claim_the_address(hosts: tuple[Front, Front, Caller]) -> None:
    one, other, caller = hosts
    begun = time.monotonic()
    claiming = threading.Thread(
        target=_claim_the_address, args=(caller.host, [one.host, other.host], 3)
    )
    claiming.start()
    while claiming.is_alive():
        assert one.has_address, one.log
        assert not other.has_address
        time.sleep(0.1)
    assert [wrong for when, wrong in list(caller.asked) if when >= begun and wrong] == []

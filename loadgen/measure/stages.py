"""What each step of a request takes on this machine, and which of them is the bottleneck.

System calls and look-ups are timed by themselves, the best of many rounds, as whatever
disturbs only makes them slower. Whole servers are run under load, and their processor time
is divided by the requests they answered: a bare echo, which tells what the transport takes,
and ipquery. What ipquery takes beyond all this is HTTP: a step by subtraction, so that
nothing is built here a second time and nothing is left out.
"""

import socket
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from ipquery import Snapshot, open_snapshot
from ipquery.address import parse
from ipquery.net.sockets import BACKLOG
from ipquery.serve.api import contract
from loadgen.peers.echo import ANSWER
from loadgen.peers.servers import ECHO, IPQUERY, ROUTES, Running, Server
from loadgen.report.charts import bars
from loadgen.report.page import page
from loadgen.report.page import table as html_table
from loadgen.report.tables import columns
from loadgen.report.text import bar
from loadgen.send.addresses import random_of, uniform_v4

_ROUNDS = 30
_OPERATIONS = 400


@attrs.frozen
class Stage:
    """A step, and the processor time it takes for one request."""

    name: str
    microseconds: float
    how: str

    @property
    def capacity(self) -> float:
        """How many a second one core could do, if it did nothing else."""
        return 1e6 / self.microseconds if self.microseconds > 0 else float("inf")


@attrs.frozen
class Way:
    """A way of answering: the lane, or Klein."""

    name: str
    stages: Sequence[Stage]
    measured: float
    """Processor time of the whole service for a request, in microseconds."""

    @property
    def total(self) -> float:
        """The steps added up, in microseconds."""
        return sum(stage.microseconds for stage in self.stages)

    @property
    def bottleneck(self) -> Stage:
        """The step that takes most."""
        return max(self.stages, key=lambda stage: stage.microseconds)


@attrs.frozen
class Stages:
    """All that was found."""

    ways: Sequence[Way]
    accept: Stage
    """For a connection, not for a request."""
    echo: float
    """A bare echo on the same transport, in microseconds of processor time."""
    kernel: float
    """Receiving and sending over loopback, nothing else."""


def _least(items: Sequence[Any], work: Callable[[Any], Any]) -> float:
    """Microseconds of ``work`` for one of the items, in the round that was disturbed least."""
    least = float("inf")
    for _ in range(_ROUNDS):
        begun = time.perf_counter_ns()
        for item in items:
            work(item)
        least = min(least, time.perf_counter_ns() - begun)
    return least / len(items) / 1000


def _each(items: Sequence[Any], work: Callable[[Any], Any]) -> float:
    """The same without the loop around it."""
    return max(_least(items, work) - _least(items, _pass), 0)


def _pass(item: Any) -> None:
    """A call that does nothing."""


def _kernel() -> tuple[float, float, float]:
    """Receive, send and accept over loopback, in microseconds."""
    target = f"{contract.QUERY_PATH}?ip=123.123.123.123"
    request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
        spent = [0, 0]
        least = [float("inf"), float("inf")]
        for _ in range(_ROUNDS):
            spent[:] = 0, 0
            for _ in range(_OPERATIONS):
                client.send(request)
                begun = time.perf_counter_ns()
                server.recv(65536)
                read = time.perf_counter_ns()
                server.send(ANSWER)
                spent[1] += time.perf_counter_ns() - read
                spent[0] += read - begun
                client.recv(65536)
            least = [min(a, b) for a, b in zip(least, spent, strict=True)]
        client.close()
        server.close()
        accept = float("inf")
        for _ in range(_ROUNDS):
            waiting = [socket.create_connection(listening.getsockname()) for _ in range(50)]
            begun = time.perf_counter_ns()
            for _ in waiting:
                taken, _ = listening.accept()
                taken.close()
            accept = min(accept, (time.perf_counter_ns() - begun) / 50)
            for one in waiting:
                one.close()
    return least[0] / _OPERATIONS / 1e3, least[1] / _OPERATIONS / 1e3, accept / 1e3


def _look_ups(snapshot: Snapshot) -> tuple[Stage, Stage]:
    """From the text of an address to the answer's bytes: as the lane does it, and as Klein does."""
    drawn = uniform_v4(random_of(1))(4 * _OPERATIONS)
    known = [ip for ip in drawn if snapshot.find(ip.decode())][:_OPERATIONS]
    texts = [ip.decode() for ip in known]
    prepared = _each(known, snapshot.finder(lambda answer: answer))

    def look_up(text: str) -> bytes:
        return snapshot.answer(snapshot.answer_number(*parse(text)))

    return (
        Stage("look-up", prepared, "address, two bisections, the prepared answer"),
        Stage("look-up", _each(texts, look_up), "address, two bisections, the answer's bytes"),
    )


Drive = Callable[[int], Awaitable[int]]
"""Puts a port under load for a while; how many requests were answered."""


async def measure(
    snapshot_path: Path, drive: Drive, core: int, say: Callable[[str], None]
) -> Stages:
    """Measure everything.

    :param core: where servers run.
    """
    say("timing the steps by themselves")
    read, write, accept = _kernel()
    with open_snapshot(snapshot_path) as snapshot:
        look_ups = _look_ups(snapshot)
    with (
        tempfile.TemporaryDirectory() as folder,
        Running(Path(folder), snapshot_path, None, core) as running,
    ):

        async def spent(server: Server) -> float:
            say(f"{server.name} under load")
            running.start(server)
            await drive(server.port)  # warm
            before = running.cpu_seconds(server)
            answered = await drive(server.port)
            return (running.cpu_seconds(server) - before) / max(answered, 1) * 1e6

        echo = await spent(ECHO)
        whole = [await spent(server) for server in (IPQUERY, ROUTES)]
    transport = max(echo - read - write, 0)
    ways = []
    for name, how, look_up, measured in zip(
        ("express lane", "Klein"),
        ("the request taken apart, rules, the response's head", "twisted.web, Klein"),
        look_ups,
        whole,
        strict=True,
    ):
        http = max(measured - max(echo, read + write) - look_up.microseconds, 0)
        stages = [
            Stage("read", read, "recv over loopback"),
            Stage("transport", transport, "a bare echo on the loop, less read and write"),
            Stage("HTTP", http, f"{how}; what is left of the whole service"),
            look_up,
            Stage("write", write, "send over loopback, with the kernel's delivery"),
        ]
        ways.append(Way(name, stages, measured))
    return Stages(ways, Stage("accept", accept, "accept and close"), echo, read + write)


def describe(found: Stages, way: Way) -> list[str]:
    """What is to be said of a way, in sentences."""
    most = way.bottleneck
    return [
        f"{way.name}: the bottleneck is {most.name} ({most.how}), {most.microseconds:.2f} of "
        f"{way.total:.2f} us.",
        f"The whole service took {way.measured:.2f} us: {1e6 / way.measured:,.0f} requests/s a "
        "core.",
        f"That is {found.echo / way.measured:.0%} of a bare echo on the same transport "
        f"({1e6 / found.echo:,.0f}/s) and {found.kernel / way.measured:.0%} of the kernel's "
        f"loopback ({1e6 / found.kernel:,.0f}/s).",
    ]


def _rows(way: Way) -> list[list[str]]:
    rows = [["step", "us", "alone, /s", "how"]]
    for stage in way.stages:
        rows.append([stage.name, f"{stage.microseconds:.2f}", f"{stage.capacity:,.0f}", stage.how])
    rows.append(["service", f"{way.measured:.2f}", f"{1e6 / way.measured:,.0f}", "measured"])
    return rows


def as_text(found: Stages) -> str:
    """Bars and sentences, for a terminal."""
    parts = []
    for way in found.ways:
        most = way.bottleneck.microseconds or 1
        lines = [
            [stage.name, f"{stage.microseconds:.2f} us", f"{stage.capacity:>12,.0f}/s"]
            for stage in way.stages
        ]
        drawn = columns(lines).splitlines()
        parts.append(f"{way.name}, processor time of each step for a request")
        parts += (
            f"  {line}  {bar(stage.microseconds / most)}"
            for line, stage in zip(drawn, way.stages, strict=True)
        )
        parts += (f"  {sentence}" for sentence in describe(found, way))
        parts.append("")
    parts.append(_accept_sentence(found))
    return "\n".join(parts)


def _accept_sentence(found: Stages) -> str:
    return (
        f"Accepting a connection takes the kernel {found.accept.microseconds:.1f} us: "
        f"{found.accept.capacity:,.0f} connections/s."
    )


def as_json(found: Stages) -> dict[str, Any]:
    """For JSON."""
    return {
        **attrs.asdict(found),
        "bottlenecks": {way.name: way.bottleneck.name for way in found.ways},
        "share_of_echo": {way.name: found.echo / way.measured for way in found.ways},
        "share_of_kernel": {way.name: found.kernel / way.measured for way in found.ways},
    }


def as_html(found: Stages) -> str:
    """A page."""
    parts = []
    for way in found.ways:
        named = [(stage.name, stage.microseconds) for stage in way.stages]
        parts.append(f"<h2>{way.name}: microseconds of each step</h2>")
        parts.append(bars(named, lambda value: f"{value:.2f} us", way.name))
        parts += (f"<p>{sentence}</p>" for sentence in describe(found, way))
        parts.append(html_table([row[:3] for row in _rows(way)]))
    parts.append(f"<p>{_accept_sentence(found)}</p>")
    return page("ipquery-load stages", "\n".join(parts))

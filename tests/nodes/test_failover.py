"""Two nodes behind nginx: whatever happens to one of them, no caller sees it.

Each test runs once in `make test`, and three times more, with callers that ask almost without
a break, in `make soak`.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import attrs
import pytest

from tests.integration.load import Load
from tests.nodes.front import Nginx, nginx_configuration
from tests.nodes.network import Host, Network
from tests.nodes.node import ANSWER, Node, free_ports

# A refused connection costs microseconds; the rest is for a machine that has other
# things to do, such as starting the node that comes back.
QUICK = 0.25

# A silent node costs those who are waiting for it proxy_read_timeout (1 s), and one
# that has yet to connect proxy_connect_timeout (0.3 s).
SILENT = 1.3 + QUICK

# Until both marks of max_fails are made, one after the other at worst.
NOTICED = 3.0

REPEATED = pytest.mark.parametrize(
    "repetition", [0, *(pytest.param(number, marks=pytest.mark.soak) for number in (1, 2, 3))]
)


@attrs.frozen
class Pair:
    """Two nodes with nginx in front, and how to ask them."""

    nodes: tuple[Node, Node]
    nginx: Nginx
    ask: Callable[[], Load]


class Span:
    """A time under load, and what callers saw in it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        load.wait_for(200)
        self._begin, self._end = time.monotonic(), float("inf")

    def end_after(self, seconds: float) -> None:
        """Let some time go by, and end it."""
        time.sleep(seconds)
        self._end = time.monotonic()

    @property
    def p99(self) -> float:
        """In seconds."""
        return self._load.result.percentile(0.99, self._begin, self._end)

    @property
    def slowest(self) -> float:
        """In seconds."""
        return self._load.result.percentile(1, self._begin, self._end)


def check(pair: Pair, load: Load) -> None:
    """No caller has seen anything."""
    result = load.result
    said = pair.nginx.log[-3000:]
    assert result.lost == [], said
    assert set(result.statuses) == {200}, said
    assert set(result.answers) == {ANSWER}


def _tell(**spans: Span) -> None:
    """For `pytest -s`: what the bounds leave room for."""
    for name, span in spans.items():
        print(f"{name}: p99 {span.p99 * 1e3:.0f} ms, slowest {span.slowest * 1e3:.0f} ms")


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


def _start(
    stack: ExitStack,
    folder: Path,
    cached: dict[str, str],
    repetition: int,
    addresses: list[str],
    port: int,
    hosts: list[Host] | None = None,
) -> Pair:
    within = [host.within for host in hosts] if hosts else [[], [], []]
    nodes = [
        Node(folder / f"node{number}", addresses[number], cached, within[number])
        for number in (0, 1)
    ]
    for node in nodes:
        stack.callback(node.stop)
    for node in nodes:
        node.daemon.wait_until_up()
    replaced = {"10.0.0.11:8080": addresses[0], "10.0.0.12:8080": addresses[1]}
    configuration = nginx_configuration(folder / "nginx", port, replaced)
    nginx = stack.enter_context(Nginx(configuration, within[2]))
    host = hosts[2] if hosts else None
    ask = partial(Load, port, pause=0.002 if repetition else 0.01)
    if host:
        ask = partial(ask, host=host.address, enter=host.enter)
    return Pair((nodes[0], nodes[1]), nginx, ask)


@pytest.fixture
def pair(tmp_path: Path, cached: dict[str, str], repetition: int) -> Iterator[Pair]:
    """Everything on loopback."""
    one, other, front = free_ports(3)
    addresses = [f"127.0.0.1:{one}", f"127.0.0.1:{other}"]
    with ExitStack() as stack:
        yield _start(stack, tmp_path, cached, repetition, addresses, front)


@REPEATED
def test_a_node_is_killed_and_comes_back(pair: Pair, repetition: int) -> None:
    node = pair.nodes[0]
    with pair.ask() as load:
        killed = Span(load)
        node.kill()
        killed.end_after(1.5)
        back = Span(load)
        node.start().wait_until_up()
        # Longer than fail_timeout would take: it must not matter.
        back.end_after(1.5)
    check(pair, load)
    _tell(killed=killed, back=back)
    assert killed.p99 < QUICK
    assert back.p99 < QUICK


@REPEATED
def test_both_nodes_are_upgraded_one_right_after_the_other(pair: Pair, repetition: int) -> None:
    with pair.ask() as load:
        upgraded = Span(load)
        for node in pair.nodes:
            node.upgrade()
        upgraded.end_after(0.5)
    check(pair, load)
    _tell(upgraded=upgraded)
    assert upgraded.p99 < QUICK


@REPEATED
def test_a_worker_of_each_node_is_killed_at_the_same_time(pair: Pair, repetition: int) -> None:
    """Both nodes are marked then, although both answer: what the last resort is for."""
    with pair.ask() as load:
        killed = Span(load)
        for node in pair.nodes:
            os.kill(node.daemon.children[0], signal.SIGKILL)
        killed.end_after(2)
    check(pair, load)
    _tell(killed=killed)
    assert killed.p99 < QUICK


@REPEATED
def test_a_node_freezes_and_goes_on(pair: Pair, repetition: int) -> None:
    node = pair.nodes[0]
    with pair.ask() as load:
        frozen = Span(load)
        node.freeze()
        frozen.end_after(NOTICED)
        noticed = Span(load)
        noticed.end_after(1)
        back = Span(load)
        node.thaw()
        back.end_after(1)
    check(pair, load)
    _tell(frozen=frozen, noticed=noticed, back=back)
    assert frozen.p99 <= frozen.slowest < SILENT
    assert noticed.p99 < QUICK
    assert back.p99 < QUICK


@REPEATED
def test_the_link_of_a_node_is_cut_and_mended(
    tmp_path: Path, cached: dict[str, str], repetition: int
) -> None:
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        one = network.host("one", "10.77.0.11")
        other = network.host("other", "10.77.0.12")
        front = network.host("front", "10.77.0.2")
        addresses = [f"{host.address}:8080" for host in (one, other)]
        pair = _start(stack, tmp_path, cached, repetition, addresses, 9000, [one, other, front])
        with pair.ask() as load:
            cut = Span(load)
            one.cut()
            cut.end_after(NOTICED)
            noticed = Span(load)
            noticed.end_after(1)
            back = Span(load)
            one.mend()
            back.end_after(1)
    check(pair, load)
    _tell(cut=cut, noticed=noticed, back=back)
    assert cut.p99 <= cut.slowest < SILENT
    assert noticed.p99 < QUICK
    assert back.p99 < QUICK

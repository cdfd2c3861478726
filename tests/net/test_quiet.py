"""Connections that were answered once, on a clock and sockets of the test's."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ipquery.net.quiet import QuietConnections


class _Loop:
    """A loop that only knows what time it is; what comes in it finds out too late."""

    def __init__(self) -> None:
        self.now = 0.0
        self.alarms: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle | None:
        self.alarms.append((self.now + seconds, call))
        return None

    def add_reader(self, connection: socket.socket, *call: object) -> None:
        pass

    def remove_reader(self, connection: socket.socket) -> None:
        pass

    def ring(self) -> None:
        """Have it be the time of the next alarm."""
        self.now, call = self.alarms.pop(0)
        call()


class _Quiet:
    """One connection that is quiet, and what became of it."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.ours, self.theirs = socket.socketpair()
        self.went_on: list[tuple[str, bytes]] = []
        self.counted: set[Any] = set()
        quiet = QuietConnections(
            self.loop, 60, self.counted, lambda one, peer, data: self.went_on.append((peer, data))
        )
        quiet.add(self.ours, "peer")


@pytest.fixture
def one() -> Iterator[_Quiet]:
    made = _Quiet(_Loop())
    yield made
    made.ours.close()
    made.theirs.close()


def test_who_says_nothing_in_time_is_closed(one: _Quiet) -> None:
    assert len(one.counted) == 1
    one.loop.ring()
    assert (one.loop.now, one.theirs.recv(1)) == (60, b"")
    assert (one.went_on, one.counted, one.loop.alarms) == ([], set(), [])


def test_who_has_spoken_in_time_is_not_closed_because_we_were_busy(one: _Quiet) -> None:
    one.theirs.sendall(b"a word")
    one.loop.ring()
    assert one.went_on == [("peer", b"a word")]
    assert (one.counted, one.loop.alarms) == (set(), [])


def test_who_has_gone_meanwhile_is_closed_once(one: _Quiet) -> None:
    one.theirs.close()
    one.loop.ring()
    assert (one.went_on, one.counted, one.ours.fileno()) == ([], set(), -1)

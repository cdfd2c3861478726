"""A generator that does nothing beside the system calls: for shapes that wrk can't send.

    python -m loadgen.tools.bare PORT REQUESTS [--connections N] [--seconds S] [--anew] [--rate R]

It sends the requests of a file (see tools/look_up.lua) and takes every read for one whole
answer: on loopback, from a server that writes an answer at once, that is what a read is. A
read that isn't one counts as an error. So it can ask what a parser of answers has to know
the request for (HEAD), close a connection that the server would have kept, and spend as
little on a connection that is used once as the kernel allows: with ``--anew`` it made 14,100
requests a second to nginx, where ``ipquery-load --no-keep-alive`` made 7,600.

Without ``--rate`` each of N callers asks again as soon as it has its answer. With it,
requests are due at regular times, wait for a caller that is free, and their latency counts
from when they were due. With ``--anew`` a latency holds the time to connect.
"""

import json
import signal
import socket
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from select import EPOLLIN, EPOLLOUT, epoll

import click

from ipquery.net.limits import raise_open_files
from loadgen.report.latencies import percentiles
from loadgen.send.counts import Counts
from loadgen.send.pacer import Schedule, Timer

_HOST = "127.0.0.1"
_REFUSED = b"HTTP/1.1 501"
# A look-up's answers: found, and no record.
_STATUSES = (b"HTTP/1.1 200", _REFUSED)
_READ = 65536
# Nanoseconds. Without a pause, a server that is gone would keep us busy with failures.
_REST = 10_000_000
_KEPT_TIMES = 1000


class Bare:
    """All callers, on one epoll."""

    def __init__(self, port: int, requests: list[bytes], anew: bool) -> None:
        self._port = port
        self._next = cycle(requests).__next__
        self._anew = anew
        self._epoll = epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._pending: dict[int, tuple[int, bytes]] = {}
        """By descriptor, when a request was due, and what is still to be sent of it."""
        self._end = 0
        self._timer: Timer | None = None
        self._free: deque[int] = deque()
        """Callers without a request, by the descriptor of their connection, or 0 for none."""
        self._due: deque[int] = deque()
        """When requests were due that wait for a caller."""
        self._resting: deque[int] = deque()
        """Until when callers rest whose request has failed."""
        self.latencies: array[int] = array("q")
        self.reasons: Counter[str] = Counter()
        """Requests that failed, by what failed them."""
        self.failed_at: list[float] = []
        """When the first thousand of them did, by the monotonic clock, in seconds."""
        self.refused = 0

    @property
    def errors(self) -> int:
        """Requests that failed."""
        return self.reasons.total()

    def run(self, callers: int, seconds: float, rate: float | None) -> float:
        """Ask until the time is up.

        :returns: for how many seconds.
        """
        begun = time.monotonic_ns()
        self._end = begun + round(seconds * 1e9)
        self._free.extend(0 if self._anew else self._connect() for _ in range(callers))
        schedule = None
        if rate is not None:
            schedule = Schedule(rate, seconds, begun, self._pace)
            self._timer = Timer(begun, schedule.period)
            self._epoll.register(self._timer.fileno(), EPOLLIN)
        else:
            self._pace(begun, callers)
        while (now := time.monotonic_ns()) < self._end:
            while self._resting and self._resting[0] <= now:
                self._resting.popleft()
                self._again(0, now)
            for descriptor, event in self._epoll.poll(_REST / 1e9):
                if self._timer is not None and descriptor == self._timer.fileno():
                    assert schedule is not None
                    schedule.advance(self._timer.passed())
                elif event & EPOLLOUT:
                    self._connected(descriptor)
                else:
                    self._read(descriptor)
        return (now - begun) / 1e9

    def stop(self) -> None:
        """End the run before its time. May be called by a signal's handler."""
        self._end = 0

    def close(self) -> None:
        """Close all connections, and ask no more."""
        for descriptor in list(self._sockets):
            self._close(descriptor)
        if self._timer is not None:
            self._timer.close()
        self._epoll.close()

    def _connect(self) -> int:
        """A new connection, made or on its way; 0 if there can't be one."""
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            one.connect((_HOST, self._port))
        except BlockingIOError:
            pass  # the first send will say
        except OSError:
            one.close()
            return 0
        descriptor = one.fileno()
        self._sockets[descriptor] = one
        self._epoll.register(descriptor, EPOLLIN)
        return descriptor

    def _close(self, descriptor: int) -> None:
        # The kernel forgets in epoll what is closed.
        self._sockets.pop(descriptor).close()
        self._pending.pop(descriptor, None)

    def _pace(self, when: int, count: int) -> None:
        """So many requests are due since ``when``."""
        self._due.extend([when] * count)
        while self._due and self._free:
            self._ask(self._free.popleft(), self._due.popleft())

    def _ask(self, descriptor: int, due: int) -> None:
        if not descriptor and not (descriptor := self._connect()):
            self._failed(0, "not connected")
            return
        request = self._next()
        self._pending[descriptor] = due, request
        self._send(descriptor, request)

    def _send(self, descriptor: int, request: bytes) -> None:
        try:
            # A request is shorter than any buffer for it: it goes as a whole or not at all.
            self._sockets[descriptor].send(request)
        except BlockingIOError:  # not connected yet
            self._epoll.modify(descriptor, EPOLLOUT)
        except OSError as error:
            self._failed(descriptor, f"sending: {error.strerror}")

    def _connected(self, descriptor: int) -> None:
        self._epoll.modify(descriptor, EPOLLIN)
        self._send(descriptor, self._pending[descriptor][1])

    def _read(self, descriptor: int) -> None:
        try:
            data = self._sockets[descriptor].recv(_READ)
            reason = f"began {data[:15]!r}" if data else "closed without an answer"
        except OSError as error:
            data, reason = b"", f"receiving: {error.strerror}"
        asked = self._pending.pop(descriptor, None)
        if asked is None:
            # Not an error: the server may end a connection that nothing is asked on.
            self._close(descriptor)
            self._free.remove(descriptor)
            self._free.append(0)
            return
        if not data.startswith(_STATUSES):
            self._failed(descriptor, reason)
            return
        now = time.monotonic_ns()
        self.latencies.append(now - asked[0])
        self.refused += data.startswith(_REFUSED)
        if self._anew:
            self._close(descriptor)
            descriptor = 0
        self._again(descriptor, now)

    def _failed(self, descriptor: int, reason: str) -> None:
        """A request has no answer; after a pause, its caller goes on with another connection."""
        self.reasons[reason] += 1
        if len(self.failed_at) < _KEPT_TIMES:
            self.failed_at.append(time.monotonic())
        if descriptor:
            self._close(descriptor)
        self._resting.append(time.monotonic_ns() + _REST)

    def _again(self, descriptor: int, now: int) -> None:
        """A caller is free."""
        if self._timer is None:
            self._due.append(now)
        self._free.append(descriptor)
        if self._due:
            self._ask(self._free.popleft(), self._due.popleft())


def read_requests(path: Path) -> list[bytes]:
    """The requests of a file, with a NUL byte behind each."""
    return path.read_bytes().split(b"\0")[:-1]


def _found(bare: Bare, seconds: float) -> Iterator[tuple[str, object]]:
    answered = len(bare.latencies)
    yield "requests", answered
    yield "seconds", seconds
    counts = Counts()
    counts.add(bare.latencies)
    shares = {"p50": 50, "p99": 99, "p999": 99.9}
    yield from zip(shares, percentiles(counts.take(), list(shares.values())), strict=True)
    yield "longest", max(bare.latencies, default=0) / 1e9
    yield "errors", bare.errors
    yield "reasons", bare.reasons
    yield "failed_at", bare.failed_at
    yield "refused", bare.refused


@click.command()
@click.argument("port", type=int)
@click.argument("requests", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--connections", default=64, show_default=True, help="Callers at the same time.")
@click.option("--seconds", default=3.0, show_default=True, help="For how long.")
@click.option("--anew", is_flag=True, help="A connection for each request, closed by the caller.")
@click.option("--rate", type=float, help="So many requests a second, whatever the server does.")
def main(
    port: int, requests: Path, connections: int, seconds: float, anew: bool, rate: float | None
) -> None:
    """Send requests of a file to PORT on loopback, and print what came of it as JSON."""
    raise_open_files()
    bare = Bare(port, read_requests(requests), anew)
    # Whoever started us ends the run by this, and wants what came of it.
    signal.signal(signal.SIGINT, lambda number, frame: bare.stop())
    took = bare.run(connections, seconds, rate)
    bare.close()
    json.dump(dict(_found(bare, took)), sys.stdout)


if __name__ == "__main__":
    main()

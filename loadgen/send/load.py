"""What all connections of one process share: requests to send, and what came of them."""

import time
from array import array
from collections import Counter, deque
from typing import Protocol

from ipquery.serve.api import contract
from loadgen.send.counts import Counts
from loadgen.send.requests import Ask, Find, Requests

clock = time.monotonic_ns

# Requests are made so many at a time. That takes 0.1 ms, or 0.3 ms if the answers to expect
# are looked up, and no answer is read meanwhile, so it mustn't be more.
_BATCH = 256
# Latencies are counted so many at a time, as a call of numpy takes 40 us in any case.
_COUNTED_AT_ONCE = 4096
_KEPT_MISMATCHES = 10
# As many different lengths of answers are known; a service has a few hundred.
_KNOWN_HEADS = 2000

# The statuses of an answer: a record, and no record. Any other is a failure.
_FOUND, _NO_RECORD = 200, 501


class Caller(Protocol):
    """Who can send a request in an open loop."""

    def send(self, begun: int, ask: Ask) -> None:
        """Send it; its latency counts from ``begun``."""


class Load:
    """The state of one process.

    A closed loop asks as soon as an answer is in: connections take from
    ``batch`` by themselves. An open loop asks when it is time: a request that is
    due waits for a connection that is free, and its latency counts from when it
    was due.
    """

    def __init__(
        self, requests: Requests, most: int, find: Find | None = None, paced: bool = False
    ) -> None:
        """
        :param most: how many requests may be sent.
        :param find: the answer that is expected for an address.
        :param paced: whether the loop is open.
        """
        self._requests = requests
        self._left = most
        self._find = find
        self.checks = find is not None
        self.paced = paced
        self.batch: list[Ask] = []
        self._given = 0
        self.heads: dict[int, bytes] = {}
        """By the length of a read, a head that makes a read of this length one whole
        answer: 200, the connection kept, the rest its body."""
        self.latencies: array[int] = array("q")
        """Nanoseconds, since they were last counted."""
        self.counts = Counts()
        self._counted = 0
        self.failures: Counter[str] = Counter()
        """Requests that failed, by what failed them."""
        self.reasons: Counter[str] = Counter()
        """The same in more words."""
        self.statuses: Counter[int] = Counter()
        """Answers other than 200."""
        self.bytes_read = 0
        self.dry_since: int | None = None
        """When a request was wanted last and there were no more to send."""
        self.mismatches = 0
        self.mismatch_samples: list[dict[str, str | int]] = []
        # The open loop
        self.due: deque[int] = deque()
        """When the requests that wait for a connection were due, in nanoseconds."""
        self.free: deque[Caller] = deque()

    # Counts

    @property
    def answered(self) -> int:
        """Requests that have been answered."""
        return self._counted + len(self.latencies)

    @property
    def sent(self) -> int:
        """Requests that have been sent."""
        return self._given - len(self.batch)

    @property
    def failed(self) -> int:
        """Requests that have failed."""
        return self.failures.total()

    def count(self) -> None:
        """Count latencies that have piled up."""
        self._counted += len(self.latencies)
        self.counts.add(self.latencies)
        self.latencies = array("q")

    # Requests

    def refill(self) -> bool:
        """Make more requests. Whether there are any left to make."""
        if len(self.latencies) >= _COUNTED_AT_ONCE:
            self.count()
        size = min(_BATCH, self._left)
        if not size:
            self.dry_since = clock()
            return False
        self._left -= size
        self._given += size
        # Reversed, as they are taken from the end.
        self.batch += reversed(self._requests.take(size, self._find))
        return True

    def stop(self) -> None:
        """Send no more."""
        self._given -= len(self.batch)
        self.batch.clear()
        self._left = 0

    def next(self) -> Ask | None:
        """The next request to send, ``None`` at the end."""
        if not self.batch and not self.refill():
            return None
        return self.batch.pop()

    def pace(self, when: int, count: int) -> None:
        """So many requests are due since ``when``: send what free connections there are for."""
        due, free = self.due, self.free
        due.extend([when] * count)
        while due and free:
            ask = self.next()
            if ask is None:
                due.clear()
                return
            free.popleft().send(due.popleft(), ask)

    def release(self, caller: Caller) -> None:
        """A connection has room for a request: one that is due, or the next."""
        if self.due:
            ask = self.next()
            if ask is not None:
                caller.send(self.due.popleft(), ask)
            return
        self.free.append(caller)

    def go_on(self, caller: Caller, now: int) -> None:
        """A connection has had its answer: ask again, at once or, in an open loop, when due."""
        if self.paced:
            self.release(caller)
            return
        ask = self.next()
        if ask is not None:
            caller.send(now, ask)

    def forget(self, caller: Caller) -> None:
        """A connection has no room any more."""
        while caller in self.free:
            self.free.remove(caller)

    # Answers

    def learn(self, length: int, head: bytes) -> None:
        """The parser has found a read of this length to be one whole answer with this head."""
        if len(self.heads) >= _KNOWN_HEADS:
            self.heads.clear()
        self.heads[length] = head

    def answer(self, begun: int, now: int, ask: Ask, status: int, body: bytes) -> None:
        """A whole answer has come."""
        if status != _FOUND:
            self.statuses[status] += 1
            if status != _NO_RECORD:
                self.fail("status", f"status {status}")
                return
        self.latencies.append(now - begun)
        if not self.checks:
            return
        _, address, expected = ask
        wanted = _FOUND if expected is not None else _NO_RECORD
        if expected is None:
            expected = contract.no_record(address.decode()).body
        if status != wanted or body != expected:
            self.mismatch(ask, status, body)

    def mismatch(self, ask: Ask, status: int, body: bytes) -> None:
        """An answer isn't what the snapshot has."""
        self.mismatches += 1
        if len(self.mismatch_samples) >= _KEPT_MISMATCHES:
            return
        _, address, expected = ask
        self.mismatch_samples.append(
            {
                "address": address.decode(),
                "expected": "501" if expected is None else expected.decode(errors="replace"),
                "status": status,
                "got": body[:500].decode(errors="replace"),
            }
        )

    def fail(self, kind: str, reason: str) -> None:
        """A request has failed."""
        self.failures[kind] += 1
        # Bounded, as a reason may quote the server, and a hostile one says something new
        # each time.
        if len(self.reasons) < 100 or reason in self.reasons:
            self.reasons[reason] += 1

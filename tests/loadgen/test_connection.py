"""One connection: whatever way an answer takes through it, it means the same."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from loadgen.send.addresses import drawing
from loadgen.send.connection import Connection
from loadgen.send.load import Load
from loadgen.send.plan import Plan, Target
from loadgen.send.requests import Requests

PLAN = Plan(Target("127.0.0.1", 80, "127.0.0.1"))


class Owner:
    """Notes what it is told."""

    tls = False

    def __init__(self) -> None:
        self.events: list[str] = []

    def ready(self, connection: Connection) -> None:
        self.events.append("ready")

    def lost(self, connection: Connection, reason: Failure) -> None:
        self.events.append("lost")


class Unlearning(Load):
    """Takes every answer through the parser."""

    def learn(self, length: int, head: bytes) -> None:
        """It is forgotten."""


class Transport(StringTransport):
    """Counts what is written."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True

    @property
    def requests(self) -> int:
        return int(self.value().count(b"GET "))


class Asked:
    """A connection that has begun to ask, and all that belongs to it."""

    def __init__(
        self,
        kind: type[Load] = Load,
        depth: int = 1,
        keep_alive: bool = True,
        most: int = 10**6,
        expected: bytes | None = None,
    ) -> None:
        find = None if expected is None else lambda address: expected
        self.load = kind(Requests(PLAN, drawing(PLAN)), most, find)
        self.owner = Owner()
        self.connection = Connection(self.load, self.owner, depth, keep_alive)
        self.transport = Transport()
        self.connection.makeConnection(self.transport)
        self.connection.start(0)

    def lose(self, error: Exception) -> None:
        self.connection.connectionLost(Failure(error))

    @property
    def counts(self) -> tuple[int, int, int]:
        """Sent, answered, failed."""
        load = self.load
        assert load.sent == load.answered + load.failed + len(self.connection.asked)
        return load.sent, load.answered, load.failed


def answer(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


PLAIN = answer(b'["here"]')
# Whatever an answer may look like, good and bad
ANSWERS = [
    PLAIN,
    PLAIN,
    answer(b'["else"]'),
    answer(b""),
    answer(b"a\r\n\r\nb"),
    answer(b'["here"]', "Date: Mon, 23 Nov 2026 00:00:00 GMT"),
    answer(b'["here"]', "Connection: keep-alive"),
    answer(b'["here"]', "Connection: close"),
    answer(b'{"message":"x"}', status="501 Not Implemented"),
    answer(b"busy", status="503 Service Unavailable"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n[\"here\"]\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"nonsense",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
    b"\r\n",
]  # fmt: skip


@given(
    st.lists(st.sampled_from(ANSWERS), max_size=12),
    st.lists(st.integers(1, 200), max_size=8),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
)
def test_both_ways_through_a_connection_agree(
    answers: Sequence[bytes], cuts: Sequence[int], depth: int, keep_alive: bool, clean: bool
) -> None:
    # First as whole reads, so that heads are learnt, then cut anywhere.
    stream = b"".join(answers)
    pieces: list[bytes] = [*answers]
    for cut in cuts:
        pieces.append(stream[:cut])
        stream = stream[cut:]
    both = [Asked(kind, depth, keep_alive, expected=b'["here"]') for kind in (Load, Unlearning)]
    for one in both:
        for piece in pieces:
            if one.transport.aborted or one.transport.disconnecting:
                break
            one.connection.dataReceived(piece)
        one.lose(ConnectionDone() if clean else ConnectionLost())
    fast, slow = both
    assert fast.counts == slow.counts
    for name in ("failures", "reasons", "statuses", "mismatches", "mismatch_samples", "bytes_read"):
        assert getattr(fast.load, name) == getattr(slow.load, name)
    assert fast.transport.value() == slow.transport.value()
    assert fast.transport.aborted == slow.transport.aborted
    assert fast.transport.disconnecting == slow.transport.disconnecting


def test_a_known_head_is_learnt_from_the_parser() -> None:
    one = Asked()
    one.connection.dataReceived(PLAIN)
    assert one.load.heads == {len(PLAIN): PLAIN[: -len(b'["here"]')]}
    one.connection.dataReceived(PLAIN)
    assert one.counts == (3, 2, 0)
    assert one.load.bytes_read == 2 * len(PLAIN)


@pytest.mark.parametrize("other", ANSWERS[6:], ids=range(6, len(ANSWERS)))
def test_what_is_not_a_plain_good_answer_is_not_learnt(other: bytes) -> None:
    one = Asked(depth=4)
    one.connection.dataReceived(other)
    kept = other == answer(b'["here"]', "Connection: keep-alive")
    assert bool(one.load.heads) == kept


def test_every_answer_is_checked_whatever_way_it_comes() -> None:
    one = Asked(expected=b'["here"]')
    for body in (b'["here"]', b'["here"]', b'["away"]', b'["here"]'):
        one.connection.dataReceived(answer(body))
    one.connection.dataReceived(answer(b"x", status="501 Not Implemented"))
    assert one.load.mismatches == 2
    assert [sample["got"] for sample in one.load.mismatch_samples] == ['["away"]', "x"]
    assert one.counts == (6, 5, 0)


def test_where_no_record_is_expected() -> None:
    load = Load(Requests(PLAN, drawing(PLAN)), 10, lambda address: None)
    connection = Connection(load, Owner(), 1, True)
    connection.makeConnection(Transport())
    connection.start(0)
    address = connection.asked[0][1][1].decode()
    body = f'{{"message": "no ip info in ip db for ip: {address}"}}'.encode()
    connection.dataReceived(answer(body, status="501 Not Implemented"))
    assert (load.answered, load.mismatches) == (1, 0)
    connection.dataReceived(PLAIN)
    assert (load.answered, load.mismatches) == (2, 1)


def test_a_refusal_is_a_failure_and_the_connection_goes_on() -> None:
    one = Asked()
    one.connection.dataReceived(answer(b"busy", status="503 Service Unavailable"))
    assert one.counts == (2, 0, 1)
    assert one.load.failures == {"status": 1}
    assert one.load.statuses == {503: 1}
    assert one.transport.requests == 2


def test_pipelined_requests_are_kept_at_their_number() -> None:
    one = Asked(depth=3)
    assert one.transport.requests == 3
    one.connection.dataReceived(PLAIN * 2)
    assert one.transport.requests == 5
    assert one.counts == (5, 2, 0)


def test_no_more_is_sent_than_may_be() -> None:
    one = Asked(most=2)
    for _ in range(2):
        one.connection.dataReceived(PLAIN)
    assert one.counts == (2, 2, 0)
    assert one.transport.requests == 2
    assert one.load.dry_since is not None


def test_a_lost_connection_fails_what_was_asked() -> None:
    one = Asked(depth=2)
    one.connection.dataReceived(PLAIN + PLAIN[:20])
    one.lose(ConnectionLost("gone"))
    assert one.counts == (3, 1, 2)
    assert one.load.failures == {"closed": 2}
    assert one.owner.events == ["ready", "lost"]


def test_an_answer_that_ends_with_its_connection() -> None:
    one = Asked()
    one.connection.dataReceived(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    assert one.counts == (1, 0, 0)
    one.lose(ConnectionDone())
    assert one.counts == (1, 1, 0)


def test_an_answer_that_nobody_asked_for() -> None:
    one = Asked(most=1)
    one.connection.dataReceived(PLAIN)
    one.connection.dataReceived(PLAIN)
    assert one.transport.aborted
    assert one.counts == (1, 1, 0)


def test_what_takes_too_long_is_given_up() -> None:
    one = Asked()
    look: Any = one.connection.look
    look(0, 100)
    look(99, 100)
    one.connection.dataReceived(PLAIN)
    look(150, 100)
    look(249, 100)
    assert not one.transport.aborted
    look(250, 100)
    assert one.transport.aborted
    assert one.counts == (2, 1, 1)
    assert one.load.failures == {"timeout": 1}

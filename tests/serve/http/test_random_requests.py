"""Random requests: with the express lane, without it, without a channel, and on twisted.web.

The first three must send the same bytes and be in the same state, and so must a connection that
got its channel after its first answer. twisted.web is the judge of
what is read: method, target, version, fields, body and status of every request, in order. Where
it differs, one of the lists here says why that is right; any other difference fails.
"""

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

import attrs
import pytest
from twisted.internet.task import Clock

from ipquery.serve.http.access_log import AccessLog
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.log_formats import JSON_LINES
from tests.logs import no_faults
from tests.serve.http.callers import METHODS, stream
from tests.serve.http.connection import PEER, Connection, Server, get
from tests.serve.http.logged import Elsewhere, MemoryFile
from tests.serve.http.stock import Ours, Read, Reading, Stock

LIMITS = HttpLimits(requests_per_connection=60)
CLIENT = (PEER.host, PEER.port)
"""As accept(2) has it."""
_SOAK_SECONDS = 600

# What twisted.web does otherwise, and why we don't

REFUSED: Mapping[str, str] = {
    "a request needs one Host header": "RFC 9112 section 3.2",
    "bad Host header": "RFC 9112 section 3.2",
    "bad request: the Host header holds no host name": "RFC 1035 section 2.3.4",
    "bad request target": "RFC 9112 section 3.2",
    "bad request": "CONNECT's target must be host and port (RFC 9112 section 3.2.3)",
    "method not allowed": "what follows a CONNECT is no HTTP (RFC 9110 section 9.3.6)",
    "transfer encoding not supported": "RFC 9112 section 6.1; there identity is passed over",
    "unknown expectation": "RFC 9110 section 10.1.1",
    "request line too long": "a limit of ours",
    "request headers too large": "a limit of ours",
    "request body too large": "a limit of ours",
    "HTTP version not supported": "RFC 9110 section 15.6.6",
    "bad request: Transfer-Encoding in HTTP/1.0": "RFC 9112 section 6.1",
    "bad request: empty lines instead of a request": "a limit of ours",
    # What llhttp can say
    "bad request: Empty Transfer-Encoding": "RFC 9112 section 6.1",
    "bad request: Invalid `Transfer-Encoding` header value": "RFC 9112 section 6.1",
    "bad request: Request has invalid `Transfer-Encoding`": "RFC 9112 section 6.1",
    "bad request: Content-Length can't be present with Transfer-Encoding": "RFC 9112 section 6.3",
    "bad request: Transfer-Encoding can't be present with Content-Length": "RFC 9112 section 6.3",
    "bad request: Duplicate Content-Length": "RFC 9112 section 6.3",
    "bad request: Content-Length overflow": "RFC 9110 section 8.6",
    "bad request: Empty Content-Length": "RFC 9110 section 8.6",
    "bad request: Invalid character in Content-Length": "RFC 9110 section 8.6",
    "bad request: Chunk size overflow": "RFC 9112 section 7.1",
    "bad request: Expected LF after chunk data": "RFC 9112 section 7.1",
    "bad request: Expected LF after chunk size": "RFC 9112 section 7.1",
    "bad request: Invalid character in chunk size": "RFC 9112 section 7.1",
    "bad request: Missing expected CR after chunk data": "RFC 9112 section 7.1",
    "bad request: Missing expected CR after chunk size": "RFC 9112 section 7.1",
    "bad request: Invalid character in chunk extensions": "RFC 9112 section 7.1.1",
    "bad request: Invalid character in chunk extensions name": "RFC 9112 section 7.1.1",
    "bad request: Invalid character in chunk extensions quote value": "RFC 9112 section 7.1.1",
    "bad request: Invalid character in chunk extensions quoted value": "RFC 9112 section 7.1.1",
    "bad request: Invalid character in chunk extensions value": "RFC 9112 section 7.1.1",
    "bad request: Invalid quoted-pair in chunk extensions quoted value": "RFC 9112 section 7.1.1",
    "bad request: Missing expected CR after chunk extension name": "RFC 9112 section 7.1.1",
    "bad request: Missing expected CR after chunk extension value": "RFC 9112 section 7.1.1",
    "bad request: Expected CRLF": "RFC 9112 section 2.2",
    "bad request: Expected LF after CR": "RFC 9112 section 2.2",
    "bad request: Expected LF after headers": "RFC 9112 section 2.2",
    "bad request: Missing expected CR after header value": "RFC 9112 section 2.2",
    "bad request: Missing expected CR after response line": "RFC 9112 section 2.2",
    "bad request: Missing expected LF after header value": "RFC 9112 section 2.2",
    "bad request: Unexpected space after start line": "RFC 9112 section 2.2",
    "bad request: Expected HTTP/, RTSP/ or ICE/": "RFC 9112 section 2.3",
    "bad request: Expected SOURCE method for ICE/x.x request": "RFC 9112 section 2.3",
    "bad request: Expected dot": "RFC 9112 section 2.3",
    "bad request: Invalid HTTP version": "RFC 9112 section 2.3",
    "bad request: Invalid major version": "RFC 9112 section 2.3",
    "bad request: Invalid minor version": "RFC 9112 section 2.3",
    "bad request: Invalid method for HTTP/x.x request": "RFC 9112 section 2.3",
    "bad request: Invalid method for RTSP/x.x request": "RFC 9112 section 2.3",
    "bad request: Expected CRLF after version": "RFC 9112 section 3",
    "bad request: Expected space after method": "RFC 9112 section 3",
    "bad request: Expected space after version": "RFC 9112 section 3",
    "bad request: Invalid method encountered": "not registered; there any word is a method",
    "bad request: Invalid word encountered": "not registered; there any word is a method",
    "bad request: Pause on PRI/Upgrade": "PRI is no request (RFC 9113 section 3.4)",
    "bad request: Expected HTTP/2 Connection Preface": "PRI is no request (RFC 9113 section 3.4)",
    "bad request: Double @ in url": "RFC 9112 section 3.2",
    "bad request: Invalid char in url fragment start": "RFC 9112 section 3.2",
    "bad request: Invalid char in url path": "RFC 9112 section 3.2",
    "bad request: Invalid char in url query": "RFC 9112 section 3.2",
    "bad request: Invalid characters in url": "RFC 9112 section 3.2",
    "bad request: Unexpected char in url schema": "RFC 9112 section 3.2",
    "bad request: Unexpected char in url server": "RFC 9112 section 3.2",
    "bad request: Unexpected start char in url": "RFC 9112 section 3.2",
    "bad request: Invalid header field char": "RFC 9110 section 5.1",
    "bad request: Invalid header token": "RFC 9110 section 5.1",
    "bad request: Invalid header value char": "RFC 9110 section 5.5; there only NUL, CR and LF",
    "bad request: Unexpected whitespace after header value": "obs-fold, RFC 9112 section 5.2",
}
"""What we refuse and it reads, by what we say; "there" is twisted.web."""


@attrs.frozen
class Case:
    """A connection of which the two ways did not make the same."""

    sent: bytes
    count: int
    """Requests that both have read, and alike."""
    last: Reading | None
    """The last of them."""


def _says_close(case: Case) -> bool:
    if case.last is None:
        return False
    fields = case.last.fields
    values = fields.get(b"connection", []) + fields.get(b"proxy-connection", [])
    return b"close" in [one.strip().lower() for value in values for one in value.split(b",")]


def _has_close_in_trailer(case: Case) -> bool:
    is_chunked = case.last is not None and b"transfer-encoding" in case.last.fields
    return is_chunked and re.search(rb"(?i)0\r\n(?:.*\r\n)*.*connection:", case.sent) is not None


CLOSED: Mapping[str, Callable[[Case], bool]] = {
    "RFC 9110 section 7.6.1: Connection is a list; there it is parted at blanks": _says_close,
    "to be safe, a Connection field in a trailer counts": _has_close_in_trailer,
    "a limit of ours": lambda case: case.count >= LIMITS.requests_per_connection,
}
"""Why we close a connection that twisted.web keeps."""

_METHOD = rb"(?:%b)" % b"|".join(map(re.escape, filter(None, METHODS)))
_EMPTY_LINES = re.compile(
    rb"(?:\A|\r\n\r\n|[^\r\n])[\r\n]+%b(?: |\Z)|(?:\A|\r\n\r\n|[}\]])[\r\n]+\Z" % _METHOD
)
_BLANKS = re.compile(rb"%b(?:  | [^ \r\n]+  )" % _METHOD)

KEPT: Mapping[str, Callable[[Case], bool]] = {
    "RFC 9112 section 9.3: HTTP/1.0 is kept for who asks; there it never is": lambda case: (
        case.last is not None and case.last.version == b"HTTP/1.0"
    ),
    "RFC 9112 section 2.2: empty lines are passed over; there one of them": lambda case: (
        _EMPTY_LINES.search(case.sent) is not None
    ),
    "RFC 9112 section 3: more than one blank may part a request line": lambda case: (
        _BLANKS.search(case.sent) is not None
    ),
    "RFC 9110 section 7.6.1: Connection is a list; there it is parted at blanks": lambda case: (
        case.last is not None
        and b"close" in case.last.fields.get(b"connection", [b""])[0].lower().split(b" ")
    ),
}
"""Why we go on where twisted.web closes."""


def _in_origin_form(one: Reading, other: Reading) -> tuple[Reading, Reading]:
    match = re.match(rb"https?://[^/?#]+", other.target, re.IGNORECASE)
    if match is None:
        return one, other
    rest = other.target[match.end() :]
    target = rest if rest.startswith(b"/") else b"/" + rest
    return one, attrs.evolve(other, target=target, status=one.status)


def _without_upgrade(one: Reading, other: Reading) -> tuple[Reading, Reading]:
    if b"upgrade" not in other.fields:
        return one, other
    return _without_connection(one), _without_connection(other)


def _without_connection(one: Reading) -> Reading:
    left = {name: one.fields[name] for name in one.fields.keys() - {b"connection", b"upgrade"}}
    return attrs.evolve(one, fields=left)


READ: Mapping[str, Callable[[Reading, Reading], tuple[Reading, Reading]]] = {
    "RFC 9112 section 3.2.2: absolute-form is to be understood": _in_origin_form,
    "RFC 9110 section 7.8: Upgrade may be ignored; here it is taken out": _without_upgrade,
}
"""What twisted.web makes of a request otherwise: takes that out of both."""


def verify_reading(ours: Read, theirs: Read, are_kept: tuple[bool, bool], sent: bytes) -> None:
    """What we read must be what twisted.web read, or differ for a reason.

    :param are_kept: whether our connection, and its, would take more.
    """
    last: Reading | None = None
    count = 0
    for one, other in zip_longest(ours.readings, theirs.readings):
        if one is None or other is None:
            break
        last, count = one, count + 1
        for take_out in READ.values():
            one, other = take_out(one, other)
        assert one == other
    is_kept, theirs_is_kept = are_kept
    we_stop = len(ours.readings) < len(theirs.readings) or (theirs_is_kept and not is_kept)
    they_stop = len(ours.readings) > len(theirs.readings) or (is_kept and not theirs_is_kept)
    case = Case(sent, count, last)
    if we_stop:
        assert not is_kept, ("it is read there, and waited for here", ours, theirs)
        if ours.refused is not None:
            assert ours.refused in REFUSED, ours
        else:
            assert any(is_why(case) for is_why in CLOSED.values()), (ours, theirs)
    if they_stop:
        assert not theirs_is_kept, ("it is read here, and waited for there", ours, theirs)
        assert any(is_why(case) for is_why in KEPT.values()), (ours, theirs)


def state(connection: Connection) -> object:
    """All that may not depend on the way."""
    transport, channel = connection.transport, connection.channel
    return (
        transport.sent,
        transport.closed,
        transport.write_closed,
        transport.aborted,
        transport.paused,
        channel._requests_left,
        channel._deadlines.phase.name == "CLOSING",
    )


def expects_any(connection: Connection) -> bool:
    """Whether a request is read as if it were the first, and wouldn't be the last."""
    channel = connection.channel
    return connection.open and channel._requests_left > 0 and not channel._has_more()


def send_to_who_stops_reading(connection: Connection, data: bytes) -> None:
    """Send what comes in when the transport has been told to pause, and read again then."""
    producer = connection.transport.producer
    if connection.transport.closed or producer is None:
        return
    producer.pauseProducing()
    before = connection.transport.sent
    connection.channel.dataReceived(data)
    connection.server.run()
    assert connection.transport.sent == before
    producer.resumeProducing()
    connection.server.run()


class Told(AccessLog):
    """What is noted in an access log, before it is written."""

    def __init__(self) -> None:
        super().__init__(MemoryFile(), JSON_LINES, Elsewhere().run, Clock())

    def take(self) -> list[bytes]:
        """What was noted since the last call."""
        lines, self._lines, self._bytes = self._lines, [], 0
        return lines


class Ways:
    """The ways that requests can go."""

    def __init__(self) -> None:
        self._log, self._slow_log = Told(), Told()
        self._fast = Server(LIMITS, log=self._log)
        self._slow = Server(LIMITS, log=self._slow_log, express=False)
        self._notes = Ours(self._slow)
        self._stock = Stock(self._slow.api.app.resource())

    def try_seed(self, seed: int, *, is_judged: bool = True) -> int:
        """Try what one client sends. How many requests that were."""
        sent = stream(seed)
        chance = random.Random(~seed)
        try:
            refused = self.try_reads(
                sent.reads, chance if chance.random() < 0.1 else None, is_judged
            )
            assert not (sent.is_real and refused), refused
        except Exception as error:
            error.add_note(f"seed {seed}: add to FOUND {list(sent.reads)}")
            raise
        return sent.requests

    def try_reads(
        self, reads: Sequence[bytes], chance: random.Random | None = None, is_judged: bool = True
    ) -> str | None:
        """Try what one client sends, as the server gets it. What it was refused for, if it was.

        :param chance: lets time go by, and the client stop to read for a while.
        """
        fast, slow = self._fast.connect(), self._slow.connect()
        ours = self._notes.read = Read()
        resumed: Connection | None = None
        for number, read in enumerate(reads):
            # What is sent where nothing is expected before it could come first, too.
            first = self._fast.site.answer_first(read, CLIENT) if expects_any(slow) else None
            sent_before = len(slow.transport.sent)
            first_told = self._log.take()
            stops_reading = chance is not None and number > 0 and chance.random() < 0.2
            send = send_to_who_stops_reading if stops_reading else Connection.send
            send(slow, read)
            told = self._slow_log.take()
            for end in [fast] if resumed is None else [fast, resumed]:
                send(end, read)
                assert self._log.take() == told
            if first is not None:
                assert first_told == told
                answer, is_closed = first
                assert (slow.transport.sent[sent_before:], slow.transport.write_closed) == first
                if number == 0 and not is_closed:
                    resumed = Connection(self._fast, self._fast.site.build_answered)
                    resumed.transport.sent = answer
            if chance is not None and chance.random() < 0.2:
                self.advance(chance.choice((1, 2, 11)))
            assert state(fast) == state(slow)
            assert resumed is None or state(resumed) == state(slow)
        if is_judged and chance is None:
            self._judge(reads, slow)
        for one in filter(None, (fast, slow, resumed)):
            one.transport.abortConnection()
        return ours.refused if chance is None else None

    def _judge(self, reads: Sequence[bytes], slow: Connection) -> None:
        """Hold what was read against what twisted.web reads."""
        stock = self._stock.connect()
        theirs = self._stock.read = Read()
        for read in reads:
            stock.send(read)
        if stock.transport.closed and slow.channel._incoming.is_in_header:
            # Some of what it refuses at once is refused here when the header is complete.
            slow.send(b"\r\n\r\n")
            self._slow_log.take()
        are_kept = slow.open, not stock.transport.closed
        stock.transport.abortConnection()
        verify_reading(self._notes.read, theirs, are_kept, b"".join(reads))

    def advance(self, seconds: int) -> None:
        """Let time go by. What is told of it isn't looked at."""
        self._fast.advance(seconds)
        self._slow.advance(seconds)
        self._log.take()
        self._slow_log.take()

    def verify_end(self) -> None:
        """No connection is left."""
        self.advance(1)
        assert self._fast.site.connections == self._slow.site.connections == set()


def soak(seed: int, seconds: float, judged: int) -> int:
    """Try one seed after another. How many requests those were.

    :param judged: one of so many streams goes through twisted.web, too.
    """
    ways, requests, ends = Ways(), 0, time.monotonic() + seconds
    with no_faults():
        while time.monotonic() < ends:
            requests += ways.try_seed(seed, is_judged=seed % judged == 0)
            seed += 1
            if seed % 1000 == 0:
                ways.verify_end()
    return requests


FOUND: Mapping[str, Sequence[bytes]] = {
    "a question mark in a value": [
        get("/api/ip_query?a=b?ip=1.2.3.4&ip=1.2.3.4"),
        get("/api/ip_query?a=b?ip=1.0.0.0&ip=1.2.3.4"),
    ],
    "empty lines after HEAD": [get("/api/ip_query?ip=1.2.3.4", method="HEAD"), b"\r\n" * 40],
}
"""What once made a difference."""


@pytest.mark.parametrize("name", FOUND)
def test_what_made_a_difference_makes_none(name: str) -> None:
    ways = Ways()
    ways.try_reads(FOUND[name])
    ways.verify_end()


def test_random_requests_are_read_alike_on_every_way() -> None:
    ways = Ways()
    with no_faults():
        assert sum(ways.try_seed(seed) for seed in range(700)) > 4000
    ways.verify_end()


@pytest.mark.soak
def test_random_requests_are_read_alike_for_ten_minutes() -> None:
    seed = time.time_ns() % 10**12
    requests = soak(seed, _SOAK_SECONDS, judged=2)
    print(f"\n{requests} requests, in streams from seed {seed} on")

"""Exchanges: bodies that are taken piece by piece and answered meanwhile."""

import gzip
import zlib
from collections.abc import Callable, Sequence

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from ipquery.serve.http.framing import Framing
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.refused import Refused
from ipquery.serve.http.reply import Reply, message
from tests.serve.http.connection import (
    Response,
    Server,
    get,
    parse_chunks,
    parse_head,
)
from tests.serve.http.logged import MemoryFile, memory_log
from tests.serve.http.requests import QUERY

MOST = 100_000
PATH = "/upper"


class Upper:
    """Answers each line with itself in capitals; "bad" can't be answered."""

    route = "/upper"
    body_bytes = MOST
    answers_early = True
    fields: Sequence[tuple[bytes, bytes]] = ((b"Content-Type", b"text/plain"),)

    def __init__(self) -> None:
        self._rest = b""
        self._has_ended = False

    @property
    def has_work(self) -> bool:
        return b"\n" in self._rest or (self._has_ended and self._rest != b"")

    def feed(self, piece: bytes) -> None:
        assert piece
        assert not self.has_work
        self._rest += piece

    def end(self) -> None:
        assert not self.has_work
        self._has_ended = True

    def work(self) -> bytes:
        *lines, self._rest = self._rest.split(b"\n", 200)
        if not lines:
            lines, self._rest = [self._rest], b""
        if b"bad" in lines:
            raise Refused(400, "a bad line")
        return b"".join(line.upper() + b"\n" for line in lines)

    def refusal(self, reply: Reply) -> Reply:
        return message(reply.status, "refused: " + reply.body.decode(), reply.headers)

    def last_words(self, reply: Reply) -> bytes:
        return b"that was %d\n" % reply.status


class Patient(Upper):
    """Keeps answers back while it can."""

    answers_early = False


def begin(make: Callable[[], Upper]) -> Callable[[bytes, bytes, Framing], Upper | None]:
    def begin_exchange(method: bytes, target: bytes, framing: Framing) -> Upper | None:
        if target == b"/never":
            raise Refused(415, reply=message(415, "never"))
        return make() if (method, target) == (b"POST", PATH.encode()) else None

    return begin_exchange


def serve(make: Callable[[], Upper] = Upper, limits: HttpLimits = HttpLimits()) -> Server:
    return Server(limits, begin_exchange=begin(make))


def post(body: bytes, *headers: str, version: str = "1.1") -> bytes:
    length = f"Content-Length: {len(body)}"
    return get(PATH, length, *headers, method="POST", version=version) + body


def chunked(*pieces: bytes, headers: Sequence[str] = (), end: bytes = b"0\r\n\r\n") -> bytes:
    head = get(PATH, "Transfer-Encoding: chunked", *headers, method="POST")
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


LINES = b"".join(b"line %d\n" % number for number in range(6000))
"""More than is kept back of an answer."""


# Answers


def test_a_short_answer_has_a_length_and_leaves_the_connection_open() -> None:
    connection = serve().connect()
    response = connection.ask(post(b"a\nb\n"))
    assert response.body == b"A\nB\n"
    assert response.headers["Content-Type"] == "text/plain"
    assert response.headers["Content-Length"] == "4"
    assert connection.ask(QUERY).status == 200


def test_a_long_answer_comes_in_chunks() -> None:
    connection = serve().connect()
    response = connection.ask(post(LINES))
    assert response.body == LINES.upper()
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert connection.ask(QUERY).status == 200


def test_an_empty_body() -> None:
    connection = serve().connect()
    assert connection.ask(post(b"")).body == b""
    assert connection.ask(chunked()).body == b""


@given(
    st.lists(st.integers(1, len(LINES)), max_size=8),
    st.lists(st.integers(1, 4000), max_size=20),
    st.sampled_from([0, 1, 100, 6000]),
    st.booleans(),
)
def test_however_body_and_reads_are_cut(
    cuts: list[int], sizes: list[int], count: int, in_chunks: bool
) -> None:
    body = b"".join(LINES.splitlines(keepends=True)[:count])
    stream = post(body)
    if in_chunks:
        pieces = []
        rest = body
        for size in sizes:
            pieces.append(rest[:size])
            rest = rest[size:]
        stream = chunked(*[piece for piece in [*pieces, rest] if piece])
    stream = QUERY + stream + QUERY
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})
    connection = serve().connect()
    connection.send(*(stream[a:b] for a, b in zip([0, *ends], ends, strict=False)))
    first, response, last = connection.received()
    assert (first.status, last.status) == (200, 200)
    assert response.body == body.upper()


def test_lines_are_answered_while_the_body_still_comes_in() -> None:
    connection = serve().connect()
    connection.send(get(PATH, "Content-Length: 4", method="POST") + b"a\n")
    status, headers, rest = parse_head(connection.transport.sent)
    assert (status, headers["Transfer-Encoding"]) == (200, "chunked")
    assert parse_chunks(rest) == (b"A\n", b"", False)
    connection.send(b"b\n")
    (response,) = connection.received()
    assert response.body == b"A\nB\n"


def test_who_keeps_answers_back_can_still_refuse() -> None:
    connection = serve(Patient).connect()
    connection.send(get(PATH, "Content-Length: 6", method="POST") + b"a\n")
    assert connection.transport.sent == b""
    response = connection.ask(b"bad\n")
    assert response.status == 400
    assert response.message.startswith("refused: ")
    # All of the body had come in: what follows can be understood.
    assert connection.ask(QUERY).status == 200


def test_a_refusal_before_the_end_of_the_body_closes() -> None:
    connection = serve(Patient).connect()
    response = connection.ask(get(PATH, "Content-Length: 9000", method="POST") + b"bad\n")
    assert (response.status, response.headers["Connection"]) == (400, "close")
    assert not connection.open


def test_an_answer_that_cannot_go_on_says_why_and_has_no_end() -> None:
    connection = serve().connect()
    connection.send(post(LINES + b"bad\n") + QUERY)
    _, _, rest = parse_head(connection.transport.sent)
    body, after, ends = parse_chunks(rest)
    assert body.endswith(b"\nthat was 400\n")
    assert (LINES.upper()).startswith(body[: -len(b"that was 400\n")])
    assert len(body) > len(LINES) / 2
    assert not ends
    assert after == b""
    assert not connection.open


# Connections


def test_http_1_0_is_answered_until_the_connection_closes() -> None:
    connection = serve().connect()
    connection.send(post(LINES, "Connection: keep-alive", version="1.0"))
    status, headers, body = parse_head(connection.transport.sent)
    assert (status, headers["Connection"]) == (200, "close")
    assert "Transfer-Encoding" not in headers
    assert body == LINES.upper()
    assert not connection.open


def test_a_short_answer_in_http_1_0_keeps_the_connection() -> None:
    connection = serve().connect()
    response = connection.ask(post(b"a\n", "Connection: keep-alive", version="1.0"))
    assert response.headers["Connection"] == "keep-alive"
    assert connection.open


@pytest.mark.parametrize("body", [b"a\n", LINES], ids=["short", "long"])
def test_close_is_said_and_done(body: bytes) -> None:
    connection = serve().connect()
    response = connection.ask(post(body, "Connection: close"))
    assert response.headers["Connection"] == "close"
    assert not connection.open


def test_an_answer_during_a_drain_is_finished_and_says_close() -> None:
    server = serve()
    begun, other = server.connect(), server.connect()
    begun.send(get(PATH, "Content-Length: 4", method="POST") + b"a\n")
    other.send(get(PATH, "Content-Length: 4", method="POST"))
    server.site.drain()
    server.advance(2)
    assert begun.ask(b"b\n").body == b"A\nB\n"
    assert not begun.open
    assert other.ask(b"a\nb\n").headers["Connection"] == "close"


def test_100_continue_is_said_before_the_body_and_only_then() -> None:
    connection = serve().connect()
    head = get(PATH, "Content-Length: 4", "Expect: 100-continue", method="POST")
    connection.send(head)
    assert connection.transport.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(b"a\nb\n")
    assert [response.status for response in connection.received()] == [100, 200]
    connection.send(head + b"a\n", b"b\n")
    assert [response.status for response in connection.received()] == [200]


@pytest.mark.parametrize("begun", [False, True])
def test_a_body_that_is_cut_in_the_middle_has_no_answer_with_an_end(begun: bool) -> None:
    connection = serve().connect()
    connection.send(get(PATH, "Content-Length: 40", method="POST") + (b"a\n" if begun else b"a"))
    connection.finish_sending()
    assert not connection.open
    assert (b"A\n" in connection.transport.sent) is begun
    assert not connection.transport.sent.endswith(b"0\r\n\r\n")


def test_what_waits_behind_is_answered_in_order() -> None:
    connection = serve().connect()
    connection.send((QUERY + post(LINES)) * 3 + QUERY)
    statuses = [len(response.body) for response in connection.received()]
    assert statuses[1::2] == [len(LINES)] * 3
    assert len(set(statuses[::2])) == 1


def test_a_connection_may_ask_so_many_exchanges_too() -> None:
    connection = serve(limits=HttpLimits(requests_per_connection=2)).connect()
    assert "Connection" not in connection.ask(post(b"a\n")).headers
    assert connection.ask(post(b"a\n")).headers["Connection"] == "close"


# A client that doesn't read, or takes its time


def test_a_client_that_does_not_read_is_not_read_either() -> None:
    server = serve()
    connection = server.connect()
    connection.queue(*[post(LINES)] * 100)
    server.turn()
    server.turn()
    connection.transport.producer.pauseProducing()
    server.run()
    sent = len(connection.transport.sent)
    assert sent < 1 << 17
    assert len(connection.transport.inbox) >= 98
    connection.transport.producer.resumeProducing()
    server.run()
    assert [response.body for response in connection.received()] == [LINES.upper()] * 100


def test_a_client_that_stops_reading_between_two_pieces_goes_on_later() -> None:
    server = serve()
    connection = server.connect()
    connection.send(get(PATH, "Content-Length: 4", method="POST") + b"a\n")
    connection.transport.producer.pauseProducing()
    connection.send(b"b\n")
    # Not waited for meanwhile, as it can't be read.
    server.advance(30)
    assert connection.open
    connection.transport.producer.resumeProducing()
    server.run()
    (response,) = connection.received()
    assert response.body == b"A\nB\n"


def test_one_that_never_reads_is_cut_off() -> None:
    server = serve()
    connection = server.connect()
    connection.send(get(PATH, "Content-Length: 4", method="POST") + b"a\n")
    connection.transport.producer.pauseProducing()
    server.advance(77)
    assert connection.transport.aborted


def test_a_body_may_come_as_it_is_made() -> None:
    server = serve()
    connection = server.connect()
    connection.send(get(PATH, "Content-Length: 64000", method="POST"))
    for _ in range(50):
        server.advance(8)
        connection.send(b"x" * 1279 + b"\n")
    server.advance(8)
    assert connection.open
    _, _, rest = parse_head(connection.transport.sent)
    assert parse_chunks(rest)[0] == (b"X" * 1279 + b"\n") * 50


@pytest.mark.parametrize("begun", [False, True])
def test_a_byte_now_and_then_is_not_enough(begun: bool) -> None:
    server = serve()
    connection = server.connect()
    connection.send(get(PATH, "Content-Length: 64000", method="POST") + (b"a\n" if begun else b""))
    for _ in range(12):
        connection.send(b"x")
        server.advance(1)
    assert not connection.open
    sent = connection.transport.sent
    if begun:
        assert parse_chunks(parse_head(sent)[2]) == (b"A\nthat was 408\n", b"", False)
    else:
        assert connection.received()[0].status == 408


# What is refused


def test_a_body_larger_than_it_may_be() -> None:
    for stream in (
        get(PATH, f"Content-Length: {MOST + 1}", method="POST"),
        get(PATH, f"Content-Length: {1 << 30}", "Expect: 100-continue", method="POST"),
    ):
        connection = serve().connect()
        response = connection.ask(stream)
        assert (response.status, response.headers["Connection"]) == (413, "close")
        assert response.message.startswith("refused: ")


@pytest.mark.parametrize("cut", [1 << 18, 1000])
def test_nor_may_chunks_be_larger_together(cut: int) -> None:
    connection = serve(Patient).connect()
    stream = chunked(*[b"x" * 1000] * (MOST // 1000), b"x")
    connection.send(*(stream[at : at + cut] for at in range(0, len(stream), cut)))
    assert [response.status for response in connection.received()] == [413]


@pytest.mark.parametrize(
    "rest",
    [b"0\r\n" + b"a: " + b"b" * 40_000, b"1;" + b"a" * 40_000, b"0\r\n" + b"a:b\r\n" * 9000],
    ids=["a trailer field", "an extension", "trailer fields"],
)
def test_chunks_may_not_be_padded_without_end(rest: bytes) -> None:
    connection = serve().connect()
    connection.send(chunked(b"x" * 50_000, end=b""), rest)
    assert [response.status for response in connection.received()] == [413]
    assert not connection.open


def test_bad_framing_is_refused_as_ever() -> None:
    connection = serve().connect()
    connection.send(chunked(b"a\n", end=b"zz\r\n"))
    assert b"that was 400\n" in connection.transport.sent or b" 400 " in connection.transport.sent
    assert not connection.open


def test_a_request_that_nobody_wants_the_body_of_is_refused_before_it() -> None:
    connection = serve().connect()
    response = connection.ask(get("/never", "Content-Length: 50000", method="POST"))
    assert (response.status, response.message) == (415, "never")
    assert not connection.open


def test_a_worker_answers_so_many_at_the_same_time() -> None:
    server = serve(limits=HttpLimits(exchanges=2))
    connections = [server.connect() for _ in range(3)]
    head = get(PATH, "Content-Length: 4", method="POST")
    connections[0].send(head)
    connections[1].send(head)
    response = connections[2].ask(head)
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert connections[0].ask(b"a\nb\n").status == 200
    connections[1].transport.abortConnection()
    for _ in range(5):
        assert [server.connect().ask(post(b"a\n")).status for _ in range(2)] == [200, 200]


def test_other_bodies_keep_their_limit() -> None:
    connection = serve().connect()
    response = connection.ask(get("/other", "Content-Length: 4097", method="POST"))
    assert response.status == 413


# Codings

CODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}


def decoded(response: Response) -> bytes:
    coding = response.headers.get("Content-Encoding")
    if coding == "gzip":
        return zlib.decompress(response.body, 31)
    return zstd.decompress(response.body) if coding == "zstd" else response.body


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("cut", [1 << 18, 7])
@pytest.mark.parametrize("body", [b"", b"a\nb\n", LINES], ids=["empty", "short", "long"])
def test_a_body_in_a_coding(coding: str, cut: int, body: bytes) -> None:
    connection = serve().connect()
    stream = post(CODINGS[coding](body), f"Content-Encoding: {coding}") + QUERY
    connection.send(*(stream[at : at + cut] for at in range(0, len(stream), cut)))
    response, _ = connection.received()
    assert response.body == body.upper()


@pytest.mark.parametrize("coding", CODINGS)
def test_several_members_are_one_body(coding: str) -> None:
    encode = CODINGS[coding]
    body = encode(b"a\nb") + encode(b"") + encode(b"c\n")
    response = serve().connect().ask(post(body, f"Content-Encoding: {coding}"))
    assert response.body == b"A\nBC\n"


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_refused(coding: str) -> None:
    bomb = CODINGS[coding](b"x" * 10_000_000)
    response = serve().connect().ask(post(bomb, f"Content-Encoding: {coding}"))
    assert response.status == 413


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("what", ["cut", "spoilt", "other", "none"])
def test_a_body_that_is_not_in_its_coding(coding: str, what: str) -> None:
    good = CODINGS[coding](b"abcdefg\n" * 9)
    body = {"cut": good[:-1], "spoilt": good[:9] + b"\xff" * 9, "other": b"a\nb\n", "none": b""}
    response = serve(Patient).connect().ask(post(body[what], f"Content-Encoding: {coding}"))
    assert response.status == 400
    assert coding in response.message


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "compress"])
def test_a_coding_that_is_not_known(coding: str) -> None:
    response = serve().connect().ask(post(b"a\n", f"Content-Encoding: {coding}"))
    assert response.status == 415
    assert response.headers["Accept-Encoding"] == "zstd, gzip"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=0.9, zstd;q=0.5", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("gzip;q=0", None),
        ("gzip;q=x", None),
        ("br", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("body", [b"abcdefg\n" * 200, LINES], ids=["whole", "in chunks"])
def test_answers_are_encoded_as_asked(accepted: str, coding: str | None, body: bytes) -> None:
    response = serve().connect().ask(post(body, f"Accept-Encoding: {accepted}"))
    assert response.headers.get("Content-Encoding") == coding
    assert decoded(response) == body.upper()


def test_a_short_answer_is_not_encoded() -> None:
    response = serve().connect().ask(post(b"a\n" * 512, "Accept-Encoding: gzip"))
    assert "Content-Encoding" not in response.headers


def test_an_encoded_answer_can_be_read_while_the_body_still_comes_in() -> None:
    connection = serve().connect()
    connection.send(get(PATH, "Content-Length: 4", "Accept-Encoding: gzip", method="POST") + b"a\n")
    body, _, _ = parse_chunks(parse_head(connection.transport.sent)[2])
    assert zlib.decompressobj(31).decompress(body) == b"A\n"


def test_last_words_are_encoded_too() -> None:
    connection = serve().connect()
    connection.send(post(LINES + b"bad\n", "Accept-Encoding: gzip"))
    body, _, ends = parse_chunks(parse_head(connection.transport.sent)[2])
    assert zlib.decompress(body, 31).endswith(b"\nthat was 400\n")
    assert not ends


# The access log


def test_exchanges_are_logged() -> None:
    file = MemoryFile()
    log = memory_log(file)
    server = Server(log=log, begin_exchange=begin(Upper))
    connection = server.connect()
    connection.ask(post(b"a\n"))
    connection.ask(post(b"bad\n"))
    connection.send(get(PATH, "Content-Length: 4", method="POST") + b"a\n")
    connection.transport.abortConnection()
    server.advance(2)
    first, second, third = file.lines
    assert '"POST /upper HTTP/1.1" 200 2 ' in first
    assert '"POST /upper HTTP/1.1" 400 ' in second
    assert '"POST /upper HTTP/1.1" 200 2 ' in third

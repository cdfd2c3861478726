"""Plain requests: told without a parser, and never differently."""

import tracemalloc

from hypothesis import example, given
from hypothesis import strategies as st

from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.message import Incoming
from ipquery.serve.http.plain import PlainReader
from ipquery.serve.http.refused import Refused
from tests.examples import many
from tests.serve.http.connection import get, post
from tests.serve.strategies import requests

LIMITS = HttpLimits()
TIGHT = HttpLimits(request_line_bytes=30, header_bytes=60, header_count=3, body_bytes=20)

READERS = {limits: PlainReader(limits) for limits in (LIMITS, TIGHT)}

PIECES = st.sampled_from(
    [
        b"GET ", b"HEAD ", b"POST ", b"PUT ", b"/", b"/a", b"?b=c", b"%20", b"#", b"\xe9", b" ",
        b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.2", b" http/1.1", b"\r\n", b"\r\n\r\n", b"\r", b"\n",
        b"\0", b"Host: a", b"Host: a..b", b"Host: a \t", b"Host: [::1]:80", b"Host: a:b", b"Host:",
        b"host : a",
        b"Connection: close", b"connection: keep-alive", b"Connection: close, x", b"Connection: ",
        b"Content-Length: 3", b"Content-Length: 03", b"Content-Length: 3 ", b"Content-Length: -1",
        b"Transfer-Encoding: chunked", b"Upgrade: h2c", b"Expect: 100-continue", b"X: y", b"X:",
        b": y", b"X y: z", b"X: \x01", b"X: \x80", b"X: \t", b"\tfolded", b"Connection-X: close",
        b"abc", b"{}", b"TE: x", b"Keep-Alive: 5", b"Trailer: x", b"Proxy-Connection: close",
    ]
)  # fmt: skip


def _agree(data: bytes, limits: HttpLimits) -> bool:
    """Whether it is plain; if so the parser must say the same of it."""
    plain = READERS[limits].read(data, 0)
    if plain is None:
        return False
    incoming = Incoming(limits)
    try:
        end = incoming.feed(data, 0)
    except Refused as refused:
        raise AssertionError(f"refused: {refused.reply}") from None
    assert incoming.is_complete
    framing = plain[2]
    assert plain == (incoming.method, incoming.target, framing, incoming.body, end)
    parsed = incoming.framing
    assert (framing.is_1_0, framing.persists) == (parsed.is_1_0, parsed.persists)
    assert framing.fields == parsed.fields
    return True


@many(16)
@given(st.lists(PIECES, max_size=12).map(b"".join), st.sampled_from((LIMITS, TIGHT)))
def test_the_parser_says_the_same_of_any_bytes(data: bytes, limits: HttpLimits) -> None:
    _agree(data, limits)


@many(8)
@given(
    st.sampled_from((b"GET /a", b"HEAD /a", b"POST /a")),
    st.tuples(st.integers(0, 12), st.binary(max_size=2)),
    st.lists(st.tuples(PIECES, st.binary(max_size=2)).map(b"".join), max_size=4),
    st.sampled_from((LIMITS, TIGHT)),
)
def test_and_of_heads_with_odd_bytes(
    start: bytes, odd: tuple[int, bytes], fields: list[bytes], limits: HttpLimits
) -> None:
    line, (at, bytes_) = start + b" HTTP/1.1", odd
    for changed in (line[:at] + bytes_ + line[at:], line[:at] + bytes_ + line[at + len(bytes_) :]):
        _agree(b"\r\n".join([changed, b"Host: a", *fields, b"", b"abc"]), limits)


@many(8)
@given(requests(), st.sampled_from((LIMITS, TIGHT)))
@example(get("/api/ip_query?ip=1.2.3.4") * 2, LIMITS)
def test_and_of_requests(data: bytes, limits: HttpLimits) -> None:
    _agree(data, limits)


def test_what_callers_send_is_plain() -> None:
    for request in (
        get("/api/ip_query?ip=1.2.3.4"),
        get("/api/ip_query?ip=2400%3A3200%3A%3A1&from=ads", "Accept: */*", "X-Request-Id: 1"),
        get("/", "Connection: close", "User-Agent: \xe9", method="HEAD"),
        get("/", "Connection: Keep-Alive", version="1.0"),
        get("/", version="1.0").replace(b"Host: test\r\n", b""),
        post(b'{"ip":"1.2.3.4"}', "content-type: application/json"),
    ):
        assert _agree(request, LIMITS)


def test_what_is_not_whole_is_not_plain() -> None:
    request = post(b'{"ip":"1.2.3.4"}')
    assert [end for end in range(len(request) + 1) if _agree(request[:end], LIMITS)] == [
        len(request)
    ]


def test_heads_are_kept_within_bounds() -> None:
    tracemalloc.start()
    try:
        for number in range(4000):
            assert _agree(get("/", f"X{number}: " + "x" * 900), LIMITS)
            assert _agree(get("/", f"X{number}: " + "x" * 16_000), LIMITS)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 4 << 20

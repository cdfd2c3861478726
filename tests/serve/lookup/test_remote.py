"""Remote sources, over the real HTTP client against a server in memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from ipquery.data.record import Record
from ipquery.serve.lookup.remote import RemoteError, RemoteSource, RemoteSources
from ipquery.serve.lookup.resolver import Opinion
from ipquery.serve.lookup.upstreams import FallbackSettings
from tests.serve.http.connection import KNOWN, PEER

NODE = FallbackSettings("http://node/api/ip_query?ip={ip}")
FIELDS = (
    ("country", "country.names.zh-CN"),
    ("country_code", "country.iso_code"),
    ("province", "subdivisions.0.name"),
    ("city_code", "city.id"),
)
OTHER = FallbackSettings("https://geo.example.com/v1/{ip}", fields=FIELDS)
THEIRS = {
    "country": {"names": {"zh-CN": "中国"}, "iso_code": "CN"},
    "subdivisions": [{"name": "河南"}],
    "city": {"id": 411400},
}
ANSWER = Record(country="中国", country_code="CN", province="河南", city_code="411400").to_answer()


class Remote(Resource):
    """A server that does what the test says, and keeps what it was asked."""

    isLeaf = True

    def __init__(self, answer: Callable[[Request], bytes | int]) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[Request] = []

    def render_GET(self, request: Request) -> bytes | int:
        self.asked.append(request)
        return self.answer(request)


def _says(body: bytes, status: int = 200) -> Callable[[Request], bytes]:
    def answer(request: Request) -> bytes:
        request.setResponseCode(status)
        return body

    return answer


class Asking:
    """A source whose requests go to a server in memory."""

    def __init__(
        self, settings: FallbackSettings, answer: Callable[[Request], bytes | int]
    ) -> None:
        self.clock = Clock()
        self.remote = Remote(answer)
        self.agent = RequestTraversalAgent(self.remote)
        self.source = RemoteSource(settings, self.agent, self.clock)

    def ask(self, ip: str = "9.9.9.9") -> Any:
        result = self.begin(ip)
        assert len(result) == 1
        return result[0]

    def begin(self, ip: str = "9.9.9.9") -> list[Any]:
        """What comes out, when it does."""
        asking: Deferred[Any] = self.source.ask(ip)
        self.agent.flush()
        out: list[Any] = []
        asking.addBoth(out.append)
        return out


def _reason(result: Any) -> str:
    assert isinstance(result, Failure)
    assert result.check(RemoteError)
    return result.getErrorMessage()


def test_another_node_needs_no_mapping() -> None:
    asking = Asking(NODE, _says(KNOWN))
    assert asking.ask("2a00::1") == KNOWN
    (request,) = asking.remote.asked
    assert request.uri == b"/api/ip_query?ip=2a00%3A%3A1"
    assert request.args == {b"ip": [b"2a00::1"]}
    assert request.requestHeaders.getRawHeaders(b"CDN-Loop") == [b"ipquery"]


def test_a_mapping() -> None:
    asking = Asking(OTHER, _says(json.dumps(THEIRS).encode()))
    assert asking.ask() == ANSWER
    (request,) = asking.remote.asked
    assert request.uri == b"/v1/9.9.9.9"
    assert not request.requestHeaders.hasHeader(b"CDN-Loop")


def test_headers() -> None:
    asking = Asking(
        FallbackSettings("http://a/{ip}", (("Authorization", "Bearer x"), ("Accept", "a/b"))),
        _says(KNOWN),
    )
    asking.ask()
    (request,) = asking.remote.asked
    for name, value in ((b"Authorization", b"Bearer x"), (b"Accept", b"a/b")):
        assert request.requestHeaders.getRawHeaders(name) == [value]


@pytest.mark.parametrize(
    ("settings", "status", "body"),
    [
        (NODE, 501, b"{}"),
        (NODE, 200, Record().to_answer()),
        (OTHER, 404, b"not here"),
        (OTHER, 204, b""),
        (OTHER, 200, b"{}"),
        (OTHER, 200, b"null"),
        (OTHER, 200, b'{"country": "x", "subdivisions": [], "city": {"id": true}}'),
    ],
)
def test_no_record(settings: FallbackSettings, status: int, body: bytes) -> None:
    asking = Asking(settings, _says(body, status))
    for _ in range(10):
        assert asking.ask() is None
    assert asking.source.breaker.state == "closed"


@pytest.mark.parametrize(
    ("settings", "status", "body", "reason"),
    [
        (NODE, 404, b"{}", "status 404"),
        (NODE, 503, b"{}", "status 503"),
        (NODE, 200, b"<html>", "the response isn't an answer of ipquery"),
        (NODE, 200, b'["x"]', "the response isn't an answer of ipquery"),
        (NODE, 200, b"[1,2,3,4,5,6,7,8]", "the response isn't an answer of ipquery"),
        (OTHER, 429, b"{}", "status 429"),
        (OTHER, 200, b"<html>", "the response isn't JSON"),
        (OTHER, 200, b"\xff", "the response isn't JSON"),
        (OTHER, 200, b"[" * 30_000, "the response isn't JSON"),
        (OTHER, 200, b" " * 65_537, "the response is longer than 65536 bytes"),
        (
            OTHER,
            200,
            b'{"country": {"iso_code": "\\ud800"}}',
            "the response holds half a character",
        ),
    ],
)
def test_what_is_no_answer(
    settings: FallbackSettings, status: int, body: bytes, reason: str
) -> None:
    asking = Asking(settings, _says(body, status))
    for _ in range(5):
        assert _reason(asking.ask()) == reason
    assert asking.source.breaker.state == "open"


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["country", "names", "zh-CN", "subdivisions", "city", "id"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_they_say_is_an_answer_or_a_source_error(body: bytes) -> None:
    result = Asking(OTHER, _says(body)).ask()
    if isinstance(result, Failure):
        _reason(result)
    elif result is not None:
        Record.from_answer(result)


def test_the_deadline_covers_the_whole_answer() -> None:
    asking = Asking(NODE, lambda request: NOT_DONE_YET)
    out = asking.begin()
    asking.clock.advance(0.499)
    assert out == []
    asking.clock.advance(0.001)
    assert _reason(out[0]) == "no answer within 500 ms"

    def half(request: Request) -> int:
        request.write(KNOWN[:10])
        return NOT_DONE_YET

    asking = Asking(NODE, half)
    out = asking.begin()
    asking.clock.advance(0.5)
    assert _reason(out[0]) == "no answer within 500 ms"


@implementer(IAgent)
class Endless:
    """An agent that never gets a connection, and says so in its own way when cancelled."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def request(self, *_: object) -> Deferred[Any]:
        return Deferred(lambda waiting: waiting.errback(self._error))


@pytest.mark.parametrize(
    "error",
    [ConnectingCancelledError(PEER), ConnectionLost(), CancelledError(), RuntimeError("a bug")],
)
def test_the_deadline_covers_connecting(error: Exception) -> None:
    clock = Clock()
    source = RemoteSource(NODE, Endless(error), clock)
    out: list[Any] = []
    source.ask("9.9.9.9").addBoth(out.append)
    clock.advance(0.5)
    assert _reason(out[0]) == "no answer within 500 ms"


def test_a_fault_of_ours_is_logged_and_costs_no_more_than_the_source() -> None:
    class Broken(Endless):
        def request(self, *_: object) -> Deferred[Any]:
            raise RuntimeError("a bug")

    source = RemoteSource(NODE, Broken(RuntimeError()), Clock())
    out: list[Any] = []
    with capturedLogs() as logged:
        for _ in range(5):
            source.ask("9.9.9.9").addBoth(out.append)
    assert {_reason(one) for one in out} == {"RuntimeError: a bug"}
    assert source.breaker.state == "open"
    assert "log_failure" in logged[0]


def test_the_deadline_covers_the_wait_for_a_turn() -> None:
    settings = FallbackSettings("http://a/{ip}", concurrent=2)
    asking = Asking(settings, lambda request: NOT_DONE_YET)
    outs = [asking.begin(f"9.9.9.{number}") for number in range(5)]
    assert len(asking.remote.asked) == 2
    for request in asking.remote.asked[:1]:
        request.write(KNOWN)
        request.finish()
    asking.agent.flush()
    assert outs[0] == [KNOWN]
    assert len(asking.remote.asked) == 3
    asking.clock.advance(0.5)
    assert [_reason(out[0]) for out in outs[1:]] == ["no answer within 500 ms"] * 4
    # Whoever had a turn has given it back.
    asking.remote.answer = _says(KNOWN)
    assert [asking.ask() for _ in range(4)] == [KNOWN] * 4


@pytest.mark.parametrize(
    ("location", "asked"),
    [("/v2?ip=9.9.9.9", 2), ("http://node/x", 2), ("https://node/x", 2)],
)
def test_redirects_on_the_same_host_are_followed(location: str, asked: int) -> None:
    def answer(request: Request) -> bytes:
        if request.path == b"/api/ip_query":
            request.setResponseCode(302)
            request.setHeader(b"Location", location.encode())
            return b""
        return KNOWN

    asking = Asking(NODE, answer)
    assert asking.ask() == KNOWN
    assert len(asking.remote.asked) == asked


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("http://a/{ip}", "http://b/"),
        ("http://a/{ip}", "//b/"),
        ("http://a/{ip}", "http://a:81/"),
        ("http://a/{ip}", "http://a@b/"),
        ("https://a/{ip}", "http://a/"),
        ("http://a/{ip}", "ftp://a/"),
    ],
)
def test_redirects_elsewhere_are_not_followed(url: str, location: str) -> None:
    def answer(request: Request) -> bytes:
        request.setResponseCode(307)
        request.setHeader(b"Location", location.encode())
        return b""

    asking = Asking(FallbackSettings(url), answer)
    assert "which isn't followed" in _reason(asking.ask())
    assert len(asking.remote.asked) == 1


def test_redirects_end() -> None:
    def answer(request: Request) -> bytes:
        request.setResponseCode(302)
        request.setHeader(b"Location", b"/again")
        return b""

    asking = Asking(NODE, answer)
    assert _reason(asking.ask()) == "more than 2 redirects"


# Several


class InOrder:
    """Sources whose agents deliver at once."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.asking = [Asking(NODE, _says(body, status)) for status, body in answers]

    def ask(self) -> Opinion:
        out: list[Any] = []
        sources = RemoteSources([one.source for one in self.asking])
        Deferred.fromCoroutine(sources.ask("9.9.9.9")).addBoth(out.append)
        for one in self.asking:
            one.agent.flush()
        (opinion,) = out
        assert isinstance(opinion, Opinion)
        return opinion

    @property
    def asked(self) -> list[int]:
        return [len(one.remote.asked) for one in self.asking]


FOUND, NONE, DOWN = (200, KNOWN), (501, b"{}"), (503, b"{}")


@pytest.mark.parametrize(
    ("answers", "opinion", "asked"),
    [
        ([FOUND, FOUND], Opinion(KNOWN, True), [1, 0]),
        ([NONE, FOUND], Opinion(KNOWN, True), [1, 1]),
        ([DOWN, FOUND], Opinion(KNOWN, True), [1, 1]),
        ([NONE, NONE], Opinion(None, True), [1, 1]),
        ([DOWN, NONE], Opinion(None, False), [1, 1]),
        ([NONE, DOWN], Opinion(None, False), [1, 1]),
    ],
)
def test_they_are_asked_in_order(
    answers: list[tuple[int, bytes]], opinion: Opinion, asked: list[int]
) -> None:
    several = InOrder(*answers)
    assert several.ask() == opinion
    assert several.asked == asked


def test_one_that_is_down_is_left_alone_and_comes_back() -> None:
    several = InOrder(DOWN, NONE)
    for _ in range(8):
        assert several.ask() == Opinion(None, False)
    assert several.asked == [5, 8]
    first = several.asking[0]
    first.remote.answer = _says(KNOWN)
    first.clock.advance(1)
    for _ in range(3):
        assert several.ask() == Opinion(KNOWN, True)
    assert first.source.breaker.state == "closed"


def test_who_asks_remote_sources_does_not_pay_for_redis() -> None:
    script = (
        "import sys; import ipquery.serve.lookup.remote, ipquery.serve.lookup.local_cache; "
        "sys.exit('txredisapi' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)

"""Guarded, too, the fast way and the routes answer and log the same."""

from hypothesis import given
from hypothesis import strategies as st

from ipquery.serve.guard.keys import Key, hash_of, make_key, to_text
from ipquery.serve.guard.settings import GuardSettings, LimitSettings
from ipquery.serve.http.settings import ClientSettings
from tests.examples import many
from tests.serve.guard.test_networks import INSIDE, OUTSIDE, peer
from tests.serve.http.connection import Server, get, post
from tests.serve.http.logged import MemoryFile, memory_log
from tests.serve.strategies import requests, series, streams

PROXY = "10.0.0.1"
KEY, OTHER = make_key(), make_key()
KEYS = to_text(
    Key(name, hash_of(key.encode()).hex(), "2026-11-29T08:00:00Z")
    for name, key in (("one", KEY), ("other", OTHER))
)
GUARDS = st.builds(
    GuardSettings,
    allow=st.sampled_from(((), ("10.0.0.0/8",), ("192.0.2.7",))),
    keys=st.sampled_from((None, KEYS)),
    limit=st.sampled_from((None, LimitSettings(1, 3), LimitSettings(2, 5, 8, 8, 1))),
)
PEERS = st.sampled_from((PROXY, INSIDE, OUTSIDE, "-", "2001:db8::7"))

_CLIENTS = (INSIDE, OUTSIDE, f"{OUTSIDE}, {INSIDE}", f"{INSIDE}, {OUTSIDE}", "x", "")
_GIVEN = (KEY, KEY, f"{OTHER} ", OTHER, KEY[:-1], "", "x")
_FIELDS = st.one_of(
    st.sampled_from(_CLIENTS).map("X-Forwarded-For: {}".format),
    st.sampled_from(_GIVEN).map("Authorization: Bearer {}".format),
    st.sampled_from(_GIVEN).map("x-api-KEY: {}".format),
    st.sampled_from(("1", "2")).map("X-Request-Id: {}".format),
)


@st.composite
def calls(draw: st.DrawFn) -> list[bytes]:
    """Requests of one caller, alike but for the fields that guards look at; and others."""
    target = draw(st.sampled_from(("/api/ip_query?ip=1.2.3.4", "/v1/ip/1.2.3.4", "/healthz", "/")))
    method = draw(st.sampled_from(("GET", "GET", "HEAD", "OPTIONS")))
    usual = draw(st.sampled_from(((), (f"Authorization: Bearer {KEY}",))))
    by_turns = [[f"X-Api-Key: {key}"] for key in (KEY, OTHER)]
    sent = []
    for _ in range(draw(st.integers(1, 6))):
        fields = draw(st.just(usual) | st.sampled_from(by_turns) | st.lists(_FIELDS, max_size=2))
        sent.append(get(target, *fields, method=method))
    batch = post(b"1.2.3.4\n", "Content-Type: text/plain", target="/v1/batch")
    return sent + draw(st.lists(requests() | st.just(batch), max_size=2))


def _talk(
    guard: GuardSettings, host: str, pieces: list[bytes], seconds: int, express: bool
) -> list[object]:
    file = MemoryFile()
    server = Server(
        express=express, guard=guard, client=ClientSettings((PROXY,)), log=memory_log(file)
    )
    connection = server.connect(peer(host))
    told: list[object] = []
    for piece in pieces:
        connection.send(piece)
        transport = connection.transport
        told.append((transport.sent, transport.closed, transport.write_closed))
        server.advance(seconds)
    server.advance(1)
    return [*told, file.lines]


@many(6)
@given(GUARDS, PEERS, calls() | series() | streams(), st.sampled_from((0, 1)), st.booleans())
def test_both_ways_are_the_same(
    guard: GuardSettings, host: str, pieces: list[bytes], seconds: int, at_once: bool
) -> None:
    if at_once:
        pieces = [b"".join(pieces)]
    one, other = (_talk(guard, host, pieces, seconds, express) for express in (True, False))
    assert one == other


@many(4)
@given(GUARDS, st.lists(st.tuples(PEERS, requests()), min_size=1, max_size=6), calls())
def test_so_is_what_comes_first(
    guard: GuardSettings, sent: list[tuple[str, bytes]], more: list[bytes]
) -> None:
    client = ClientSettings((PROXY,))
    server, other = (Server(guard=guard, client=client, express=one) for one in (True, False))
    for host, request in [*sent, *[(PROXY, request) for request in more]]:
        answer = server.site.answer_first(request, None if host == "-" else (host, 4711))
        if answer is None:
            opened = server.connect(peer(host))
            opened.send(request)
            answer = opened.transport.sent, opened.transport.write_closed
        alone = other.connect(peer(host))
        alone.send(request)
        assert answer == (alone.transport.sent, alone.transport.write_closed)

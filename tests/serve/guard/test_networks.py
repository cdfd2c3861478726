"""Allowed networks: who is answered, and what others are told."""

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from ipquery.errors import ConfigError
from ipquery.serve.guard.settings import GuardSettings
from ipquery.serve.http.settings import ClientSettings
from tests.serve.http.connection import Server, get, post
from tests.serve.http.logged import MemoryFile, memory_log

ALLOW = GuardSettings(allow=("10.0.0.0/8", "2001:db8::/32", "unix"))
INSIDE, OUTSIDE = "10.1.2.3", "192.0.2.7"
BEHIND_PROXY = ClientSettings(("10.0.0.1",))

LOOK_UP = get("/api/ip_query?ip=1.2.3.4")
OBJECT = get("/v1/ip/1.2.3.4")


def peer(host: str) -> IPv4Address | IPv6Address | UNIXAddress:
    if host == "-":
        return UNIXAddress(None)
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, 4711)


@pytest.mark.parametrize("express", [True, False])
@pytest.mark.parametrize(
    ("host", "is_in"),
    [
        (INSIDE, True),
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::1", True),
        ("-", True),
        (OUTSIDE, False),
        ("9.255.255.255", False),
        ("11.0.0.0", False),
        ("2001:db9::", False),
        ("fe80::1%eth0", False),
    ],
)
def test_those_in_the_networks_are_answered(host: str, is_in: bool, express: bool) -> None:
    connection = Server(express=express, guard=ALLOW).connect(peer(host))
    for _ in range(3):
        for request in (LOOK_UP, OBJECT, get("/"), get("/nothing"), post(b'{"ip":"1.2.3.4"}')):
            assert (connection.ask(request).status != 403) == is_in


@pytest.mark.parametrize("express", [True, False])
def test_others_are_told_so_in_the_shape_they_know(express: bool) -> None:
    connection = Server(express=express, guard=ALLOW).connect(peer(OUTSIDE))
    for request in (LOOK_UP, get("/nothing"), get("/metrics"), post(b"{}")):
        response = connection.ask(request)
        assert (response.status, response.message) == (403, "192.0.2.7 isn't allowed here")
    for request in (OBJECT, get("/v1/me"), get("/v1/x")):
        problem = connection.ask(request)
        assert problem.headers["Content-Type"] == "application/problem+json"
        assert problem.json == {
            "type": "/docs#problem-not-allowed",
            "title": "You may not ask here",
            "status": 403,
            "detail": "192.0.2.7 isn't allowed here",
        }
    connection.send(get("/v1/ip/1.2.3.4", method="HEAD"))
    (head,) = connection.received(heads_only=True)
    assert (head.status, head.headers["Content-Length"]) == (403, problem.headers["Content-Length"])
    assert connection.open


@pytest.mark.parametrize("express", [True, False])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/healthz?x"])
def test_health_checks_are_answered(path: str, express: bool) -> None:
    connection = Server(express=express, guard=ALLOW).connect(peer(OUTSIDE))
    assert connection.ask(get(path)).status == 200
    assert connection.ask(get("/healthz/")).status == 403


def test_a_batch_is_refused_before_its_body_comes() -> None:
    connection = Server(guard=ALLOW).connect(peer(OUTSIDE))
    head = post(b"", "Content-Type: text/plain", target="/v1/batch").replace(
        b"Content-Length: 0", b"Content-Length: 8\r\nExpect: 100-continue"
    )
    assert connection.ask(head).json["type"] == "/docs#problem-not-allowed"
    assert not connection.open
    # Nor is it told what is wrong with it.
    other = Server(guard=ALLOW).connect(peer(OUTSIDE))
    assert other.ask(post(b"x", "Content-Type: x/y", target="/v1/batch")).status == 403
    batch = post(b"1.2.3.4\n", "Content-Type: text/plain", target="/v1/batch")
    assert Server(guard=ALLOW).connect(peer(INSIDE)).ask(batch).status == 200


@pytest.mark.parametrize("express", [True, False])
def test_behind_a_trusted_proxy_each_request_has_its_client(express: bool) -> None:
    server = Server(express=express, guard=ALLOW, client=BEHIND_PROXY)
    connection = server.connect(peer("10.0.0.1"))
    for _ in range(3):
        for client, status in ((INSIDE, 200), ("10.3.3.3", 200), (OUTSIDE, 403)):
            forwarded = f"X-Forwarded-For: {client}"
            assert connection.ask(get("/api/ip_query?ip=1.2.3.4", forwarded)).status == status
    # Whoever isn't trusted is believed nothing.
    stranger = server.connect(peer(OUTSIDE))
    told = get("/api/ip_query?ip=1.2.3.4", f"X-Forwarded-For: {INSIDE}")
    assert stranger.ask(told).status == 403


def test_what_comes_first_on_a_connection_is_refused_too() -> None:
    site = Server(guard=ALLOW).site
    for host, status in ((INSIDE, b"200"), (OUTSIDE, b"403")) * 4:
        answer = site.answer_first(LOOK_UP, (host, 4711))
        assert answer is not None
        assert answer[0].split(b" ")[1] == status


def test_refusals_while_the_worker_drains() -> None:
    server = Server(guard=ALLOW)
    connection = server.connect(peer(OUTSIDE))
    server.site.drain()
    assert connection.ask(LOOK_UP).status == 403
    assert not connection.open


@pytest.mark.parametrize("express", [True, False])
def test_refusals_are_counted_and_logged(express: bool) -> None:
    file = MemoryFile()
    server = Server(express=express, guard=ALLOW, client=BEHIND_PROXY, log=memory_log(file))
    connection = server.connect(peer("10.0.0.1"))
    for _ in range(3):
        connection.ask(get("/api/ip_query?ip=1.2.3.4", f"X-Forwarded-For: {OUTSIDE}"))
    server.advance(1)
    assert [line.split(" ")[0] for line in file.lines] == [OUTSIDE] * 3
    assert all('"GET /api/ip_query?ip=1.2.3.4 HTTP/1.1" 403 ' in line for line in file.lines)
    counted = {(name, labels): value for name, labels, value in server.counts.take()}
    assert counted["ipquery_limits_hit", ("allow",)] == 3
    labels = ("GET", "/api/ip_query", "403")
    durations = counted["http_server_request_duration_seconds", labels]
    assert isinstance(durations, list)
    assert sum(durations[:-1]) == 3


def test_caches_that_others_share_keep_nothing() -> None:
    kept = Server(guard=ALLOW).connect(peer(INSIDE)).ask(OBJECT).headers["Cache-Control"]
    assert kept == "private, max-age=3600"


@pytest.mark.parametrize("texts", [("10.0.0.0/33",), ("localhost",), ("10.0.0.1/8",)])
def test_what_is_no_network_is_an_error(texts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=f"guard.allow: {texts[0]}: not an address"):
        GuardSettings(allow=texts)

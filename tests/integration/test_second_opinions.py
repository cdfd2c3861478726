"""Remote sources, over real HTTP and HTTPS."""

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.certificates import self_signed
from tests.integration.daemon import Daemon, Daemons, exchange, receive, until
from tests.integration.databases import ONE, ONE_ANSWER, QUERY
from tests.integration.remote import Babbler, Remote
from tests.serve.http.connection import get, post

ANSWER = b'["","DE","","None","","None","",""]'
UNKNOWN = get("/api/ip_query?ip=9.9.9.9")


@pytest.fixture
def start(tmp_path: Path, daemons: Daemons) -> Callable[..., Daemon]:
    """Starts daemons of one worker with remote sources."""
    (tmp_path / "db.xdb").write_bytes(ONE)

    def call(*sources: str) -> Daemon:
        text = f"workers = 1\n[[database]]\npath = '{tmp_path}/db.xdb'\n"
        return daemons.start(config=text + "".join(f"[[fallback]]\n{one}\n" for one in sources))

    return call


Start = Callable[..., Daemon]


def _breakers(daemon: Daemon) -> list[str]:
    return [one["breaker"] for one in daemon.ask(get("/readyz")).json["fallback"]]


def test_what_the_snapshot_does_not_know(start: Start) -> None:
    with Remote(501, b"{}") as first, Remote(200, ANSWER) as second:
        daemon = start(f"url = '{first.url}'", f"url = '{second.url}'")
        for _ in range(3):
            assert daemon.ask(UNKNOWN).body == ANSWER
            assert daemon.ask(post(b'{"ip": "9.9.9.9"}')).body == ANSWER
            assert daemon.ask(QUERY).body == ONE_ANSWER
            for private in ("10.1.2.3", "fd00::1", "127.0.0.1", "::ffff:192.168.0.1"):
                assert daemon.ask(get(f"/api/ip_query?ip={private}")).status == 501
        assert first.asked == second.asked == ["/ask?ip=9.9.9.9"]
        assert _breakers(daemon) == ["closed", "closed"]


def test_a_mapping(start: Start) -> None:
    body = {"geo": {"country": "Deutschland", "regions": ["Berlin"]}, "asn": 64500}
    with Remote(200, json.dumps(body).encode()) as remote:
        daemon = start(
            f"url = '{remote.url}'\n"
            "fields = { country = 'geo.country', province = 'geo.regions.0', org = 'asn' }"
        )
        assert daemon.ask(UNKNOWN).json == [
            *("Deutschland", "None", "Berlin", "None", "", "None", "64500", "")
        ]


def test_a_thousand_callers_make_one_question(start: Start) -> None:
    with Remote(200, ANSWER) as remote:
        remote.delay = 1.5
        daemon = start(f"url = '{remote.url}'\ndeadline_ms = 10000")
        callers = [daemon.connect() for _ in range(1000)]
        for caller in callers:
            caller.sendall(UNKNOWN)
        assert {receive(caller).body for caller in callers} == {ANSWER}
        assert len(remote.asked) == 1
        for caller in callers:
            caller.close()


def test_a_slow_source_is_not_waited_for(start: Start) -> None:
    with Remote(200, ANSWER) as remote:
        daemon = start(f"url = '{remote.url}'\ndeadline_ms = 200")
        remote.delay = 1
        for number in range(8):
            begun = time.monotonic()
            assert daemon.ask(get(f"/api/ip_query?ip=9.9.9.{number}")).status == 501
            assert time.monotonic() - begun < 0.8
        assert len(remote.asked) == 5
        assert _breakers(daemon) == ["open"]
        # Callers are told states, in order; the log tells hosts.
        ready = daemon.ask(get("/readyz"))
        assert ready.json == {
            "status": "ready",
            "cache": "closed",
            "fallback": [{"breaker": "open"}],
        }
        assert b"localhost" not in ready.body
        daemon.wait_for_log(f"the fallback {remote.url.split('/ask')[0]} is left alone")
        remote.delay = 0
        until(lambda: daemon.ask(UNKNOWN).body == ANSWER)
        assert _breakers(daemon) == ["closed"]
        daemon.wait_for_log("answers again")


def test_one_that_is_gone_costs_nothing_but_its_answers(start: Start) -> None:
    with Remote(200, ANSWER) as remote:
        daemon = start(f"url = '{remote.url}'")
    for number in range(8):
        assert daemon.ask(get(f"/api/ip_query?ip=9.9.9.{number}")).status == 501
        assert daemon.ask(QUERY).body == ONE_ANSWER
    assert _breakers(daemon) == ["open"]
    assert re.search("is left alone for now: .*(refused|failed)", daemon.log)
    assert "Traceback" not in daemon.log


@pytest.mark.parametrize(
    "words", [b"+PONG\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"\xff" * 100_000, b""]
)
def test_one_that_does_not_speak_http(start: Start, words: bytes) -> None:
    babbler = Babbler(words)
    url = f"http://127.0.0.1:{babbler.port}/{{ip}}"
    daemon = start(f"url = '{url}'\ndeadline_ms = 200")
    for number in range(5):
        assert daemon.ask(get(f"/api/ip_query?ip=9.9.9.{number}")).status == 501
    babbler.stop()
    assert _breakers(daemon) == ["open"]
    assert "Traceback" not in daemon.log


@pytest.mark.parametrize(
    ("host", "trusted", "status"),
    [("localhost", True, 200), ("other.example", True, 501), ("localhost", False, 501)],
)
def test_https_is_verified(
    start: Start, tmp_path: Path, host: str, trusted: bool, status: int
) -> None:
    files = self_signed(tmp_path, host)
    with Remote(200, ANSWER, files) as remote:
        trust = f"\nca_file = '{files[0]}'" if trusted else ""
        daemon = start(f"url = '{remote.url}'\ndeadline_ms = 3000{trust}")
        for number in range(5):
            assert daemon.ask(get(f"/api/ip_query?ip=9.9.9.{number}")).status == status
        assert _breakers(daemon) == ["closed" if status == 200 else "open"]
        assert len(remote.asked) == (5 if status == 200 else 0)
        assert "Traceback" not in daemon.log


def test_two_nodes_that_name_each_other_come_to_an_end(start: Start) -> None:
    def source(port: int) -> str:
        return f"url = 'http://127.0.0.1:{port}/api/ip_query?ip={{ip}}'\ndeadline_ms = 5000"

    with Remote(501, b"{}") as remote:
        last = start(f"url = '{remote.url}'")
        one = start(source(last.port))
        other = start(source(one.port))
        # Asked by a node, `one` doesn't ask on: `last` and what it names aren't reached.
        assert other.ask(UNKNOWN).status == 501
        assert remote.asked == []
        assert one.ask(UNKNOWN).status == 501
        assert remote.asked == []
        assert last.ask(UNKNOWN).status == 501
        assert len(remote.asked) == 1


def test_a_caller_that_waits_for_a_source_is_answered_before_the_end(start: Start) -> None:
    with Remote(200, ANSWER) as remote:
        remote.delay = 1
        daemon = start(f"url = '{remote.url}'\ndeadline_ms = 5000")
        with daemon.connect() as connection:
            connection.sendall(UNKNOWN)
            until(lambda: remote.asked)
            daemon.process.send_signal(signal.SIGTERM)
            assert exchange(connection, b"").body == ANSWER
        assert daemon.process.wait(20) in (0, -signal.SIGTERM)
        assert "Traceback" not in daemon.log


def test_a_caller_that_leaves_while_a_source_is_asked(start: Start) -> None:
    with Remote(200, ANSWER) as remote:
        remote.delay = 0.5
        daemon = start(f"url = '{remote.url}'\ndeadline_ms = 5000")
        with daemon.connect() as connection:
            connection.sendall(UNKNOWN)
            until(lambda: remote.asked)
        assert daemon.ask(UNKNOWN).body == ANSWER
        assert len(remote.asked) == 1
        assert "Traceback" not in daemon.log
        assert "Unhandled" not in daemon.log

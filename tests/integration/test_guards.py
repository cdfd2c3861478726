"""Guards of a real daemon: who is answered, also while it is reloaded under load."""

import contextlib
import functools
import json
import operator
import re
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from ipquery.serve.guard.key_file import add_key, revoke_key
from tests.certificates import self_signed
from tests.integration.daemon import Daemon, Daemons, exchange, until
from tests.integration.databases import ONE, ONE_ANSWER
from tests.integration.load import Load, Result
from tests.integration.secure import SecureSite, connect
from tests.nodes.node import free_ports
from tests.serve.http.connection import Response, get, post

CREATED = "2026-11-29T08:00:00Z"
TARGET = "/api/ip_query?ip=1.2.3.4"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "db.xdb"
    path.write_bytes(ONE)
    return path


def _start(daemons: Daemons, database: Path, guard: str) -> Daemon:
    return daemons.start("--db", database, "-w", 2, config=f"[guard]\n{guard}\n")


def _reload(daemon: Daemon, expect: str = "reloaded; answering") -> None:
    before = daemon.log.count(expect)
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: daemon.log.count(expect) > before)


def _status(daemon: Daemon, *fields: str) -> set[int]:
    return {daemon.ask(get(TARGET, *fields)).status for _ in range(10)}


def test_only_allowed_networks_are_answered(daemons: Daemons, database: Path) -> None:
    assert _status(_start(daemons, database, 'allow = ["127.0.0.1"]')) == {200}
    daemon = _start(daemons, database, 'allow = ["10.0.0.0/8"]')
    assert _status(daemon) == {403}
    assert daemon.ask(get("/readyz")).status == 200


@attrs.frozen
class Caller:
    """Somebody who asks all the time, before a change and after it."""

    before: frozenset[int]
    """What may be answered; the greatest of these must be."""
    after: frozenset[int]
    asking: Mapping[str, Any]
    """How, as :class:`Load` takes it."""
    refusal: str = ""
    """What it is told that isn't answered."""


@attrs.frozen
class Change:
    """A setting, or what it names, that is changed while callers ask, and changed back."""

    callers: Sequence[Caller]
    guard: tuple[str, str]
    """In the configuration, before and after."""
    keys: tuple[str, str] = ("", "")
    """In the file of keys."""
    tls: str = ""

    @property
    def is_of_keys_alone(self) -> bool:
        """Whether the workers that there are take it over."""
        return self.guard[0] == self.guard[1]


OK, REFUSED, NO_KEY = frozenset({200}), frozenset({403}), frozenset({401})
SOME = frozenset({200, 429})


def _keys(site: SecureSite) -> Change:
    path = site.folder / "keys.json"
    texts, callers = [], []
    statuses = (OK, OK), (OK, NO_KEY), (NO_KEY, OK)
    given = {name: add_key(path, name, CREATED) for name in ("kept", "old", "new")}
    for taken_back in ("new", "old"):
        everyone = path.read_text()
        revoke_key(path, taken_back)
        texts.append(path.read_text())
        path.write_text(everyone)
    for (before, after), key in zip(statuses, given.values(), strict=True):
        fields = b"Authorization: Bearer %b\r\n" % key.encode()
        callers.append(Caller(before, after, {"fields": fields}, "this isn't a key that is known"))
    callers.append(Caller(NO_KEY, NO_KEY, {}, "a key is needed"))
    setting = f'keys = "{path}"'
    return Change(callers, (setting, setting), (texts[0], texts[1]))


def _networks(site: SecureSite) -> Change:
    callers = [
        Caller(before, after, {"source": source}, f"{source} isn't allowed here")
        for source, before, after in (
            ("127.0.0.2", OK, REFUSED),
            ("127.0.0.3", REFUSED, OK),
            ("127.0.0.4", OK, OK),
        )
    ]
    before, after = 'allow = ["127.0.0.2", "127.0.0.4/30"]', 'allow = ["127.0.0.3", "127.0.0.4"]'
    return Change(callers, (before, after))


def _subjects(site: SecureSite) -> Change:
    callers, authorities = [], ""
    refusal = "a certificate of a client that is allowed here is needed"
    for name, before, after in (("old", OK, REFUSED), ("new", REFUSED, OK)):
        certificate, key = self_signed(site.folder, name)
        authorities += certificate.read_text()
        context = site.client()
        context.load_cert_chain(certificate, key)
        callers.append(Caller(before, after, {"tls": context}, refusal))
    callers.append(Caller(REFUSED, REFUSED, {"tls": site.client()}, refusal))
    callers.append(Caller(REFUSED, REFUSED, {}, refusal))
    path = site.folder / "authorities.pem"
    path.write_text(authorities)
    tls = f"client_certificates = 'optional'\nclient_ca = '{path}'"
    return Change(callers, ("subjects = ['CN=old']", "subjects = ['CN=new']"), tls=tls)


def _limit(site: SecureSite) -> Change:
    refusal = "too many requests; Retry-After says when there may be another"
    callers = [Caller(OK, SOME, {"source": f"127.0.0.{last}"}, refusal) for last in (2, 3)]
    wide = "limit = { requests_per_second = 1_000_000, burst = 1_000_000 }"
    return Change(callers, (wide, "limit = { requests_per_second = 1, burst = 1 }"))


def _check_answers(result: Result, caller: Caller, *expected: frozenset[int]) -> None:
    """Every answer is whole, and one that is expected; and of each kind some came."""
    assert result.lost == []
    assert set(result.statuses) <= frozenset().union(*expected)
    assert {max(one) for one in expected} <= set(result.statuses)
    found = {True: result.statuses[200], False: result.answered - result.statuses[200]}
    by_body = {body == ONE_ANSWER: 0 for body in result.answers}
    for body, count in result.answers.items():
        by_body[body == ONE_ANSWER] += count
        if body != ONE_ANSWER:
            assert json.loads(body) == {"message": caller.refusal}
    assert by_body == {is_answer: count for is_answer, count in found.items() if count}


def _are_gone(daemon: Daemon, workers: set[int]) -> bool:
    return workers.isdisjoint(daemon.workers)


@pytest.mark.parametrize("make", [_keys, _networks, _subjects, _limit])
def test_while_a_guard_is_changed_every_answer_is_right_before_or_after(
    make: Callable[[SecureSite], Change], daemons: Daemons, tmp_path: Path
) -> None:
    site = SecureSite(tmp_path)
    change = make(site)
    keys = tmp_path / "keys.json"
    # Ports that are given, as after a reload two that the kernel chose aren't told apart.
    ports = iter(free_ports(2))
    served = re.sub(r":0(?=\")", lambda _: f":{next(ports)}", site.config(tls=change.tls))
    configs = [f"{served}[guard]\n{guard}\n" for guard in change.guard]
    keys.write_text(change.keys[0])
    daemon = daemons.start(bind=None, config=configs[0])
    workers = daemon.workers

    def load(caller: Caller, kept: int, one_shot: int) -> Load:
        port = daemon.secure_port if "tls" in caller.asking else daemon.port
        return Load(port, kept, one_shot, **caller.asking)

    def check(expected: Callable[[Caller], frozenset[int]]) -> None:
        """Who begins to ask now is answered by what is set now, and by nothing else."""
        for caller in change.callers:
            with load(caller, 2, 2) as asking:
                asking.wait_for(30)
            _check_answers(asking.result, caller, expected(caller))

    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(load(caller, 2, 1)) for caller in change.callers]
        check(lambda caller: caller.before)
        for now in (1, 0):
            keys.write_text(change.keys[now])
            (daemon.folder / "c.toml").write_text(configs[now])
            replaced = set() if change.is_of_keys_alone else set(daemon.workers)
            _reload(daemon)
            # Who came before the old workers stopped listening is answered by them.
            until(functools.partial(_are_gone, daemon, replaced))
            check(operator.attrgetter("after" if now else "before"))
    for caller, asked in zip(change.callers, loads, strict=True):
        _check_answers(asked.result, caller, caller.before, caller.after)
    assert (daemon.workers == workers) == change.is_of_keys_alone
    assert "Traceback" not in daemon.log


def test_a_connection_goes_by_the_keys_there_are(
    daemons: Daemons, database: Path, tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    one = add_key(path, "one", CREATED)
    daemon = _start(daemons, database, f'keys = "{path}"')
    other = add_key(path, "other", CREATED)
    with daemon.connect() as connection:
        mine = get(TARGET, f"X-Api-Key: {one}")
        theirs = get(TARGET, f"X-Api-Key: {other}")
        assert {exchange(connection, mine).status for _ in range(5)} == {200}
        assert exchange(connection, theirs).status == 401
        revoke_key(path, "one")
        _reload(daemon)
        assert exchange(connection, mine).status == 401
        assert exchange(connection, theirs).status == 200
    assert one not in daemon.log
    assert other not in daemon.log


def test_a_damaged_file_changes_nothing(daemons: Daemons, database: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = add_key(path, "one", CREATED)
    daemon = _start(daemons, database, f'keys = "{path}"')
    path.write_text(path.read_text()[:-9])
    _reload(daemon, "reload refused, the old state keeps serving")
    assert "keys.json: no file of API keys as ipquery key writes it: not JSON" in daemon.log
    assert _status(daemon, f"X-Api-Key: {key}") == {200}
    assert _status(daemon) == {401}


def test_certificates_are_told_by_their_subjects(tmp_path: Path, daemons: Daemons) -> None:
    site = SecureSite(tmp_path)
    authority, key = self_signed(tmp_path, "client")
    other, other_key = self_signed(tmp_path, "other")
    authorities = tmp_path / "authorities.pem"
    authorities.write_text(authority.read_text() + other.read_text())
    tls = f"client_certificates = 'optional'\nclient_ca = '{authorities}'"
    config = site.config(tls=tls) + "[guard]\nsubjects = ['CN=client']\n"
    daemon = daemons.start(bind=None, config=config)

    def statuses(*certificate: Path) -> set[int]:
        context = site.client()
        if certificate:
            context.load_cert_chain(certificate[0], certificate[1])
        found, session = set(), None
        for _ in range(6):
            # From the second on, the certificate is known by the session that is resumed.
            with connect(daemon, context, session=session) as client:
                for _ in range(3):
                    found.add(exchange(client, get(TARGET)).status)
                assert exchange(client, get("/healthz")).status == 200
                session = client.session
        return found

    assert statuses(authority, key) == {200}
    assert statuses(other, other_key) == {403}
    assert statuses() == {403}
    assert _status(daemon) == {403}, "without TLS, on the other port"
    assert "Traceback" not in daemon.log


def test_figures_are_told_at_the_admin_address_alone(daemons: Daemons, database: Path) -> None:
    config = f"""
bind = ["127.0.0.1:0", "admin:127.0.0.1:0"]
workers = 2
[[database]]
path = "{database}"
[guard.limit]
requests_per_second = 1
burst = 1
"""
    daemon = daemons.start(bind=None, config=config)
    admin = int(daemon.wait_for_log(r"listening on admin:127\.0\.0\.1:(\d+)")[1])

    def ask(request: bytes) -> Response:
        with socket.create_connection(("127.0.0.1", admin), 10) as connection:
            return exchange(connection, request)

    # The limit is for callers.
    for _ in range(3):
        metrics = ask(get("/metrics"))
        assert metrics.status == 200
        assert b"ipquery_workers" in metrics.body
        assert ask(get("/v1/status")).json["workers"]["configured"] == 2
        assert ask(get("/readyz")).json["status"] == "ready"
        assert "/v1/status" in ask(get("/openapi.json")).json["paths"]
        for target in (TARGET, "/v1/ip/1.2.3.4", "/", "/docs", "/metrics/"):
            assert ask(get(target)).status == 404
    batch = post(b"1.2.3.4\n", "Content-Type: text/plain", target="/v1/batch")
    assert ask(batch).json["type"] == "/docs#problem-not-found"
    assert daemon.ask(get(TARGET)).body == ONE_ANSWER
    assert daemon.ask(get("/readyz")).json == {"status": "ready"}
    # Refused for what they are, not for their number: another worker may be asked each time.
    hidden = {daemon.ask(get("/metrics")).status for _ in range(3)}
    assert hidden <= {404, 429}
    assert "Traceback" not in daemon.log
    assert daemon.stop() == -signal.SIGTERM


def test_who_asks_too_often_is_told_when_to_ask_again(daemons: Daemons, database: Path) -> None:
    daemon = _start(daemons, database, "[guard.limit]\nrequests_per_second = 1\nburst = 20")
    with daemon.connect() as connection:
        answers = [exchange(connection, get(TARGET)) for _ in range(40)]
        refused = [one for one in answers if one.status == 429]
        assert {one.status for one in answers[:20]} == {200}
        # Those that came in while this went on, at one a second.
        assert len(refused) >= 10
        assert {one.headers["Retry-After"] for one in refused} == {"1"}
        assert exchange(connection, get("/healthz")).status == 200

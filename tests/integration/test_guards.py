"""Guards of a real daemon: who is answered, also while it is reloaded under load."""

import signal
import socket
from pathlib import Path

import pytest

from ipquery.serve.guard.key_file import add_key, revoke_key
from tests.certificates import self_signed
from tests.integration.daemon import Daemon, Daemons, exchange, until
from tests.integration.databases import ONE, ONE_ANSWER
from tests.integration.load import Load
from tests.integration.secure import SecureSite, connect
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


def test_keys_are_taken_over_by_the_workers_there_are(
    daemons: Daemons, database: Path, tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    one = add_key(path, "one", CREATED)
    daemon = _start(daemons, database, f'keys = "{path}"')
    workers = daemon.workers
    assert _status(daemon) == {401}
    with Load(daemon.port, fields=b"Authorization: Bearer %b\r\n" % one.encode()) as load:
        load.wait_for(200)
        other = add_key(path, "other", CREATED)
        assert _status(daemon, f"X-Api-Key: {other}") == {401}
        for _ in range(3):
            _reload(daemon)
            assert _status(daemon, f"X-Api-Key: {other}") == {200}
        load.wait_for(load.result.answered + 200)
    assert load.result.lost == []
    assert set(load.result.statuses) == {200}
    assert set(load.result.answers) == {ONE_ANSWER}
    with daemon.connect() as connection:
        mine = get(TARGET, f"X-Api-Key: {one}")
        assert {exchange(connection, mine).status for _ in range(5)} == {200}
        revoke_key(path, "one")
        _reload(daemon)
        assert exchange(connection, mine).status == 401
        assert exchange(connection, get(TARGET, f"X-Api-Key: {other}")).status == 200
    assert daemon.workers == workers
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

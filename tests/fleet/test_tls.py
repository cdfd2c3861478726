"""What workers are told about TLS: certificates, which sockets, and one key for tickets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from twisted.logger import capturedLogs, formatEvent

from ipquery.config import Config
from ipquery.errors import ConfigError
from ipquery.fleet.control import CODEC, Start, TicketKey
from ipquery.fleet.state import check_binds, in_place
from ipquery.fleet.ticket_keys import TicketKeys
from ipquery.net.sockets import Bind, Listeners
from ipquery.net.tls import TlsSettings, read_certificate
from ipquery.serve.guard.keys import Key, to_text
from ipquery.serve.guard.settings import GuardSettings
from ipquery.serve.settings import Settings
from tests.certificates import self_signed
from tests.fleet.processes import KILL, Daemon

BINDS = (Bind("127.0.0.1"), Bind("127.0.0.1", tls=True))


def _settings(folder: Path, name: str = "localhost") -> TlsSettings:
    return TlsSettings((read_certificate(*self_signed(folder, name)),))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Makes daemons that are looked through at the end: nothing may be left."""
    made: list[Daemon] = []

    def call(tls: TlsSettings | None, binds: tuple[Bind, ...] = BINDS) -> Daemon:
        made.append(Daemon(tmp_path, 2, binds, tls))
        return made[-1].start()

    yield call
    for daemon in made:
        daemon.close()


def test_workers_know_which_sockets_have_tls(make: Callable[..., Daemon], tmp_path: Path) -> None:
    tls = _settings(tmp_path)
    for worker in make(tls).reactor.workers:
        assert worker.start
        assert worker.start.secure == worker.start.descriptors[1:]
        assert worker.start.tls == tls


def test_workers_have_one_key_and_another_when_it_is_renewed(
    make: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make(_settings(tmp_path))
    one, other = daemon.reactor.workers
    (key,) = one.ticket_keys
    assert key
    assert other.ticket_keys == [key]
    other.end(KILL)
    successor = daemon.reactor.workers[2]
    successor.become_ready()
    assert successor.ticket_keys == [key]
    daemon.supervisor.renew_tickets()
    for worker in (one, successor):
        worker.read_all()
    assert one.ticket_keys[1] != key
    assert successor.ticket_keys == one.ticket_keys


def test_without_tls_there_is_no_key(make: Callable[..., Daemon]) -> None:
    daemon = make(None, (Bind("127.0.0.1"),))
    daemon.supervisor.renew_tickets()
    for worker in daemon.reactor.workers:
        worker.read_all()
        assert worker.ticket_keys == [None]
        assert worker.start
        assert worker.start.secure == []


def test_workers_know_which_sockets_are_for_admin(make: Callable[..., Daemon]) -> None:
    binds = (Bind("127.0.0.1"), Bind("127.0.0.1", admin=True))
    for worker in make(None, binds).reactor.workers:
        worker.read_all()
        assert worker.start
        assert worker.start.admin == worker.start.descriptors[1:]


def test_only_for_admin_is_no_service(tmp_path: Path) -> None:
    bind = Bind("127.0.0.1", 9090, admin=True)
    with pytest.raises(ConfigError, match="every address is for admin: alone"):
        check_binds(Config(binds=(bind,)), Listeners({}))
    check_binds(Config(binds=(bind, Bind("127.0.0.1"))), Listeners({}))


def test_new_certificates_are_taken_over_by_the_workers_there_are(
    make: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make(_settings(tmp_path))
    workers = list(daemon.reactor.workers)
    renewed = _settings(tmp_path)
    daemon.config = attrs.evolve(daemon.config, tls=renewed)
    daemon.reload()
    for _ in range(2):
        for worker in workers:
            worker.read()
    assert [worker.prepared_tls for worker in workers] == [renewed] * 2
    assert daemon.reactor.workers == workers
    workers[0].end(KILL)
    daemon.reactor.workers[-1].become_ready()
    start = daemon.reactor.workers[-1].start
    assert start
    assert start.tls == renewed


def test_without_a_certificate_a_reload_is_refused(
    make: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make(_settings(tmp_path))
    daemon.config = attrs.evolve(daemon.config, tls=None)
    daemon.supervisor.reload()
    assert (
        daemon.log.count("reload refused, the old state keeps serving: tls:127.0.0.1:0: TLS") == 1
    )
    assert not daemon.supervisor.is_reloading


def test_other_certificates_need_no_other_workers_but_tls_at_all_does(
    make: Callable[..., Daemon], tmp_path: Path
) -> None:
    config = make(_settings(tmp_path)).config
    assert in_place(config, attrs.evolve(config, tls=_settings(tmp_path, "other")))
    assert not in_place(config, attrs.evolve(config, tls=None))
    assert not in_place(attrs.evolve(config, tls=None), config)


def test_nor_do_other_api_keys_but_another_guard_does() -> None:
    config = Config(settings=Settings(guard=GuardSettings(keys=to_text([]))))
    key = Key("one", "0" * 64, "2026-11-29T08:00:00Z")

    def guarded(guard: GuardSettings) -> Config:
        return attrs.evolve(config, settings=attrs.evolve(config.settings, guard=guard))

    assert in_place(config, guarded(GuardSettings(keys=to_text([key]))))
    assert not in_place(config, guarded(GuardSettings()))
    assert not in_place(guarded(GuardSettings()), config)
    assert not in_place(config, guarded(GuardSettings(("10.0.0.1",), to_text([]))))


def test_keys_are_shown_by_no_message(tmp_path: Path) -> None:
    tls = _settings(tmp_path)
    start = Start(1, [6], None, "x.ipq", Settings(), [6], tls, "00ff" * 40)
    for message in (start, TicketKey("00ff" * 40)):
        assert CODEC.decode(CODEC.encode(message)) == message
        assert "00ff" not in repr(message)
        assert "PRIVATE" not in repr(message)


def test_where_keys_cannot_be_set_it_is_said_once() -> None:
    keys = TicketKeys(lambda: "no OpenSSL")
    with capturedLogs() as logs:
        assert keys.key() is None
        assert keys.key() is None
        assert keys.renewed() is None
    assert not keys.is_in_use
    (said,) = [formatEvent(event) for event in logs]
    assert "tickets aren't shared by the workers (no OpenSSL)" in said

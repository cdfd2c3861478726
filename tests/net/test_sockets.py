"""Addresses to listen on."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from ipquery.net import sockets
from ipquery.net.sockets import (
    Bind,
    BindError,
    Listeners,
    bound_to,
    open_listeners,
    open_sockets,
    parse_bind,
)


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("127.0.0.1:8080", Bind("127.0.0.1", 8080)),
        (":8080", Bind("", 8080)),
        ("localhost:0", Bind("localhost", 0)),
        ("[::1]:8080", Bind("::1", 8080)),
        ("unix:/run/ipquery.sock", Bind(path="/run/ipquery.sock")),
        ("unix:relative:odd", Bind(path="relative:odd")),
        ("tls:[::]:443", Bind("::", 443, tls=True)),
        ("admin:127.0.0.1:9090", Bind("127.0.0.1", 9090, admin=True)),
        ("admin:unix:/run/admin", Bind(path="/run/admin", admin=True)),
        ("admin:tls::9090", Bind("", 9090, tls=True, admin=True)),
    ],
)
def test_addresses_as_gunicorn_writes_them(text: str, bind: Bind) -> None:
    assert parse_bind(text) == bind
    assert parse_bind(str(bind)) == bind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:http",
        "h:65536",
        "::1:80",
        "unix:",
        "admin:",
    ],
)
def test_others_are_refused(text: str) -> None:
    with pytest.raises(BindError, match="not an address to listen on; give HOST:PORT"):
        parse_bind(text)


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    held: list[socket.socket] = []
    yield held
    for one in held:
        sockets.close(one)


def test_sockets_are_bound_in_order(opened: list[socket.socket], tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    opened += open_sockets([Bind("127.0.0.1"), Bind("::1"), Bind(path=path), Bind("localhost")])
    assert [bound_to(one).host for one in opened] == ["127.0.0.1", "::1", "", "127.0.0.1"]
    assert bound_to(opened[2]) == Bind(path=path)
    assert all(bound_to(one).port for one in opened if one.family != socket.AF_UNIX)
    assert not any(one.getblocking() for one in opened)
    assert not any(one.get_inheritable() for one in opened)


def test_both_ip_versions_on_one_port(opened: list[socket.socket]) -> None:
    opened += open_sockets([Bind("0.0.0.0")])
    opened += open_sockets([Bind("::", bound_to(opened[0]).port)])
    sockets.listen(opened)


def test_an_address_in_use_is_named(opened: list[socket.socket]) -> None:
    opened += open_sockets([Bind("127.0.0.1")])
    sockets.listen(opened)
    bind = bound_to(opened[0])
    with pytest.raises(BindError, match=f"^{bind}: already in use; .*choose another with -b"):
        open_sockets([bind])


def test_if_one_cannot_be_opened_none_is(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(BindError, match=r"192\.0\.2\.1:80: not an address of this machine"):
        open_sockets([Bind(path=str(path)), Bind("192.0.2.1", 80)])
    assert not path.exists()


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(BindError, match="no.such.host.invalid:80: no such host"):
        open_sockets([Bind("no.such.host.invalid", 80)])


def test_a_socket_file_left_behind_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    (again,) = open_sockets([Bind(path=path)])
    assert os.stat(path).st_mode & 0o777 == 0o666
    sockets.close(again)
    assert not os.path.exists(path)


def test_a_socket_file_in_use_is_not(opened: list[socket.socket], tmp_path: Path) -> None:
    bind = Bind(path=str(tmp_path / "s"))
    opened += open_sockets([bind])
    sockets.listen(opened)
    with pytest.raises(BindError, match="already in use"):
        open_sockets([bind])


def test_a_file_in_the_way_stays(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(BindError, match="already in use"):
        open_sockets([Bind(path=str(path))])
    assert path.read_text() == "data"


# Groups


def _accepts(listeners: Listeners, number: int) -> int:
    """How many connections a worker's first socket has waiting."""
    (one, *_) = listeners.of_slot(number)
    count = 0
    while True:
        try:
            one.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def _connect(bind: Bind, times: int) -> None:
    for _ in range(times):
        socket.create_connection((bind.host, bind.port), 5).close()


@pytest.fixture
def group() -> Iterator[Listeners]:
    opened = open_listeners([Bind("127.0.0.1")], 3)
    yield opened
    sockets.close_all(opened)


def _bind(listeners: Listeners) -> Bind:
    return bound_to(listeners.all()[0])


def test_a_group_shares_one_port(group: Listeners) -> None:
    assert len({bound_to(one) for one in group.all()}) == 1
    assert len(group.all()) == 3
    sockets.listen(group.all())
    _connect(_bind(group), 100)
    counts = [_accepts(group, number) for number in range(3)]
    assert sum(counts) == 100
    assert min(counts) > 0
    assert not group.are_shared


def test_one_that_does_not_listen_gets_no_callers(group: Listeners) -> None:
    first, _second, third = group.all()
    sockets.listen([first, third])
    _connect(_bind(group), 30)
    assert _accepts(group, 0) + _accepts(group, 2) == 30


def test_one_that_stops_listening_may_listen_again(group: Listeners) -> None:
    sockets.listen(group.all())
    bind = _bind(group)
    for number in (0, 1):
        sockets.stop_listening(group.of_slot(number)[0])
        sockets.stop_listening(group.of_slot(number)[0])
    _connect(bind, 30)
    assert _accepts(group, 2) == 30
    sockets.listen([group.of_slot(0)[0]])
    sockets.stop_listening(group.of_slot(2)[0])
    _connect(bind, 30)
    assert _accepts(group, 0) == 30


def test_after_several_stops_callers_are_not_taken_for_gone(group: Listeners) -> None:
    """A worker that fails to start again and again stops its socket each time."""
    (one, *_) = group.of_slot(0)
    for _ in range(3):
        sockets.stop_listening(one)
    sockets.listen([one])
    with socket.create_connection(one.getsockname(), 5):
        one.setblocking(True)
        accepted, _ = one.accept()
        with accepted, pytest.raises(BlockingIOError):
            accepted.recv(1, socket.MSG_DONTWAIT)


@pytest.mark.parametrize(("setting", "moves"), [("1\n", True), ("0\n", False), (None, False)])
def test_the_kernel_says_whether_it_moves_callers(
    tmp_path: Path, setting: str | None, moves: bool
) -> None:
    folder = tmp_path / "sys/net/ipv4"
    folder.mkdir(parents=True)
    if setting is not None:
        (folder / "tcp_migrate_req").write_text(setting)
    assert sockets.moves_callers(tmp_path) is moves


def test_a_second_daemon_is_refused_although_the_port_is_shared(group: Listeners) -> None:
    sockets.listen(group.all())
    with pytest.raises(BindError, match="already in use"):
        open_listeners([_bind(group)], 3)


def test_a_unix_socket_is_shared_by_all(tmp_path: Path) -> None:
    bind = Bind(path=str(tmp_path / "s"))
    opened = open_listeners([bind, Bind("127.0.0.1")], 2)
    assert len(opened.all()) == 3
    assert opened.of_slot(0)[0] is opened.of_slot(1)[0]
    assert opened.are_shared
    sockets.close_all(opened)


def test_regrouping_keeps_what_is_there(group: Listeners) -> None:
    bind = next(iter(group.groups))
    grown = group.regrouped([bind, Bind("::1")], 5)
    assert grown.all()[:3] == group.all()
    assert len(grown.groups[bind]) == len(grown.groups[Bind("::1")]) == 5
    assert len({bound_to(one) for one in grown.groups[bind]}) == 1
    shrunk = grown.regrouped([bind], 2)
    assert shrunk.all() == group.all()[:2]
    sockets.close_all(grown, keep=shrunk)
    assert [one.fileno() != -1 for one in grown.all()] == [True, True] + [False] * 8


def test_of_free_ports_of_one_host_each_keeps_its_own() -> None:
    plain, secure = Bind("127.0.0.1"), Bind("127.0.0.1", tls=True)
    opened = open_listeners([plain, secure], 2)
    again = opened.regrouped([secure, plain], 2)
    assert (again.groups[plain], again.groups[secure]) == (
        opened.groups[plain],
        opened.groups[secure],
    )
    other = opened.regrouped([attrs.evolve(plain, admin=True), secure], 2)
    assert other.groups[secure] == opened.groups[secure]
    assert other.groups[attrs.evolve(plain, admin=True)] == opened.groups[plain]
    sockets.close_all(opened)


def test_regrouping_that_fails_opens_nothing(group: Listeners) -> None:
    bind = next(iter(group.groups))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BindError, match=r"192\.0\.2\.1"):
        group.regrouped([bind, Bind("127.0.0.1", 0), Bind("192.0.2.1", 1)], 5)
    assert len(os.listdir("/proc/self/fd")) == before
    assert all(one.fileno() != -1 for one in group.all())


def test_sockets_of_systemd_stay_as_they_are(group: Listeners) -> None:
    adopted = sockets.adopt_listeners([(group.all()[0], "ipquery.socket")])
    assert adopted.of_slot(0) == adopted.of_slot(7) == group.all()[:1]
    assert adopted.regrouped([Bind("::1")], 4) is adopted


def test_sockets_of_systemd_have_names_for_what_they_are(group: Listeners) -> None:
    names = ("tls", "admin", "")
    adopted = sockets.adopt_listeners(list(zip(group.all(), names, strict=True)))
    # All are bound to one port.
    assert {(bind.tls, bind.admin) for bind in adopted.groups} == {
        (True, False),
        (False, True),
        (False, False),
    }


def test_an_address_that_is_for_admin_from_now_on_keeps_its_socket(group: Listeners) -> None:
    bind = next(iter(group.groups))
    other = group.regrouped([attrs.evolve(bind, admin=True)], 3)
    assert other.all() == group.all()
    assert [one.admin for one in other.bound] == [True]

"""What a worker says to its supervisor, and does when told."""

import socket
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from ipquery.data.snapshot import Snapshot
from ipquery.fleet.control import (
    CODEC,
    Beat,
    Drain,
    Failed,
    Forget,
    NotPrepared,
    Prepare,
    Prepared,
    Ready,
    Start,
    Switch,
    Switched,
)
from ipquery.fleet.worker import Worker
from ipquery.messages import Reader
from ipquery.net.tls import TlsSettings, read_certificate
from ipquery.serve.settings import Settings
from tests.certificates import self_signed
from tests.data.builder import write_snapshot


class FakeService:
    """An HTTP service that notes what it is told."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.can_accept = True
        self.snapshot = snapshot
        self.stopped: Deferred[None] = Deferred()

    def start(self) -> Deferred[None]:
        """It accepts at once."""
        return succeed(None)

    def switch(self, snapshot: Snapshot) -> None:
        """Answer from another."""
        self.snapshot.close()
        self.snapshot = snapshot

    def stopService(self) -> Deferred[None]:
        """It drains until the test says it is done."""
        return self.stopped


class Running:
    """A worker in memory, and the supervisor's end of its pipes."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.is_stopped = False
        self.clock.stop = self._stop  # type: ignore[attr-defined] # what it uses of a reactor
        self.snapshots = [
            write_snapshot(folder / f"{number}.ipq", [], [], []) for number in range(3)
        ]
        self.pipe = StringTransport()
        self._messages = Reader(CODEC)
        self.services: list[FakeService] = []
        self.worker = Worker(self.clock, self._make_service)  # type: ignore[arg-type] # a fake
        self.worker.makeConnection(self.pipe)

    def start(self) -> None:
        """Have it start."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.tell(
            Start(
                1,
                [listening.detach()],
                None,
                str(self.snapshots[0]),
                Settings(),
            )
        )
        (self.service,) = self.services

    def _stop(self) -> None:
        self.is_stopped = True

    def _make_service(
        self, reactor: Any, endpoints: object, snapshot: Snapshot, *rest: object
    ) -> FakeService:
        self.services.append(FakeService(snapshot))
        return self.services[-1]

    def tell(self, *messages: object) -> None:
        """As the supervisor."""
        for message in messages:
            self.worker.dataReceived(CODEC.encode(message))

    def said(self) -> list[object]:
        """What it has said since the last time."""
        said = list(self._messages.feed(self.pipe.value()))
        self.pipe.clear()
        return said


@pytest.fixture
def running(tmp_path: Path) -> Running:
    """A worker that has started."""
    started = Running(tmp_path)
    started.start()
    return started


def test_it_says_when_it_is_ready_and_beats_from_then_on(running: Running) -> None:
    assert running.said() == [Ready(), Beat()]
    running.clock.pump([1, 1])
    assert running.said() == [Beat(), Beat()]


def test_a_beat_says_whether_it_can_accept(running: Running) -> None:
    running.said()
    running.service.can_accept = False
    running.clock.advance(1)
    running.service.can_accept = True
    running.clock.advance(1)
    assert running.said() == [Beat(accepting=False), Beat()]


def test_one_that_drains_does_not_complain(running: Running) -> None:
    running.said()
    running.tell(Drain())
    running.service.can_accept = False
    running.clock.advance(1)
    assert running.said() == [Beat()]
    running.service.stopped.callback(None)
    assert running.is_stopped


def test_it_goes_on_beating_after_an_error(running: Running) -> None:
    running.said()
    del running.service.can_accept
    with pytest.raises(AttributeError):
        running.clock.advance(1)
    running.service.can_accept = True
    running.clock.advance(1)
    assert running.said() == [Beat()]


def test_it_switches_to_what_it_has_prepared_and_says_so(running: Running) -> None:
    running.said()
    running.tell(Prepare(1, str(running.snapshots[1])))
    assert running.said() == [Prepared(1)]
    before = running.service.snapshot
    running.tell(Switch(1))
    assert running.said() == [Switched(1)]
    assert running.service.snapshot is not before


def test_what_it_cannot_map_it_does_not_switch_to(running: Running, tmp_path: Path) -> None:
    running.said()
    before = running.service.snapshot
    running.tell(Prepare(1, str(running.snapshots[1])), Prepare(2, str(tmp_path / "missing.ipq")))
    prepared, refused = running.said()
    assert prepared == Prepared(1)
    assert isinstance(refused, NotPrepared)
    assert refused.number == 2
    assert "No such file" in refused.reason
    running.tell(Switch(2))
    assert running.said() == []
    assert running.service.snapshot is before


def test_certificates_that_it_cannot_show_it_does_not_switch_to(
    running: Running, tmp_path: Path
) -> None:
    running.said()
    certificate, key = self_signed(tmp_path, "localhost")
    good = TlsSettings((read_certificate(certificate, key),))
    bad = TlsSettings((attrs.evolve(good.certificates[0], key="no key"),))
    path = str(running.snapshots[1])
    running.tell(Prepare(1, path, good), Prepare(2, path, bad), Switch(2))
    prepared, refused = running.said()
    assert prepared == Prepared(1)
    assert isinstance(refused, NotPrepared)
    assert "OpenSSL refuses it" in refused.reason


def test_what_it_was_told_to_forget_it_does_not_switch_to(running: Running) -> None:
    running.said()
    before = running.service.snapshot
    running.tell(Prepare(1, str(running.snapshots[1])), Forget(), Switch(1))
    assert running.said() == [Prepared(1)]
    assert running.service.snapshot is before


NOT_UNDERSTOOD = (
    "the daemon that runs is of another version of ipquery than this worker, which doesn't "
    "understand what it is told (no such message: Greeting); restart the daemon"
)


def test_a_worker_of_another_version_than_its_supervisor_says_what_to_do(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.worker.dataReceived(b'{"is": "Greeting"}\n{"is": "Reopen"}\n')
    assert running.said() == [Failed(NOT_UNDERSTOOD)]
    assert running.pipe.disconnecting
    running.worker.connectionLost()
    assert running.is_stopped


def test_a_worker_that_answers_says_it_too_and_drains(running: Running) -> None:
    running.said()
    running.worker.dataReceived(b'{"is": "Greeting"}\n')
    running.worker.dataReceived(b'{"is": "Reopen"}\n')
    assert running.said() == [Failed(NOT_UNDERSTOOD)]
    assert running.pipe.disconnecting
    running.worker.connectionLost()
    assert not running.is_stopped
    running.service.stopped.callback(None)
    assert running.is_stopped

"""What a worker says to its supervisor, and does when told."""

import socket
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet import defer
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from ipquery.data.snapshot import Snapshot
from ipquery.fleet.control import (
    CODEC,
    AskFigures,
    Beat,
    Counted,
    Drain,
    Failed,
    Figures,
    Forget,
    Log,
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
from ipquery.metrics import DROPPED, LIMITS
from ipquery.net.tls import TlsSettings, read_certificate
from ipquery.serve.guard.key_file import add_key
from ipquery.serve.guard.keys import Keys, read_text
from ipquery.serve.http.counts import Counts, Entry
from ipquery.serve.settings import Settings
from ipquery.serve.totals import HandedOver, Recent, Told, decode_handed_over, encode_told
from tests.certificates import self_signed
from tests.data.builder import write_snapshot


class FakeService:
    """An HTTP service that notes what it is told."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.can_accept = True
        self.snapshot = snapshot
        self.stopped: Deferred[None] = Deferred()
        self.counts = Counts()

    def hand_over(self) -> HandedOver:
        """What a test has counted."""
        return HandedOver(self.counts.take(), [])

    def start(self) -> Deferred[None]:
        """It accepts at once."""
        return succeed(None)

    def switch(self, snapshot: Snapshot) -> None:
        """Answer from another."""
        self.snapshot.close()
        self.snapshot = snapshot

    def change_keys(self, keys: Keys) -> None:
        """Go by others."""
        self.keys = keys

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
        self.counted: list[Entry] = []
        """What it has handed over."""
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
        self, reactor: Any, endpoints: object, snapshot: Snapshot, *rest: Any
    ) -> FakeService:
        self.ask, self.admin = rest[2:]
        self.services.append(FakeService(snapshot))
        return self.services[-1]

    def leave(self) -> None:
        """Have it end: it has drained, and what it says last is written."""
        self.service.stopped.callback(None)
        if self.pipe.disconnecting:
            self.worker.connectionLost()

    def tell(self, *messages: object) -> None:
        """As the supervisor."""
        for message in messages:
            self.worker.dataReceived(CODEC.encode(message))

    def said(self) -> list[object]:
        """What it has said since the last time, besides what it has counted."""
        said = list(self._messages.feed(self.pipe.value()))
        self.pipe.clear()
        for message in said:
            if isinstance(message, Counted):
                self.counted += decode_handed_over(message.text).counted
        return [message for message in said if not isinstance(message, Counted)]


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
    running.leave()
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


def test_it_goes_by_the_keys_that_it_has_prepared(running: Running, tmp_path: Path) -> None:
    running.said()
    key = add_key(tmp_path / "keys.json", "one", "2026-11-29T08:00:00Z")
    keys = read_text(tmp_path / "keys.json")
    before = running.service.snapshot
    running.tell(Prepare(1, str(running.snapshots[1]), None, "{"), Switch(1))
    (refused,) = running.said()
    assert isinstance(refused, NotPrepared)
    assert running.service.snapshot is before
    running.tell(Prepare(2, str(running.snapshots[1]), None, keys), Switch(2))
    assert running.said() == [Prepared(2), Switched(2)]
    assert running.service.keys.admit({b"x-api-key": key.encode()})


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
    running.leave()
    assert running.is_stopped


# What is counted

ONE = LIMITS.name, ("connections",), 1
TOLD = Told([ONE], Recent(10.0, [1.0, 2.5]))


def _asked(running: Running) -> tuple[list[object], AskFigures]:
    """What whoever asks gets, in the end; and what the supervisor is asked."""
    got: list[object] = []
    running.ask().addBoth(got.append)
    (question,) = running.said()
    assert isinstance(question, AskFigures)
    return got, question


def test_what_was_counted_is_handed_over_once_a_second(running: Running) -> None:
    for count in (1, 2):
        running.service.counts.add(LIMITS, ("connections",))
        running.clock.advance(1)
        running.said()
        assert running.counted == [ONE] * count
    running.clock.advance(1)
    running.said()
    assert running.counted == [ONE] * 2


def test_what_was_counted_last_is_handed_over_before_it_ends(running: Running) -> None:
    running.tell(Drain())
    running.service.counts.add(LIMITS, ("connections",))
    running.service.stopped.callback(None)
    assert not running.is_stopped, "it may not be written yet"
    running.said()
    assert running.counted == [ONE]
    running.worker.connectionLost()
    assert running.is_stopped


def test_a_supervisor_that_does_not_read_keeps_no_worker_from_ending(running: Running) -> None:
    running.tell(Drain())
    running.service.stopped.callback(None)
    running.clock.advance(1)
    assert running.is_stopped


def test_while_the_supervisor_does_not_read_it_is_kept(running: Running) -> None:
    running.worker.pauseProducing()
    running.worker.say(Log("info", "left out"))
    for _ in range(2):
        running.service.counts.add(LIMITS, ("connections",))
        running.clock.advance(1)
    running.said()
    assert running.counted == []
    running.worker.resumeProducing()
    running.clock.advance(1)
    running.said()
    assert sorted(running.counted) == [
        (LIMITS.name, ("connections",), 2),
        (DROPPED.name, ("daemon",), 1),
    ]


def test_what_all_have_counted_is_asked_of_the_supervisor(running: Running) -> None:
    running.said()
    running.service.counts.add(LIMITS, ("connections",))
    got, question = _asked(running)
    assert running.counted == [ONE], "its own comes first, so that it is in the answer"
    assert got == []
    running.tell(Figures(question.number, encode_told(TOLD)))
    assert got == [TOLD]


def test_a_supervisor_that_does_not_answer_is_not_waited_for(running: Running) -> None:
    running.said()
    late, question = _asked(running)
    running.clock.advance(1)
    running.said()
    (failure,) = late
    assert isinstance(failure, Failure)
    failure.trap(defer.TimeoutError)
    # An answer that comes late isn't taken for that to the next question.
    got, other = _asked(running)
    running.tell(Figures(question.number, encode_told(Told([], Recent(0.0, [])))))
    assert got == []
    running.tell(Figures(other.number, encode_told(TOLD)))
    assert got == [TOLD]

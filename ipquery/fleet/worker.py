"""A worker: one reactor, one site. Started and told what to do by the supervisor."""

import gc
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IStreamServerEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ipquery.data.record import DataError
from ipquery.data.snapshot import Snapshot
from ipquery.errors import ConfigError
from ipquery.fleet.control import (
    BEAT_SECONDS,
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
    Reopen,
    Start,
    Switch,
    Switched,
    TicketKey,
)
from ipquery.fleet.log import told
from ipquery.messages import MessageError, Reader
from ipquery.metrics import DROPPED
from ipquery.net.accept import Entrance
from ipquery.net.endpoint import make_endpoint
from ipquery.net.opening import Openings
from ipquery.net.peers import parse_peers
from ipquery.net.sockets import BindError, listen
from ipquery.net.tls import Contexts, TlsSettings, make_context
from ipquery.serve.guard.keys import Keys, parse_keys
from ipquery.serve.service import HttpService
from ipquery.serve.totals import Told, decode_told, encode_handed_over

_log = Logger()

# The supervisor answers in a millisecond; who asks for metrics isn't kept waiting for one that
# is stuck.
_FIGURES_SECONDS = 1

# How long the last figures may take to leave, if the supervisor doesn't read.
_LAST_WORDS_SECONDS = 1


@attrs.frozen(eq=False)
class _Prepared:
    """What the worker will go over to, by which order."""

    number: int
    snapshot: Snapshot
    tls: TlsSettings | None
    keys: Keys | None


class Worker(Protocol):
    """The worker's end of the pipes."""

    def __init__(
        self, reactor: Any, make_service: Callable[..., HttpService] = HttpService
    ) -> None:
        """
        :param reactor: sockets and time; it is stopped when the worker has drained.
        :param make_service: takes what :class:`HttpService` does.
        """
        self._reactor = reactor
        self._make_service = make_service
        self._messages = Reader(CODEC)
        self._service: HttpService | None = None
        self._prepared: _Prepared | None = None
        self._contexts: Contexts | None = None
        self._understands = True
        self._draining = False
        self._congested = False
        self._leaving: IDelayedCall | None = None
        self._log_dropped = 0
        self._questions = 0
        self._asking: dict[int, Deferred[str]] = {}

    def connectionMade(self) -> None:
        """The supervisor can be spoken to."""
        pipes: Any = self.transport
        pipes.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Do what the supervisor says."""
        if not self._understands:
            return
        try:
            for message in self._messages.feed(data):
                self._act(message)
        except MessageError as error:
            self._understands = False
            self._fail(
                "the daemon that runs is of another version of ipquery than this worker, which "
                f"doesn't understand what it is told ({error}); restart the daemon"
            )

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The supervisor is gone: make room for another, and end."""
        self.transport = None
        if self._leaving is not None:
            self._leaving.cancel()
            self._reactor.stop()
        self.drain()

    # These three are called as the pipe fills and empties. If the supervisor doesn't read, log
    # lines are left out, as they would pile up in memory.
    def pauseProducing(self) -> None:
        """The pipe is full: leave log lines out."""
        self._congested = True

    def resumeProducing(self) -> None:
        """The pipe has room."""
        self._congested = False

    def stopProducing(self) -> None:
        """The pipe is closed."""
        self._congested = True

    def say(self, message: Any) -> None:
        """Tell the supervisor."""
        if self.transport is None:
            return
        if self._congested and isinstance(message, Log):
            self._log_dropped += 1
            return
        self.transport.write(CODEC.encode(message))

    def _act(self, message: Any) -> None:
        match message:
            case Start():
                self._start(message)
            case Prepare():
                self._prepare(message)
            case Switch(number=number):
                self._switch(number)
            case Forget():
                self._forget()
            case Reopen():
                if self._service is not None:
                    self._service.reopen_log()
            case Figures():
                self._told_figures(message)
            case TicketKey(key=key):
                self._renew_tickets(bytes.fromhex(key))
            case Drain():
                self.drain()

    def _start(self, start: Start) -> None:
        listening = [socket.socket(fileno=number) for number in start.descriptors]
        for one in listening:
            one.setblocking(False)
        try:
            endpoints = self._endpoints(start, listening)
            admin = set(start.admin)
            self._service = self._make_service(
                self._reactor,
                [one for number, one in endpoints if number not in admin],
                Snapshot(Path(start.snapshot), verify=False),
                start.settings,
                start.output,
                self._ask_figures,
                [one for number, one in endpoints if number in admin],
            )
            listen(listening)
        except (OSError, DataError, BindError, ConfigError) as error:
            self._fail(str(error))
            return
        # Objects made so far live as long as the worker: the collector need not look at them
        # again.
        gc.collect()
        gc.freeze()
        gc.enable()
        self._service.start().addCallback(lambda _: self._ready())

    def _endpoints(
        self, start: Start, listening: Sequence[socket.socket]
    ) -> list[tuple[int, IStreamServerEndpoint]]:
        """Where callers come in, by descriptors.

        :raises ConfigError: OpenSSL refuses a certificate.
        :raises BindError: the reactor has no TLS.
        """
        if start.tls is not None:
            key = bytes.fromhex(start.ticket_key) if start.ticket_key else None
            self._contexts = Contexts(start.tls, key)
        http = start.settings.http
        plain = Entrance(
            Openings(self._reactor, http.connections, http.header_seconds),
            parse_peers(start.settings.proxy),
        )
        secure = attrs.evolve(plain, tls=self._contexts)
        return [
            (number, make_endpoint(self._reactor, one, secure if number in start.secure else plain))
            for number, one in zip(start.descriptors, listening, strict=True)
        ]

    def _fail(self, reason: str) -> None:
        self.say(Failed(reason))
        # It is closed once that is written, and then connectionLost ends the worker.
        pipes: Any = self.transport
        pipes.loseConnection()

    def _ready(self) -> None:
        self.say(Ready())
        self._beat()

    def _beat(self) -> None:
        # Before anything that may raise: a worker whose beats end is killed as stuck.
        self._reactor.callLater(BEAT_SECONDS, self._beat)
        # A worker that drains doesn't accept because it was told not to: that is no complaint.
        accepting = self._draining or self._service is None or self._service.can_accept
        self.say(Beat(accepting))
        self._hand_over()

    def _hand_over(self) -> None:
        """Tell what was counted. If the supervisor doesn't read, it waits to be added up here."""
        if self._service is None or self._congested:
            return
        dropped, self._log_dropped = self._log_dropped, 0
        if dropped:
            self._service.counts.add(DROPPED, ("daemon",), dropped)
        self.say(Counted(encode_handed_over(self._service.hand_over())))

    def _ask_figures(self) -> "Deferred[Told]":
        """What all workers have counted.

        :returns: fails with ``TimeoutError`` if the supervisor doesn't say so in time.
        """
        # First, so that what whoever asks has done before is in it.
        self._hand_over()
        self._questions += 1
        number = self._questions
        asking: Deferred[str] = Deferred()
        self._asking[number] = asking
        asking.addTimeout(_FIGURES_SECONDS, self._reactor)
        asking.addBoth(self._end_question, number)
        self.say(AskFigures(number))
        return asking.addCallback(decode_told)

    def _end_question(self, outcome: Any, number: int) -> Any:
        del self._asking[number]
        return outcome

    def _told_figures(self, figures: Figures) -> None:
        # One that comes late was given up.
        asking = self._asking.get(figures.number)
        if asking is not None:
            asking.callback(figures.text)

    def _prepare(self, order: Prepare) -> None:
        self._forget()
        try:
            if order.tls is not None:
                make_context(order.tls, None)
            keys = None if order.keys is None else Keys(parse_keys(order.keys))
            snapshot = Snapshot(Path(order.snapshot), verify=False)
        except (OSError, DataError, ConfigError, ValueError) as error:
            self.say(NotPrepared(order.number, str(error)))
            return
        self._prepared = _Prepared(order.number, snapshot, order.tls, keys)
        self.say(Prepared(order.number))

    def _switch(self, number: int) -> None:
        prepared, service = self._prepared, self._service
        if prepared is None or prepared.number != number or service is None:
            # The supervisor misses our Switched, and replaces us.
            _log.error("told to answer from a snapshot that isn't prepared")
            return
        self._prepared = None
        service.switch(prepared.snapshot)
        if self._contexts is not None and prepared.tls is not None:
            self._contexts.change(prepared.tls)
        if prepared.keys is not None:
            service.change_keys(prepared.keys)
        self.say(Switched(number))

    def _forget(self) -> None:
        if self._prepared is not None:
            self._prepared.snapshot.close()
            self._prepared = None

    def _renew_tickets(self, key: bytes) -> None:
        if self._contexts is not None:
            self._contexts.renew_tickets(key)

    def drain(self) -> None:
        """Accept no more, answer what was asked, and end."""
        if self._draining:
            return
        self._draining = True
        if self._service is None:
            self._reactor.stop()
            return
        stopped: Deferred[None] = self._service.stopService()
        stopped.addBoth(lambda _: self._leave())

    def _leave(self) -> None:
        """End, once what was counted last is on its way."""
        self._hand_over()
        if self.transport is None:
            self._reactor.stop()
            return
        self._leaving = self._reactor.callLater(_LAST_WORDS_SECONDS, self._reactor.stop)
        pipes: Any = self.transport
        # It is closed once that is written, and then connectionLost ends the worker.
        pipes.loseConnection()


def observer(worker: Worker) -> Any:
    """A log observer that passes events on to the supervisor."""

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        message = told(event)
        if message is not None:
            worker.say(message)

    return observe

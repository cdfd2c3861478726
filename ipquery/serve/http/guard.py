"""Guards: whose requests are answered, and whose are refused.

Who that is, is the business of :mod:`ipquery.serve.guard`; this is what connections need to
know of it. A guard is asked once for each connection; where nothing is to be looked at in its
requests, that is all, and where there is no guard, nothing is different from before.

A refusal is an answer like any other: the connection goes on. Only where a body was to be
answered piece by piece (:mod:`ipquery.serve.http.exchange`) it is closed, as nobody wants that.
"""

from typing import TYPE_CHECKING, Protocol

import attrs

from ipquery.metrics import LIMITS
from ipquery.serve.http.client import Forwarding
from ipquery.serve.http.counts import Tally
from ipquery.serve.http.exchange import Begin
from ipquery.serve.http.fast import FastWay, Find, Spot
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.refused import Refused
from ipquery.serve.http.repeat import Passing
from ipquery.serve.http.reply import (
    Reply,
    after_date,
    in_form,
    status_line,
)

if TYPE_CHECKING:
    from ipquery.serve.http.site import ApiSite


@attrs.frozen
class Refusal:
    """Why a request isn't answered."""

    reply: Reply
    limit: str
    """The setting that it is due to."""


class Gate(Protocol):
    """What the requests of one connection have to pass."""

    watches_repeats: bool
    """Whether a request may be refused that passes by its header fields."""

    def refuse(self, method: bytes, target: bytes, framing: Framing) -> Refusal | None:
        """Why a request isn't answered; ``None`` if it may be. That changes nothing."""

    def take(self, target: bytes, framing: Framing) -> bytes:
        """A request is answered that may be.

        :returns: header fields that are told with the answer, behind Date, as they are sent.
        """

    def admit(self, data: bytes) -> bytes | None:
        """The same of a plain request that passes by its header fields, if that is needed.

        :param data: the whole request, as it came.
        :returns: see :meth:`take`; ``None`` if it isn't answered.
        """


class Guard(Passing, Protocol):
    """Whom a worker answers."""

    needs_transport: bool
    """Whether the address of a connection's peer isn't enough to know its gate."""

    def gate(
        self, host: str | None, forwarding: Forwarding | None, transport: object = None
    ) -> Gate | None:
        """What a connection's requests have to pass; ``None`` if all do.

        :param host: the peer's address; ``None`` for one on a UNIX socket.
        :param forwarding: what tells clients behind it, if it is a trusted proxy.
        :param transport: the connection's; of one without TLS it is no
            :class:`~twisted.internet.interfaces.ISSLTransport`.
        """


def watched(repeat: Find, gate: Gate) -> Find:
    """What tells the next request like the last one, and whether it passes, too."""
    if not gate.watches_repeats:
        return repeat
    admit = gate.admit

    def watch(data: bytes) -> bytes | None:
        found = repeat(data)
        if found is None:
            return None
        told = admit(data)
        return None if told is None else told + found

    return watch


def telling(answer: bytes, told: bytes) -> bytes:
    """A whole response with header fields more behind Date."""
    if not told:
        return answer
    end_of_date = answer.index(b"\r\n", answer.index(b"\r\n") + 2) + 2
    return answer[:end_of_date] + told + answer[end_of_date:]


def refusing(
    site: "ApiSite", refusal: Refusal, method: bytes, framing: Framing, last: bool
) -> bytes:
    """The whole response to a request that is refused, whose limit is counted.

    The caller counts the request, and how long it took.

    :param last: whether the connection is closed after it.
    """
    site.counts.add(LIMITS, (refusal.limit,))
    reply = refusal.reply
    whole = status_line(reply.status) + site.date_header + after_date(reply)
    return in_form(whole, method, framing.is_1_0, last)


def _is_exchange(begin: Begin | None, method: bytes, target: bytes, framing: Framing) -> bool:
    try:
        return begin is not None and begin(method, target, framing) is not None
    except Refused:
        return True


class GuardedWay:
    """The fast way of one connection: a :class:`~ipquery.serve.http.fast.FastWay` behind a gate.

    What is refused it answers itself, whatever was asked for but an exchange. What passes and
    can't be answered at once is asked again before the routes get it: nothing is remembered
    that could be taken for another request's.
    """

    __slots__ = ("_gate", "_site", "_way", "tally")

    tally: Tally

    def __init__(self, site: "ApiSite", way: FastWay, gate: Gate) -> None:
        """:param way: what answers behind the gate."""
        self._site = site
        self._way = way
        self._gate = gate

    @property
    def head(self) -> bytes:
        """See :class:`~ipquery.serve.http.fast.FastWay`."""
        return self._way.head

    def tell_date(self, line: bytes) -> None:
        """The way behind it has been told."""

    def respond(
        self, method: bytes, target: bytes, framing: Framing, body: bytes, last: bool
    ) -> bytes | None:
        """See :class:`~ipquery.serve.http.fast.FastWay`."""
        refusal = self._gate.refuse(method, target, framing)
        if refusal is None:
            answer = self._way.respond(method, target, framing, body, last)
            self.tally = self._way.tally
            return None if answer is None else telling(answer, self._gate.take(target, framing))
        site = self._site
        if _is_exchange(site.begin_exchange, method, target, framing):
            return None
        status = str(refusal.reply.status)
        self.tally = site.counts.tally(method, site.route_of(target), status)
        self.tally.answered += 1
        return refusing(site, refusal, method, framing, last)

    def spot_of(
        self, method: bytes, target: bytes, framing: Framing, body: bytes, last: bool
    ) -> Spot | None:
        """See :class:`~ipquery.serve.http.fast.FastWay`."""
        # The one that was just answered may have been refused.
        if self._gate.refuse(method, target, framing) is not None:
            return None
        return self._way.spot_of(method, target, framing, body, last)

"""twisted.web as it comes, in memory: a judge of how requests are to be read.

It reads HTTP in its own way, and sends what it read to the same routes.
"""

import json

import attrs
from twisted.internet.task import Clock
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import Site

from ipquery.serve.api.app import refusal_of
from ipquery.serve.http.reply import Reply
from ipquery.serve.http.request import ApiRequest
from ipquery.serve.http.request_channel import RequestChannel
from tests.serve.http.connection import PEER, MemoryTransport, Server


@attrs.frozen
class Reading:
    """What a server took for one request, and how it answered."""

    method: bytes
    target: bytes
    version: bytes
    fields: dict[bytes, list[bytes]]
    """Names in lower case, blanks around values left out."""
    body: bytes
    status: int


@attrs.define
class Read:
    """All that a server read on one connection."""

    readings: list[Reading] = attrs.field(factory=list)
    refused: str | None = None
    """What was said when the rest was refused."""


def _reading(request: Request) -> Reading:
    content = request.content
    assert content is not None, "it is being answered"
    content.seek(0)
    pairs = request.requestHeaders.getAllRawHeaders()
    return Reading(
        request.method,
        request.uri,
        request.clientproto,
        {name.lower(): [value.strip(b" \t") for value in values] for name, values in pairs},
        content.read(),
        request.code,
    )


class Ours:
    """The routes over our own connections; it notes what they read."""

    def __init__(self, server: Server) -> None:
        self.read = Read()
        """Since it was set."""
        notes = self

        class Noted(ApiRequest):
            def finish(self) -> None:
                notes.read.readings.append(_reading(self))
                super().finish()

        def make_request(channel: RequestChannel) -> ApiRequest:
            return Noted(channel)

        logged = server.site.note_refusal

        def note_refusal(client: bytes, reply: Reply) -> None:
            notes.read.refused = json.loads(reply.body)["message"]
            logged(client, reply)

        server.site.make_request = make_request  # type: ignore[method-assign] # on one object
        server.site.note_refusal = note_refusal  # type: ignore[method-assign]


class Stock:
    """The routes over twisted.web's own connections."""

    def __init__(self, resource: IResource) -> None:
        self.read = Read()
        """Since it was set."""
        notes = self

        class Noted(ApiRequest):
            def finish(self) -> None:
                notes.read.readings.append(_reading(self))
                super().finish()

        self._site = _Site(
            resource,
            requestFactory=Noted,
            parsePOSTFormSubmission=False,
            timeout=None,
            reactor=Clock(),
        )

    def connect(self) -> "StockConnection":
        """A new connection."""
        return StockConnection(self._site)


class _Site(Site):
    refusal_of = staticmethod(refusal_of)
    """What is said to paths that never come to the routes."""


class _Transport(MemoryTransport):
    @property
    def disconnecting(self) -> bool:
        """What twisted.protocols.basic asks before each line."""
        return self.closed


class StockConnection:
    """One connection, as its client sees it."""

    def __init__(self, site: Site) -> None:
        channel = site.buildProtocol(PEER)
        self.channel = channel
        self.transport = _Transport(channel)
        channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send a piece; what comes after the end goes nowhere."""
        if not self.transport.closed:
            self.channel.dataReceived(data)

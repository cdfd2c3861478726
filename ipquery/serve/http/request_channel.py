"""A connection's requests that the routes answer: the channel of ``twisted.web`` requests.

A layer of :class:`~ipquery.serve.http.channel.Channel`. A complete message becomes an
:class:`~ipquery.serve.http.request.ApiRequest`, which writes to this as its channel; unless a
guard refuses it, which is answered here, too.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import IAddress, IPushProducer, ISSLTransport
from twisted.web.http_headers import Headers

from ipquery.serve.http.framing import Framing
from ipquery.serve.http.guard import Gate, refusing
from ipquery.serve.http.message import Message
from ipquery.serve.http.repeat_channel import RepeatChannel

if TYPE_CHECKING:
    from ipquery.serve.http.request import ApiRequest


class RequestChannel(RepeatChannel):
    """See above."""

    def _refuse_one(self, gate: Gate, message: Message) -> bool:
        """Refuse a request that would be the routes' to answer, if it isn't to be answered."""
        site, method, target = self.site, message.method, message.target
        begun, length = self._now(), len(message.body)
        framing = Framing(message.is_1_0, message.persists, length, pairs=message.headers)
        refusal = gate.refuse(method, target, framing)
        if refusal is None:
            self._outgoing.told = gate.take(target, framing)
            return False
        is_last = not message.persists or self._requests_left == 0 or site.draining
        self._use_up_one()
        answer = refusing(site, refusal, method, framing, is_last)
        self._outgoing.write(answer)
        site.count(method, site.route_of(target), refusal.reply.status, begun)
        if self._access_log is not None:
            site.note(self._client_of(framing), method, target, framing, answer)
        if is_last:
            self._close_lingering()
        return True

    def _start(self, message: Message) -> None:
        outgoing = self._outgoing
        outgoing.is_1_0 = message.is_1_0
        outgoing.is_last = not message.persists or self._requests_left == 0
        self._use_up_one()
        self.site.active += 1
        request = self._request = self.site.make_request(self)
        for name, value in message.headers:
            request.requestHeaders.addRawHeader(name, value)
        request.gotLength(len(message.body))
        request.handleContentChunk(message.body)
        version = b"HTTP/1.0" if message.is_1_0 else b"HTTP/1.1"
        request.requestReceived(message.method, message.target, version)

    def requestDone(self, request: "ApiRequest") -> None:
        """A request has written all of its answer."""
        if self._request is not None:
            self.site.active -= 1
        self._request = None
        if self._outgoing.is_last:
            self._close_lingering()
        elif not self._is_working:
            self._work()

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write the head of an answer."""
        outgoing, site = self._outgoing, self.site
        outgoing.is_last = outgoing.is_last or site.draining
        fields = [(name, value) for name, values in headers.getAllRawHeaders() for value in values]
        outgoing.begin(int(code), site.date_header, fields)

    def write(self, data: bytes) -> None:
        """Write a piece of an answer's body."""
        self._outgoing.write(data)

    def writeSequence(self, pieces: Sequence[bytes]) -> None:
        """Write pieces of an answer."""
        self._outgoing.write(b"".join(pieces))

    def loseConnection(self) -> None:
        """Close when what is written has left."""
        self._close()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """A request writes its answer piece by piece, at the transport's pace."""
        self.transport.unregisterProducer()
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The request has written its last piece."""
        self.transport.unregisterProducer()
        self.transport.registerProducer(cast(IPushProducer, self), True)

    def getPeer(self) -> IAddress:
        """The client's address."""
        return self.transport.getPeer()

    def getHost(self) -> IAddress:
        """Our address."""
        return self.transport.getHost()

    def isSecure(self) -> bool:
        """Whether the connection is over TLS."""
        return ISSLTransport.providedBy(self.transport)

"""NotingSite: what a site notes in the access log, whichever way a request was answered."""

from typing import cast

from twisted.internet.interfaces import IReactorTime
from twisted.web import http
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Site

from ipquery.serve.http.access_log import AccessLog
from ipquery.serve.http.client import Forwarding, log_text
from ipquery.serve.http.framing import Framing, fields_of, joined
from ipquery.serve.http.repeat import Lessons
from ipquery.serve.http.reply import END_OF_HEAD, Reply, body_bytes, status_of
from ipquery.serve.http.request import ApiRequest, client_of
from ipquery.serve.http.streaming import Streaming


class NotingSite(Site):
    """See above. Where a method needs the access log, its docstring says so."""

    requestFactory = ApiRequest
    noisy = False

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        access_log: AccessLog | None,
        forwarding: Forwarding | None,
    ) -> None:
        """
        :param forwarding: who clients are behind proxies; without it, the peers.
        """
        # Forms aren't parsed: a body is JSON, whatever its Content-Type says,
        # as curl -d sends it with a form's.
        super().__init__(resource, parsePOSTFormSubmission=False, reactor=reactor)
        self.access_log = access_log
        self._forwarding = forwarding

    def forwarding_of(self, peer: str | None) -> Forwarding | None:
        """What tells clients behind a peer; ``None`` for one that isn't trusted.

        :param peer: its address; ``None`` for one on a UNIX socket.
        """
        forwarding = self._forwarding
        return forwarding if forwarding is not None and forwarding.trusts(peer) else None

    def note(
        self, client: bytes, method: bytes, target: bytes, framing: Framing, response: bytes
    ) -> None:
        """Note in the access log, which there must be, what was answered on the fast way."""
        assert self.access_log is not None
        self.access_log.note(
            client,
            _request_line(method, target, framing),
            status_of(response),
            body_bytes(response),
            self.access_log.ending(framing.fields),
        )

    def note_repeated(
        self,
        host: str | None,
        client: bytes | None,
        data: bytes,
        found: bytes,
        ending: bytes | None,
    ) -> None:
        """Note in the access log, which there must be, what was answered as the one before.

        :param host: the peer's address.
        :param client: how the client is told, if that is known already.
        :param data: the request, as it came.
        :param found: the response, from behind its Date header on.
        :param ending: see :meth:`log_ending`.
        """
        assert self.access_log is not None
        forwarding = None if client is not None else self.forwarding_of(host)
        if forwarding is not None or ending is None:
            head = data[data.index(b"\r\n") : data.index(END_OF_HEAD) + len(END_OF_HEAD)]
            if forwarding is not None:
                host = forwarding.client(host, forwarding.told_in(head))
            if ending is None:
                ending = self.access_log.ending(fields_of(head))
        if client is None:
            client = log_text(host)
        self.access_log.note_repeat(client, data, found, ending)

    def log_ending(self, lessons: Lessons, framing: Framing) -> bytes | None:
        """The end of the log lines of requests like the last one, unless they differ in it."""
        assert self.access_log is not None
        if self.access_log.fields.isdisjoint(lessons.varying):
            return self.access_log.ending(framing.fields)
        return None

    def note_exchange(self, client: bytes, streaming: Streaming, status: int) -> None:
        """Note an exchange in the access log, which there must be: what it was answered with,
        and how much of it."""
        assert self.access_log is not None
        framing = streaming.framing
        self.access_log.note(
            client,
            _request_line(streaming.method, streaming.target, framing),
            status,
            streaming.sent_bytes,
            self.access_log.ending(framing.fields),
        )

    def note_request(self, request: http.Request) -> None:
        """Note in the access log, if there is one, what the resource has answered."""
        if self.access_log is None:
            return
        pairs = request.requestHeaders.getAllRawHeaders()
        fields = joined([(name, value) for name, values in pairs for value in values])
        self.access_log.note(
            log_text(client_of(cast(IRequest, request))),
            b"%b %b %b" % (request.method, request.uri, request.clientproto),
            request.code,
            request.sentLength,
            self.access_log.ending(fields),
        )

    def note_refusal(self, client: bytes, reply: Reply) -> None:
        """Note a refusal of what was no request, or not a whole one."""
        if self.access_log is not None:
            ending = self.access_log.ending({})
            self.access_log.note(client, None, reply.status, len(reply.body), ending)


def _request_line(method: bytes, target: bytes, framing: Framing) -> bytes:
    return b"%b %b HTTP/1.%b" % (method, target, b"0" if framing.is_1_0 else b"1")

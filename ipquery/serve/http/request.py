"""Requests as twisted.web has them, for what isn't answered on the fast way."""

from typing import TYPE_CHECKING, cast

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException

from ipquery.serve.http.client import host_of
from ipquery.serve.http.reply import INTERNAL_ERROR, Reply

if TYPE_CHECKING:
    from ipquery.serve.http.request_channel import RequestChannel
    from ipquery.serve.http.site import ApiSite

_log = Logger()


def send(request: IRequest, reply: Reply) -> bytes:
    """Set a reply's head on a request, and return its body."""
    # IRequest leaves out most of what every request has.
    served = cast(Request, request)
    served.setResponseCode(reply.status)
    for name, value in reply.fields():
        served.setHeader(name, value)
    return reply.body


def path_of(request: IRequest) -> bytes:
    """The path of a request's target, as it stands there."""
    path: bytes = cast(Request, request).path
    return path


def client_of(request: IRequest) -> str | None:
    """The address of who asks: behind proxies that are trusted, as they tell it.

    :returns: the usual text (RFC 5952 for IPv6); ``None`` for a client on a UNIX socket that
        nobody tells more of.
    """
    served = cast(ApiRequest, request)
    peer = host_of(served.getClientAddress())
    forwarding = cast("ApiSite", served.site).forwarding_of(peer)
    if forwarding is None:
        return peer
    lines = served.requestHeaders.getRawHeaders(forwarding.field)
    # llhttp leaves the blanks behind a value.
    told = None if lines is None else b", ".join([line.strip(b"\t ") for line in lines])
    return forwarding.client(peer, told)


class ApiRequest(Request):
    """A request whose failures, too, are answered in the contract's shape."""

    begun = 0.0
    """When it was in hand, by the clock that runs while requests are answered."""

    def process(self) -> None:
        """Refuse a path that isn't written as the routes are.

        They would match it decoded and without doubled slashes: rules of a proxy in
        front, which sees it as it stands, could be passed by. Only colons may be
        escaped, as URL libraries do it in IPv6 addresses: no route has one.
        """
        # Set by super() only, and the access log asks it for the client.
        self.site = cast("RequestChannel", self.channel).site
        path = self.path.replace(b"%3A", b":").replace(b"%3a", b":")
        if b"%" in path or b"//" in path:
            self._refuse(404)
            return
        super().process()

    def getRequestHostname(self) -> bytes:
        """A name for werkzeug: no route depends on it, and a caller may give none."""
        return b"localhost"

    def processingFailed(self, reason: Failure) -> Failure:
        """Routing itself failed: by the request's fault (a Host that is no name), or ours."""
        error = reason.value
        if isinstance(error, HTTPException):
            self._refuse(error.code or 500)
        else:
            _log.failure("answering {request}", reason, request=self)
            self._end(INTERNAL_ERROR)
        return reason

    def _refuse(self, status: int) -> None:
        self._end(cast("ApiSite", self.site).refusal_of(self.path, status))

    def _end(self, reply: Reply) -> None:
        self.write(send(self, reply))
        self.finish()

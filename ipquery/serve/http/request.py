"""Requests as twisted.web has them, for what isn't answered on the fast way."""

from typing import cast

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException

from ipquery.serve.http.reply import INTERNAL_ERROR, Reply, refusal

_log = Logger()


def send(request: IRequest, reply: Reply) -> bytes:
    """Set a reply's head on a request, and return its body."""
    # IRequest leaves out most of what every request has.
    served = cast(Request, request)
    served.setResponseCode(reply.status)
    for name, value in reply.fields():
        served.setHeader(name, value)
    return reply.body


class ApiRequest(Request):
    """A request whose failures, too, are answered in the contract's shape."""

    def process(self) -> None:
        """Refuse a path that isn't written as the routes are.

        They would match it decoded and without doubled slashes: rules of a proxy in
        front, which sees it as it stands, could be passed by.
        """
        if b"%" in self.path or b"//" in self.path:
            self._end(refusal(404))
            return
        super().process()

    def getRequestHostname(self) -> bytes:
        """A name for werkzeug: no route depends on it, and a caller may give none."""
        return b"localhost"

    def processingFailed(self, reason: Failure) -> Failure:
        """Routing itself failed: by the request's fault (a Host that is no name), or ours."""
        error = reason.value
        if isinstance(error, HTTPException):
            self._end(refusal(error.code or 500))
        else:
            _log.failure("answering {request}", reason, request=self)
            self._end(INTERNAL_ERROR)
        return reason

    def _end(self, reply: Reply) -> None:
        self.write(send(self, reply))
        self.finish()

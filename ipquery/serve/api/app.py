"""Klein routes."""

from typing import Any, BinaryIO, cast

import attrs
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ipquery.serve.api import contract
from ipquery.serve.api.contract import BadRequest
from ipquery.serve.http.reply import INTERNAL_ERROR, Reply, message, refusal, unavailable
from ipquery.serve.http.request import send
from ipquery.serve.lookup.resolver import Resolver
from ipquery.serve.lookup.upstreams import LOOP_HEADER, LOOP_TOKEN

_log = Logger()


@attrs.define
class Readiness:
    """Whether this process should get traffic, and if not, why."""

    why_not: str | None = "starting"


def _send_found(request: IRequest, ip: str, answer: bytes | None) -> bytes:
    return send(request, contract.no_record(ip) if answer is None else Reply(200, answer))


class Api:
    """The service's routes, over a resolver."""

    app = Klein()
    # A path with empty segments is another path, not to be redirected.
    app.url_map.merge_slashes = False

    def __init__(self, resolver: Resolver, readiness: Readiness) -> None:
        self._resolver = resolver
        self._readiness = readiness

    @app.route(contract.QUERY_PATH, methods=["GET", "HEAD"])
    def query(self, request: IRequest) -> bytes | Deferred[bytes]:
        """Answer ``?ip=``."""
        return self._answer(request, contract.ip_of_query(_arguments(request)))

    @app.route(contract.QUERY_PATH, methods=["POST"])
    def query_body(self, request: IRequest) -> bytes | Deferred[bytes]:
        """Answer the ``ip`` of a JSON object."""
        return self._answer(request, contract.ip_of_body(_body(request)))

    def _answer(self, request: IRequest, ip: str) -> bytes | Deferred[bytes]:
        try:
            answer = self._resolver.resolve(ip, ask=not _asked_by_node(request))
        except ValueError:
            raise contract.bad_address(ip) from None
        if isinstance(answer, Deferred):
            return answer.addCallback(lambda found: _send_found(request, ip, found))
        return _send_found(request, ip, answer)

    @app.route(contract.HEALTH_PATH, methods=["GET", "HEAD"])
    def health(self, request: IRequest) -> bytes:
        """Whether the process lives."""
        return send(request, contract.status("ok"))

    @app.route(contract.READY_PATH, methods=["GET", "HEAD"])
    def ready(self, request: IRequest) -> bytes:
        """Whether it should get traffic."""
        why_not = self._readiness.why_not
        if why_not is None:
            return send(request, contract.status("ready", self._resolver.state))
        return send(request, unavailable(why_not))

    @app.handle_errors(BadRequest)
    def bad_request(self, request: IRequest, failure: Failure) -> bytes:
        """What the caller sent can't be answered."""
        return send(request, message(400, str(failure.value)))

    @app.handle_errors(HTTPException)
    def not_routed(self, request: IRequest, failure: Failure) -> bytes:
        """No such path, or not with this method."""
        error = cast(HTTPException, failure.value)
        headers = {}
        if isinstance(error, MethodNotAllowed):
            # Sorted: werkzeug gives them in another order in every process.
            headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return send(request, refusal(error.code or 500, headers=headers))

    @app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Failure) -> bytes:
        """A fault of ours."""
        _log.failure("answering {request}", failure, request=request)
        return send(request, INTERNAL_ERROR)


def _asked_by_node(request: IRequest) -> bool:
    """Whether the caller is another ipquery that has no record itself."""
    lines = cast(Request, request).requestHeaders.getRawHeaders(LOOP_HEADER, [])
    # RFC 8586 section 2: a list of cdn-info, each an identifier and parameters.
    tokens = (part.split(b";")[0].strip() for line in lines for part in line.split(b","))
    return LOOP_TOKEN in tokens


def _arguments(request: IRequest) -> list[bytes]:
    arguments: dict[bytes, list[bytes]] = cast(Request, request).args
    return arguments.get(b"ip", [])


def _body(request: IRequest) -> bytes:
    content: BinaryIO = cast(Any, request).content
    return content.read()

"""Klein routes."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, NoReturn, cast

import attrs
from klein import Klein
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from ipquery.serve.api import (
    batch,
    contract,
    cors,
    databases,
    metrics,
    openapi,
    page,
    snapshot_file,
    status,
    v1,
)
from ipquery.serve.api.contract import BadRequest
from ipquery.serve.api.documents import Documents
from ipquery.serve.api.figures import Figures
from ipquery.serve.api.lookups import Lookups
from ipquery.serve.api.openapi_schemas import REFERENCE_PATH
from ipquery.serve.api.problems import Problem
from ipquery.serve.api.refusals import is_v1
from ipquery.serve.api.v1 import V1
from ipquery.serve.http.counts import Entry
from ipquery.serve.http.framing import joined
from ipquery.serve.http.reply import (
    INTERNAL_ERROR,
    Reply,
    message,
    refusal,
    retry_after,
    unavailable,
)
from ipquery.serve.http.request import client_of, path_of, send
from ipquery.serve.lookup.resolver import Resolver
from ipquery.serve.lookup.upstreams import LOOP_HEADER, LOOP_TOKEN
from ipquery.serve.totals import Told

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

    def __init__(
        self,
        resolver: Resolver,
        readiness: Readiness,
        v1: V1,
        documents: Documents,
        lookups: Lookups,
        figures: Figures,
        tells_details: bool = True,
        give_snapshot: Callable[..., bytes | Deferred[bytes]] | None = None,
    ) -> None:
        """
        :param lookups: where look-ups are counted.
        :param figures: what has been counted.
        :param tells_details: whether it is told what the process goes by when it is ready.
        :param give_snapshot: what gives other nodes the snapshot, if they may take it; see
            :func:`ipquery.serve.api.snapshot_file.send_snapshot`.
        """
        self._resolver = resolver
        self._readiness = readiness
        self._v1 = v1
        self._documents = documents
        self._lookups = lookups
        self._figures = figures
        self._tells_details = tells_details
        self._give_snapshot = give_snapshot

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
            answer.addCallback(self._noting)
            return answer.addCallback(lambda found: _send_found(request, ip, found))
        self._lookups.note(ip)
        return _send_found(request, ip, answer)

    def _noting(self, found: bytes | None) -> bytes | None:
        self._lookups.note_elsewhere(found is not None)
        return found

    @app.route(contract.HEALTH_PATH, methods=["GET", "HEAD"])
    def health(self, request: IRequest) -> bytes:
        """Whether the process lives."""
        return send(request, contract.status("ok"))

    @app.route(contract.READY_PATH, methods=["GET", "HEAD"])
    def ready(self, request: IRequest) -> bytes:
        """Whether it should get traffic."""
        why_not = self._readiness.why_not
        if why_not is None:
            details = self._resolver.state if self._tells_details else None
            return send(request, contract.status("ready", details))
        return send(request, unavailable(why_not))

    @app.route(v1.PATH + "<ip>", methods=["GET", "HEAD"])
    def describe(self, request: IRequest, ip: str) -> bytes | Deferred[bytes]:
        """Answer with an object."""
        return self._describe(request, ip, None)

    @app.route(v1.PATH + "<ip>/<field>", methods=["GET", "HEAD"])
    def describe_field(self, request: IRequest, ip: str, field: str) -> bytes | Deferred[bytes]:
        """Answer with one field, as text."""
        return self._describe(request, ip, field.encode())

    def _describe(
        self, request: IRequest, ip: str, field: bytes | None, is_private: bool = False
    ) -> bytes | Deferred[bytes]:
        """
        :param is_private: whether the answer is for this caller alone.
        """
        asked = self._v1.asked(
            field, cast(Request, request).uri.partition(b"?")[2], _fields(request)
        )
        # An ETag is the same for all addresses, and whoever asks may have another one by now.
        had = None if is_private else _none_match(request)

        def send_it(reply: Reply) -> bytes:
            return send(request, _private(reply) if is_private else reply)

        reply = self._v1.reply(ip, asked, had)
        if reply is not None:
            self._lookups.note(ip)
            return send_it(reply)
        # It is an address: else there would have been a problem.
        found = self._resolver.resolve(ip, ask=not _asked_by_node(request))
        if isinstance(found, Deferred):
            found.addCallback(self._noting)
            return found.addCallback(
                lambda answer: send_it(self._v1.reply_others(ip, asked, had, answer))
            )
        self._lookups.note(ip)
        return send_it(self._v1.reply_others(ip, asked, had, found))

    @app.route(v1.ME_PATH, methods=["GET", "HEAD"])
    def describe_me(self, request: IRequest) -> bytes | Deferred[bytes]:
        """Answer with the object of the caller's own address."""
        ip = client_of(request)
        if ip is None:
            raise Problem("unknown-client")
        # A link-local address comes with the name of our interface.
        return self._describe(request, ip.partition("%")[0], None, is_private=True)

    @app.route(databases.PATH, methods=["GET", "HEAD"])
    def tell_databases(self, request: IRequest) -> Deferred[bytes]:
        """What answers come from."""
        v1 = self._v1

        def tell(entries: Iterable[Entry] | None) -> bytes:
            reply = databases.reply(v1.snapshot, v1.loaded, v1.now(), entries, _none_match(request))
            return self._send_shared(request, reply)

        def unknown(failure: Failure) -> bytes:
            failure.trap(defer.TimeoutError)
            return tell(None)

        return self._figures.get().addCallbacks(lambda told: tell(told.entries), unknown)

    @app.route(status.PATH, methods=["GET", "HEAD"])
    def tell_status(self, request: IRequest) -> Deferred[bytes]:
        """How the node is doing."""
        v1 = self._v1

        def told(figures: Told) -> bytes:
            reply = status.reply(figures, v1.snapshot.identity, v1.loaded, v1.now())
            return self._send_shared(request, reply)

        def unknown(failure: Failure) -> NoReturn:
            failure.trap(defer.TimeoutError)
            raise Problem("unavailable", _NO_FIGURES, retry_after())

        return self._figures.get().addCallbacks(told, unknown)

    @app.route(metrics.PATH, methods=["GET", "HEAD"])
    def tell_metrics(self, request: IRequest) -> Deferred[bytes]:
        """What has been counted, for Prometheus."""

        def told(figures: Told) -> bytes:
            accept = _fields(request).get(b"accept")
            entries = [*figures.entries, *databases.figures(self._v1.snapshot, self._v1.loaded)]
            text = None if accept is None else accept.decode("latin-1")
            return send(request, metrics.reply(entries, text))

        def unknown(failure: Failure) -> bytes:
            failure.trap(defer.TimeoutError)
            return send(request, unavailable(_NO_FIGURES))

        return self._figures.get().addCallbacks(told, unknown)

    @app.route(snapshot_file.PATH, methods=["GET", "HEAD"])
    def give_snapshot(self, request: IRequest) -> bytes | Deferred[bytes]:
        """The file that answers come from, for other nodes."""
        if self._give_snapshot is None:
            raise NotFound
        return self._give_snapshot(request, self._v1.snapshot, _none_match(request))

    @app.route(openapi.PATH, methods=["GET", "HEAD"])
    def tell_openapi(self, request: IRequest) -> bytes:
        """What is described here, for programs."""
        return self._send_shared(request, self._documents.openapi.reply(_none_match(request)))

    @app.route(REFERENCE_PATH, methods=["GET", "HEAD"])
    @app.route(page.PATH, methods=["GET", "HEAD"])
    @app.route(page.FILES_PATH + "<name>", methods=["GET", "HEAD"])
    def show(self, request: IRequest, name: str | None = None) -> bytes:
        """What people look at."""
        shown = self._documents.people.get(path_of(request).decode())
        if shown is None:
            raise NotFound
        return send(request, shown.reply(_none_match(request)))

    @app.route(v1.PATH + "<ip>", methods=["OPTIONS"])
    @app.route(v1.PATH + "<ip>/<field>", methods=["OPTIONS"])
    @app.route(v1.ME_PATH, methods=["OPTIONS"])
    @app.route(databases.PATH, methods=["OPTIONS"])
    @app.route(status.PATH, methods=["OPTIONS"])
    def options(self, request: IRequest, **parts: str) -> bytes:
        """What may be done, and which pages may do it (CORS)."""
        return send(request, cors.options(self._v1.cors_headers(_fields(request).get(b"origin"))))

    @app.route(batch.PATH, methods=["OPTIONS"])
    def batch_options(self, request: IRequest) -> bytes:
        """The same of batches."""
        headers = self._v1.cors_headers(_fields(request).get(b"origin"))
        return send(request, cors.options(headers, batch.METHODS, batch.SENT_FIELDS))

    @app.route(batch.PATH, methods=["POST"])
    def answer_batch(self, request: IRequest) -> bytes:
        """Never called: connections have an exchange for that. It is here so that it is told
        of with 405."""
        raise NotImplementedError

    @app.handle_errors(Problem)
    def problem(self, request: IRequest, failure: Failure) -> bytes:
        """What is asked under /v1 can't be answered."""
        return self._send_problem(request, cast(Problem, failure.value))

    def _send_problem(self, request: IRequest, problem: Problem) -> bytes:
        return self._send_shared(request, problem.reply())

    def _send_shared(self, request: IRequest, reply: Reply) -> bytes:
        """Send what scripts of other pages may read, too, where the operator says so."""
        headers = self._v1.cors_headers(_fields(request).get(b"origin"))
        return send(request, attrs.evolve(reply, headers={**reply.headers, **headers}))

    @app.handle_errors(BadRequest)
    def bad_request(self, request: IRequest, failure: Failure) -> bytes:
        """What the caller sent can't be answered."""
        return send(request, message(400, str(failure.value)))

    @app.handle_errors(HTTPException)
    def not_routed(self, request: IRequest, failure: Failure) -> bytes:
        """No such path, or not with this method."""
        error = cast(HTTPException, failure.value)
        headers = {}
        if isinstance(error, MethodNotAllowed) and self._is_for_nobody(request):
            error = NotFound()
        if isinstance(error, MethodNotAllowed):
            # Sorted: werkzeug gives them in another order in every process.
            headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        if _is_v1(request) and error.code in _PROBLEMS:
            return self._send_problem(request, Problem(_PROBLEMS[error.code], headers=headers))
        return send(request, refusal(error.code or 500, headers=headers))

    def _is_for_nobody(self, request: IRequest) -> bool:
        """Whether nothing is at a path that has a route: what people look at, if there is no such
        file or the page is switched off, or the snapshot. No method is allowed there."""
        path = path_of(request).decode("latin-1")
        if path == snapshot_file.PATH:
            return self._give_snapshot is None
        is_for_people = path in (page.PATH, REFERENCE_PATH) or path.startswith(page.FILES_PATH)
        return is_for_people and path not in self._documents.people

    @app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Failure) -> bytes:
        """A fault of ours."""
        _log.failure("answering {request}", failure, request=request)
        if _is_v1(request):
            return self._send_problem(request, Problem("internal-error"))
        return send(request, INTERNAL_ERROR)


# Rather no figures than those of one worker: they would seem to go back.
_NO_FIGURES = "the supervisor doesn't say what the workers have counted"


def _make_route_of() -> Callable[[bytes], str]:
    named, patterns = {}, []
    for rule in Api.app.url_map.iter_rules():
        name = re.sub(r"<(\w+)>", r"{\1}", rule.rule)
        if name == rule.rule:
            named[name.encode()] = name
        else:
            pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(name))
            patterns.append((re.compile(pattern.encode()), name))

    def route_of(path: bytes) -> str:
        route = named.get(path)
        if route is not None:
            return route
        return next((name for pattern, name in patterns if pattern.fullmatch(path)), "")

    return route_of


route_of = _make_route_of()
"""What the route of a path is called, as OpenAPI writes it; "" where there is none."""

_PROBLEMS = {404: "not-found", 405: "method-not-allowed"}


def refusal_of(path: bytes, status: int) -> Reply:
    """What is said to a request that never came to a route."""
    if status in _PROBLEMS and is_v1(path):
        return Problem(_PROBLEMS[status]).reply()
    return refusal(status)


def _is_v1(request: IRequest) -> bool:
    return is_v1(path_of(request))


def _fields(request: IRequest) -> Mapping[bytes, bytes]:
    """Header fields, names in lower case."""
    pairs = cast(Request, request).requestHeaders.getAllRawHeaders()
    return joined([(name, value) for name, values in pairs for value in values])


def _none_match(request: IRequest) -> str | None:
    value = _fields(request).get(b"if-none-match")
    return None if value is None else value.decode("latin-1")


def _private(reply: Reply) -> Reply:
    headers = {name: value for name, value in reply.headers.items() if name != "ETag"}
    return attrs.evolve(reply, headers={**headers, "Cache-Control": "private, no-store"})


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

"""The API as programs read it: OpenAPI 3.1, at ``/openapi.json``.

It is made of the lists that the routes themselves use, so that it has the same names as they.
That every route is described, and nothing that isn't there, is held by a test; so are the
examples. HEAD is described where GET is: the same without a body.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ipquery.data.snapshot.layout import LANGUAGES
from ipquery.serve.api import batch, contract, databases, metrics, snapshot_file, v1
from ipquery.serve.api import status as node_status
from ipquery.serve.api.batch_forms import ARRAYS, CSV, JSON, NDJSON
from ipquery.serve.api.negotiation import Media
from ipquery.serve.api.openapi_schemas import (
    ADDRESS,
    OPENAPI_PATH,
    REFERENCE_PATH,
    Json,
    leaves,
    schemas,
)
from ipquery.serve.api.problems import KINDS, PROBLEM_JSON
from ipquery.serve.api.selection import MEMBERS, SOURCED
from ipquery.serve.api.where import Where

PATH = OPENAPI_PATH

EXPLANATIONS: Mapping[str, str] = {
    "not-an-address": "what stands where the address should isn't one",
    "unknown-field": "``fields`` names one that isn't there; ``detail`` lists those that are",
    "unknown-language": "``lang`` is neither ``en`` nor ``zh``",
    "bad-request": "the framing, or the coding, of a batch is broken",
    "bad-batch": "a batch isn't an array in JSON; of one item: it isn't JSON, neither an address "
    "nor an object, or has a member twice",
    "no-key": "an API key is needed, and none or another is given; ``WWW-Authenticate`` says how",
    "not-allowed": "your address is in none of the networks that are allowed here, or your "
    "certificate isn't one of those that are",
    "unknown-client": "you came by a UNIX socket, and no trusted proxy says who you are",
    "not-found": "no such path under ``/v1``, or no such field in it",
    "method-not-allowed": "``Allow`` says what may be done",
    "not-acceptable": "none of the forms is accepted",
    "timed-out": "the rest of a batch didn't come",
    "too-large": "the body of a batch is too large, as it is sent or as it is decoded",
    "too-many-addresses": "a batch has more addresses than it may",
    "unsupported-media-type": "``Accept-Post`` says what a batch may be",
    "unsupported-coding": "``Accept-Encoding`` says in what a batch may be sent",
    "unknown-expectation": "``Expect`` of a batch says something else than ``100-continue``",
    "too-many-requests": "you ask more often than you may; ``Retry-After``",
    "unavailable": "too many batches at the same time; ``Retry-After``",
    "internal-error": "a fault of ours; the log has details",
}
"""Of each problem, what it means, as ``docs/api.md`` has it."""

_GUARDED = ("no-key", "not-allowed", "too-many-requests")
"""Problems of all routes, where there are guards."""

_MESSAGE = {"$ref": "#/components/schemas/Message"}
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_JSON = "application/json"

# Of HTTP, before anybody knows what is asked for; the shape is the contract's everywhere.
_REFUSALS = {
    "400": "The request isn't HTTP as it should be.",
    "401": "An API key is needed.",
    "403": "Your address, or your certificate, may not ask here.",
    "404": "There is nothing under this path.",
    "408": "The request didn't come in time.",
    "413": "The body is too large.",
    "414": "The request target is too long.",
    "417": "There is no such expectation.",
    "429": "Your address asks too often.",
    "431": "The header fields are too large.",
    "501": "There is no such transfer coding.",
    "503": "There is too much to do just now, or the process starts or stops.",
    "505": "There is no such version of HTTP.",
}


def openapi(with_page: bool, where: Where = Where.EVERYBODY, gives_snapshot: bool = False) -> Json:
    """The document.

    :param with_page: whether there is the page, and the reference.
    :param where: the address that it describes.
    :param gives_snapshot: whether other nodes may take the snapshot.
    """
    every = {**_v1_paths(), **_contract_paths(), **_node_paths(with_page)}
    if gives_snapshot:
        every |= _snapshot_path()
    paths = {path: operations for path, operations in every.items() if where.has(path)}
    used = {tag for path in paths.values() for one in path.values() for tag in one["tags"]}
    summary, description = _ABOUT[where is Where.OPERATORS]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ipquery",
            # Of the API, which only grows; not of the program.
            "version": "1",
            "summary": summary,
            "description": description,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Where the document is, also behind a proxy's prefix.
        "servers": [{"url": "."}],
        "tags": [
            {"name": name, "description": text} for name, text in _TAGS.items() if name in used
        ],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": {_response_name(one): _refused(text) for one, text in _REFUSALS.items()},
        },
        "x-problems": {
            name: {
                "status": kind.status,
                "title": kind.title,
                "description": _sentence(EXPLANATIONS[name]),
            }
            for name, kind in KINDS.items()
        },
    }


_TAGS = {
    "v1": "Objects",
    "array": "The array, for callers of the old service",
    "node": "This node, and what describes it",
}

_ERRORS = """\
HEAD is answered wherever GET is, and OPTIONS under ``/v1``.

What can't be answered under ``/v1`` is told as a problem (RFC 9457); the other routes say \
``{"message": …}``, and so does whatever is wrong with HTTP itself, before anybody knows what is \
asked for: 400, 408, 413, 414, 417, 431, 501, 503 and 505."""

# For callers, and for those who run the service: what it is in a line, and more.
_ABOUT = (
    (
        "Where is this IP address, and whose is it?",
        "Every address has an object; what isn't known of it is ``null``. Answers may be kept for "
        "as long as ``Cache-Control`` says, and for the whole ``network`` that they name. "
        + _ERRORS,
    ),
    (
        "How is this node doing?",
        "This address is for those who run the service; callers have another one. " + _ERRORS,
    ),
)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


# Paths


def _v1_paths() -> Json:
    ip = _parameter("ip", "path", "IPv4 or IPv6.", {"$ref": "#/components/schemas/Address"})
    ip["example"] = ADDRESS
    field = _parameter("field", "path", "A member, or one below after a dot.", {"enum": leaves()})
    field["example"] = "country_code"
    language = _parameter(
        "lang",
        "query",
        "Name country, province and city in this language wherever their codes tell which they "
        "are.",
        {"enum": list(LANGUAGES)},
    )
    fields = _parameter(
        "fields",
        "query",
        "The members to answer, with commas between; those below ``range`` and ``sources`` after a "
        "dot. All by default.",
        {"type": "array", "items": {"enum": leaves()}, "minItems": 1},
        style="form",
        explode=False,
    )
    selected = [fields, language]
    form = ["not-acceptable"]
    choice = ["unknown-field", "unknown-language"]
    described = _ok("What is known of the address.", _forms("Object", _OBJECT), _KEPT)
    me = _ok("What is known of it.", _forms("Object"), ("Cache-Control", "Vary"))
    text = {Media.TEXT.range: {**_text_of("a line"), "example": "CN\n"}}
    return {
        v1.PATH + "{ip}": _readable(
            "describe",
            "v1",
            "All about an address",
            [ip, *selected],
            {**described, **_UNCHANGED, **_problems("not-an-address", *choice, *form, "not-found")},
        ),
        v1.PATH + "{ip}/{field}": _readable(
            "describeField",
            "v1",
            "One field of it, as text: an empty line if it isn't known",
            [ip, field, language],
            {
                **_ok("The value.", text, _KEPT),
                **_UNCHANGED,
                **_problems("not-an-address", "unknown-language", "not-found"),
            },
        ),
        v1.ME_PATH: _readable(
            "describeMe",
            "v1",
            "All about your own address, behind proxies that the service trusts",
            selected,
            {**me, **_problems("unknown-client", *choice, *form)},
        ),
        batch.PATH: _batch(selected),
        databases.PATH: _readable(
            "listDatabases",
            "v1",
            "What answers come from",
            [],
            {
                **_ok("The databases.", _json("Databases"), ("ETag", "Cache-Control")),
                **_UNCHANGED,
            },
        ),
        node_status.PATH: _readable(
            "tellStatus",
            "v1",
            "How this node is doing: requests a second, latency, workers",
            [],
            {
                **_ok("All its workers together.", _json("NodeStatus"), ("Cache-Control",)),
                **_problems("unavailable"),
            },
        ),
    }


def _snapshot_path() -> Json:
    file = {snapshot_file.MEDIA: {"schema": {"type": "string"}}}
    told = {
        **_ok("The file. Its identity is the ETag.", file, ("ETag", "Cache-Control")),
        **_UNCHANGED,
        **_problems(*_GUARDED, "internal-error"),
    }
    summary = "The file that answers come from, for other nodes"
    return {snapshot_file.PATH: _with_head(_operation("takeSnapshot", "v1", summary, [], told))}


def _batch(parameters: Sequence[Json]) -> Json:
    addresses = [ADDRESS, "10.0.0.1", "1.2.3"]
    lines = "".join(f"{one}\n" for one in addresses)
    body = {
        JSON.media: {
            "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Asked"}},
            "example": addresses,
        },
        NDJSON.media: {
            # Whatever it is, each line of it is answered.
            "schema": {"description": "lines, each an ``Asked``"},
            "example": "".join(f"{json.dumps(one)}\n" for one in addresses),
        },
        "text/plain": {**_text_of("lines, each an address"), "example": lines},
    }
    entries = {"type": "array", "items": {"$ref": "#/components/schemas/Entry"}}
    arrays = {"type": "array", "items": {"$ref": "#/components/schemas/ArrayOrNull"}}
    answer = {
        JSON.media: {"schema": entries},
        NDJSON.media: _text_of("lines, each an ``Entry``"),
        CSV.media: _text_of("a line of names, then one for each address"),
        ARRAYS.media: {"schema": arrays},
    }
    problems = _problems(
        *_GUARDED,
        "bad-batch",
        "bad-request",
        "unknown-field",
        "unknown-language",
        "not-acceptable",
        "timed-out",
        "too-large",
        "too-many-addresses",
        "unsupported-media-type",
        "unsupported-coding",
        "unknown-expectation",
        "unavailable",
        "internal-error",
    )
    post = _operation(
        "answerBatch",
        "v1",
        "Many addresses at once, answered in order; what can't be answered is told in its place",
        parameters,
        {**_ok("All of them.", answer, ("Vary",)), **problems},
    )
    options = _options("answerBatch", "v1", [])
    return {"post": {**post, "requestBody": {"required": True, "content": body}}, **options}


def _contract_paths() -> Json:
    ip = _parameter("ip", "query", "IPv4 or IPv6.", {"$ref": "#/components/schemas/Address"})
    ip |= {"required": True, "example": ADDRESS}
    responses = {
        **_ok("It is found.", _json("Array", _ARRAY)),
        "400": _refused("No ``ip``, not an address, or the body is no JSON object."),
        "501": _refused("No database has a record for it."),
        "500": _refused("A fault of the service; its log has details."),
    }
    asked = {"$ref": "#/components/schemas/Question"}
    # Whatever its Content-Type, it is read as JSON.
    body = {"required": True, "content": {_JSON: {"schema": asked, "example": {"ip": ADDRESS}}}}
    linked = {**responses, "200": {**responses["200"], "links": _LINKS}}
    get = _operation("query", "array", "The eight fields of an address", [ip], linked)
    post = _operation("queryBody", "array", "The same, asked with a body", [], responses)
    return {contract.QUERY_PATH: {**_with_head(get), "post": {**post, "requestBody": body}}}


def _node_paths(with_page: bool) -> Json:
    paths = {
        contract.HEALTH_PATH: _plain(
            "health", "200 while the process lives", _json("Status", {"status": "ok"})
        ),
        contract.READY_PATH: _plain(
            "ready", "200 when it should get traffic, else 503", _json("Status")
        ),
        metrics.PATH: _plain(
            "metrics",
            "What all workers have counted, for Prometheus; OpenMetrics where it is preferred",
            {name: {"schema": {"type": "string"}} for name in metrics.MEDIA},
            headers=("Cache-Control", "Vary"),
        ),
        PATH: _plain("openapi", "This description", {_JSON: {"schema": {"type": "object"}}}, True),
    }
    if not with_page:
        return paths
    name = _parameter("name", "path", "A file of the page.", {"enum": _PAGE_FILES})
    name["example"] = "page.css"
    page = _plain("page", "A page for people", _documents("text/html"), True)
    file = _plain("pageFile", "What belongs to it", _documents(*_PAGE_TYPES), True)
    for operation in file.values():
        operation["parameters"] = [name]
    reference = _plain("reference", "This description, for people", _documents("text/html"), True)
    return {**paths, "/": page, "/page/{name}": file, REFERENCE_PATH: reference}


_PAGE_FILES = ["icon.svg", "page.css", "page.js"]
_PAGE_TYPES = ("image/svg+xml", "text/css", "text/javascript")


# Operations


def _readable(
    name: str, tag: str, summary: str, parameters: Sequence[Json], responses: Json
) -> Json:
    """GET, HEAD and OPTIONS, of a path under ``/v1``."""
    told = {**_problems(*_GUARDED, "internal-error"), **responses}
    # Answered for whatever stands there.
    in_path = [{**one, "schema": {"type": "string"}} for one in parameters if one["in"] == "path"]
    get = _operation(name, tag, summary, parameters, told)
    return {**_with_head(get), **_options(name, tag, in_path)}


def _options(name: str, tag: str, parameters: Sequence[Json]) -> Json:
    summary = "What may be done, and by which web pages (CORS)"
    # Browsers, which ask this, send no key.
    problems = [name for name in _GUARDED if name != "no-key"]
    if parameters:
        # What needs escaping stands in no path of ours.
        problems.append("not-found")
    told = {
        "204": {"description": "See the header fields.", "headers": _headers("Allow")},
        **_problems(*problems),
    }
    return {"options": _operation(f"{name}Options", tag, summary, parameters, told)}


def _plain(
    name: str,
    summary: str,
    content: Json,
    kept: bool = False,
    headers: Sequence[str] = (),
) -> Json:
    told = ("ETag", "Cache-Control") if kept else headers
    responses = _ok("Here it is.", content, told)
    if kept:
        responses |= _UNCHANGED
    return _with_head(_operation(name, "node", summary, [], responses))


def _operation(
    name: str, tag: str, summary: str, parameters: Sequence[Json], responses: Json
) -> Json:
    for status in _REFUSALS.keys() & responses.keys():
        # What HTTP refuses by itself has the contract's shape everywhere.
        content = {**_refused("")["content"], **responses[status]["content"]}
        responses = {**responses, status: {**responses[status], "content": content}}
    refusals = {
        status: {"$ref": f"#/components/responses/{_response_name(status)}"} for status in _REFUSALS
    }
    told = dict(sorted({**refusals, **responses}.items()))
    operation = {"operationId": name, "tags": [tag], "summary": summary}
    return {**operation, "parameters": list(parameters), "responses": told}


def _response_name(status: str) -> str:
    return f"http-{status}"


def _with_head(get: Json) -> Json:
    head = {
        **get,
        "operationId": f"{get['operationId']}Head",
        "responses": {
            status: {"description": _REFUSALS[status]}
            if "$ref" in one
            else {name: told for name, told in one.items() if name not in ("content", "links")}
            for status, one in get["responses"].items()
        },
    }
    return {"get": get, "head": head}


def _parameter(name: str, where: str, text: str, schema: Json, **more: Any) -> Json:
    required = {"required": True} if where == "path" else {}
    return {"name": name, "in": where, **required, "description": text, "schema": schema, **more}


# Responses


_HEADERS = {
    "Allow": "The methods that there are.",
    "Cache-Control": "For how long it may be kept.",
    "ETag": "Names it, for ``If-None-Match``.",
    "Vary": "The header fields of a request on which it depends.",
}
_KEPT = ("ETag", "Cache-Control", "Vary")


def _headers(*names: str) -> Json:
    return {
        name: {"description": _HEADERS[name], "required": True, "schema": {"type": "string"}}
        for name in names
    }


def _ok(text: str, content: Json, headers: Iterable[str] = ()) -> dict[str, Json]:
    return {"200": {"description": text, "headers": _headers(*headers), "content": content}}


_UNCHANGED: Json = {
    "304": {"description": "You have it already.", "headers": _headers("ETag", "Cache-Control")}
}


def _json(schema: str, example: Any = None) -> Json:
    told: Json = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {_JSON: told if example is None else {**told, "example": example}}


def _forms(schema: str, example: Any = None) -> Json:
    return {
        **_json(schema, example),
        Media.TEXT.range: _text_of("lines, each a member"),
        Media.CSV.range: _text_of("a line of names, then one of values"),
    }


def _text_of(what: str) -> Json:
    return {"schema": {"type": "string", "description": what}}


def _documents(*types: str) -> Json:
    return {name: {"schema": {"type": "string"}} for name in types}


def _refused(text: str, is_problem: bool = False) -> Json:
    if is_problem:
        return {"description": text, "content": {PROBLEM_JSON.decode(): {"schema": _PROBLEM}}}
    return {"description": text, "content": {_JSON: {"schema": _MESSAGE}}}


def _problems(*names: str) -> Json:
    """By status, one response for all problems with it."""
    by_status: dict[str, list[str]] = {}
    for name in names:
        by_status.setdefault(str(KINDS[name].status), []).append(name)
    return {
        status: _refused(" Or: ".join(KINDS[name].title + "." for name in some), True)
        | {"x-problems": some}
        for status, some in by_status.items()
    }


# Examples, from the default database


_ARRAY = ["中国", "CN", "河南省", "410000", "商丘市", "411400", "", "联通"]

_KNOWN = {
    "country": "中国",
    "country_code": "CN",
    "province": "河南省",
    "province_code": "410000",
    "subdivision_code": "CN-HA",
    "city": "商丘市",
    "city_code": "411400",
    "isp": "联通",
}

_OBJECT = {
    **dict.fromkeys(MEMBERS),
    "ip": ADDRESS,
    "kind": "public",
    "network": "123.12.0.0/18",
    "range": {"first": "123.12.0.0", "last": "123.12.63.255"},
    **_KNOWN,
    "sources": {name: "ip2region" for name in SOURCED if name in _KNOWN},
    "snapshot": "b20b8bc3ff2a7e72882c960d3879bbd7e4d81dcf4d8cbc0cee0fdbe562c65185",
}

_LINKS: Json = {
    name: {"operationId": operation, "parameters": {"ip": "$request.query.ip", **more}}
    for name, operation, more in (
        ("object", "describe", {}),
        ("country", "describeField", {"field": "country_code"}),
    )
}


def to_json(document: Json) -> bytes:
    """The document as it is sent."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

"""The contract, case by case: what is asked, and what must come back.

The addresses are those of the table that every case is run against: 1.0.0.0/8
and 2000::/8 have a record, nothing else has.
"""

import json
from collections.abc import Callable, Mapping
from urllib.parse import quote

import attrs

from tests.serve.http.connection import Response, get, post

QUERY = "/api/ip_query"
RECORD = ["中国", "CN", "河南省", "410000", "商丘市", "411400", "", "联通"]


@attrs.frozen
class Case:
    name: str
    request: bytes
    status: int
    check: Callable[[Response], bool]
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def verify(self, response: Response) -> None:
        assert response.status == self.status, (response.status, response.body)
        assert response.headers["Content-Type"] == "application/json"
        assert "Date" in response.headers
        assert "Server" not in response.headers
        assert self.check(response), response.body
        for name, value in self.headers.items():
            assert response.headers.get(name) == value


def _is(value: object) -> Callable[[Response], bool]:
    return lambda response: bool(response.json == value)


def _says(text: str) -> Callable[[Response], bool]:
    return lambda response: text in response.message


def _both(name: str, ip: str, status: int, check: Callable[[Response], bool]) -> list[Case]:
    """The same address by GET and by POST."""
    return [
        Case(f"GET {name}", get(f"{QUERY}?ip={quote(ip)}"), status, check),
        Case(f"POST {name}", post(json.dumps({"ip": ip}).encode()), status, check),
    ]


def _body(name: str, body: bytes, says: str) -> Case:
    return Case(f"POST {name}", post(body), 400, _says(says))


OK = _is({"status": "ok"})
READY = _is({"status": "ready"})
NOT_FOUND = _is({"message": "not found"})
NOT_ALLOWED = _is({"message": "method not allowed"})
KNOWN = _is(RECORD)


def _no_record(ip: str) -> Callable[[Response], bool]:
    return _is({"message": f"no ip info in ip db for ip: {ip}"})


CASES = [
    *_both("IPv4", "1.2.3.4", 200, KNOWN),
    *_both("IPv6", "2001:db8::1", 200, KNOWN),
    *_both("IPv6 in capitals", "2001:DB8::1", 200, KNOWN),
    *_both("mapped IPv6", "::ffff:1.2.3.4", 200, KNOWN),
    *_both("no record", "9.9.9.9", 501, _no_record("9.9.9.9")),
    *_both("no IPv6 record", "::1", 501, _no_record("::1")),
    *_both("no mapped record", "::ffff:9.9.9.9", 501, _no_record("::ffff:9.9.9.9")),
    *_both("empty ip", "", 400, _says("not an IP address: ''")),
    *_both("half an address", "1.2.3", 400, _says("not an IP address: '1.2.3'")),
    *_both("number too large", "1.2.3.256", 400, _says("not an IP address")),
    *_both("leading zero", "01.2.3.4", 400, _says("not an IP address")),
    *_both("blank after", "1.2.3.4 ", 400, _says("not an IP address")),
    *_both("new line after", "1.2.3.4\n", 400, _says("not an IP address")),
    *_both("NUL after", "1.2.3.4\0", 400, _says("not an IP address")),
    *_both("zone", "fe80::1%eth0", 400, _says("not an IP address")),
    *_both("prefix", "1.2.3.0/24", 400, _says("not an IP address")),
    *_both("name", "localhost", 400, _says("not an IP address: 'localhost'")),
    *_both("Chinese", "一", 400, _says("not an IP address")),
    *_both("very long", "1" * 3000, 400, _says("...")),
    Case("GET percent-encoded", get(f"{QUERY}?ip=%31%2E2.3.4"), 200, KNOWN),
    Case("GET encoded colons", get(f"{QUERY}?ip=2001%3Adb8%3A%3A1"), 200, KNOWN),
    Case("GET encoded name", get(f"{QUERY}?%69p=1.2.3.4"), 200, KNOWN),
    Case("GET plus is a blank", get(f"{QUERY}?ip=1.2.3.4+"), 400, _says("not an IP address")),
    Case("GET surplus before", get(f"{QUERY}?x=1&ip=1.2.3.4"), 200, KNOWN),
    Case("GET surplus after", get(f"{QUERY}?ip=1.2.3.4&x=1&&y"), 200, KNOWN),
    Case("GET twice: the first", get(f"{QUERY}?ip=1.2.3.4&ip=9.9.9.9"), 200, KNOWN),
    Case("GET twice: not the second", get(f"{QUERY}?ip=x&ip=1.2.3.4"), 400, _says("'x'")),
    Case("GET no ip", get(QUERY), 400, _says("no ip given")),
    Case("GET empty query", get(f"{QUERY}?"), 400, _says("no ip given")),
    Case("GET other name", get(f"{QUERY}?IP=1.2.3.4"), 400, _says("no ip given")),
    Case("GET not UTF-8", get(f"{QUERY}?ip=%ff"), 400, _says("not UTF-8")),
    Case("GET absolute target", get(f"http://x{QUERY}?ip=1.2.3.4"), 200, KNOWN),
    Case("GET with a body", get(f"{QUERY}?ip=1.2.3.4", "Content-Length: 2") + b"{}", 200, KNOWN),
    Case("GET by HTTP/1.0", get(f"{QUERY}?ip=1.2.3.4", version="1.0"), 200, KNOWN),
    Case("POST query is no body", post(b"{}", target=f"{QUERY}?ip=1.2.3.4"), 400, _says("no ip")),
    Case(
        "POST as curl -d sends it",
        post(b'{"ip":"1.2.3.4"}', "Content-Type: application/x-www-form-urlencoded"),
        200,
        KNOWN,
    ),
    Case(
        "POST as a broken form",
        post(b'{"ip":"1.2.3.4"}', "Content-Type: multipart/form-data"),
        200,
        KNOWN,
    ),
    Case("POST with blanks", post(b' {\n"ip" :\t"1.2.3.4" } \r\n'), 200, KNOWN),
    Case("POST with surplus", post(b'{"a":[1],"ip":"1.2.3.4","b":{}}'), 200, KNOWN),
    Case("POST escaped", post(rb'{"\u0069p":"\u0031.2.3.4"}'), 200, KNOWN),
    Case(
        "POST in chunks",
        get(QUERY, "Transfer-Encoding: chunked", method="POST")
        + b'7\r\n{"ip":"\r\n9;x=y\r\n1.2.3.4"}\r\n0\r\nTrailer: x\r\n\r\n',
        200,
        KNOWN,
    ),
    _body("no body", b"", "the body is not JSON"),
    _body("not JSON", b"ip=1.2.3.4", "the body is not JSON"),
    _body("cut short", b'{"ip":"1.2.3.4"', "the body is not JSON"),
    _body("two values", b'{"ip":"1.2.3.4"}{}', "the body is not JSON"),
    _body("not UTF-8", b'{"ip":"\xff"}', "the body is not JSON"),
    _body("UTF-16", '{"ip":"1.2.3.4"}'.encode("utf-16"), "the body is not JSON"),
    _body("nested", b"[" * 4000, "the body is not JSON"),
    _body("large number", b'{"ip":%s}' % (b"1" * 4000), "ip is not a string"),
    _body("list", b'["1.2.3.4"]', "the body is not a JSON object"),
    _body("text", b'"1.2.3.4"', "the body is not a JSON object"),
    _body("null", b"null", "the body is not a JSON object"),
    _body("no ip", b'{"IP":"1.2.3.4"}', "no ip given"),
    _body("ip a number", b'{"ip":16909060}', "ip is not a string"),
    _body("ip null", b'{"ip":null}', "ip is not a string"),
    _body("ip a list", b'{"ip":["1.2.3.4"]}', "ip is not a string"),
    _body("lone surrogate", rb'{"ip":"\ud800"}', "not an IP address"),
    Case("healthz", get("/healthz"), 200, OK),
    Case("readyz", get("/readyz"), 200, READY),
    Case("404", get("/nothing"), 404, NOT_FOUND),
    Case("404 below", get(f"{QUERY}/"), 404, NOT_FOUND),
    Case("404 above", get("/api"), 404, NOT_FOUND),
    Case("404 not UTF-8", get("/%ff"), 404, NOT_FOUND),
    Case("404 POST", post(b"{}", target="/x"), 404, NOT_FOUND),
    Case("405", get(QUERY, method="DELETE"), 405, NOT_ALLOWED, {"Allow": "GET, HEAD, POST"}),
    Case("405 PUT", get(QUERY, method="PUT"), 405, NOT_ALLOWED, {"Allow": "GET, HEAD, POST"}),
    Case("405 healthz", post(b"{}", target="/healthz"), 405, NOT_ALLOWED, {"Allow": "GET, HEAD"}),
    Case("400 no Host", b"GET /healthz HTTP/1.1\r\n\r\n", 400, _says("one Host header")),
    Case("400 two Hosts", get("/healthz", "Host: x"), 400, _says("one Host header")),
    Case("400 bad Host", get("/healthz").replace(b"test", b"a b"), 400, _says("bad Host")),
    Case("400 odd Host", get("/healthz").replace(b"test", b"a..b"), 400, _says("bad request")),
    Case("400 target", get("healthz"), 400, _says("bad request")),
    Case("400 bare LF", b"GET /healthz HTTP/1.1\nHost: x\n\n", 400, _says("bad request")),
    Case("405 CONNECT", get("x:80", method="CONNECT"), 405, NOT_ALLOWED),
    Case("413", post(b" " * 5000), 413, _says("request body too large")),
    Case("414", get(f"{QUERY}?ip={'1' * 9000}"), 414, _says("request line too long")),
    Case("417", post(b"{}", "Expect: a miracle"), 417, _says("unknown expectation")),
    Case("431", get("/healthz", f"X: {'x' * 17000}"), 431, _says("headers too large")),
    Case("431 many", get("/healthz", *["X: y"] * 101), 431, _says("headers too large")),
    Case(
        "501 coding",
        get(QUERY, "Transfer-Encoding: gzip, chunked", method="POST") + b"0\r\n\r\n",
        501,
        _says("transfer encoding not supported"),
    ),
    Case("505", b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, _says("HTTP version not supported")),
]

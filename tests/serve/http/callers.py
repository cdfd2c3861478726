"""What callers send: requests as real programs write them, and changed in ways that matter.

Everything comes from a seed, which repeats it. Hypothesis makes smaller examples
(:mod:`tests.serve.strategies`); this makes many: one takes 5 to 20 us.
"""

import random
from collections.abc import Callable, Sequence

import attrs

# Heads as they are on the wire, lines separated by "|". What follows a "$" differs from one
# request to the next.
_GET = {
    "curl": "GET $TARGET HTTP/1.1|Host: $HOST|User-Agent: curl/7.88.1|Accept: */*",
    "curl -I": "HEAD $TARGET HTTP/1.1|Host: $HOST|User-Agent: curl/7.88.1|Accept: */*",
    "curl -0": "GET $TARGET HTTP/1.0|Host: $HOST|User-Agent: curl/7.88.1|Accept: */*",
    "PHP's curl": "GET $TARGET HTTP/1.1|Host: $HOST|Accept: */*",
    "PHP's streams": "GET $TARGET HTTP/1.1|Host: $HOST|Connection: close",
    "wget": "GET $TARGET HTTP/1.1|Host: $HOST|User-Agent: Wget/1.21.3|Accept: */*"
    "|Accept-Encoding: identity|Connection: Keep-Alive",
    "ab": "GET $TARGET HTTP/1.0|Host: $HOST|User-Agent: ApacheBench/2.3|Accept: */*",
    "ab -k": "GET $TARGET HTTP/1.0|Connection: Keep-Alive|Host: $HOST|User-Agent: ApacheBench/2.3"
    "|Accept: */*",
    "wrk": "GET $TARGET HTTP/1.1|Host: $HOST",
    "requests": "GET $TARGET HTTP/1.1|Host: $HOST|User-Agent: python-requests/2.31.0"
    "|Accept-Encoding: gzip, deflate|Accept: */*|Connection: keep-alive",
    "urllib": "GET $TARGET HTTP/1.1|Accept-Encoding: identity|Host: $HOST"
    "|User-Agent: Python-urllib/3.11|Connection: close",
    "httpx": "GET $TARGET HTTP/1.1|Host: $HOST|Accept: */*|Accept-Encoding: gzip, deflate"
    "|Connection: keep-alive|User-Agent: python-httpx/0.27.0|traceparent: $TRACE",
    "aiohttp": "GET $TARGET HTTP/1.1|Host: $HOST|Accept: */*|Accept-Encoding: gzip, deflate"
    "|User-Agent: Python/3.11 aiohttp/3.9.1|X-Request-Id: $ID",
    "Go": "GET $TARGET HTTP/1.1|Host: $HOST|User-Agent: Go-http-client/1.1|Accept-Encoding: gzip",
    "Java": "GET $TARGET HTTP/1.1|Connection: Upgrade, HTTP2-Settings|Host: $HOST"
    "|HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA|Upgrade: h2c"
    "|User-Agent: Java-http-client/17.0.9",
    "HttpURLConnection": "GET $TARGET HTTP/1.1|User-Agent: Java/17.0.9|Host: $HOST"
    "|Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2|Connection: keep-alive",
    "OkHttp": "GET $TARGET HTTP/1.1|X-B3-TraceId: $ID|Host: $HOST|Connection: Keep-Alive"
    "|Accept-Encoding: gzip|User-Agent: okhttp/4.12.0",
    "node fetch": "GET $TARGET HTTP/1.1|host: $HOST|connection: keep-alive|accept: */*"
    "|accept-language: *|sec-fetch-mode: cors|user-agent: node|accept-encoding: gzip, deflate",
    "axios": "GET $TARGET HTTP/1.1|Accept: application/json, text/plain, */*"
    "|User-Agent: axios/1.6.7|Accept-Encoding: gzip, compress, deflate, br|Host: $HOST"
    "|Connection: close",
    "nginx": "GET $TARGET HTTP/1.0|Host: $HOST|X-Real-IP: 192.0.2.9|X-Forwarded-For: 192.0.2.9"
    "|Connection: close|User-Agent: curl/8.5.0|Accept: */*",
    "nginx with keepalive": "GET $TARGET HTTP/1.1|Host: $HOST|X-Request-ID: $ID"
    "|X-Forwarded-For: 192.0.2.9, 198.51.100.7|X-Forwarded-Proto: https|accept: */*",
    "Envoy": "GET $TARGET HTTP/1.1|host: $HOST|accept: */*|x-request-id: $ID|traceparent: $TRACE"
    "|x-envoy-expected-rq-timeout-ms: 15000|x-forwarded-proto: http",
    "Chrome": "GET $TARGET HTTP/1.1|Host: $HOST|Connection: keep-alive|Cache-Control: max-age=0"
    '|sec-ch-ua: "Chromium";v="122", "Not(A:Brand";v="24"|sec-ch-ua-mobile: ?0'
    "|Upgrade-Insecure-Requests: 1|User-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/122.0.0.0"
    "|Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8|Accept-Encoding: gzip, deflate, br"
    "|Accept-Language: zh-CN,zh;q=0.9|Cookie: a=1; session=$ID",
    "a page": "GET $TARGET HTTP/1.1|Host: $HOST|Connection: keep-alive|Accept: $ACCEPT"
    "|Origin: $ORIGIN|If-None-Match: $TAG|User-Agent: Mozilla/5.0|Accept-Encoding: gzip",
    "curl -H Accept": "GET $TARGET HTTP/1.1|Host: $HOST|User-Agent: curl/7.88.1|Accept: $ACCEPT",
    "a proxy's client": "GET http://$HOST$TARGET HTTP/1.1|Host: $HOST|Proxy-Connection: Keep-Alive"
    "|User-Agent: curl/7.88.1|Accept: */*",
    "kube-probe": "GET /readyz HTTP/1.1|Host: $HOST|User-Agent: kube-probe/1.29|Accept: */*"
    "|Connection: close",
    "HAProxy's check": "OPTIONS / HTTP/1.0",
    "SLB's check": "HEAD /healthz HTTP/1.0",
}
_POST = {
    "curl -d": "POST $PATH HTTP/1.1|Host: $HOST|User-Agent: curl/7.88.1|Accept: */*|$LENGTH"
    "|Content-Type: application/x-www-form-urlencoded",
    "curl with Expect": "POST $PATH HTTP/1.1|Host: $HOST|User-Agent: curl/7.81.0|Accept: */*"
    "|$LENGTH|Content-Type: application/json|Expect: 100-continue",
    "ab -p": "POST $PATH HTTP/1.0|$LENGTH|Content-type: application/json|Host: $HOST"
    "|User-Agent: ApacheBench/2.3|Accept: */*",
    "requests": "POST $PATH HTTP/1.1|Host: $HOST|User-Agent: python-requests/2.31.0"
    "|Accept-Encoding: gzip, deflate|Accept: */*|Connection: keep-alive|$LENGTH"
    "|Content-Type: application/json",
    "Go": "POST $PATH HTTP/1.1|Host: $HOST|User-Agent: Go-http-client/1.1|$LENGTH"
    "|Content-Type: application/json|Traceparent: $TRACE|Accept-Encoding: gzip",
    "OkHttp": "POST $PATH HTTP/1.1|X-Request-Id: $ID|Content-Type: application/json; charset=utf-8"
    "|$LENGTH|Host: $HOST|Connection: Keep-Alive|Accept-Encoding: gzip|User-Agent: okhttp/4.12.0",
    "node fetch": "POST $PATH HTTP/1.1|host: $HOST|connection: keep-alive"
    "|content-type: application/json|accept: */*|accept-language: *|sec-fetch-mode: cors"
    "|user-agent: node|accept-encoding: gzip, deflate|$LENGTH",
    "nginx": "POST $PATH HTTP/1.0|Host: $HOST|Connection: close|$LENGTH|X-Request-ID: $ID",
}
_CHUNKED = {
    "curl": "POST $PATH HTTP/1.1|Host: $HOST|User-Agent: curl/7.88.1|Accept: */*"
    "|Transfer-Encoding: chunked|Content-Type: application/json",
    ".NET": "POST $PATH HTTP/1.1|Host: $HOST|traceparent: $TRACE"
    "|Content-Type: application/json; charset=utf-8|Transfer-Encoding: chunked",
    "Go": "POST $PATH HTTP/1.1|Host: $HOST|User-Agent: Go-http-client/1.1"
    "|Transfer-Encoding: chunked|Accept-Encoding: gzip",
}

_PATH = "/api/ip_query"
_NEGOTIATED = {
    "$ACCEPT": ("*/*", "application/json", "text/csv", "text/plain", "image/png", "text/csv;q=0"),
    "$TAG": ('"x"', "*", 'W/"x"', '"y", "z"', ""),
    "$ORIGIN": ("https://a.example", "https://b.example", "null"),
}
_HOSTS = ("localhost", "ip.example", "127.0.0.1:8080", "[::1]:8080", "ipquery")
_ADDRESSES = (
    "1.2.3.4", "1.0.0.0", "1.2.3.5", "1.255.255.255", "9.9.9.9", "2001:db8::1", "2001:DB8::2",
    "::ffff:1.2.3.4", "240e::1",
)  # fmt: skip
_ODD_ADDRESSES = (
    "", "x", "1.2.3", "01.2.3.4", "1.2.3.4 ", "[::1]", "1.2.3.4%00", "%C3%A9", "%", "+1",
)  # fmt: skip
_QUERIES = (
    "?ip=IP", "?ip=IP", "?ip=IP", "?ip=IP", "?ip=IP&from=ads", "?from=ads&ip=IP", "?ip=IP;x=1",
    "?%69p=IP", "?ip=IP&ip=1.0.0.0", "?a=b?ip=1.0.0.0&ip=IP", "?a=b?ip=IP&ip=1.0.0.0",
    "?x=1.0.0.0&ip=IP", "?x=%26&ip=IP",
    "?ip=&ip=IP", "?IP=IP", "?ip=IP#x", "",
)  # fmt: skip
_V1 = (
    "/v1/ip/IP", "/v1/ip/IP", "/v1/ip/IP?from=ads", "/v1/ip/IP?fields=country_code,city",
    "/v1/ip/IP?fields=network,range.last", "/v1/ip/IP?lang=en", "/v1/ip/IP?lang=zh&fields=city",
    "/v1/ip/IP/city", "/v1/ip/IP/country_code?lang=en", "/v1/ip/IP/x", "/v1/ip/IP?fields=x",
)  # fmt: skip
_BODIES = (
    '{"ip":"IP"}', '{"ip":"IP"}', '{"ip": "IP"}', '{"from":"ads","ip":"IP","x":[1]}',
    '{\n  "ip": "IP"\n}\n', '{"ip":"IP","ip":"1.0.0.0"}', '{"\\u0069p":"IP"}', '{"IP":"IP"}',
    '{"x":"1.0.0.0","ip":"IP"}', '{"x":"IP","ip":"1.0.0.0"}', '["IP"]', "ip=IP",
)  # fmt: skip

# What is put in: what decides on framing, on a line's end, or on who may be answered.
_FIELDS = (
    b"Content-Length: 0", b"Content-Length: 16", b"Content-Length: 5", b"content-length: 00",
    b"Content-Length: +5", b"Content-Length: 0x5", b"Content-Length: 5, 5", b"Content-Length:",
    b"Content-Length: 18446744073709551621", b"Content-Length : 5",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding : chunked", b"transfer-encoding:chunked\t", b"Transfer-Encoding: Chunked ",
    b"Connection: close", b"Connection: keep-alive", b"Connection: keep-alive, close",
    b"Connection: TE, close", b"Connection: upgrade", b"Connection:", b"Proxy-Connection: close",
    b"Keep-Alive: timeout=5", b"Upgrade: websocket", b"Upgrade: h2c", b"Expect: 100-continue",
    b"Expect: 200-ok", b"Host: again", b"Host: a..b", b"Host: a b", b"Host:", b"host: [::1",
    b"TE: trailers", b"Trailer: X", b"X: y", b"X:", b": y", b"X", b"X : y", b" folded: x",
    b"\tfolded", b"X: a\x00b", b"X: a\rb", b"X: a\nb", b"X: a\x0bb", b"X: \x7f", b"X: \xe9\xff",
    b"Accept: text/csv", b"Accept: x", b"Origin: https://a.example", b"If-None-Match: *",
    b"X[]: y", b"X\xe9: y", b"X_Y: z", b"X: " + b"y" * 900, b"Cookie: " + b"c=d; " * 400,
)  # fmt: skip
_SPLICES = (
    b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"\n\n", b"\r\r\n", b" ", b"  ", b"\t", b"\x0b", b"\x0c",
    b":", b"\x00", b"\x7f", b"\x80", b"\xff", b"\xa0", b"0\r\n\r\n", b"0", b"-", b"+", b"_", b",",
    b";", b"%", b"%3A", b"%00", b"&", b"?", b"#", b"//", b"..", b'"', b"\\", b"\\u0031", b"{", b"}",
    b"ip=", b"&ip=1.0.0.0", b"1.0.0.0", b"GET ", b"POST ", b"HTTP/1.1", b"HTTP/1.0",
)  # fmt: skip
_VERSIONS = (
    b"HTTP/1.0", b"HTTP/1.1", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/01.1",
    b"HTTP/1.01", b"HTTP/1.1 ", b" HTTP/1.1", b"HTTP/1", b"RTSP/1.0", b"ICE/1.0", b"HTTP/1,1",
)  # fmt: skip
METHODS = (
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"PATCH", b"get", b"Get",
    b"GETX", b"G", b"QUERY", b"M-SEARCH", b"PRI", b"TRACE", b"\xc7ET", b"",
)  # fmt: skip
_CHUNK_SIZES = (
    b"0x%x", b"+%x", b"-%x", b"%x ", b" %x", b"0%x", b"%x;", b"%x;a", b"%x;a=b", b'%x;a="b;c"',
    b"%x\t;a", b"%x;a\r", b"%x\n", b"0_%x", b"1%x", b"", b"%xg", b"10000000000000000%x",
)  # fmt: skip


@attrs.frozen
class Stream:
    """What one client sends."""

    reads: Sequence[bytes]
    """As the server gets it."""
    requests: int
    """How many requests it was made of."""
    is_real: bool
    """Whether nothing in it was changed."""


def stream(seed: int) -> Stream:
    """Requests of one client, one after another as it would send them, or changed."""
    chance = random.Random(seed)
    caller = _a_caller(chance)
    is_real, pieces, count = True, [], 0
    for _ in range(chance.choice((1, 2, 3, 4, 8))):
        if chance.random() < 0.1:
            caller = _a_caller(chance)
        request = caller(chance)
        if chance.random() < 0.4:
            is_real = False
            for _ in range(chance.choice((1, 1, 2, 3))):
                request = chance.choice(_MUTATIONS)(chance, request)
        times = 40 if chance.random() < 0.01 else chance.choice((1, 1, 1, 1, 2, 3))
        count += times
        pieces += [request * times] if chance.random() < 0.3 else [request] * times
    if chance.random() < 0.3:
        whole = b"".join(pieces)
        cuts = sorted(chance.randrange(len(whole) + 1) for _ in range(chance.randrange(1, 8)))
        ends = zip([0, *cuts], [*cuts, len(whole)], strict=True)
        pieces = [whole[begin:end] for begin, end in ends]
    # Nothing is no read; and a request may have been cut to nothing.
    return Stream([piece for piece in pieces if piece] or [b"\r\n"], count, is_real)


_Caller = Callable[[random.Random], bytes]


def _a_caller(chance: random.Random) -> _Caller:
    """A program, and what stays the same in its requests."""
    heads = chance.choice((_GET, _GET, _GET, _POST, _POST, _CHUNKED))
    lines = chance.choice(list(heads.values())).replace("$HOST", chance.choice(_HOSTS))
    head = "".join(line + "\r\n" for line in [*lines.split("|"), ""])
    body = chance.choice(_BODIES)
    target = chance.choice(_V1) if chance.random() < 0.3 else _PATH + chance.choice(_QUERIES)
    escapes = chance.random() < 0.3
    if heads is _CHUNKED:
        size = chance.choice((3, 7, 16, 100))
        return lambda chance: _fill(chance, head) + _chunks(_body(chance, body), size)
    if heads is _POST:

        def post(chance: random.Random) -> bytes:
            content = _body(chance, body)
            return (
                _fill(chance, head.replace("$LENGTH", f"Content-Length: {len(content)}")) + content
            )

        return post

    def get(chance: random.Random) -> bytes:
        ip = _address(chance)
        if escapes:
            ip = ip.replace(":", "%3A")
        return _fill(chance, head.replace("$TARGET", target.replace("IP", ip.replace(" ", "+"))))

    return get


def _fill(chance: random.Random, head: str) -> bytes:
    if "$ID" in head:
        head = head.replace("$ID", f"{chance.getrandbits(64):016x}")
    if "$TRACE" in head:
        trace = f"00-{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-01"
        head = head.replace("$TRACE", trace)
    for name, values in _NEGOTIATED.items():
        if name in head:
            head = head.replace(name, chance.choice(values))
    return head.replace("$PATH", _PATH).encode()


def _address(chance: random.Random) -> str:
    return chance.choice(_ODD_ADDRESSES if chance.random() < 0.05 else _ADDRESSES)


def _body(chance: random.Random, form: str) -> bytes:
    return form.replace("IP", _address(chance)).encode()


def _chunks(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join([*(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces), b"0\r\n\r\n"])


# Changes


def _bytes_changed(chance: random.Random, request: bytes) -> bytes:
    begin = chance.randrange(len(request) + 1)
    end = begin + chance.choice((0, 0, 1, 1, 2, 8))
    new = chance.choice((b"", chance.choice(_SPLICES), chance.randbytes(1), request[begin:end] * 2))
    return request[:begin] + new + request[end:]


def _head_and_body(request: bytes) -> tuple[list[bytes], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


def _joined(lines: Sequence[bytes], body: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", body])


def _field_put_in(chance: random.Random, request: bytes) -> bytes:
    lines, body = _head_and_body(request)
    lines.insert(chance.randrange(1, len(lines) + 1), chance.choice(_FIELDS))
    return _joined(lines, body)


def _field_changed(chance: random.Random, request: bytes) -> bytes:
    lines, body = _head_and_body(request)
    at = chance.randrange(len(lines))
    name, colon, value = lines[at].partition(b":")
    lines[at : at + 1] = chance.choice(
        (
            [],
            [lines[at]] * 2,
            [name.upper() + colon + value],
            [name + colon + value.strip()],
            [name + b" " + colon + value],
            [name + colon + b" \t" + value + b" \t"],
            [name + colon],
            [name + colon + value + b", " + value.strip()],
            [name + colon, b" " + value],
            [lines[at] + b"\n" + lines[at]],
            [lines[at] + b"\r" + lines[at]],
        )
    )
    return _joined(lines, body)


def _line_changed(chance: random.Random, request: bytes) -> bytes:
    line, end, rest = request.partition(b"\r\n")
    words = line.split(b" ")
    which = chance.randrange(5)
    if which == 0:
        words[0] = chance.choice(METHODS)
    elif which == 1:
        words[-1] = chance.choice(_VERSIONS)
    elif which == 2:
        words.insert(chance.randrange(len(words) + 1), b"")
    elif which == 3:
        words = [chance.choice((b"\t", b"\r", b"\x0b", b"\n")).join(words)]
    else:
        words[1:2] = [
            chance.choice(
                (b"*", b"http://u:p@h/", b"https://h/healthz", b"h:80", b"", b"//h/", b"/%68ealthz",
                 b"/healthz?", b"healthz", b"http://", b"/a b", b"/" + b"x" * 9000)
            )
        ]  # fmt: skip
    return b" ".join(words) + end + rest


def _framing_changed(chance: random.Random, request: bytes) -> bytes:
    lines, body = _head_and_body(request)
    which = chance.randrange(5)
    if which == 0 and b"\r\n" in body:
        begin, end, rest = body.partition(b"\r\n")
        form = chance.choice(_CHUNK_SIZES)
        size = int(begin, 16) if begin.isalnum() and len(begin) < 4 and begin.isdigit() else 7
        return _joined(lines, (form % size if b"%" in form else form) + end + rest)
    if which == 1 and body.endswith(b"0\r\n\r\n"):
        trailer = chance.choice(_FIELDS)
        return _joined(lines, body[:-2] + trailer + b"\r\n\r\n")
    if which == 2:
        return _joined(lines, body + chance.choice((b"\r\n", b"\n", b"x", b"0\r\n\r\n")))
    if which == 3:
        return chance.choice((b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\r\n" * 40)) + request
    lines = [
        line
        for line in lines
        if not line.lower().startswith((b"content-length", b"transfer-encoding"))
    ]
    lines.insert(1, chance.choice(_FIELDS[:18]))
    return _joined(lines, body)


def _cut_short(chance: random.Random, request: bytes) -> bytes:
    return request[: chance.randrange(len(request) + 1)]


_MUTATIONS = (_bytes_changed,) * 4 + (_field_put_in,) * 3 + (_field_changed,) * 3 + (
    _line_changed, _line_changed, _framing_changed, _framing_changed, _cut_short,
)  # fmt: skip

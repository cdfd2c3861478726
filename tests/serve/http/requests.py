"""Requests that many tests send."""

from tests.serve.http.connection import get

QUERY = get("/api/ip_query?ip=1.2.3.4")
UNKNOWN = get("/api/ip_query?ip=9.9.9.9")

HEAD = b"POST /api/ip_query HTTP/1.1\r\nHost: x\r\n"
BODY = b'{"ip":"1.2.3.4"}'
SMUGGLED: dict[str, bytes] = {
    "two lengths": HEAD + b"Content-Length: 16\r\nContent-Length: 16\r\n\r\n" + BODY,
    "different lengths": HEAD + b"Content-Length: 16\r\nContent-Length: 4\r\n\r\n" + BODY,
    "listed length": HEAD + b"Content-Length: 16, 16\r\n\r\n" + BODY,
    "signed length": HEAD + b"Content-Length: +16\r\n\r\n" + BODY,
    "negative length": HEAD + b"Content-Length: -1\r\n\r\n" + BODY,
    "empty length": HEAD + b"Content-Length: \r\n\r\n" + BODY,
    "hex length": HEAD + b"Content-Length: 0x10\r\n\r\n" + BODY,
    "huge length": HEAD + b"Content-Length: 18446744073709551632\r\n\r\n" + BODY,
    "blank in length": HEAD + b"Content-Length: 1 6\r\n\r\n" + BODY,
    "length and coding": HEAD
    + b"Content-Length: 16\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "coding twice": HEAD
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n" + BODY,
    "coding xchunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding chunked, gzip": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "coding in 1.0": HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk 0x": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x10\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk signed": HEAD + b"Transfer-Encoding: chunked\r\n\r\n+10\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk too long": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"
    + BODY
    + b"\r\n0\r\n\r\n",
    "chunk without end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n10\r\n" + BODY + b"0\r\n\r\n",
    "chunk bare LF": HEAD + b"Transfer-Encoding: chunked\r\n\r\n10\n" + BODY + b"\r\n0\r\n\r\n",
    "bare LF": HEAD.replace(b"\r\n", b"\n") + b"Content-Length: 16\n\n" + BODY,
    "bare LF in header": HEAD + b"X: y\nContent-Length: 16\r\n\r\n" + BODY,
    "bare CR in header": HEAD + b"X: y\rContent-Length: 4\r\nContent-Length: 16\r\n\r\n" + BODY,
    "obs-fold": HEAD + b"X: y\r\n Content-Length: 4\r\nContent-Length: 16\r\n\r\n" + BODY,
    "NUL in value": HEAD + b"X: a\0b\r\nContent-Length: 16\r\n\r\n" + BODY,
    "NUL in name": HEAD + b"X\0: a\r\nContent-Length: 16\r\n\r\n" + BODY,
    "blank before colon": HEAD + b"Content-Length : 16\r\n\r\n" + BODY,
    "no colon": HEAD + b"Content-Length 16\r\n\r\n" + BODY,
    "empty name": HEAD + b": 16\r\n\r\n" + BODY,
    "no version": b"GET /healthz\r\n\r\n",
    "0.9": b"GET /healthz HTTP/0.9\r\n\r\n",
    "lower case version": b"GET /healthz http/1.1\r\nHost: x\r\n\r\n",
    "control character in target": b"GET /health\x01z HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown method": b"FETCH /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "star": b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
"""Requests whose end a proxy in front and the service might see at different places."""

"""The cases of uNetworking's h1spec (the 32 of its commit 30d2938), in our words.

Its valid requests go to a resource that every server has there; here that is ``/healthz``.
"""

from tests.contract.wire import Wire, waits

_LINE = b"GET /hello HTTP/1.1\r\n"
_HEAD = b"GET /healthz HTTP/1.1\r\nHost: example.com\r\n"

# Each of these begins a request; nothing may be answered before it is whole.
_BEGUN = {
    "a method's first letter": b"G",
    "a method": b"GET ",
    "a target": b"GET /hello",
    "a target and a blank": b"GET /hello ",
    "half a version": b"GET /hello HTTP",
    "a request line without its end": b"GET /hello HTTP/1.1",
    "a request line and CR": b"GET /hello HTTP/1.1\r",
    "a request line": _LINE,
    "half a field name": _LINE + b"Hos",
    "a field name": _LINE + b"Host:",
    "a field name and a blank": _LINE + b"Host: ",
    "a field without its end": _LINE + b"Host: localhost",
    "a field and CR": _LINE + b"Host: localhost\r",
    "a field": _LINE + b"Host: localhost\r\n",
    "all but the last LF": _LINE + b"Host: localhost\r\n\r",
}

_GOOD, _BAD, _UNABLE = (200, 299), (400, 499), (400, 599)

CASES = [
    *(waits(name, sent) for name, sent in _BEGUN.items()),
    Wire("no version", b"GET / \r\n\r\n", [_UNABLE]),
    Wire("Expect", _HEAD + b"Expect: 100-continue\r\n\r\n", [_GOOD], is_kept=True),
    Wire("valid", _HEAD + b"\r\n", [_GOOD], is_kept=True),
    Wire(
        "valid, with odd blanks",
        b"GET /healthz HTTP/1.1\r\nhoSt:\texample.com\r\nempty:\r\n\r\n",
        [_GOOD],
        is_kept=True,
    ),
    Wire("odd field name", _HEAD + b"X-Invalid[]: test\r\n\r\n", [_BAD]),
    Wire("no Host", b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", [_BAD]),
    Wire("two Hosts", _HEAD + b"Host: example.org\r\n\r\n", [_BAD]),
    Wire(
        "huge negative length", _HEAD + b"Content-Length: -%b\r\n\r\n" % (b"123456789" * 3), [_BAD]
    ),
    Wire("negative length", _HEAD + b"Content-Length: -1234\r\n\r\n", [_BAD]),
    Wire("length in letters", _HEAD + b"Content-Length: abc\r\n\r\n", [_BAD]),
    Wire("empty value", _HEAD + b"X-Empty-Header: \r\n\r\n", [_GOOD], is_kept=True),
    Wire("control character", _HEAD + b"X-Bad-Control-Char: test\x07\r\n\r\n", [_BAD]),
    Wire("HTTP/9.9", b"GET / HTTP/9.9\r\nHost: example.com\r\n\r\n", [_UNABLE]),
    Wire("something before", b"Extra lineGET / HTTP/1.1\r\nHost: example.com\r\n\r\n", [_UNABLE]),
    Wire("CR before a name", _HEAD + b"\rSome-Header: Test\r\n\r\n", [_BAD]),
    Wire(
        "valid POST",
        b"POST /nothing HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello",
        [404],
        is_kept=True,
        why="nothing is to be posted there; h1spec allows for that",
    ),
    Wire(
        "length and coding",
        _HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        [_BAD],
    ),
]

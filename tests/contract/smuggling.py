"""Requests that servers have read differently, and what must come of each here.

First http-garden's list of past findings, by its numbers (narfindustries/http-garden,
TROPHIES.md: servers' 1-48, and of proxies' those that a server could have, too), then the kinds
of differences it tells servers apart by, then what RFC 9112 names beside them.
"""

from tests.contract.wire import BODY, FOLLOWING, LOOK_UP, Wire, read, refused
from tests.serve.http.connection import get, post
from tests.serve.http.requests import SMUGGLED

_GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
_POST = b"POST /api/ip_query HTTP/1.1\r\nHost: x\r\n"
_CODED = _POST + b"Transfer-Encoding: chunked\r\n"
_IN_CHUNKS = b"10\r\n" + BODY + b"\r\n0\r\n\r\n"
_END = b"\r\n"

# RFC 9110 section 5.6.2: what a field's name is made of.
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _field(name: str, field: bytes, status: int = 400) -> Wire:
    """A GET with a field that is refused."""
    return refused(name, _GET + field + b"\r\n\r\n", status)


def _chunked(name: str, chunks: bytes) -> Wire:
    """A body in chunks that is refused."""
    return refused(name, _CODED + _END + chunks)


def _coding(name: str, field: bytes, status: int) -> Wire:
    """Chunks whose coding is named so that it is refused."""
    return refused(name, _POST + field + b"\r\n\r\n" + _IN_CHUNKS, status)


def _line(name: str, line: bytes, status: int = 400) -> Wire:
    """A request line that is refused."""
    return refused(name, line + b"\r\nHost: x\r\n\r\n", status)


GARDEN = [
    _chunked("1: size with _", b"0_2e\r\n\r\n" + get("/", "Content-Length: 5") + b"0\r\n\r\n"),
    *(_chunked(f"1, 25: size with {sign}", sign.encode() + _IN_CHUNKS) for sign in "+-_"),
    *(_chunked(f"25: size with {form}", form.encode() + _IN_CHUNKS) for form in ("0x", "-0x")),
    _field("2: NUL and CR in a value", b"Header: v\0\ralue"),
    _field("2: LF, NUL and CR in a value", b"Header: v\n\0\ralue"),
    refused("3: blank before the colon", SMUGGLED["blank before colon"]),
    refused("4: tab before the first name", b"GET / HTTP/1.1\r\n\tContent-Length: 1\r\n\r\nX"),
    _line("5: HTTP/1.32", b"GET /test HTTP/1.32"),
    _line("6: odd method", b'G=":<>(e),[T];?" /get HTTP/1.1'),
    _line("7: odd target", b"GET ! HTTP/1.1"),
    _field("8: 8-bit name", b"\xeffoo: bar"),
    _line("9: LF in the request line", b"GET /\nHTTP/1.1"),
    refused("10: length +1_0", _POST + b"Content-Length: +1_0\r\n\r\n0123456789"),
    refused("10: length 1_6", _POST + b"Content-Length: 1_6\r\n\r\n" + BODY),
    refused("11, 25p: coding twice", SMUGGLED["coding twice"]),
    _coding("12: 8-bit blanks about the coding", b"Transfer-Encoding: \xa0chunked\xa0", 501),
    _coding("12: NEL about the coding", b"Transfer-Encoding: \x85chunked\x85", 501),
    _field("13: CR ends a line", b"Visible: :/\rSmuggled: :)"),
    *(
        _field(f"14: {byte:#04x} in a name", b"X%cY: whatever" % byte)
        for byte in range(128)
        if byte not in _TOKEN and byte != ord(":")
    ),
    _line("15: CR in the version", b"GET / HTTP/\r\r1.1"),
    refused("16, 38: empty length", SMUGGLED["empty length"]),
    _chunked("17: empty size", b"\r\n\r\n"),
    refused("18: empty name", SMUGGLED["empty name"]),
    _field("19: LF before a value", b"Useless:\n\nGET / HTTP/1.1"),
    refused("20: NEL behind a name", _POST + b"Content-Length\x85: 16\r\n\r\n" + BODY),
    refused("20: 8-bit blank behind a name", _POST + b"Content-Length\xa0: 16\r\n\r\n" + BODY),
    _coding("21: ,chunked", b"Transfer-Encoding: ,chunked", 501),
    refused(
        "21, 15p: ,chunked and a length",
        _GET + b"Transfer-Encoding: ,chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    _chunked("22: size with letters behind", b"10g\r\n" + BODY + b"\r\n0\r\n\r\n"),
    refused("23: lengths 1 and 0", _GET + b"Content-Length: 1\r\nContent-Length: 0\r\n\r\nZ"),
    _line("24: version overflows", b"GET / HTTP/4294967295.255"),
    _line("24: version overflows to 1.1", b"GET / HTTP/257.257"),
    _field("26: negative length", b"Content-Length: -48"),
    refused("27: neither name nor value", b"GET / HTTP/1.1\r\n:\r\nHost: x\r\n\r\n"),
    refused("28: no colon", SMUGGLED["no colon"]),
    refused("29: length with a letter behind", _POST + b"Content-Length: 16Z\r\n\r\n" + BODY),
    refused(
        "30: CR and a byte end the header", _GET + b"\rZGET /evil: HTTP/1.1\r\nHost: a\r\n\r\n"
    ),
    _chunked("31: CR CR in a chunk's line", b"5\r\r;ABCD\r\n34\r\nE\r\n0\r\n\r\n"),
    read(
        "32: zero before the length",
        _POST + b"Content-Length: 016\r\n\r\n" + BODY,
        200,
        why="RFC 9110 section 8.6: 1*DIGIT, a decimal number",
    ),
    refused("33: lengths 0 and 1", _GET + b"Content-Length: 0\r\nContent-Length: 1\r\n\r\nZ"),
    _field("34, 10p: CR in a value", b"Header: va\rlue"),
    _field("35, 12p: NUL in a value", b"Test: test\0THESE BYTES"),
    _field("43: NUL at a value's end", b"Evil: evil\0"),
    _chunked("36: CR CR behind an extension", b"10;a=b\r\r" + BODY + b"\r\n0\r\n\r\n"),
    refused(
        "37: name across lines",
        _POST + b"Transfer-\r\nEncoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    read(
        "39: a trailer isn't the body's end",
        _CODED + b"\r\n10\r\n" + BODY + b"\r\n0\r\nX:POST / HTTP/1.1\r\n\r\n",
        200,
        why="RFC 9112 section 7.1.2: fields up to an empty line",
    ),
    _line("40: NUL for a method", b"\0 / HTTP/............0596.7407."),
    read(
        "41: 8-bit blanks about a value",
        _GET + b"User: \x85admin\xa0\r\n\r\n",
        200,
        why="RFC 9110 section 5.5: obs-text is part of a value",
    ),
    refused(
        "42, 11p: empty length, then another",
        _POST + b"Content-Length: \r\nContent-Length: 16\r\n\r\n" + BODY,
    ),
    _coding("44: unknown coding", b"Transfer-Encoding: blegh", 501),
    Wire("45: nonsense behind the last", _GET + b"Connection: close\r\n\r\nInvalid\r\n\r\n", [200]),
    _coding("46: 8-bit about the coding", b"Transfer-Encoding: \xffchunked\xff", 501),
    refused("46: 8-bit about the host", b"POST / HTTP/1.1\r\nHost: \xffa\xff\r\n\r\n"),
    _chunked("47: no chunk", b"INVALID!!!\r\n"),
    Wire(
        "48: what follows an empty body",
        post(b"", "Connection:keep-alive") + LOOK_UP + FOLLOWING,
        [400, 200, 200],
        is_kept=True,
        why="an empty body is no JSON",
    ),
    refused("1p: length 0x10", SMUGGLED["hex length"]),
    _chunked("2p: sizes in letters", b"Z\r\nZZ\r\nZZZ\r\n\r\n"),
    _chunked("3p: CR before an extension", b"2\r\r;a\r\n02\r\n41\r\n0\r\n\r\n"),
    _chunked("4p: CR for a line's end", b"1\r0\n"),
    _chunked("7p: size with a word behind", b"1these-bytes-never-get-validated\r\nZ\r\n0\r\n\r\n"),
    _chunked("13p: LF behind a chunk", b"a\r\n0123456789\n0\r\n\r\n"),
    _field("14p: LF in a name", b"Te\nst: test"),
    refused("16p: LF for every line's end", b"GET /healthz HTTP/1.1\nHost: x\n\n"),
    _chunked("17p: empty line between chunks", b"10\r\n" + BODY + b"\r\n\r\n0\r\n\r\n"),
    refused("20p: a name cut by NUL", b"GET / HTTP/1.1\r\nHost: x\r\na:b\r\nc\0\r\n\r\n"),
    read(
        "21p: GET with a body",
        _GET + b"Content-Length: 10\r\n\r\n1234567890",
        200,
        why="it is read",
    ),
    refused("22p: lengths 0 and 31", _POST + b"Content-Length: 0\r\nContent-Length: 31\r\n\r\n"),
    refused("23p: length and coding", SMUGGLED["length and coding"]),
    _chunked("24p: blanks before a size", b"           0\r\n\r\n"),
    Wire("bonus 3: a byte behind the body", _CODED + b"\r\n" + _IN_CHUNKS + b"\0", [200, 400]),
    refused("bonus: HTTP/2", SMUGGLED["HTTP/2 preface"], 505),
]
"""http-garden's findings; "p" is a proxy's."""

KINDS = [
    refused("no Host, HTTP/1.1", b"GET /healthz HTTP/1.1\r\n\r\n"),
    read("no Host, HTTP/1.0", b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200,
         why="RFC 9112 section 3.2: HTTP/1.1 asks for it"),
    refused("HTTP/0.9 has no version", b"GET /healthz\r\n"),
    read("a POST without length", _POST + b"\r\n", 400, why="RFC 9112 section 6.3: no body"),
    read("a length with underscore", _POST + b"Content_Length: 16\r\n\r\n", 400,
         why="another name: no body; no JSON"),
    read("a coding with underscore", _POST + b"Transfer_Encoding: chunked\r\n\r\n", 400,
         why="another name: no body; no JSON"),
    *(read(f"{method} is known, and not allowed", get("/healthz", method=method), 405,
           why="RFC 9110 section 15.5.6") for method in ("DELETE", "PUT", "PATCH", "TRACE")),
    *(_line(f"method {method}", f"{method} /healthz HTTP/1.1".encode())
      for method in ("get", "Get", "GETX", "GET,", "G-ET", "!GET", "FOO")),
]  # fmt: skip
"""The kinds of differences by which http-garden tells servers apart (its anomalies.yml)."""

_ANY_BLANKS = "RFC 9112 section 3: a recipient may part the line at any blanks"
_NOT_LOOKED_AT = "RFC 9112 section 3.2.2: the authority of the target counts, and here for nothing"


def _read_chunks(name: str, size: bytes, why: str) -> Wire:
    return read(name, _CODED + b"\r\n" + size + b"\r\n" + BODY + b"\r\n0\r\n\r\n", 200, why=why)


def _read_coding(name: str, field: bytes, why: str) -> Wire:
    return read(name, _POST + field + b"\r\n\r\n" + _IN_CHUNKS, 200, why=why)


def _read_length(name: str, field: bytes, why: str) -> Wire:
    return read(name, _POST + field + b"\r\n\r\n" + BODY, 200, why=why)


def _length(name: str, value: bytes, status: int = 400) -> Wire:
    return refused(name, _POST + b"Content-Length: " + value + b"\r\n\r\n" + BODY, status)


def _host(name: str, value: bytes) -> Wire:
    return refused(f"host: {name}", b"GET /healthz HTTP/1.1\r\nHost: " + value + b"\r\n\r\n")


def _read_host(name: str, value: bytes, why: str) -> Wire:
    head = b"GET /healthz HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"
    return read(f"host: {name}", head, 200, why=why)


def _read_line(name: str, line: bytes, status: int, why: str) -> Wire:
    return read(name, line + b"\r\nHost: x\r\n\r\n", status, why=why)


NAMED = [
    # Section 5.2: obs-fold
    _field("fold by a blank", b"X: a\r\n b"),
    _field("fold by a tab", b"X: a\r\n\tb"),
    _field("fold of nothing", b"X: a\r\n \r\nY: b"),
    _coding("fold before the coding", b"Transfer-Encoding:\r\n chunked", 400),
    _length("fold before the length", b"\r\n 16"),
    _chunked("fold in a trailer", _IN_CHUNKS[:-2] + b"X: a\r\n b\r\n\r\n"),
    # Section 2.2: line ends
    refused("LF behind the request line", b"GET /healthz HTTP/1.1\nHost: x\r\n\r\n"),
    refused("LF behind a field", b"GET /healthz HTTP/1.1\r\nHost: x\n\r\n"),
    refused("LF for the empty line", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\n"),
    refused("CR for the empty line", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\rX"),
    refused("CR CR LF behind a field", b"GET /healthz HTTP/1.1\r\nHost: x\r\r\n\r\n"),
    _chunked("LF behind the last size", _IN_CHUNKS[:-4] + b"\n\r\n"),
    _chunked("LF behind a trailer", _IN_CHUNKS[:-2] + b"X: y\n\r\n"),
    _chunked("LF for the last line", _IN_CHUNKS[:-2] + b"\n"),
    _chunked("CR behind a chunk", b"10\r\n" + BODY + b"\r0\r\n\r\n"),
    read("empty lines before", b"\r\n\r\n" + _GET + _END, 200, why="they are to be ignored"),
    read("LF before", b"\n" + _GET + _END, 200, why="an empty line; LF may end a line"),
    # Section 3: the request line
    _line("blank before", b" GET /healthz HTTP/1.1"),
    _line("tab in the line", b"GET\t/healthz HTTP/1.1"),
    _line("vertical tab in the line", b"GET\x0b/healthz\x0bHTTP/1.1"),
    _line("form feed in the line", b"GET /healthz\x0cHTTP/1.1"),
    _line("blank behind the version", b"GET /healthz HTTP/1.1 "),
    _read_line("two blanks", b"GET  /healthz HTTP/1.1", 200, _ANY_BLANKS),
    _read_line("two blanks before the version", b"GET /healthz  HTTP/1.1", 200, _ANY_BLANKS),
    _line("NUL in the method", b"G\0ET /healthz HTTP/1.1"),
    _line("NUL in the target", b"GET /heal\0thz HTTP/1.1"),
    _line("NUL in the version", b"GET /healthz HTTP/1.1\0"),
    _line("DEL in the target", b"GET /heal\x7fthz HTTP/1.1"),
    _line("8-bit in the target", b"GET /h\xc3\xa9 HTTP/1.1"),
    # Section 2.3: the version
    *(
        _line(f"version {version}", f"GET /healthz {version}".encode())
        for version in (
            "HTTP/1.01", "HTTP/01.1", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/1.1.1", "HTTP/1.10",
            "HTTP/11", "HTTP/1,1", "HTTP/ 1.1", "HTTP /1.1", "HTP/1.1", "http/1.1", "Http/1.1",
            "HTTP/0.9", "HTTP/1.2", "HTTP/3.0", "HTTP/-1.1", "HTTP/+1.1", "HTTP/1.1x", "RTSP/1.0",
            "ICE/1.0", "HTTPS/1.1",
        )
    ),
    _line("version 2", b"GET /healthz HTTP/2.0", 505),
    # Section 3.2: the target, and Host
    _line("another scheme", b"GET ftp://x/healthz HTTP/1.1"),
    _line("no authority", b"GET http:///healthz HTTP/1.1"),
    _line("no slash", b"GET healthz HTTP/1.1"),
    _line("backslash", b"GET http://x\\@y/healthz HTTP/1.1"),
    _line("authority for GET", b"GET x:80 HTTP/1.1"),
    _line("no target", b"GET  HTTP/1.1"),
    _line("CONNECT without a port", b"CONNECT x HTTP/1.1"),
    _line("CONNECT with a path", b"CONNECT x:80/ HTTP/1.1"),
    _read_line("userinfo", b"GET http://u:p@x/healthz HTTP/1.1", 200, _NOT_LOOKED_AT),
    _read_line("another authority", b"GET http://y/healthz HTTP/1.1", 200, _NOT_LOOKED_AT),
    _read_line("scheme in capitals", b"GET HTTP://x/healthz HTTP/1.1", 200, _NOT_LOOKED_AT),
    _read_line("authority without a path", b"GET http://x HTTP/1.1", 200, _NOT_LOOKED_AT),
    _read_line("authority and a query", b"GET http://x?ip=1.2.3.4 HTTP/1.1", 200, _NOT_LOOKED_AT),
    _read_line("two slashes", b"GET //x/healthz HTTP/1.1", 404, "a path, and no such path"),
    _read_line("dots", b"GET /x/../healthz HTTP/1.1", 404, "no path is put in order"),
    _read_line("escaped path", b"GET /%68ealthz HTTP/1.1", 404, "no path is decoded"),
    _read_line("star", b"OPTIONS * HTTP/1.1", 200, "RFC 9110 section 9.3.7: the server as a whole"),
    _host("two in a list", b"x, y"),
    _host("with a scheme", b"http://x"),
    _host("with a path", b"x/y"),
    _host("with userinfo", b"u@x"),
    _host("with a query", b"x?y"),
    _host("a blank in it", b"x y"),
    _host("a tab in it", b"x\ty"),
    _host("NUL in it", b"x\0y"),
    _host("letters for a port", b"x:y"),
    _host("two ports", b"x:1:2"),
    _host("half a bracket", b"[::1"),
    _host("brackets about nothing", b"[]"),
    _host("something behind brackets", b"[::1]x"),
    _host("IPv6 without brackets", b"::1"),
    _host("bad escape", b"x%zz"),
    _host("the same twice", b"x\r\nHost: x"),
    _host("in small letters, too", b"x\r\nhost: y"),
    _host("folded", b"\r\n x"),
    _host("blank before the colon", b"x\r\nHost : x"),
    _read_host("nothing", b"", "RFC 9112 section 3.2: as where the target has no authority"),
    _read_host("IPv6", b"[::1]:80", "RFC 3986 section 3.2.2"),
    _read_host("an empty port", b"x:", "RFC 3986 section 3.2.3: port is any digits, or none"),
    _read_host("a zone", b"[fe80::1%25eth0]:80", "RFC 6874: not to be sent, but it is"),
    _read_host("an escape", b"%c3%a9", "RFC 3986 section 3.2.2: reg-name may have some"),
    _read_host("a last dot", b"x.y.", "RFC 3986 section 3.2.2"),
    _read_host("underscore", b"a_b", "RFC 3986 section 3.2.2: reg-name is no DNS name"),
    # Section 5: fields
    _field("tab before the colon", b"X\t: y"),
    _field("vertical tab before the colon", b"X\x0b: y"),
    _field("vertical tab in a value", b"X: a\x0bb"),
    _field("DEL in a value", b"X: \x7f"),
    _field("escape sequence in a value", b"X: \x1b[2J"),
    _coding("blank before the name", b" Transfer-Encoding: chunked", 400),
    # Section 6.1: Transfer-Encoding
    _coding("chunked, chunked", b"Transfer-Encoding: chunked, chunked", 400),
    _coding("chunked, identity", b"Transfer-Encoding: chunked, identity", 400),
    _coding("identity, chunked", b"Transfer-Encoding: identity, chunked", 501),
    _coding("gzip, chunked", b"Transfer-Encoding: gzip, chunked", 501),
    _coding("gzip", b"Transfer-Encoding: gzip", 501),
    _coding("chunked with a parameter", b"Transfer-Encoding: chunked;q=1", 501),
    _coding("chunked in quotes", b'Transfer-Encoding: "chunked"', 501),
    _coding("chunked,", b"Transfer-Encoding: chunked,", 400),
    _coding("chunked in two lines", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 501),
    _coding(
        "identity in another line",
        b"transfer-encoding: chunked\r\nTransfer-Encoding: identity",
        400,
    ),
    _coding("no coding", b"Transfer-Encoding:", 400),
    _coding("vertical tab before chunked", b"Transfer-Encoding: \x0bchunked", 400),
    _coding("NUL in chunked", b"Transfer-Encoding: chunk\0ed", 400),
    _coding("tab behind chunked", b"Transfer-Encoding: chunked\t", 400),
    _coding("tab before the coding's colon", b"Transfer-Encoding\t: chunked", 400),
    _read_coding("tab before chunked", b"Transfer-Encoding:\tchunked", "RFC 9110 section 5.6.3"),
    _read_coding("blank behind chunked", b"Transfer-Encoding: chunked ", "RFC 9110 section 5.6.3"),
    _read_coding("chunked in capitals", b"Transfer-Encoding: CHUNKED", "RFC 9112 section 7"),
    # Section 6.2: Content-Length
    _length("comma before", b", 16"),
    _length("comma behind", b"16,"),
    _length("semicolon", b"16;"),
    _length("exponent", b"1e1"),
    _length("fraction", b"16.0"),
    _length("minus nothing", b"-0"),
    _length("wide digits", "１６".encode()),
    _length("Arabic digits", "١٦".encode()),
    _length("vertical tab", b"\x0b16"),
    _length("NUL behind", b"16\0"),
    _length("same twice", b"16\r\ncontent-length: 16"),
    _length("then none", b"16\r\nContent-Length:"),
    _length("2^64 + 16", b"18446744073709551632"),
    _length("2^128 + 16", b"340282366920938463463374607431768211472"),
    _length("2^63", b"9223372036854775808", 413),
    _length("2^32 + 16", b"4294967312", 413),
    _read_length("tab before", b"Content-Length:\t16", "RFC 9110 section 5.6.3"),
    _read_length("blanks behind", b"Content-Length: 16 \t", "RFC 9110 section 5.6.3"),
    _read_length("many zeros", b"Content-Length: " + b"0" * 30 + b"16", "RFC 9110 section 8.6"),
    # Section 7.1: chunks
    _chunked("size 2^64 + 16", b"10000000000000010\r\n" + BODY + b"\r\n0\r\n\r\n"),
    refused("size 2^64 - 1", _CODED + b"\r\nffffffffffffffff\r\n" + BODY * 300, 413),
    _chunked("chunk longer than said", b"f\r\n" + BODY + b"\r\n0\r\n\r\n"),
    _chunked("blank behind a size", b"10 \r\n" + BODY + b"\r\n0\r\n\r\n"),
    _chunked("NUL behind a size", b"10\0\r\n" + BODY + b"\r\n0\r\n\r\n"),
    _chunked("NUL in an extension", b"10;a\0\r\n" + BODY + b"\r\n0\r\n\r\n"),
    _chunked("LF in an extension", b"10;a\nb\r\n" + BODY + b"\r\n0\r\n\r\n"),
    _chunked("LF in a quoted extension", b'10;a="\n"\r\n' + BODY + b"\r\n0\r\n\r\n"),
    _chunked("no extension behind a semicolon", b"10;\r\n" + BODY + b"\r\n0\r\n\r\n"),
    # "BWS" may be there, and would have to be taken out; llhttp refuses it, and no client sends it.
    _chunked("blank before an extension", b"10 ;a\r\n" + BODY + b"\r\n0\r\n\r\n"),
    _chunked("blank behind a semicolon", b"10; a\r\n" + BODY + b"\r\n0\r\n\r\n"),
    _read_chunks("zeros before a size", b"0" * 20 + b"10", "RFC 9112 section 7.1: 1*HEXDIG"),
    _read_chunks("an extension", b"10;a", "RFC 9112 section 7.1.1"),
    _read_chunks("an extension with a value", b"10;a=b;c=d", "RFC 9112 section 7.1.1"),
    _read_chunks("a quoted extension", b'10;a="b;\\"c"', "RFC 9112 section 7.1.1"),
    # Section 7.1.2: trailers decide on nothing
    *(
        read(
            f"{field} in a trailer",
            _CODED + b"\r\n" + _IN_CHUNKS[:-2] + field.encode() + b"\r\n\r\n",
            200,
            why="a trailer isn't merged into the header",
        )
        for field in ("Host: evil", "Expect: x", "Cookie: a")
    ),
    # Section 9: what comes behind the last request
    Wire("behind HTTP/1.0", get("/healthz", version="1.0") + FOLLOWING, [200]),
    Wire("behind one that closes", get("/healthz", "Connection: close") + LOOK_UP, [200]),
    Wire("behind x, close", get("/healthz", "Connection: x, close") + LOOK_UP, [200]),
    Wire("behind CONNECT", get("x:80", method="CONNECT") + FOLLOWING, [405]),
    Wire(
        "behind an upgrade", get("/healthz", "Connection: Upgrade", "Upgrade: h2c") + FOLLOWING,
        [200, 200], is_kept=True, why="RFC 9110 section 7.8: it may be ignored",
    ),
    Wire("behind an unknown expectation", post(BODY, "Expect: 100-continue, x") + FOLLOWING, [417]),
]  # fmt: skip
"""What RFC 9112 names, by its sections."""

"""Requests of every shape that callers send, as files for the generators.

Each is what a real client sends: header fields and their order are those of the programs
named. The Host is the same for every server, so that one file is for all.
"""

import random
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import attrs

from ipquery import Snapshot
from ipquery.address import to_text
from ipquery.serve.api import contract, v1

# Different requests of a shape: at 100,000 a second each comes again after 0.7 s.
COUNT = 65_536

_PATH = contract.QUERY_PATH.encode()
_HOST = b"Host: ip.example.com\r\n"
_BROWSER = (
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/126.0.0.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: zh-CN,zh;q=0.9,en;q=0.8\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"Connection: keep-alive\r\n"
    b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    b"Referer: http://example.com/index.html\r\n"
    b"Cache-Control: max-age=0\r\n"
    b"Upgrade-Insecure-Requests: 1\r\n"
)
_AB = b"User-Agent: ApacheBench/2.3\r\nAccept: */*\r\n"


@attrs.frozen
class Addresses:
    """What is asked for, as text."""

    v4: Sequence[bytes]
    """IPv4 addresses with a record."""
    v6: Sequence[bytes]
    """IPv6 addresses with a record."""
    missing: Sequence[bytes]
    """Addresses without: of private networks (RFC 1918)."""


def draw_addresses(snapshot: Snapshot, count: int = COUNT) -> Addresses:
    """Random addresses, the same ones for the same snapshot.

    IPv6 is drawn from its ranges, each as likely as the other: hardly any address of the
    whole space is anybody's.
    """
    chance = random.Random(1)  # noqa: S311 # the same again is what is wanted
    v4: list[bytes] = []
    while len(v4) < count:
        text = to_text(4, chance.randrange(0x01000000, 0xE0000000))
        if snapshot.find(text) is not None:
            v4.append(text.encode())
    ranges = [(first, last) for first, last, number in snapshot.ranges(6) if number]
    chosen = chance.choices(ranges, k=count) if ranges else []
    v6 = [to_text(6, chance.randint(first, last)).encode() for first, last in chosen]
    missing = [to_text(4, 0x0A000000 + chance.randrange(1 << 24)).encode() for _ in range(count)]
    return Addresses(v4, v6, missing)


Write = Callable[[Addresses], Iterable[bytes]]
"""Makes the requests of a shape."""


def get(ip: bytes, fields: bytes = b"", method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    """A look-up by GET or HEAD."""
    line = b"%s %s?ip=%s HTTP/%s\r\n" % (method, _PATH, ip, version)
    return line + _HOST + fields + b"\r\n"


def look_up_v1(query: bytes) -> "Write":
    """Objects, with a query string or without."""
    rest = (b"?" + query if query else b"") + b" HTTP/1.1\r\n" + _HOST + b"\r\n"

    def write_v1(ips: Addresses) -> Iterable[bytes]:
        return (b"GET " + v1.PATH.encode() + ip + rest for ip in ips.v4)

    return write_v1


def post(ip: bytes, path: bytes = _PATH) -> bytes:
    """A look-up by POST."""
    body = b'{"ip":"%s"}' % ip
    fields = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return b"POST %s HTTP/1.1\r\n%s%s\r\n%s" % (path, _HOST, fields, body)


def with_fields(fields: bytes, version: bytes = b"1.1") -> Write:
    """GET with header fields that repeat."""
    return lambda ips: (get(ip, fields, version=version) for ip in ips.v4)


def plain(ips: Addresses) -> Iterable[bytes]:
    """GET with a Host header only."""
    return with_fields(b"")(ips)


def ten_headers(ips: Addresses) -> Iterable[bytes]:
    """GET as browsers send it."""
    return with_fields(_BROWSER)(ips)


def _ids() -> Iterable[str]:
    chance = random.Random(2)  # noqa: S311
    while True:
        yield uuid.UUID(int=chance.getrandbits(128), version=4).hex


def request_ids(ips: Addresses) -> Iterable[bytes]:
    """GET with a request id that differs each time, as proxies add it."""
    pairs = zip(ips.v4, _ids(), strict=False)
    return (get(ip, b"X-Request-Id: %s\r\n" % one.encode()) for ip, one in pairs)


def traces(ips: Addresses) -> Iterable[bytes]:
    """GET with a traceparent that differs each time (W3C Trace Context)."""
    pairs = zip(ips.v4, _ids(), strict=False)
    return (
        get(ip, b"traceparent: 00-%s-%s-01\r\n" % (one.encode(), one[:16].encode()))
        for ip, one in pairs
    )


def ipv6(ips: Addresses) -> Iterable[bytes]:
    """GET of an IPv6 address in plain text."""
    return map(get, ips.v6)


def ipv6_escaped(ips: Addresses) -> Iterable[bytes]:
    """GET of an IPv6 address as URL libraries write it in a query."""
    return (get(ip.replace(b":", b"%3A")) for ip in ips.v6)


def one_more_parameter(ips: Addresses) -> Iterable[bytes]:
    """GET with a parameter that we don't know."""
    return (get(ip + b"&from=ads") for ip in ips.v4)


def head(ips: Addresses) -> Iterable[bytes]:
    """HEAD."""
    return (get(ip, method=b"HEAD") for ip in ips.v4)


def posts(ips: Addresses) -> Iterable[bytes]:
    """POST of a JSON body."""
    return map(post, ips.v4)


def posts_with_query(ips: Addresses) -> Iterable[bytes]:
    """The same for a server that reads the body but finds the address in the query."""
    return (post(ip, b"%s?ip=%s" % (_PATH, ip)) for ip in ips.v4)


def misses(ips: Addresses) -> Iterable[bytes]:
    """GET of addresses that have no record."""
    return map(get, ips.missing)


def pipelined(ips: Addresses) -> Iterable[bytes]:
    """Sixteen GETs at once."""
    whole = [get(ip) for ip in ips.v4]
    return (b"".join(whole[at : at + 16]) for at in range(0, len(whole) - 15, 16))


def closing(ips: Addresses) -> Iterable[bytes]:
    """GET that asks for the connection to be closed."""
    return with_fields(b"Connection: close\r\n")(ips)


def ab(ips: Addresses) -> Iterable[bytes]:
    """GET as ab sends it: HTTP/1.0, so that the connection ends."""
    return with_fields(_AB, b"1.0")(ips)


def ab_kept(ips: Addresses) -> Iterable[bytes]:
    """GET as ``ab -k`` sends it."""
    return with_fields(b"Connection: Keep-Alive\r\n" + _AB, b"1.0")(ips)


def write(path: Path, requests: Iterable[bytes]) -> None:
    """A file of requests, with a NUL byte behind each.

    :raises ValueError: there are none.
    """
    content = b"".join(request + b"\0" for request in requests)
    if not content:
        raise ValueError(f"{path.name}: no requests")
    path.write_bytes(content)

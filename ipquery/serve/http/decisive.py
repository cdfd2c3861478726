"""What the request line and the decisive header fields of a message may be, by RFC 9112.

Decisive is what says how a message is to be read. llhttp refuses most of what is ambiguous
there; this is about the rest, which it lets pass.
"""

import re
from collections.abc import Mapping, Sequence

from ipquery.serve.http.refused import Refused

# RFC 9110 section 7.2: uri-host [ ":" port ]; RFC 3986 section 3.2.2: an address in brackets,
# which may have a zone (RFC 6874), or a registered name, which may be empty.
_ADDRESS = rb"\[(?:[0-9A-Fa-f:.]++(?:%[A-Za-z0-9._~%-]+)?|v[0-9A-Fa-f]+\.[!$&'()*+,;=:.\w~-]+)\]"
_REGISTERED = rb"(?:[!$&'()*+,;=.\w~-]|%[0-9A-Fa-f]{2})*"
_HOST = re.compile(rb"(?:%b|%b)(?::[0-9]*)?" % (_ADDRESS, _REGISTERED))
# RFC 1035 section 2.3.4: labels of 1 to 63 octets; a last dot, or no name at all, is
# allowed here.
_NAME = re.compile(rb"(?:[^.]{1,63}\.)*[^.]{0,63}")
# RFC 9112 section 3.2.2: absolute-form; the authority counts for nothing here.
_ABSOLUTE_FORM = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)
# RFC 9112 section 3.2.3: uri-host ":" port.
_AUTHORITY_FORM = re.compile(rb"[^/?#@]+:[0-9]+")

# RFC 9112 section 2.3: HTTP-version, behind the one blank of section 3.
HTTP_1_0, HTTP_1_1, HTTP_2_0 = b" HTTP/1.0", b" HTTP/1.1", b" HTTP/2.0"

_DECISIVE = frozenset(
    {b"connection", b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade"}
)
"""Fields that say how a message is to be read; the others are only passed on."""

# What callers send over and over is looked up instead of worked out: 100 ns less
# for every field. Bounded, as names and hosts are the callers' to choose: together
# they take 0.3 MB at most.
_KNOWN, _KNOWN_BYTES = 1000, 80
_decisive_names: dict[bytes, bytes | None] = {}
_good_hosts: set[bytes] = set()


def decisive_fields(headers: Sequence[tuple[bytes, bytes]]) -> Mapping[bytes, Sequence[bytes]]:
    """The values of the decisive fields, in order, by names in lower case."""
    fields: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        try:
            decisive = _decisive_names[name]
        except KeyError:
            decisive = _learn_name(name)
        if decisive is not None:
            fields.setdefault(decisive, []).append(value)
    return fields


def _learn_name(name: bytes) -> bytes | None:
    lower = name.lower()
    decisive = lower if lower in _DECISIVE else None
    if len(_decisive_names) < _KNOWN and len(name) <= _KNOWN_BYTES:
        _decisive_names[name] = decisive
    return decisive


def check_version(line: bytes) -> None:
    """llhttp takes RTSP/1.0 and ICE/1.0, too, and hides which it was.

    :param line: the request line from behind the target on.
    :raises Refused: it is neither of HTTP/1.0 nor of HTTP/1.1.
    """
    if line in (HTTP_1_0, HTTP_1_1):
        return
    is_http = line.startswith(b" HTTP/") and not line.endswith(b"0.9")
    raise Refused(505 if is_http else 400)


def target_of(method: bytes, target: bytes) -> bytes:
    """A request target without scheme and authority (RFC 9112 section 3.2).

    :raises Refused: its form doesn't fit the method.
    """
    if method == b"CONNECT":
        # What follows its head isn't HTTP, so nothing after it may be answered.
        raise Refused(405 if _AUTHORITY_FORM.fullmatch(target) else 400)
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    absolute = _ABSOLUTE_FORM.match(target)
    if absolute is None:
        raise Refused(400, "bad request target")
    rest = target[absolute.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


def without_upgrade(
    method: bytes, target: bytes, version: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> bytes:
    """A head as if no upgrade were wanted (RFC 9110 section 7.8: it may be ignored).

    Java's HTTP client asks for h2c with every first request, whatever its method.

    :param version: as in ``1.1``.
    """
    lines = [b"%s %s HTTP/%s" % (method, target, version)]
    for name, value in headers:
        if name.lower() == b"connection":
            value = b", ".join(tokens([value]) - {b"upgrade"})
        if name.lower() != b"upgrade":
            lines.append(b"%s: %s" % (name, value))
    return b"\r\n".join([*lines, b"", b""])


def tokens(values: Sequence[bytes]) -> set[bytes]:
    """The members of a list-valued field, in lower case (RFC 9110 section 5.6.1)."""
    return {token.strip().lower() for value in values for token in value.split(b",")}


def check_host(values: Sequence[bytes], is_1_0: bool) -> None:
    """RFC 9112 section 3.2: exactly one Host, but for HTTP/1.0, and a possible one.

    :raises Refused: it isn't so.
    """
    if len(values) != 1:
        if values or not is_1_0:
            raise Refused(400, "a request needs one Host header")
        return
    host = values[0]
    if host in _good_hosts:
        return
    # RFC 9110 section 5.5: blanks around a value aren't part of it; llhttp leaves those behind.
    host = host.rstrip(b" \t")
    if not _HOST.fullmatch(host):
        raise Refused(400, "bad Host header")
    if not host.startswith(b"[") and not _NAME.fullmatch(host.partition(b":")[0]):
        raise Refused(400, "bad request: the Host header holds no host name")
    if len(_good_hosts) < _KNOWN and len(host) <= _KNOWN_BYTES:
        _good_hosts.add(host)


def check_coding(values: Sequence[bytes], is_1_0: bool) -> None:
    """RFC 9112 section 6.1: chunked alone, and not before HTTP/1.1.

    :raises Refused: it isn't so.
    """
    if not values:
        return
    if is_1_0:
        raise Refused(400, "bad request: Transfer-Encoding in HTTP/1.0")
    if [value.strip().lower() for value in values] != [b"chunked"]:
        raise Refused(501)


def expects_continue(values: Sequence[bytes], is_1_0: bool) -> bool:
    """Whether the client waits for 100.

    RFC 9110 section 10.1.1: 100-continue is the only expectation there is.

    :raises Refused: it expects another.
    """
    if not values or is_1_0:
        return False
    if [value.lower() for value in values] != [b"100-continue"]:
        raise Refused(417)
    return True

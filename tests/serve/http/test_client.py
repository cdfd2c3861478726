"""The client's address behind trusted proxies: who is believed, and what they can say."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.web.resource import Resource

from ipquery.net.peers import parse_peers
from ipquery.serve.guard.keys import to_text
from ipquery.serve.guard.settings import GuardSettings
from ipquery.serve.http.client import Forwarding, Header
from ipquery.serve.http.framing import fields_of
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.request import client_of
from ipquery.serve.http.settings import ClientSettings
from tests.examples import many
from tests.serve.http.connection import Server, get, post
from tests.serve.http.logged import MemoryFile, memory_log
from tests.serve.strategies import requests

TRUSTED = ("10.0.0.0/8", "192.0.2.200", "2001:db8:f::/48", "unix")
STRANGER, NEAR, FAR = "192.0.2.7", "10.0.0.1", "10.255.0.2"

# For each header: the peer ("-" is on a UNIX socket), header lines, and the client.
FORWARDED_FOR: dict[str, tuple[str, Sequence[str], str]] = {
    # Who is believed
    "nothing said": (STRANGER, [], STRANGER),
    "a stranger's word": (STRANGER, ["X-Forwarded-For: 198.51.100.1"], STRANGER),
    "that of one near the network": ("11.0.0.0", ["X-Forwarded-For: 198.51.100.1"], "11.0.0.0"),
    "of one before it": ("9.255.255.255", ["X-Forwarded-For: 198.51.100.1"], "9.255.255.255"),
    "a stranger on IPv6": ("2001:db8::7", ["X-Forwarded-For: 198.51.100.1"], "2001:db8::7"),
    "a stranger on a link": ("fe80::1%eth0", ["X-Forwarded-For: 198.51.100.1"], "fe80::1%eth0"),
    "a proxy's": (NEAR, ["X-Forwarded-For: 198.51.100.1"], "198.51.100.1"),
    "that of the network's first": ("10.0.0.0", ["X-Forwarded-For: 1.1.1.1"], "1.1.1.1"),
    "of its last": ("10.255.255.255", ["X-Forwarded-For: 1.1.1.1"], "1.1.1.1"),
    "of a single address": ("192.0.2.200", ["X-Forwarded-For: 1.1.1.1"], "1.1.1.1"),
    "of the one beside it": ("192.0.2.201", ["X-Forwarded-For: 1.1.1.1"], "192.0.2.201"),
    "a proxy's on IPv6": ("2001:db8:f::1", ["X-Forwarded-For: 1.1.1.1"], "1.1.1.1"),
    "a proxy's on a UNIX socket": ("-", ["X-Forwarded-For: 1.1.1.1"], "1.1.1.1"),
    "on a socket for both versions": ("::ffff:10.0.0.1", ["X-Forwarded-For: 1.1.1.1"], "1.1.1.1"),
    "a stranger there": ("::ffff:192.0.2.7", ["X-Forwarded-For: 1.1.1.1"], STRANGER),
    # What it says
    "nothing": (NEAR, [], NEAR),
    "nothing, on a UNIX socket": ("-", [], "-"),
    "an empty value": (NEAR, ["X-Forwarded-For:"], NEAR),
    "blanks": (NEAR, ["X-Forwarded-For: \t "], NEAR),
    "commas": (NEAR, ["X-Forwarded-For: , ,,"], NEAR),
    "IPv6": (NEAR, ["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
    "IPv6 written at length": (NEAR, ["X-Forwarded-For: 2001:DB8:0:0:0:0:0:1"], "2001:db8::1"),
    "IPv6 in brackets": (NEAR, ["X-Forwarded-For: [2001:db8::1]"], "2001:db8::1"),
    "IPv6 and a port": (NEAR, ["X-Forwarded-For: [2001:db8::1]:443"], "2001:db8::1"),
    "IPv4 and a port": (NEAR, ["X-Forwarded-For: 198.51.100.1:4711"], "198.51.100.1"),
    "IPv4 inside IPv6": (NEAR, ["X-Forwarded-For: ::ffff:198.51.100.1"], "198.51.100.1"),
    "the same in hex": (NEAR, ["X-Forwarded-For: ::FFFF:c633:6401"], "198.51.100.1"),
    "the same, with a port": (NEAR, ["X-Forwarded-For: [::ffff:1.1.1.1]:80"], "1.1.1.1"),
    "a proxy inside IPv6": (NEAR, ["X-Forwarded-For: 1.1.1.1, ::ffff:10.9.9.9"], "1.1.1.1"),
    "without a blank behind the name": (NEAR, ["X-Forwarded-For:1.1.1.1"], "1.1.1.1"),
    "blanks around": (NEAR, ["X-Forwarded-For: \t1.1.1.1\t "], "1.1.1.1"),
    "many blanks": (NEAR, [f"X-Forwarded-For: 1.1.1.1{' ' * 2100}"], "1.1.1.1"),
    "a name in lower case": (NEAR, ["x-forwarded-for: 1.1.1.1"], "1.1.1.1"),
    "in upper case": (NEAR, ["X-FORWARDED-FOR: 1.1.1.1"], "1.1.1.1"),
    # How far the list goes
    "invented to the left": (NEAR, ["X-Forwarded-For: 6.6.6.6, 1.1.1.1"], "1.1.1.1"),
    "much invented": (NEAR, [f"X-Forwarded-For: {'6.6.6.6, ' * 900}1.1.1.1"], "1.1.1.1"),
    "a proxy invented": (NEAR, ["X-Forwarded-For: 6.6.6.6, 10.6.6.6, 1.1.1.1"], "1.1.1.1"),
    "garbage to the left": (NEAR, ['X-Forwarded-For: \xe9";,<>, 1.1.1.1'], "1.1.1.1"),
    "two proxies": (NEAR, [f"X-Forwarded-For: 1.1.1.1, {FAR}"], "1.1.1.1"),
    "two, and invented": (NEAR, [f"X-Forwarded-For: 6.6.6.6,1.1.1.1,{FAR}"], "1.1.1.1"),
    "three, with ports": (
        "-",
        [f"X-Forwarded-For: 1.1.1.1:1, {FAR}:2, [2001:db8:f::]:3"],
        "1.1.1.1",
    ),
    "a proxy that asks itself": (NEAR, [f"X-Forwarded-For: {FAR}"], FAR),
    "none but proxies": (NEAR, [f"X-Forwarded-For: 10.3.3.3, {FAR}"], "10.3.3.3"),
    "empty elements between": (NEAR, [f"X-Forwarded-For: 1.1.1.1, , {FAR},,"], "1.1.1.1"),
    "32 elements": (NEAR, [f"X-Forwarded-For: 1.1.1.1{', 10.0.0.2' * 31}"], "1.1.1.1"),
    "too many": (NEAR, [f"X-Forwarded-For: 1.1.1.1{', 10.0.0.2' * 32}"], "10.0.0.2"),
    "too many empty ones": (NEAR, [f"X-Forwarded-For: 1.1.1.1{',' * 32}"], NEAR),
    "too many bytes": (NEAR, [f"X-Forwarded-For: 1.1.1.1, 10.0.0.2,{' ' * 2025}{FAR}"], "10.0.0.2"),
    "an address cut off": (NEAR, [f"X-Forwarded-For: 201.1.1.1,{' ' * 2030}{FAR}"], FAR),
    # What ends it
    "unknown": (NEAR, ["X-Forwarded-For: 6.6.6.6, unknown"], NEAR),
    "unknown to the second": (NEAR, [f"X-Forwarded-For: 6.6.6.6, unknown, {FAR}"], FAR),
    "hidden": (NEAR, [f"X-Forwarded-For: 6.6.6.6, _hidden, {FAR}"], FAR),
    "a name": (NEAR, ["X-Forwarded-For: 6.6.6.6, localhost"], NEAR),
    "a UNIX socket to nginx": (NEAR, ["X-Forwarded-For: 6.6.6.6, unix:"], NEAR),
    "a leading zero": (NEAR, ["X-Forwarded-For: 6.6.6.6, 010.1.1.1"], NEAR),
    "three numbers": (NEAR, ["X-Forwarded-For: 6.6.6.6, 1.1.1"], NEAR),
    "one number": (NEAR, ["X-Forwarded-For: 6.6.6.6, 16843009"], NEAR),
    "a network": (NEAR, ["X-Forwarded-For: 6.6.6.6, 1.1.1.0/24"], NEAR),
    "a zone": (NEAR, ["X-Forwarded-For: 6.6.6.6, fe80::1%eth0"], NEAR),
    "IPv4 in brackets": (NEAR, ["X-Forwarded-For: 6.6.6.6, [1.1.1.1]"], NEAR),
    "an open bracket": (NEAR, ["X-Forwarded-For: 6.6.6.6, [2001:db8::1"], NEAR),
    "a port too long": (NEAR, ["X-Forwarded-For: 6.6.6.6, 1.1.1.1:123456"], NEAR),
    "a port that is none": (NEAR, ["X-Forwarded-For: 6.6.6.6, 1.1.1.1:x"], NEAR),
    "an empty port": (NEAR, ["X-Forwarded-For: 6.6.6.6, 1.1.1.1:"], NEAR),
    "quotes": (NEAR, ['X-Forwarded-For: 6.6.6.6, "1.1.1.1"'], NEAR),
    "other digits": (NEAR, ["X-Forwarded-For: 6.6.6.6, \u0661.1.1.1"], NEAR),
    "a blank inside": (NEAR, ["X-Forwarded-For: 6.6.6.6 1.1.1.1"], NEAR),
    "a semicolon": (NEAR, ["X-Forwarded-For: 6.6.6.6; 1.1.1.1"], NEAR),
    # Several lines, and others
    "two lines": (NEAR, ["X-Forwarded-For: 1.1.1.1", f"X-Forwarded-For: {FAR}"], "1.1.1.1"),
    "the first invented": (
        NEAR,
        ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 1.1.1.1"],
        "1.1.1.1",
    ),
    "apart, in other cases": (
        NEAR,
        ["x-forwarded-for: 6.6.6.6, 1.1.1.1", "X: y", f"X-Forwarded-FOR: {FAR}"],
        "1.1.1.1",
    ),
    "a last line that is empty": (
        NEAR,
        ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For:"],
        "1.1.1.1",
    ),
    "Forwarded alone": (NEAR, ["Forwarded: for=6.6.6.6"], NEAR),
    "Forwarded beside it": (
        NEAR,
        ["X-Forwarded-For: 1.1.1.1", "Forwarded: for=6.6.6.6"],
        "1.1.1.1",
    ),
    "other fields": (
        NEAR,
        ["X-Real-IP: 6.6.6.6", "Via: 1.1 6.6.6.6", "X-Client-IP: 6.6.6.6"],
        NEAR,
    ),
    "names that are nearly so": (
        NEAR,
        ["X-Forwarded-For-X: 6.6.6.6", "XX-Forwarded-For: 6.6.6.6", "X_Forwarded_For: 6.6.6.6"],
        NEAR,
    ),
}

FORWARDED: dict[str, tuple[str, Sequence[str], str]] = {
    "a stranger's word": (STRANGER, ["Forwarded: for=1.1.1.1"], STRANGER),
    "a proxy's": (NEAR, ["Forwarded: for=1.1.1.1"], "1.1.1.1"),
    "on a UNIX socket": ("-", ["Forwarded: for=1.1.1.1"], "1.1.1.1"),
    "nothing": (NEAR, [], NEAR),
    "empty elements": (NEAR, [f"Forwarded: for=1.1.1.1,, for={FAR} , ,"], "1.1.1.1"),
    "semicolons alone": (NEAR, ["Forwarded: for=1.1.1.1, ;;"], "1.1.1.1"),
    "RFC 7239 section 4, 1": (NEAR, ['Forwarded: for="_gazonk"'], NEAR),
    "RFC 7239 section 4, 2": (
        NEAR,
        ['Forwarded: For="[2001:db8:cafe::17]:4711"'],
        "2001:db8:cafe::17",
    ),
    "RFC 7239 section 4, 3": (
        NEAR,
        ["Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43"],
        "192.0.2.60",
    ),
    "RFC 7239 section 4, 4": (
        NEAR,
        ["Forwarded: for=192.0.2.43, for=198.51.100.17"],
        "198.51.100.17",
    ),
    "RFC 7239 section 6": (NEAR, ['Forwarded: for="192.0.2.43:47011"'], "192.0.2.43"),
    "RFC 7239 section 6.3": (NEAR, ["Forwarded: for=6.6.6.6, for=_SEVKISEK"], NEAR),
    "RFC 7239 section 7.1": (
        NEAR,
        [
            "Forwarded: for=192.0.2.43,",
            f'Forwarded: for="{FAR}";by="[2001:db8:cafe::17]"',
        ],
        "192.0.2.43",
    ),
    "parameters before it": (
        NEAR,
        ["Forwarded: proto=https;host=a.example;for=1.1.1.1"],
        "1.1.1.1",
    ),
    "blanks behind semicolons": (NEAR, ["Forwarded: proto=https; for=1.1.1.1 ; by=_x"], "1.1.1.1"),
    "a semicolon at the end": (NEAR, ["Forwarded: for=1.1.1.1;"], "1.1.1.1"),
    "a name in upper case": (NEAR, ["FORWARDED: FOR=1.1.1.1"], "1.1.1.1"),
    "escapes": (NEAR, [r'Forwarded: for="\1.\1.1\.1"'], "1.1.1.1"),
    "a hidden port": (NEAR, ['Forwarded: for="1.1.1.1:_port"'], "1.1.1.1"),
    "without the quotes": (NEAR, ["Forwarded: for=[2001:db8::1]:80"], "2001:db8::1"),
    "a port without quotes": (NEAR, ["Forwarded: for=1.1.1.1:80"], "1.1.1.1"),
    "IPv6 without brackets": (NEAR, ['Forwarded: for="2001:DB8::1"'], "2001:db8::1"),
    "IPv4 inside IPv6": (NEAR, ['Forwarded: for="[::ffff:1.1.1.1]"'], "1.1.1.1"),
    "a comma in a quoted-string": (
        NEAR,
        ['Forwarded: for=1.1.1.1;host="a, for=6.6.6.6"'],
        "1.1.1.1",
    ),
    "escaped quotes": (NEAR, [r'Forwarded: for=1.1.1.1;host="\", for=6.6.6.6"'], "1.1.1.1"),
    "escaped backslashes": (NEAR, [r'Forwarded: for=1.1.1.1;host="\\";by="\\\\\", x"'], "1.1.1.1"),
    "an empty quoted-string": (NEAR, ['Forwarded: for=6.6.6.6, for=""'], NEAR),
    "a quoted-string left open": (NEAR, ['Forwarded: for=", for=1.1.1.1'], "1.1.1.1"),
    "left open before quotes": (NEAR, ['Forwarded: for="a\\", for="1.1.1.1"'], "1.1.1.1"),
    "quotes that don't pair": (NEAR, ['Forwarded: for=6.6.6.6, for="1.1.1.1'], NEAR),
    "a backslash at the end": (NEAR, ['Forwarded: for=6.6.6.6, for="1.1.1.1\\'], NEAR),
    "invented to the left": (NEAR, [f"Forwarded: for=6.6.6.6, for=1.1.1.1, for={FAR}"], "1.1.1.1"),
    "much invented": (NEAR, [f"Forwarded: {'for=6.6.6.6, ' * 900}for=1.1.1.1"], "1.1.1.1"),
    "none but proxies": (NEAR, [f"Forwarded: for={FAR}, for=10.3.3.3"], FAR),
    "32 elements": (NEAR, [f"Forwarded: for=1.1.1.1{', for=10.0.0.2' * 31}"], "1.1.1.1"),
    "too many": (NEAR, [f"Forwarded: for=1.1.1.1{', for=10.0.0.2' * 32}"], "10.0.0.2"),
    "cut off in quotes": (NEAR, [f'Forwarded: for=1.1.1.1;host="{"x" * 2100}"'], NEAR),
    "unknown": (NEAR, [f"Forwarded: for=6.6.6.6, for=unknown, for={FAR}"], FAR),
    "without for": (NEAR, ["Forwarded: for=6.6.6.6, proto=https"], NEAR),
    "for twice": (NEAR, ["Forwarded: for=6.6.6.6, for=1.1.1.1;for=2.2.2.2"], NEAR),
    "an address alone": (NEAR, ["Forwarded: for=6.6.6.6, 1.1.1.1"], NEAR),
    "a blank around the sign": (NEAR, ["Forwarded: for=6.6.6.6, for =1.1.1.1"], NEAR),
    "a value without a name": (NEAR, ["Forwarded: for=6.6.6.6, =1.1.1.1"], NEAR),
    "text behind quotes": (NEAR, ['Forwarded: for=6.6.6.6, for="1.1.1.1"x'], NEAR),
    "a line for each": (NEAR, ["Forwarded: for=1.1.1.1", f"forwarded: for={FAR}"], "1.1.1.1"),
    "X-Forwarded-For alone": (NEAR, ["X-Forwarded-For: 6.6.6.6"], NEAR),
    "X-Forwarded-For beside it": (
        NEAR,
        ["Forwarded: for=1.1.1.1", "X-Forwarded-For: 6.6.6.6"],
        "1.1.1.1",
    ),
}

Case = tuple[Header, str, Sequence[str], str]
TABLES: list[tuple[Header, dict[str, tuple[str, Sequence[str], str]]]] = [
    ("x-forwarded-for", FORWARDED_FOR),
    ("forwarded", FORWARDED),
]
CASES: dict[str, Case] = {
    f"{header}: {name}": (header, *case) for header, table in TABLES for name, case in table.items()
}


def twisted_peer(peer: str) -> IPv4Address | IPv6Address | UNIXAddress:
    if peer == "-":
        return UNIXAddress(None)
    return (IPv6Address if ":" in peer else IPv4Address)("TCP", peer, 4711)


def logged(
    client: ClientSettings, peer: str, sent: Sequence[bytes], express: bool = True
) -> list[str]:
    """The lines of a connection."""
    file = MemoryFile()
    server = Server(log=memory_log(file), express=express, client=client)
    server.connect(twisted_peer(peer)).send(*sent)
    server.advance(1)
    return file.lines


def clients(lines: Sequence[str]) -> list[str]:
    return [line.partition(" - - [")[0] for line in lines]


def query(*headers: str, ip: str = "1.2.3.4", version: str = "1.1") -> bytes:
    return get(f"/api/ip_query?ip={ip}", *headers, version=version)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("express", [True, False])
def test_the_client_is_logged(case: Case, express: bool) -> None:
    header, peer, lines, client = case
    sent = [
        query(*lines),
        query(*lines, ip="1.1.1.1"),  # like the one before
        query(*lines, "X-Request-Id: 1"),
        query(*lines, "X-Request-Id: 2"),
        query(*lines, "X-Request-Id: 3"),
        query(*lines, ip="9.9.9.9"),
        query(*lines) * 3,  # pipelined
        post(b'{"ip":"1.2.3.4"}', *lines),
        query(*lines, "Connection: x, keep-alive"),  # the parser's to decide
        get("/healthz", *lines),
        get("/a%20b", *lines),
        query(*lines, version="1.0"),
    ]
    assert clients(logged(ClientSettings(TRUSTED, header), peer, sent, express)) == [client] * 14


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_and_without_a_channel(case: Case) -> None:
    header, peer, lines, client = case
    file = MemoryFile()
    server = Server(log=memory_log(file), client=ClientSettings(TRUSTED, header))
    # As accept(2) has it.
    name: Any = "" if peer == "-" else (peer, 4711, 0, 0)[: 4 if ":" in peer else 2]
    for version in ("1.0", "1.1"):
        assert server.site.answer_first(query(*lines, version=version), name) is not None
    server.advance(1)
    assert clients(file.lines) == [client] * 2


class Mine(Resource):
    """Says whose request it is."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        return repr(client_of(request)).encode()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_and_routes_are_told(case: Case) -> None:
    header, peer, lines, client = case
    server = Server(resource=Mine(), client=ClientSettings(TRUSTED, header))
    said = server.connect(twisted_peer(peer)).ask(get("/", *lines)).body
    assert said.decode() == repr(None if client == "-" else client)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_without_proxies_it_is_the_peer(case: Case) -> None:
    header, peer, lines, _ = case
    sent = [query(*lines), query(*lines, ip="1.1.1.1"), get("/healthz", *lines)]
    expected = peer.removeprefix("::ffff:")
    assert clients(logged(ClientSettings((), header), peer, sent)) == [expected] * 3


def test_each_request_of_a_connection_has_its_own() -> None:
    """A load balancer sends those of all its callers over a few connections."""
    names = [f"198.51.100.{number}" for number in range(9)]
    for form in (query, lambda *headers: post(b'{"ip":"1.2.3.4"}', *headers)):
        sent = [form(f"X-Forwarded-For: {name}", "User-Agent: x") for name in names]
        for one in (sent, [b"".join(sent)], [*sent[:3], b"".join(sent[3:])]):
            for express in (True, False):
                lines = logged(ClientSettings(TRUSTED), NEAR, one, express)
                assert clients(lines) == names
                assert all(line.endswith('"x"') for line in lines)


def test_it_varies_beside_what_the_line_tells() -> None:
    sent = [
        query(f"X-Forwarded-For: 198.51.100.{number}", f"User-Agent: {number}")
        for number in range(5)
    ]
    lines = logged(ClientSettings(TRUSTED), NEAR, sent)
    assert [line.split()[0] + line.split()[-1] for line in lines] == [
        f'198.51.100.{number}"{number}"' for number in range(5)
    ]


def test_of_what_is_no_request_the_peer_is_told() -> None:
    sent = [b"X-Forwarded-For: 1.1.1.1\r\n\r\n"]
    assert clients(logged(ClientSettings(TRUSTED), NEAR, sent)) == [NEAR]


# What no caller can do


CHAIN = st.lists(st.sampled_from(["10.0.0.2", "10.9.9.9", "2001:db8:f::2", "::ffff:10.1.1.1"]))
OUTSIDE = st.ip_addresses().map(str).filter(lambda text: not parse_peers(TRUSTED).include((text,)))


def _parsed(text: str) -> tuple[int, int]:
    address = ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return (4, int(mapped)) if mapped else (address.version, int(address))


INVENTED = st.lists(
    st.sampled_from(
        [b'"', b"\\", b",", b";", b"=", b"for=", b'for="', b'"for', b"6.6.6.6", b"10.6.6.6", b" ",
         b"[", b"]", b":", b"unknown", b"\0", b"\xff", b'\\"', b'="', b"host=", b"x" * 1500, b"\t"]
    ) | st.binary(max_size=3),
    max_size=30,
).map(b"".join)  # fmt: skip


@st.composite
def nodes(draw: st.DrawFn, address: str) -> str:
    """An address as some proxy writes it."""
    in_brackets = f"[{address}]" if ":" in address else address
    return draw(st.sampled_from([address, in_brackets, f"{in_brackets}:4711"]))


@st.composite
def elements(draw: st.DrawFn, address: str) -> str:
    """An element of Forwarded."""
    node = draw(nodes(address))
    if draw(st.booleans()):
        node = "".join(draw(st.sampled_from([one, "\\" + one])) for one in node)
    text = draw(st.text('x, ;="\\', max_size=9)).replace("\\", "\\\\").replace('"', '\\"')
    pairs = [f'for="{node}"', draw(st.sampled_from(["proto=https", f'host="{text}"', ""]))]
    return ";".join(draw(st.permutations(pairs)))


@st.composite
def told(draw: st.DrawFn, header: Header) -> tuple[bytes, str]:
    """What trusted proxies add, and the client."""
    client = draw(OUTSIDE)
    form = nodes if header == "x-forwarded-for" else elements
    added = [draw(form(one)) for one in [client, *draw(CHAIN.filter(lambda one: len(one) < 9))]]
    comma = draw(st.sampled_from([",", ", ", " ,\t", ", , "]))
    return comma.join(added).encode(), client


@many(4)
@given(st.data(), st.sampled_from(["x-forwarded-for", "forwarded"]), INVENTED)
def test_what_stands_to_the_left_changes_nothing(
    data: st.DataObject, header: Header, invented: bytes
) -> None:
    added, client = data.draw(told(header))
    forwarding = Forwarding(parse_peers(TRUSTED), header)
    for value in (added, invented + b"," + added, invented + b", " + added):
        found = forwarding.client(NEAR, value)
        assert found is not None
        assert _parsed(found) == _parsed(client)


@given(INVENTED, st.sampled_from(["x-forwarded-for", "forwarded"]))
@example(b'"' * 2000, "forwarded")
@example(b'\\"' * 1000, "forwarded")
@example(b'"' + b'\\"' * 1000, "forwarded")
@example(b"=" * 2000, "forwarded")
@example(b"[" + b":" * 2000, "x-forwarded-for")
def test_whatever_a_proxy_sends_is_answered(value: bytes, header: Header) -> None:
    found = Forwarding(parse_peers(TRUSTED), header).client(NEAR, value)
    assert found is not None
    ip_address(found)


VALUES = ("1.1.1.1", "6.6.6.6, 1.1.1.1", "10.0.0.2", "", "x", "2001:db8::1", "a" * 300, "1.1.1.1\t")
LINES = st.builds(
    "{}:{}{}".format,
    st.sampled_from(["X-Forwarded-For", "x-forwarded-for", "X-Forwarded-For-X", "Forwarded", "X"]),
    st.sampled_from(["", " ", "\t "]),
    st.sampled_from(VALUES),
)


@given(st.lists(LINES, max_size=6))
def test_a_plain_head_says_what_its_fields_say(lines: list[str]) -> None:
    head = query(*lines).partition(b"\r\n")[2]
    forwarding = Forwarding(parse_peers(TRUSTED), "x-forwarded-for")
    lines_and_ends = b"\r\n" + head
    expected = fields_of(lines_and_ends).get(b"x-forwarded-for")
    assert forwarding.told_in(lines_and_ends) == expected


@st.composite
def calls(draw: st.DrawFn) -> list[bytes]:
    """Requests of a load balancer's connection: like each other, but for who asked, or others."""
    before, behind = draw(st.lists(LINES, max_size=2)), draw(st.lists(LINES, max_size=2))
    form = draw(st.sampled_from([query, lambda *lines: post(b'{"ip":"1.2.3.4"}', *lines)]))
    sent = [
        form(*before, f"X-Forwarded-For: {draw(st.sampled_from(VALUES))}", *behind)
        for _ in range(draw(st.integers(1, 6)))
    ]
    return sent + draw(st.lists(requests(), max_size=2))


@many(2)
@given(calls(), st.booleans(), st.sampled_from([NEAR, STRANGER, "-"]))
def test_the_fast_way_logs_the_same_clients(sent: list[bytes], at_once: bool, peer: str) -> None:
    pieces = [b"".join(sent)] if at_once else sent
    client = ClientSettings(TRUSTED)
    assert logged(client, peer, pieces) == logged(client, peer, pieces, express=False)


_BATCH = {"target": "/v1/batch"}
_TELLS = "X-Forwarded-For: 198.51.100.1"
_TEXT = ("Content-Type: text/plain", _TELLS)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ([post(b"1.2.3.4\n", *_TEXT, "X-Api-Key: x", **_BATCH)], 401),
        ([post(b"x", "Content-Type: image/png", _TELLS, "X-Api-Key: x", **_BATCH)], 401),
        ([get("/v1/batch", *_TEXT, "Content-Length: 9", method="POST")], 401),
    ],
    ids=["whole", "of another type", "before its body"],
)
def test_of_a_batch_refused_by_a_guard_the_client_is_logged(sent: list[bytes], status: int) -> None:
    file = MemoryFile()
    guard = GuardSettings(keys=to_text([]))
    server = Server(log=memory_log(file), client=ClientSettings(TRUSTED), guard=guard)
    server.connect(twisted_peer(NEAR)).send(*sent)
    server.advance(1)
    assert [f" {status} " in line for line in file.lines] == [True]
    assert clients(file.lines) == ["198.51.100.1"]


@pytest.mark.parametrize(
    ("sent", "limits", "status"),
    [
        ([post(b"x", "Content-Type: image/png", _TELLS, **_BATCH)], HttpLimits(), 415),
        ([post(b"1.2.3.4\n", *_TEXT, **_BATCH)], HttpLimits(exchanges=0), 503),
        ([post(b"x" * 99, _TELLS)], HttpLimits(body_bytes=9), 413),
    ],
    ids=["of another type", "too many at the same time", "no batch, and too large"],
)
def test_so_it_is_of_one_that_is_refused_once_its_head_is_there(
    sent: list[bytes], limits: HttpLimits, status: int
) -> None:
    file = MemoryFile()
    server = Server(limits, log=memory_log(file), client=ClientSettings(TRUSTED))
    connection = server.connect(twisted_peer(NEAR))
    connection.send(*sent)
    server.advance(1)
    assert [f" {status} " in line for line in file.lines] == [True]
    assert clients(file.lines) == ["198.51.100.1"]


def test_whom_the_request_before_was_from_says_nothing_of_the_next() -> None:
    file = MemoryFile()
    server = Server(log=memory_log(file), client=ClientSettings(TRUSTED))
    server.connect(twisted_peer(NEAR)).send(query(_TELLS) + b"\r\n\r\n\x01")
    server.advance(1)
    assert clients(file.lines) == ["198.51.100.1", NEAR]

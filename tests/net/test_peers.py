"""Lists of peers."""

import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.errors import ConfigError
from ipquery.net.peers import Peers, parse_peers


def test_peers_are_told_by_their_network() -> None:
    peers = parse_peers(["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"])
    for host in ("10.1.2.3", "192.0.2.1", "::ffff:10.9.9.9", "2001:db8::5", "2001:db8::5%eth0"):
        name = (host, 1) if "." in host and ":" not in host else (host, 1, 0, 0)
        assert peers.include(name), host
        assert peers.include_host(host), host
    for host in ("11.0.0.1", "192.0.2.2", "::ffff:11.0.0.1", "2001:db9::1"):
        assert not peers.include((host, 1)), host
        assert not peers.include_host(host), host
    assert peers
    assert not Peers()


def test_unix_sockets_are_named_by_themselves() -> None:
    for peers, is_in in (
        (parse_peers(["unix"]), True),
        (parse_peers(["0.0.0.0/0", "::/0"]), False),
    ):
        assert peers
        assert peers.include("") is is_in
        assert peers.include_host(None) is is_in
    assert not parse_peers(["unix"]).include(("10.0.0.1", 1))


@pytest.mark.parametrize(
    ("text", "address", "is_in"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.0.0.0", False),
        ("10.0.0.0/8", "::a00:1", False),
        ("0.0.0.0/0", "255.255.255.255", True),
        ("0.0.0.0/0", "::1", False),
        ("::/0", "::1", True),
        ("::/0", "1.1.1.1", False),
        ("::1", "::1", True),
        ("::ffff:10.0.0.0/104", "10.1.2.3", True),
        ("::ffff:10.0.0.0/104", "11.0.0.0", False),
        ("::ffff:1.1.1.1", "1.1.1.1", True),
    ],
)
def test_a_network_holds_its_addresses(text: str, address: str, is_in: bool) -> None:
    assert parse_peers([text]).include((address,)) is is_in


@pytest.mark.parametrize(
    "text",
    ["", "a", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/x", "10.0.0", "UNIX", "*", "1.1.1.1-2.2.2.2"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not an address, a network such as"):
        parse_peers(["10.0.0.0/8", text])


def _network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int) -> str:
    length = min(length, address.max_prefixlen)
    return str(ipaddress.ip_network((address, length), strict=False))


# Near each other, so that they overlap, touch, and hold each other's addresses.
NEAR = st.builds(
    lambda base, offset: base + offset,
    st.sampled_from(
        [ipaddress.ip_address(text) for text in ("10.0.0.0", "0.0.0.0", "::a00:0", "2001:db8::")]
    ),
    st.integers(0, 300),
)
NETWORKS = st.lists(st.builds(_network, NEAR, st.integers(20, 128)), max_size=8)


@given(NETWORKS, st.lists(NEAR, min_size=1))
def test_they_are_in_the_networks_as_ipaddress_has_it(
    texts: list[str], addresses: Sequence[ipaddress.IPv4Address | ipaddress.IPv6Address]
) -> None:
    networks = [ipaddress.ip_network(text) for text in texts]
    peers = parse_peers(texts)
    for address in addresses:
        is_in = any(address in network for network in networks)
        assert peers.include((str(address), 1)) is is_in
        assert peers.include_address(address.version, int(address)) is is_in

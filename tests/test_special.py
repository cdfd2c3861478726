"""Which class an address belongs to: IANA's registries, read by hand and by another reader."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipquery.address import parse
from ipquery.special import PUBLIC, V4_BLOCKS, V6_BLOCKS, Block, is_special, kind_of, public_ranges

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

BLOCKS = {4: V4_BLOCKS, 6: V6_BLOCKS}


def _networks(*texts: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(text) for text in texts]


# Reachable by the registry, which Python 3.11.10 and 3.12.4 follow; before, all of
# 2001::/23 was private to it. Whoever announces these owns them, so they are public here.
_PRIVATE_TO_OLD_PYTHONS = _networks("2001:3::/32", "2001:4:112::/48")


def _smallest_block(version: int, number: int) -> Block | None:
    """The entry with the longest prefix, by looking at all."""
    address = ipaddress.ip_address(number.to_bytes(4 if version == 4 else 16, "big"))
    holding = [one for one in BLOCKS[version] if address in ipaddress.ip_network(one.network)]
    return max(holding, key=lambda one: ipaddress.ip_network(one.network).prefixlen, default=None)


def _edges(version: int) -> set[int]:
    """Both ends of every entry, and their neighbours."""
    last = 2 ** (32 if version == 4 else 128) - 1
    near = set()
    for block in BLOCKS[version]:
        network = ipaddress.ip_network(block.network)
        for end in (int(network.network_address), int(network.broadcast_address)):
            near |= {end - 1, end, end + 1}
    return {number for number in near if 0 <= number <= last}


@pytest.mark.parametrize("version", [4, 6])
def test_the_smallest_block_around_an_address_decides(version: int) -> None:
    for number in _edges(version):
        block = _smallest_block(version, number)
        assert kind_of(version, number) == (block.kind if block else PUBLIC)


@pytest.mark.parametrize("version", [4, 6])
def test_public_ranges_hold_what_is_public_and_nothing_else(version: int) -> None:
    ranges = public_ranges(version)
    assert ranges == sorted(ranges)
    for number in _edges(version):
        inside = any(first <= number <= last for first, last in ranges)
        assert inside == (kind_of(version, number) == PUBLIC)


@given(st.ip_addresses())
def test_the_smallest_block_around_any_address_decides(address: Address) -> None:
    block = _smallest_block(address.version, int(address))
    assert kind_of(address.version, int(address)) == (block.kind if block else PUBLIC)


@pytest.mark.parametrize("block", [*V4_BLOCKS, *V6_BLOCKS], ids=lambda one: one.network)
def test_what_cannot_be_reached_is_never_public(block: Block) -> None:
    assert ipaddress.ip_network(block.network), "strict: no bits beside the prefix"
    if block.reachable is False:
        assert block.kind != PUBLIC


@given(st.ip_addresses())
@example(ipaddress.ip_address("10.255.255.255"))
@example(ipaddress.ip_address("100.127.255.255"))
@example(ipaddress.ip_address("172.31.255.255"))
@example(ipaddress.ip_address("255.255.255.255"))
@example(ipaddress.ip_address("fd00::1"))
@example(ipaddress.ip_address("fe80::1"))
@example(ipaddress.ip_address("ff02::1"))
@example(ipaddress.ip_address("2002:a00:1::"))
@example(ipaddress.ip_address("64:ff9b::a00:1"))
def test_what_the_standard_library_calls_private_is_special(address: Address) -> None:
    """Not the other way round, see :func:`test_special_here_and_global_to_the_library`."""
    meant = getattr(address, "ipv4_mapped", None) or address
    if any(meant in network for network in _PRIVATE_TO_OLD_PYTHONS):
        return
    if not meant.is_global or meant.is_multicast or meant.is_reserved:
        assert is_special(*parse(str(address)))


@pytest.mark.parametrize("version", [4, 6])
def test_the_standard_library_agrees_at_every_edge(version: int) -> None:
    for number in _edges(version):
        address = ipaddress.ip_address(number.to_bytes(4 if version == 4 else 16, "big"))
        # The library looks through it, and so does parse().
        if getattr(address, "ipv4_mapped", None) is not None:
            continue
        if any(address in network for network in _PRIVATE_TO_OLD_PYTHONS):
            continue
        if not address.is_global or address.is_multicast or address.is_reserved:
            assert is_special(version, number), address


@pytest.mark.parametrize(
    ("ip", "kind"),
    [
        # Anycast whose nearest instance answers: no one's in particular.
        ("192.0.0.9", "protocol"),
        ("2001:1::1", "protocol"),
        # Hashes of keys that look like addresses.
        ("2001:20::1", "orchid"),
        ("2001:30::1", "orchid"),
        # They carry an IPv4 address, which may be anything.
        ("64:ff9b::808:808", "nat64"),
        ("2002:808:808::", "6to4"),
        # Deprecated, but some still announce it; the library knows neither.
        ("192.88.99.1", "6to4-relay"),
        # Younger than the library's table.
        ("3fff::1", "documentation"),
        ("5f00::1", "segment-routing"),
        ("100:0:0:1::1", "dummy"),
    ],
)
def test_special_here_and_global_to_the_library(ip: str, kind: str) -> None:
    """At least to some version of it: what has no owner to be found is no use to look up."""
    assert kind_of(*parse(ip)) == kind


@pytest.mark.parametrize(
    ("ip", "kind"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.0.0.1", "this-network"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "shared"),
        ("127.0.0.1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("192.0.2.1", "documentation"),
        ("198.18.0.1", "benchmarking"),
        ("224.0.0.1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("8.8.8.8", "public"),
        ("192.31.196.1", "public"),
        ("192.52.193.1", "public"),
        ("192.175.48.1", "public"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::2", "reserved"),
        ("::ffff:10.0.0.1", "private"),
        ("100::1", "discard-only"),
        ("2001::1", "teredo"),
        ("2001:4:112::1", "public"),
        ("2001:db8::1", "documentation"),
        ("2620:4f:8000::1", "public"),
        ("2606:4700:4700::1111", "public"),
        ("fd00::1", "unique-local"),
        ("fe80::1", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
    ],
)
def test_kinds(ip: str, kind: str) -> None:
    assert kind_of(*parse(ip)) == kind
    assert is_special(*parse(ip)) == (kind != "public")


@pytest.mark.parametrize(
    ("special", "usual"),
    [
        ("10.255.255.255", "11.0.0.0"),
        ("100.64.0.0", "100.63.255.255"),
        ("172.31.255.255", "172.32.0.0"),
        ("192.0.2.255", "192.0.3.0"),
        ("198.19.255.255", "198.20.0.0"),
        ("224.0.0.0", "223.255.255.255"),
        ("::ffff:192.168.0.1", "::ffff:8.8.8.8"),
        ("2001:1ff:ffff::", "2001:200::"),
        ("2002::", "2003::"),
        ("4000::", "3ffe::"),
        ("1fff::", "2000::"),
    ],
)
def test_where_special_begins(special: str, usual: str) -> None:
    assert is_special(*parse(special))
    assert not is_special(*parse(usual))

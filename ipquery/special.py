"""Special-purpose addresses: which class an address belongs to, by IANA's registries.

The tables hold IANA's IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, as
RFC 8190 amends it), whole, as of :data:`REGISTRIES_DATE`, and what is special by the
architecture itself and so stands in other registries: multicast (RFC 5771, RFC 4291
section 2.7), site-local (RFC 3879), and of IPv6 whatever isn't global unicast.
"""

import ipaddress
import itertools
from bisect import bisect_right
from collections.abc import Sequence

import attrs

REGISTRIES_DATE = "2025-10-09"
"""The day on which IANA last changed either of the two registries."""

PUBLIC = "public"
"""The kind of an address that can have an owner."""


@attrs.frozen
class Block:
    """An entry of a registry.

    ``reachable`` is the registry's "Globally Reachable", ``None`` where it says "N/A" or
    nothing. ``kind`` is our word for the class; it is :data:`PUBLIC` where an operator
    announces the block to the whole internet, as for anycast of AS112: those addresses
    are somewhere, and somebody's.
    """

    network: str
    kind: str
    reachable: bool | None
    name: str
    source: str


# In the order of the registries; a smaller block goes before the larger one around it.
V4_BLOCKS = (
    Block("0.0.0.0/8", "this-network", False, "This network", "RFC 791"),
    Block("0.0.0.0/32", "unspecified", False, "This host on this network", "RFC 1122"),
    Block("10.0.0.0/8", "private", False, "Private-Use", "RFC 1918"),
    Block("100.64.0.0/10", "shared", False, "Shared Address Space", "RFC 6598"),
    Block("127.0.0.0/8", "loopback", False, "Loopback", "RFC 1122"),
    Block("169.254.0.0/16", "link-local", False, "Link Local", "RFC 3927"),
    Block("172.16.0.0/12", "private", False, "Private-Use", "RFC 1918"),
    Block("192.0.0.0/24", "protocol", False, "IETF Protocol Assignments", "RFC 6890"),
    Block("192.0.0.0/29", "protocol", False, "IPv4 Service Continuity Prefix", "RFC 7335"),
    Block("192.0.0.8/32", "dummy", False, "IPv4 dummy address", "RFC 7600"),
    # Reachable, but whoever is nearest answers: nobody's in particular.
    Block("192.0.0.9/32", "protocol", True, "Port Control Protocol Anycast", "RFC 7723"),
    Block("192.0.0.10/32", "protocol", True, "TURN Anycast", "RFC 8155"),
    Block("192.0.0.170/32", "protocol", False, "NAT64/DNS64 Discovery", "RFC 7050"),
    Block("192.0.0.171/32", "protocol", False, "NAT64/DNS64 Discovery", "RFC 7050"),
    Block("192.0.2.0/24", "documentation", False, "TEST-NET-1", "RFC 5737"),
    Block("192.31.196.0/24", PUBLIC, True, "AS112-v4", "RFC 7535"),
    Block("192.52.193.0/24", PUBLIC, True, "AMT", "RFC 7450"),
    Block("192.88.99.0/24", "6to4-relay", None, "Deprecated: 6to4 Relay Anycast", "RFC 7526"),
    Block("192.88.99.2/32", "6to4-relay", False, "6a44-relay anycast address", "RFC 6751"),
    Block("192.168.0.0/16", "private", False, "Private-Use", "RFC 1918"),
    Block("192.175.48.0/24", PUBLIC, True, "Direct Delegation AS112 Service", "RFC 7534"),
    Block("198.18.0.0/15", "benchmarking", False, "Benchmarking", "RFC 2544"),
    Block("198.51.100.0/24", "documentation", False, "TEST-NET-2", "RFC 5737"),
    Block("203.0.113.0/24", "documentation", False, "TEST-NET-3", "RFC 5737"),
    Block("224.0.0.0/4", "multicast", None, "Multicast", "RFC 5771"),
    Block("240.0.0.0/4", "reserved", False, "Reserved", "RFC 1112"),
    Block("255.255.255.255/32", "broadcast", False, "Limited Broadcast", "RFC 919"),
)

V6_BLOCKS = (
    # RFC 4291 section 2.4: everything but global unicast and what the entries below say.
    Block("::/0", "reserved", None, "Reserved by IETF", "RFC 4291"),
    Block("2000::/3", PUBLIC, None, "Global Unicast", "RFC 4291"),
    Block("::1/128", "loopback", False, "Loopback Address", "RFC 4291"),
    Block("::/128", "unspecified", False, "Unspecified Address", "RFC 4291"),
    # As text these are IPv4 addresses to ipquery.address.parse, and never get here.
    Block("::ffff:0:0/96", "ipv4-mapped", False, "IPv4-mapped Address", "RFC 4291"),
    # Reachable, but through a translator near the caller; the owner is the IPv4 address's.
    Block("64:ff9b::/96", "nat64", True, "IPv4-IPv6 Translation", "RFC 6052"),
    Block("64:ff9b:1::/48", "nat64", False, "IPv4-IPv6 Translation", "RFC 8215"),
    Block("100::/64", "discard-only", False, "Discard-Only Address Block", "RFC 6666"),
    Block("100:0:0:1::/64", "dummy", False, "Dummy IPv6 Prefix", "RFC 9780"),
    Block("2001::/23", "protocol", False, "IETF Protocol Assignments", "RFC 2928"),
    Block("2001::/32", "teredo", None, "TEREDO", "RFC 4380"),
    Block("2001:1::1/128", "protocol", True, "Port Control Protocol Anycast", "RFC 7723"),
    Block("2001:1::2/128", "protocol", True, "TURN Anycast", "RFC 8155"),
    Block("2001:1::3/128", "protocol", True, "DNS-SD SRP Anycast", "RFC 9665"),
    Block("2001:2::/48", "benchmarking", False, "Benchmarking", "RFC 5180"),
    Block("2001:3::/32", PUBLIC, True, "AMT", "RFC 7450"),
    Block("2001:4:112::/48", PUBLIC, True, "AS112-v6", "RFC 7535"),
    Block("2001:10::/28", "orchid", None, "Deprecated: ORCHID", "RFC 4843"),
    # Hashes of keys, not places in a network, though the registry calls them reachable.
    Block("2001:20::/28", "orchid", True, "ORCHIDv2", "RFC 7343"),
    Block("2001:30::/28", "orchid", True, "Drone Remote ID Entity Tags", "RFC 9374"),
    Block("2001:db8::/32", "documentation", False, "Documentation", "RFC 3849"),
    Block("2002::/16", "6to4", None, "6to4", "RFC 3056"),
    Block("2620:4f:8000::/48", PUBLIC, True, "Direct Delegation AS112 Service", "RFC 7534"),
    Block("3fff::/20", "documentation", False, "Documentation", "RFC 9637"),
    Block("5f00::/16", "segment-routing", False, "Segment Routing (SRv6) SIDs", "RFC 9602"),
    Block("fc00::/7", "unique-local", False, "Unique-Local", "RFC 4193"),
    Block("fe80::/10", "link-local", False, "Link-Local Unicast", "RFC 4291"),
    Block("fec0::/10", "site-local", False, "Deprecated: Site-Local", "RFC 3879"),
    Block("ff00::/8", "multicast", None, "Multicast", "RFC 4291"),
)


def _cut(blocks: Sequence[Block]) -> tuple[list[int], list[str]]:
    """Where the kind changes in an address space, and the kind from there on."""
    ranges = []
    for block in blocks:
        network = ipaddress.ip_network(block.network)
        first = int(network.network_address)
        ranges.append((first, first + network.num_addresses, block.kind))
    # The largest first: what is written over it later is more specific.
    ranges.sort(key=lambda one: one[0] - one[1])
    bounds = sorted({0, *(bound for first, after, _ in ranges for bound in (first, after))})
    kinds = dict.fromkeys(bounds, PUBLIC)
    for first, after, kind in ranges:
        kinds |= {bound: kind for bound in bounds if first <= bound < after}
    return bounds, [kinds[bound] for bound in bounds]


_V4_STARTS, _V4_KINDS = _cut(V4_BLOCKS)
_V6_STARTS, _V6_KINDS = _cut(V6_BLOCKS)


def kind_of(version: int, number: int) -> str:
    """The class of an address: :data:`PUBLIC`, or which special purpose it has.

    :param version: 4 or 6.
    :param number: the address as a number.
    """
    if version == 4:
        return _V4_KINDS[bisect_right(_V4_STARTS, number) - 1]
    return _V6_KINDS[bisect_right(_V6_STARTS, number) - 1]


def kind_steps(version: int) -> tuple[list[int], list[str]]:
    """Where the kind changes in an address space, from 0 on, and the kind from there on."""
    starts, kinds = (_V4_STARTS, _V4_KINDS) if version == 4 else (_V6_STARTS, _V6_KINDS)
    # The last of the starts is one past the space.
    return starts[:-1], kinds[:-1]


def same_kind(version: int, first: int, last: int) -> bool:
    """Whether all addresses of a range are of one kind, without a block between them."""
    starts = _V4_STARTS if version == 4 else _V6_STARTS
    return bisect_right(starts, first) == bisect_right(starts, last)


def public_ranges(version: int) -> list[tuple[int, int]]:
    """First and last address of each range of public addresses, in order."""
    starts, kinds = (_V4_STARTS, _V4_KINDS) if version == 4 else (_V6_STARTS, _V6_KINDS)
    # The last of the starts is one past the space.
    return [
        (first, after - 1)
        for (first, after), kind in zip(itertools.pairwise(starts), kinds, strict=False)
        if kind == PUBLIC
    ]


def is_special(version: int, number: int) -> bool:
    """Whether an address means nothing outside some network, or isn't one host's."""
    return kind_of(version, number) != PUBLIC

"""Peers that an operator names: by address, by network, or all those on UNIX sockets."""

import functools
import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Sequence

import attrs

from ipquery.address import parse
from ipquery.errors import ConfigError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNIX = "unix"
"""Stands for every peer on a UNIX socket in a list of networks."""

# Hosts whose answer is kept. Those that are named are few, and each connects often.
_KNOWN = 1024

# First and last addresses of networks, in order. None overlap.
_Ranges = tuple[Sequence[int], Sequence[int]]


@attrs.frozen
class Peers:
    """A set of peers."""

    networks: tuple[Network, ...] = ()
    unix: bool = False
    # Numbers, as the objects of ipaddress take 10 us for an address that isn't known yet.
    _ranges: dict[int, _Ranges] = attrs.field(init=False, repr=False, eq=False)
    _known: "functools._lru_cache_wrapper[bool]" = attrs.field(init=False, repr=False, eq=False)

    @_ranges.default
    def _ranges_of_networks(self) -> dict[int, _Ranges]:
        return {version: _ranges(self.networks, version) for version in (4, 6)}

    @_known.default
    def _kept(self) -> "functools._lru_cache_wrapper[bool]":
        ranges = self._ranges

        @functools.lru_cache(_KNOWN)
        def are_in(host: str) -> bool:
            # accept(2) tells link-local addresses with their interface.
            return _is_in(ranges, *parse(host.partition("%")[0]))

        return are_in

    def include(self, peer: object) -> bool:
        """Whether a peer is one of them.

        :param peer: its name, as accept(2) gave it: a tuple that begins with its address, or
            anything else for one on a UNIX socket.
        """
        return self._known(peer[0]) if isinstance(peer, tuple) else self.unix

    def include_host(self, host: str | None) -> bool:
        """Whether a peer is one of them.

        :param host: its address; ``None`` for one on a UNIX socket.
        """
        return self.unix if host is None else self._known(host)

    def include_address(self, version: int, number: int) -> bool:
        """Whether an address is in one of the networks.

        :param version: with ``number``, as :func:`ipquery.address.parse` has it.
        """
        return _is_in(self._ranges, version, number)

    def __bool__(self) -> bool:
        return self.unix or bool(self.networks)


def _ranges(networks: Iterable[Network], version: int) -> _Ranges:
    found: list[Network] = [one for one in networks if one.version == version]
    apart = sorted(ipaddress.collapse_addresses(found))  # type: ignore[type-var] # one version
    return [int(one[0]) for one in apart], [int(one[-1]) for one in apart]


def _is_in(ranges: dict[int, _Ranges], version: int, number: int) -> bool:
    firsts, lasts = ranges[version]
    at = bisect_right(firsts, number)
    return at > 0 and number <= lasts[at - 1]


def _usual(network: Network) -> Network:
    """A network of IPv4 addresses mapped into IPv6 as IPv4: so peers in it are looked for."""
    first = network.network_address
    if (
        isinstance(first, ipaddress.IPv6Address)
        and first.ipv4_mapped is not None
        and network.prefixlen >= 96
    ):
        return ipaddress.IPv4Network((first.ipv4_mapped, network.prefixlen - 96))
    return network


def parse_peers(texts: Iterable[str]) -> Peers:
    """Read a list of addresses, networks such as ``10.0.0.0/8``, and ``unix``.

    :raises ConfigError: one is neither.
    """
    networks: list[Network] = []
    unix = False
    for text in texts:
        if text == UNIX:
            unix = True
            continue
        try:
            networks.append(_usual(ipaddress.ip_network(text)))
        except ValueError as error:
            raise ConfigError(
                f"{text}: not an address, a network such as 10.0.0.0/8, or unix ({error})"
            ) from None
    return Peers(tuple(networks), unix)

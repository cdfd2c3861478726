"""Text to address number.

What counts as an address is what ``inet_pton(3)`` takes: four decimal numbers
without leading zeros, or RFC 4291 section 2.2 text. ``inet_aton`` is never
used, because it also takes ``1.2.3`` and ``1.2.3.4 x``.
"""

import struct
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

V4_LAST = 2**32 - 1
V6_LAST = 2**128 - 1

# IANA's registries of special-purpose addresses (RFC 6890 and what came after), as
# prefix and length, with multicast and what is reserved.
_SPECIAL_V4 = (
    ("0.0.0.0", 8),  # noqa: S104 # not bound
    ("10.0.0.0", 8), ("100.64.0.0", 10), ("127.0.0.0", 8),
    ("169.254.0.0", 16), ("172.16.0.0", 12), ("192.0.0.0", 24), ("192.0.2.0", 24),
    ("192.88.99.0", 24), ("192.168.0.0", 16), ("198.18.0.0", 15), ("198.51.100.0", 24),
    ("203.0.113.0", 24), ("224.0.0.0", 4), ("240.0.0.0", 4),
)  # fmt: skip
# Of what is special within global unicast: protocols (Teredo among them),
# documentation, and 6to4, which carries any IPv4 address.
_SPECIAL_V6 = (("2001::", 23), ("2001:db8::", 32), ("2002::", 16), ("3fff::", 20))

unpack_halves = struct.Struct(">HH").unpack
"""Four bytes as ``inet_pton`` gives them, as their upper and lower half."""


def parse(text: str) -> tuple[int, int]:
    """Read one address.

    An IPv4-mapped IPv6 address (``::ffff:1.2.3.4``, RFC 4291 section 2.5.5.2)
    is the IPv4 address it carries.

    :returns: IP version (4 or 6) and the address as a number.
    :raises ValueError: ``text`` is not an address.
    """
    # Told apart first: a call that fails takes as long as all the rest.
    is_v6 = ":" in text
    try:
        number = int.from_bytes(inet_pton(AF_INET6 if is_v6 else AF_INET, text), "big")
    except (OSError, ValueError):
        raise ValueError(f"not an IP address: {shorten(text)}") from None
    if not is_v6:
        return 4, number
    if number >> 32 == 0xFFFF:
        return 4, number & V4_LAST
    return 6, number


def to_text(version: int, number: int) -> str:
    """The usual text of an address number (RFC 5952 for IPv6)."""
    if version == 4:
        return inet_ntop(AF_INET, number.to_bytes(4, "big"))
    return inet_ntop(AF_INET6, number.to_bytes(16, "big"))


def _prefixes(family: int, networks: tuple[tuple[str, int], ...]) -> list[tuple[int, int]]:
    """Each network as how far to shift an address, and what is left then."""
    bits = 32 if family == AF_INET else 128
    return [
        (bits - length, int.from_bytes(inet_pton(family, first), "big") >> (bits - length))
        for first, length in networks
    ]


_SPECIAL = {4: _prefixes(AF_INET, _SPECIAL_V4), 6: _prefixes(AF_INET6, _SPECIAL_V6)}


def is_special(version: int, number: int) -> bool:
    """Whether an address means nothing outside some network, or isn't one host's.

    Of IPv6, everything outside global unicast (2000::/3, RFC 4291 section 2.4).
    """
    if version == 6 and number >> 125 != 1:
        return True
    return any(number >> shift == prefix for shift, prefix in _SPECIAL[version])


def shorten(text: str) -> str:
    """Quote a caller's text for a message.

    45 characters hold the longest address; 64 show what was meant, and a
    megabyte sent by mistake doesn't come back.
    """
    return ascii(text if len(text) <= 64 else text[:61] + "...")

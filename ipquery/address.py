"""Text to address number.

What counts as an address is what ``inet_pton(3)`` takes: four decimal numbers
without leading zeros, or RFC 4291 section 2.2 text. ``inet_aton`` is never
used, because it also takes ``1.2.3`` and ``1.2.3.4 x``.
"""

import struct
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

V4_LAST = 2**32 - 1
V6_LAST = 2**128 - 1

unpack_number = struct.Struct(">I").unpack
"""Four bytes as ``inet_pton`` gives them, as a tuple of one number."""


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


def shorten(text: str) -> str:
    """Quote a caller's text for a message.

    45 characters hold the longest address; 64 show what was meant, and a
    megabyte sent by mistake doesn't come back.
    """
    return ascii(text if len(text) <= 64 else text[:61] + "...")

"""Prefixes instead of addresses, for data that must not tell who it is about.

/24 of IPv4 and /48 of IPv6, which is what sites have at least (RFC 6177), and what web analytics
keep.
"""

from socket import AF_INET6, inet_ntop

import numpy as np

from ipquery.address import parse
from ipquery.data.columns.batch import Batch

NO_PREFIX = b"-"
"""Instead of what is no address: it may be most of one."""

_KEPT = 1 << 18


class _V4Texts(dict[int, bytes]):
    """By the first 24 bits."""

    def __missing__(self, number: int) -> bytes:
        text = b"%d.%d.%d.0/24" % (number >> 16, number >> 8 & 255, number & 255)
        self[number] = text
        return text


class _V6Texts(dict[int, bytes]):
    """By the first 48 bits."""

    def __missing__(self, number: int) -> bytes:
        text = f"{inet_ntop(AF_INET6, (number << 80).to_bytes(16, 'big'))}/48".encode()
        self[number] = text
        return text


class Prefixes:
    """Texts of prefixes; those that came before are kept."""

    def __init__(self) -> None:
        self._v4, self._v6 = _V4Texts(), _V6Texts()

    def of(self, batch: Batch) -> list[bytes]:
        """One for each address of a batch."""
        for kept in (self._v4, self._v6):
            if len(kept) > _KEPT:
                kept.clear()
        v4 = [*map(self._v4.__getitem__, (batch.v4 >> 8).tolist())]
        if batch.v4_at is None:
            return v4
        texts = np.full(batch.count, NO_PREFIX, object)
        texts[batch.v4_at] = v4
        v6 = (batch.high >> np.uint64(16)).tolist()
        texts[batch.v6_at] = [*map(self._v6.__getitem__, v6)]
        found: list[bytes] = texts.tolist()
        return found


def prefix_of(text: str) -> str:
    """The prefix of one address."""
    try:
        version, number = parse(text)
    except ValueError:
        return NO_PREFIX.decode()
    found = _V4Texts()[number >> 8] if version == 4 else _V6Texts()[number >> 80]
    return found.decode()

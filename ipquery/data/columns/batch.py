"""Batch: some addresses of a column, told apart by version."""

import attrs
import numpy as np

from ipquery.data.ranges import Column

_MAPPED = np.uint64(0xFFFF)


@attrs.frozen(eq=False)
class Batch:
    """``v4`` are numbers (``uint32``), ``high`` and ``low`` the halves of IPv6 addresses
    (``uint64``). ``v4_at`` and ``v6_at`` tell where each stands; without ``v4_at``, they are all.
    What stands where there is neither is no address.
    """

    count: int
    v4: Column
    v4_at: Column | None
    high: Column
    low: Column
    v6_at: Column


_NO_HALVES = np.empty(0, np.uint64)
_NOWHERE = np.empty(0, np.int64)


def of_numbers(v4: Column) -> Batch:
    """Nothing but IPv4 addresses, as ``uint32``."""
    return Batch(len(v4), v4, None, _NO_HALVES, _NO_HALVES, _NOWHERE)


def of_packed(packed: Column) -> tuple[Column, Column]:
    """The halves of IPv6 addresses of 16 bytes each."""
    pairs = packed.view(">u8").reshape(-1, 2).astype(np.uint64)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def of_parts(
    count: int, v4: Column, v4_at: Column, halves: tuple[Column, Column], v6_at: Column
) -> Batch:
    """IPv4 and IPv6 addresses. IPv4-mapped ones (RFC 4291 section 2.5.5.2) are IPv4."""
    high, low = halves
    mapped = (high == 0) & (low >> np.uint64(32) == _MAPPED)
    if mapped.any():
        v4 = np.concatenate((v4, low[mapped].astype(np.uint32)))
        v4_at = np.concatenate((v4_at, v6_at[mapped]))
        high, low, v6_at = high[~mapped], low[~mapped], v6_at[~mapped]
    return Batch(count, v4, v4_at, high, low, v6_at)

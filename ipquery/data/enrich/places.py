"""How far around an address holds what is known about it, as ``lookup`` says it."""

import numpy as np

from ipquery.address import to_text
from ipquery.data.columns.batch import Batch
from ipquery.data.columns.numbers import NOT_AN_ADDRESS
from ipquery.data.snapshot import Snapshot
from ipquery.data.snapshot.finder import network_text

PLACES = ("first", "last", "network")
"""What may be chosen beside the fields of a record. Each address has its own."""

# Above all IPv4 addresses, so that ::1 isn't taken for 0.0.0.1.
_V6 = 1 << 128


def keys_of(batch: Batch) -> list[int]:
    """A number for each address of a batch, of either version; what is no address has
    :data:`~ipquery.data.columns.numbers.NOT_AN_ADDRESS`."""
    if batch.v4_at is None:
        v4: list[int] = batch.v4.tolist()
        return v4
    keys = np.full(batch.count, NOT_AN_ADDRESS, object)
    keys[batch.v4_at] = batch.v4.tolist()
    halves = zip(batch.high.tolist(), batch.low.tolist(), strict=True)
    keys[batch.v6_at] = [_V6 | high << 64 | low for high, low in halves]
    found: list[int] = keys.tolist()
    return found


def place_of(snapshot: Snapshot, key: int) -> dict[str, str]:
    """Values of all :data:`PLACES`, of an address about which something is known; none of others.

    :param key: see :func:`keys_of`.
    """
    if key == NOT_AN_ADDRESS:
        return {}
    version, number = (6, key ^ _V6) if key >= _V6 else (4, key)
    answer, first, last = snapshot.locate(version, number)
    if not answer:
        return {}
    return {
        "first": to_text(version, first),
        "last": to_text(version, last),
        "network": network_text(version, number, first, last),
    }

"""How long answers took: counts in the buckets of HdrHistogram.

To record one value takes the library 2.6 µs, as much as a third of a request.
So a process counts whole batches into the same buckets with numpy (0.05 µs a
value), and only the result is made a :class:`HdrHistogram`.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from hdrh.histogram import HdrHistogram

# Microseconds, up to an hour, three significant digits.
_MOST = 3_600_000_000
_DIGITS = 3
# What these digits make of a bucket: 2048 steps, the lower half of which the
# bucket before has, too.
_STEP_BITS = 11
_BUCKETS = _MOST.bit_length() - _STEP_BITS + 1
_SLOTS = (_BUCKETS + 1) << (_STEP_BITS - 1)

PERCENTILES = (50, 75, 90, 95, 99, 99.9, 99.99)


def histogram() -> Any:
    """An empty histogram of microseconds."""
    return HdrHistogram(1, _MOST, _DIGITS)


def _slots_of(values: Any) -> Any:
    """The place of each value among HdrHistogram's counts.

    A value of n bits loses the lower n - 11; what is left, counted on by 1024
    for every bit lost, is its place.
    """
    _, bits = np.frexp(values.astype(np.float64))
    lost = np.maximum(bits - _STEP_BITS, 0)
    return (lost << (_STEP_BITS - 1)) + (values >> lost)


class Counts:
    """Counts of one process, by slot."""

    def __init__(self) -> None:
        self._counts = np.zeros(_SLOTS, np.int64)

    def add(self, nanoseconds: "array[int]") -> None:
        """Count values; less than a microsecond counts as none, more than an hour as one."""
        values = np.frombuffer(nanoseconds, np.int64) // 1000
        slots = _slots_of(np.minimum(np.maximum(values, 0), _MOST))
        self._counts += np.bincount(slots, minlength=_SLOTS)

    def take(self) -> list[tuple[int, int]]:
        """Slot and count of all that are counted, in order; then begin anew."""
        (slots,) = np.nonzero(self._counts)
        taken = list(zip(slots.tolist(), self._counts[slots].tolist(), strict=True))
        self._counts[:] = 0
        return taken


def record(into: Any, slots: Iterable[tuple[int, int]]) -> None:
    """Add counts by slot to a histogram."""
    for slot, count in slots:
        into.record_value(into.get_value_from_index(slot), count)


_LAYOUT = histogram()


def _at_least(total: int, share: float) -> int:
    """How many values are at or below a percentile, as the library has it."""
    return max(int(share * total / 100 + 0.5), 1)


def percentiles(slots: Iterable[tuple[int, int]], shares: Sequence[float]) -> list[float]:
    """What a histogram of these counts has at some percentiles, in seconds.

    The library goes through all of its 23,000 counts, in 30 ms; these are few.

    :param shares: per cent, rising.
    """
    ordered = sorted(slots)
    total = sum(count for _, count in ordered)
    found: list[float] = []
    seen = 0
    for slot, count in ordered:
        seen += count
        while len(found) < len(shares) and seen >= max(
            int(shares[len(found)] * total / 100 + 0.5), 1
        ):
            highest = _LAYOUT.get_highest_equivalent_value(_LAYOUT.get_value_from_index(slot))
            found.append(highest / 1e6)
    return found or [0.0] * len(shares)


@attrs.frozen
class Summary:
    """What is to be said of latencies, in seconds."""

    count: int
    mean: float
    deviation: float
    least: float
    most: float
    percentiles: Mapping[float, float]

    def as_json(self) -> dict[str, Any]:
        """With the names that JSON has."""
        found: dict[str, Any] = {
            f"p{percentile:g}": value for percentile, value in self.percentiles.items()
        }
        return found | {
            "mean": self.mean,
            "stdev": self.deviation,
            "min": self.least,
            "max": self.most,
        }


def summarise(of: Any) -> Summary:
    """The summary of a histogram; all nought for an empty one."""
    count = of.get_total_count()
    if not count:
        return Summary(0, 0, 0, 0, 0, dict.fromkeys(PERCENTILES, 0.0))
    # In one pass; one for each takes 0.2 s.
    microseconds = of.get_percentile_to_value_dict(PERCENTILES)
    return Summary(
        count,
        of.get_mean_value() / 1e6,
        of.get_stddev() / 1e6,
        of.get_min_value() / 1e6,
        of.get_max_value() / 1e6,
        {share: microseconds[share] / 1e6 for share in PERCENTILES},
    )

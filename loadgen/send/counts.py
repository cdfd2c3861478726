"""Counts of how long answers took, in the buckets of HdrHistogram.

To record one value takes that library 2.6 µs, a third of the time of a whole request. So a
process counts batches into the same buckets with numpy (0.05 µs a value), and only the
result of a run is made an ``HdrHistogram``, see :mod:`loadgen.report.latencies`.

A slot is the index of a bucket's step in HdrHistogram's array of counts.
"""

from array import array
from typing import Any

import numpy as np

MOST_MICROSECONDS = 3_600_000_000
"""Longer times count as this one, an hour."""
DIGITS = 3
"""Significant digits that are kept of a time in microseconds."""

# Three digits make HdrHistogram give each bucket 2048 steps. The lower half of them is the
# bucket before, so each bucket adds 1024 slots.
_STEP_BITS = 11
_BUCKETS = MOST_MICROSECONDS.bit_length() - _STEP_BITS + 1
_SLOTS = (_BUCKETS + 1) << (_STEP_BITS - 1)


def _slots_of(values: Any) -> Any:
    """The slot of each value, in microseconds.

    Of a value of n bits the upper 11 are kept; its slot is these, plus 1024 for every bit lost.
    """
    _, bits = np.frexp(values.astype(np.float64))
    lost = np.maximum(bits - _STEP_BITS, 0)
    return (lost << (_STEP_BITS - 1)) + (values >> lost)


class Counts:
    """How often each slot was hit, in one process."""

    def __init__(self) -> None:
        self._counts = np.zeros(_SLOTS, np.int64)

    def add(self, nanoseconds: "array[int]") -> None:
        """Count values; less than a microsecond counts as none, more than an hour as one."""
        values = np.frombuffer(nanoseconds, np.int64) // 1000
        slots = _slots_of(np.minimum(np.maximum(values, 0), MOST_MICROSECONDS))
        self._counts += np.bincount(slots, minlength=_SLOTS)

    def take(self) -> list[tuple[int, int]]:
        """Slot and count of all that are counted, in order; then begin anew."""
        (slots,) = np.nonzero(self._counts)
        taken = list(zip(slots.tolist(), self._counts[slots].tolist(), strict=True))
        self._counts[:] = 0
        return taken

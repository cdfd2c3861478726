"""What is said of how long answers took: percentiles, mean, most."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from hdrh.histogram import HdrHistogram

from loadgen.send.counts import DIGITS, MOST_MICROSECONDS

PERCENTILES = (50, 75, 90, 95, 99, 99.9, 99.99)


def histogram() -> Any:
    """An empty histogram of microseconds."""
    return HdrHistogram(1, MOST_MICROSECONDS, DIGITS)


def record(into: Any, slots: Iterable[tuple[int, int]]) -> None:
    """Add counts by slot to a histogram."""
    for slot, count in slots:
        into.record_value(into.get_value_from_index(slot), count)


_LAYOUT = histogram()


def _at_least(total: int, share: float) -> int:
    """How many values lie at or below a percentile, rounded as HdrHistogram does."""
    return max(int(share * total / 100 + 0.5), 1)


def percentiles(slots: Iterable[tuple[int, int]], shares: Sequence[float]) -> list[float]:
    """What a histogram of these counts has at some percentiles, in seconds.

    The library walks all of its 23,000 slots for that, which takes 30 ms, too long for
    every interval of a run. Only a few hundred of them have a count.

    :param shares: per cent, rising.
    """
    ordered = sorted(slots)
    total = sum(count for _, count in ordered)
    found: list[float] = []
    seen = 0
    for slot, count in ordered:
        seen += count
        while len(found) < len(shares) and seen >= _at_least(total, shares[len(found)]):
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
    """The summary of a histogram; all zero for an empty one."""
    count = of.get_total_count()
    if not count:
        return Summary(0, 0, 0, 0, 0, dict.fromkeys(PERCENTILES, 0.0))
    # All in one pass: a pass for each percentile would take 0.2 s.
    microseconds = of.get_percentile_to_value_dict(PERCENTILES)
    return Summary(
        count,
        of.get_mean_value() / 1e6,
        of.get_stddev() / 1e6,
        of.get_min_value() / 1e6,
        of.get_max_value() / 1e6,
        {share: microseconds[share] / 1e6 for share in PERCENTILES},
    )

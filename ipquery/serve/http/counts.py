"""What a worker counts, in plain integers.

Counting must cost the fast way next to nothing: a look-up there takes a few microseconds, and a
counter of a metrics library 0.3 (measured). So answers on the fast way are only counted, and a
few of them are looked at: how long they took, and what they came to. Once a second the others
are shared out like these. What is taken from here once is handed over, and counted anew.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import TypeVar

from ipquery.metrics import DURATION, LOOKUPS, OPENED, RECEIVED, SENT, Metric

Labels = tuple[str, ...]
Key = tuple[str, Labels]
Value = float | list[float]
"""Of a histogram the number in each bucket, the last one without a bound, and then the sum."""
Entry = tuple[str, Labels, Value]

ONE_OF, ONE_OF_REPEATS = 64, 256
"""How many answers on the fast way stand behind one that is looked at."""

_METHODS = frozenset(
    ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "QUERY")
)

_Group = TypeVar("_Group")


def method_label(method: bytes) -> str:
    """A method, or what OpenTelemetry has for all that aren't known: callers may say anything."""
    name = method.decode("latin-1")
    return name if name in _METHODS else "_OTHER"


def shared_out(count: int, weights: Mapping[_Group, float]) -> dict[_Group, int]:
    """Whole numbers that come to ``count``, in proportion to the weights.

    What is left by rounding down goes to those that lost most by it.
    """
    whole = sum(weights.values())
    if not whole:
        return {}
    exact = {group: count * weight / whole for group, weight in weights.items()}
    shares = {group: int(share) for group, share in exact.items()}
    left = count - sum(shares.values())
    for group in sorted(exact, key=lambda group: shares[group] - exact[group])[:left]:
        shares[group] += 1
    return {group: share for group, share in shares.items() if share}


class Tally:
    """Answers of one method, route and status on the fast way; or addresses in batches.

    All are counted, and some are looked at. If none was since it was last taken, those before
    are what the others are taken to be like.
    """

    __slots__ = ("_before", "_labels", "_seen", "answered", "weighed")

    def __init__(self, labels: Labels = ()) -> None:
        """:param labels: of the durations; without them only look-ups are counted."""
        self.answered = 0
        """Since it was last taken."""
        self.weighed = 0
        """Those among them whose bytes are counted elsewhere."""
        self._labels = labels
        self._seen, self._before = _Seen(), _Seen()

    @property
    def is_known(self) -> bool:
        """Whether one was ever looked at, so that others can be taken to be like it."""
        return bool(self._seen.timed or self._before.timed)

    def time(self, seconds: float, weight: int) -> None:
        """One took so long.

        :param weight: how many it stands for.
        """
        seen = self._seen
        place = bisect_left(DURATION.bounds, seconds)
        seen.times[place] = seen.times.get(place, 0) + weight
        seen.timed += weight
        seen.seconds += seconds * weight

    def measure(self, seconds: float, received: int, sent: int, weight: int) -> None:
        """The same, of one with so many bytes."""
        self.time(seconds, weight)
        seen = self._seen
        seen.measured += weight
        seen.received += received * weight
        seen.sent += sent * weight

    def see(self, labels: Labels, weight: int) -> None:
        """One came to this.

        :param labels: outcome and country.
        """
        places = self._seen.places
        places[labels] = places.get(labels, 0) + weight

    def take(self, counts: "Counts") -> None:
        """Count what was answered since the last time."""
        count, weighed = self.answered, self.weighed
        if not count:
            return
        self.answered = self.weighed = 0
        seen = self._before = self._seen.or_else(self._before)
        self._seen = _Seen()
        for labels, share in shared_out(count, seen.places).items():
            counts.add(LOOKUPS, labels, share)
        if not self._labels:
            return
        buckets = [0.0] * (len(DURATION.bounds) + 2)
        for place, share in shared_out(count, seen.times).items():
            buckets[place] = share
        buckets[-1] = count * seen.seconds / seen.timed
        counts.add_values(DURATION, self._labels, buckets)
        if seen.measured:
            counts.received += round((count - weighed) * seen.received / seen.measured)
            counts.sent += round((count - weighed) * seen.sent / seen.measured)


class _Seen:
    """What was seen of those that were looked at, each as often as it stands for others."""

    __slots__ = ("measured", "places", "received", "seconds", "sent", "timed", "times")

    def __init__(self) -> None:
        self.places: dict[Labels, int] = {}
        self.times: dict[int, int] = {}
        self.timed = self.measured = self.received = self.sent = 0
        self.seconds = 0.0

    def or_else(self, before: "_Seen") -> "_Seen":
        """This, but what nothing was seen of from before."""
        if not self.places:
            self.places = before.places
        if not self.timed:
            self.times, self.timed, self.seconds = before.times, before.timed, before.seconds
        if not self.measured:
            self.measured = before.measured
            self.received, self.sent = before.received, before.sent
        return self


class Counts:
    """What one worker has counted since it was last taken."""

    def __init__(self) -> None:
        # What the fast way adds to, each an integer of its own.
        self.received = 0
        self.sent = 0
        self.opened = 0
        self._values: dict[Key, Value] = {}
        self._tallies: dict[Labels, Tally] = {}
        self._asked_before: list[Callable[[], object]] = []

    def before_taking(self, call: Callable[[], object]) -> None:
        """Have something add what it has counted by itself, each time before this is taken."""
        self._asked_before.append(call)

    def add(self, metric: Metric, labels: Labels = (), amount: float = 1) -> None:
        """Count."""
        key = metric.name, labels
        self._values[key] = self._values.get(key, 0) + amount  # type: ignore[operator] # a number

    def add_values(self, metric: Metric, labels: Labels, values: list[float]) -> None:
        """Add to the buckets of a histogram, and to its sum."""
        key = metric.name, labels
        self._values[key] = added(self._values.get(key), values)

    def observe(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        """Add a value to a histogram."""
        key = metric.name, labels
        values = self._values.get(key)
        if values is None:
            values = self._values[key] = [0.0] * (len(metric.bounds) + 2)
        assert isinstance(values, list)
        values[bisect_left(metric.bounds, value)] += 1
        values[-1] += value

    def tally(self, method: bytes, route: str, status: str) -> Tally:
        """What counts the answers on the fast way of a method, route and status."""
        labels = method_label(method), route, status
        found = self._tallies.get(labels)
        if found is None:
            found = self._tallies[labels] = Tally(labels)
        return found

    def take(self) -> list[Entry]:
        """What was counted since the last time."""
        for call in self._asked_before:
            call()
        for tally in self._tallies.values():
            tally.take(self)
        for metric, amount in (
            (RECEIVED, self.received),
            (SENT, self.sent),
            (OPENED, self.opened),
        ):
            if amount:
                self.add(metric, (), amount)
        self.received = self.sent = self.opened = 0
        values, self._values = self._values, {}
        return [(name, labels, value) for (name, labels), value in values.items()]


def added(before: Value | None, more: Value) -> Value:
    """Two values of a counter, or of a histogram, together."""
    if before is None:
        return more
    if isinstance(before, list) and isinstance(more, list):
        return [one + other for one, other in zip(before, more, strict=True)]
    assert not isinstance(before, list)
    assert not isinstance(more, list)
    return before + more

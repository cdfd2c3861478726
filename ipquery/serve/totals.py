"""Totals: what all workers of a node have counted, those that are gone included.

Workers hand over what they have counted since the last time, which is added up: so a figure
never goes back when a worker ends, however it does. What is so at a moment, such as how many
connections are open, each worker tells anew; it counts for as long as the worker lives.
"""

import json
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Any

import attrs

from ipquery.messages import MessageError
from ipquery.metrics import DURATION, Metric
from ipquery.serve.http.counts import Entry, Key, Labels, Value, added

WINDOW_SECONDS = 10
"""Over how long rates are told."""


@attrs.frozen
class Recent:
    """The requests of the last seconds."""

    seconds: float
    """Over how long they were counted; 0 if nothing was yet."""
    durations: list[float]
    """See :data:`~ipquery.serve.http.counts.Value`."""


@attrs.frozen
class Told:
    """Everything, as it is told to a worker that is asked for it."""

    entries: list[Entry]
    recent: Recent


class Totals:
    """The sum."""

    def __init__(self) -> None:
        self._values: dict[Key, Value] = {}
        self._gauges: dict[Hashable, list[Entry]] = {}
        self._history: deque[tuple[float, list[float]]] = deque(maxlen=WINDOW_SECONDS + 1)

    def add(self, metric: Metric, labels: Labels = (), amount: float = 1) -> None:
        """Count."""
        self._add((metric.name, labels, amount))

    def _add(self, entry: Entry) -> None:
        name, labels, value = entry
        self._values[name, labels] = added(self._values.get((name, labels)), value)

    def take(self, who: Hashable, handed_over: "HandedOver") -> None:
        """Add what a worker has counted, and note how it is with it now."""
        for entry in handed_over.counted:
            self._add(entry)
        self._gauges[who] = handed_over.gauges

    def forget(self, who: Hashable) -> None:
        """A worker is gone: what it had counted stays."""
        self._gauges.pop(who, None)

    def tick(self, now: float) -> None:
        """Another second has begun: rates are told from one to the next."""
        self._history.append((now, self._durations()))

    def _durations(self) -> list[float]:
        together = [0.0] * (len(DURATION.bounds) + 2)
        for (name, _), values in self._values.items():
            if name == DURATION.name and isinstance(values, list):
                together = [one + other for one, other in zip(together, values, strict=True)]
        return together

    def told(self) -> Told:
        """All of it."""
        gauges: dict[Key, Value] = {}
        for entries in self._gauges.values():
            for name, labels, value in entries:
                gauges[name, labels] = added(gauges.get((name, labels)), value)
        entries = [(*key, value) for key, value in [*self._values.items(), *gauges.items()]]
        return Told(entries, self._recent())

    def _recent(self) -> Recent:
        if len(self._history) < 2:
            return Recent(0.0, [])
        (begin, before), (end, after) = self._history[0], self._history[-1]
        return Recent(end - begin, [one - other for one, other in zip(after, before, strict=True)])


@attrs.frozen
class HandedOver:
    """What a worker tells once a second."""

    counted: list[Entry]
    """Since the last time."""
    gauges: list[Entry]
    """How it is now."""


# On the way between processes: JSON, as arrays. It is checked here and not by the codec of
# messages, which takes 30 times as long for lists of lists.


def encode_handed_over(one: HandedOver) -> str:
    """As text."""
    return json.dumps([one.counted, one.gauges])


def decode_handed_over(text: str) -> HandedOver:
    """
    :raises MessageError: it isn't what :func:`encode_handed_over` made.
    """
    counted, gauges = _parts(text, 2)
    return HandedOver(_entries(counted), _entries(gauges))


def encode_told(told: Told) -> str:
    """As text."""
    return json.dumps([told.entries, told.recent.seconds, told.recent.durations])


def decode_told(text: str) -> Told:
    """
    :raises MessageError: it isn't what :func:`encode_told` made.
    """
    entries, seconds, durations = _parts(text, 3)
    return Told(_entries(entries), Recent(seconds, durations))


def _parts(text: str, count: int) -> list[Any]:
    try:
        parts = json.loads(text)
    except ValueError:
        raise MessageError("figures that aren't JSON") from None
    if not isinstance(parts, list) or len(parts) != count:
        raise MessageError("figures in another form")
    return parts


def _entries(parts: Iterable[Any]) -> list[Entry]:
    try:
        return [(name, tuple(labels), value) for name, labels, value in parts]
    except (TypeError, ValueError):
        raise MessageError("figures in another form") from None

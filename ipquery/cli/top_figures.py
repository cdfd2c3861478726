"""What two scrapes of a node's ``/metrics`` tell: rates, latency, restarts."""

import math
from collections.abc import Callable, Mapping
from typing import Self

import attrs

from ipquery.metrics import DURATION, METRICS, STARTED, Metric

Labels = frozenset[tuple[str, str]]

# Nothing that is counted here comes near it; with what is beyond it sums and differences would
# no longer be finite numbers, and a node may say whatever it likes.
_LARGEST = 1e18

_COUNTED = frozenset(
    f"{metric.name}{suffix}"
    for metric in METRICS
    for suffix in {"counter": ("_total",), "histogram": ("_count", "_bucket")}.get(metric.kind, ())
)


@attrs.frozen
class Scrape:
    """What a node told at one time."""

    at: float
    """When, in seconds of a clock that only goes forward."""
    samples: Mapping[str, Mapping[Labels, float]]
    """By name, suffixes such as ``_total`` included."""

    @classmethod
    def parse(cls, text: str, at: float) -> Self:
        """
        :param text: in Prometheus's text format.
        :raises ValueError: it isn't that, or there is nothing of ipquery in it.
        """
        # Here, as it takes a tenth of a second that other commands needn't spend.
        from prometheus_client.parser import text_string_to_metric_families

        samples: dict[str, dict[Labels, float]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if abs(sample.value) <= _LARGEST:  # nor is it NaN
                        labels = frozenset(sample.labels.items())
                        samples.setdefault(sample.name, {})[labels] = sample.value
        except Exception:  # the parser doesn't say which it raises, and they are many
            raise ValueError("no text of Prometheus") from None
        if STARTED.name not in samples:
            raise ValueError("no figures of ipquery")
        return cls(at, samples)

    def of(self, name: str) -> Mapping[Labels, float]:
        """Its values by labels; none if it wasn't told."""
        return self.samples.get(name, {})

    def sums(self, name: str, label: str) -> dict[str, float]:
        """Its values, summed by one label."""
        return _sums(self.of(name), lambda labels: labels.get(label, ""))

    def one(self, name: str) -> float | None:
        """Its value, if it was told, and without labels."""
        return self.of(name).get(frozenset())


@attrs.frozen
class Reading:
    """The last scrape of a node, and the one before if rates can be told from both."""

    last: Scrape
    before: Scrape | None

    @property
    def seconds(self) -> float:
        """Between the two."""
        return self.last.at - self.before.at if self.before else 0.0

    def rates(self, metric: Metric, label: str = "") -> dict[str, float] | None:
        """How much was counted a second, summed by a label; ``None`` if that can't be told.

        :param metric: a counter, or a histogram, of which the number is meant.
        """
        return self.rates_by(metric, lambda labels: labels.get(label, ""))

    def rates_by(
        self, metric: Metric, key: Callable[[Mapping[str, str]], str]
    ) -> dict[str, float] | None:
        """The same, summed by what the function makes of the labels."""
        name = f"{metric.name}_{'count' if metric.kind == 'histogram' else 'total'}"
        grown = self._grown(name)
        if grown is None:
            return None
        return {one: value / self.seconds for one, value in _sums(grown, key).items()}

    def rate(self, metric: Metric) -> float | None:
        """How much was counted a second, altogether."""
        rates = self.rates(metric)
        return None if rates is None else sum(rates.values())

    def quantile(self, metric: Metric, share: float) -> float | None:
        """What this share of the histogram's events between the scrapes stayed below, as
        Prometheus's ``histogram_quantile`` has it; ``None`` if there were none.
        """
        grown = self._grown(f"{metric.name}_bucket")
        by_bound = _sums(grown or {}, lambda labels: labels.get("le", ""))
        buckets = sorted((_bound(text), count) for text, count in by_bound.items())
        return quantile(buckets, share)

    def _grown(self, name: str) -> dict[Labels, float] | None:
        if self.before is None or self.seconds <= 0:
            return None
        old = self.before.of(name)
        return {labels: new - old.get(labels, 0.0) for labels, new in self.last.of(name).items()}


def reading(before: Scrape | None, last: Scrape) -> Reading:
    """The two, or the last alone if the node restarted in between."""
    return Reading(last, None if before is None or restarted(before, last) else before)


def restarted(before: Scrape, last: Scrape) -> bool:
    """Whether the counters began anew: another start is told, or one went back."""
    if before.one(STARTED.name) != last.one(STARTED.name):
        return True
    return any(
        last.of(name).get(labels, 0.0) < value
        for name in _COUNTED
        for labels, value in before.of(name).items()
    )


def quantile(buckets: list[tuple[float, float]], share: float) -> float | None:
    """What a share of all stayed below: between the bounds of a bucket as if all in it were
    spread evenly, and the highest bound there is for what was beyond that.

    :param buckets: upper bound, and how many were below it; in order, infinity last.
    """
    whole = buckets[-1][1] if buckets else 0.0
    if whole <= 0:
        return None
    rank = whole * share
    lower, below = 0.0, 0.0
    for upper, count in buckets:
        if math.isinf(upper):
            break
        if count >= rank and count > below:
            return lower + (upper - lower) * (rank - below) / (count - below)
        lower, below = upper, count
    return lower


def route_and_class(labels: Mapping[str, str]) -> str:
    """The route of a request, and the first digit of its status: ``/v1/ip/{ip} 2xx``."""
    route = labels.get("http_route") or "(no route)"
    return f"{route} {labels.get('http_response_status_code', '')[:1] or '?'}xx"


def is_error(status: str) -> bool:
    """Whether it is the node that failed: 501 says that no database has a record."""
    return status.startswith("5") and status != "501"


def error_rate(node: Reading) -> tuple[float, float] | None:
    """Errors a second, and their share of all requests."""
    rates = node.rates(DURATION, "http_response_status_code")
    if rates is None:
        return None
    errors = sum(rate for status, rate in rates.items() if is_error(status))
    whole = sum(rates.values())
    return errors, errors / whole if whole else 0.0


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf


def _sums(
    values: Mapping[Labels, float], key: Callable[[Mapping[str, str]], str]
) -> dict[str, float]:
    sums: dict[str, float] = {}
    for labels, value in values.items():
        name = key(dict(labels))
        sums[name] = sums.get(name, 0.0) + value
    return sums

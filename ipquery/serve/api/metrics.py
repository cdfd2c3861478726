"""``/metrics``: what was counted, as Prometheus reads it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from ipquery.metrics import METRICS, Metric
from ipquery.serve.api.negotiation import preferred
from ipquery.serve.http.counts import Entry, Labels, Value
from ipquery.serve.http.reply import Reply

PATH = "/metrics"


@attrs.frozen
class _Form:
    media: str
    version: str
    render: Callable[[Any], bytes]

    @property
    def content_type(self) -> bytes:
        return f"{self.media}; version={self.version}; charset=utf-8".encode()


_FORMS = (
    _Form("text/plain", "0.0.4", generate_latest),
    _Form("application/openmetrics-text", "1.0.0", generate_openmetrics),
)
MEDIA = tuple(one.media for one in _FORMS)


def reply(entries: Iterable[Entry], accept: str | None) -> Reply:
    """The answer, in the text format, or in OpenMetrics for those who like it better.

    :param accept: the value of Accept. Whoever accepts neither gets text: a person who looks.
    """
    form = _FORMS[preferred(accept, MEDIA) or 0]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(entries))
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    return Reply(200, form.render(registry), headers, form.content_type)


class _Collected:
    """Entries as the families that prometheus_client writes."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._values: dict[str, list[tuple[Labels, Value]]] = {}
        for name, labels, value in entries:
            self._values.setdefault(name, []).append((labels, value))

    def collect(self) -> Iterator[Family]:
        """What isn't known by its name isn't told: it is of another version's worker."""
        for metric in METRICS:
            values = self._values.get(metric.name)
            if values:
                yield _family(metric, sorted(values, key=lambda one: one[0]))
            elif metric.kind == "counter" and not metric.labels:
                # What hasn't happened yet has happened 0 times.
                yield _family(metric, [((), 0)])


def _family(metric: Metric, values: Sequence[tuple[Labels, Value]]) -> Family:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
        for labels, buckets in values:
            assert isinstance(buckets, list)
            histogram.add_metric(labels, *_cumulated(metric.bounds, buckets))
        return histogram
    if metric.kind == "info":
        info = InfoMetricFamily(metric.name, metric.text)
        for labels, _ in values:
            info.add_metric([], dict(zip(metric.labels, labels, strict=True)))
        return info
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.text, labels=metric.labels)
    for labels, value in values:
        assert not isinstance(value, list)
        family.add_metric(labels, value)
    return family


def _cumulated(
    bounds: Sequence[float], values: Sequence[float]
) -> tuple[list[tuple[str, float]], float]:
    """Buckets as Prometheus has them, each with those below it; and the sum."""
    *counts, whole = values
    buckets, below = [], 0.0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        below += count
        buckets.append((bound, below))
    return buckets, whole

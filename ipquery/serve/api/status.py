"""``/v1/status``: how the node is doing, for the page and for whoever looks."""

import json
from collections.abc import Sequence
from typing import Any

from ipquery.metrics import DURATION, RESTARTS, STARTED, WORKERS
from ipquery.rfc3339 import timestamp
from ipquery.serve.http.reply import Reply
from ipquery.serve.totals import Told

PATH = "/v1/status"


def reply(told: Told, identity: str, loaded: float, now: float) -> Reply:
    """The answer."""
    body = json.dumps(status(told, identity, loaded, now)).encode()
    return Reply(200, body, {"Cache-Control": "no-store"})


def status(told: Told, identity: str, loaded: float, now: float) -> dict[str, Any]:
    """What is told.

    :param identity: of the snapshot.
    :param loaded: when it began to answer, in seconds since the epoch.
    :param now: likewise.
    """
    numbers = {
        (name, labels): value for name, labels, value in told.entries if not isinstance(value, list)
    }
    started = numbers.get((STARTED.name, ()))
    workers = {state: numbers.get((WORKERS.name, (state,)), 0) for state in ("configured", "ready")}
    restarts = sum(value for (name, _), value in numbers.items() if name == RESTARTS.name)
    seconds, durations = told.recent.seconds, told.recent.durations
    answered = sum(durations[:-1])
    return {
        "snapshot": identity,
        "loaded": timestamp(loaded),
        "uptime_seconds": None if started is None else max(int(now - started), 0),
        "workers": {**{name: int(value) for name, value in workers.items()},
                    "restarts": int(restarts)},
        "window_seconds": round(seconds, 1),
        "requests_per_second": round(answered / seconds, 2) if seconds else None,
        "latency_seconds": {
            "p50": quantile(durations, 0.5),
            "p99": quantile(durations, 0.99),
        },
    }  # fmt: skip


def quantile(values: Sequence[float], share: float) -> float | None:
    """What so many stayed below, as Prometheus's ``histogram_quantile`` has it: between the
    bounds of a bucket as if all in it were spread evenly.

    :param values: see :data:`~ipquery.serve.http.counts.Value`.
    :returns: seconds; ``None`` if there is nothing.
    """
    counts = values[:-1]
    rank = sum(counts) * share
    if not rank:
        return None
    below, lower = 0.0, 0.0
    for upper, count in zip(DURATION.bounds, counts, strict=False):
        if below + count >= rank:
            # Two digits: there is no more in it.
            return float(f"{lower + (upper - lower) * (rank - below) / count:.2g}")
        below, lower = below + count, upper
    return lower

"""The table that ``ipquery top`` shows: a row for each figure, a column for each node."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from ipquery.cli.text import padded, printable, width
from ipquery.cli.top_figures import Reading, error_rate, route_and_class
from ipquery.metrics import (
    ACTIVE,
    BREAKERS,
    BUILD,
    CACHE,
    CONNECTIONS,
    DROPPED,
    DURATION,
    FALLBACK,
    LAG,
    LIMITS,
    LOADED,
    LOOKUPS,
    OPENED,
    RECEIVED,
    REFUSALS,
    RELOAD_OK,
    RELOADS,
    RESTARTS,
    SENT,
    SNAPSHOT,
    SOURCE_DATE,
    STARTED,
    WORKERS,
    Metric,
)

# A node may tell of more routes and sources than a screen has lines.
_MOST_ROWS = 12
_MOST_COLUMNS = 40
_UNKNOWN = "-"
# Above it callers notice; the alert in conf/prometheus has the same.
_LATE_SECONDS = 0.1


def fitted(text: str) -> str:
    """The text as a column may have it: printable, its begin and ``...`` if it is too long."""
    # Of what is beyond nothing will be shown, and there may be megabytes of it.
    text = printable(text[: _MOST_COLUMNS + 1])
    if width(text) <= _MOST_COLUMNS:
        return text
    while width(text) > _MOST_COLUMNS - 3:
        text = text[:-1]
    return f"{text}..."


@attrs.frozen
class Cell:
    """One text, fitted."""

    text: str = attrs.field(converter=fitted)
    is_bad: bool = False
    """Somebody should look."""


@attrs.frozen
class Node:
    """A node as it was last seen."""

    name: str
    reading: Reading | None
    """``None``: it is down, or hasn't answered yet."""
    state: str
    """In words."""
    is_down: bool = False


Row = tuple[str, Sequence[Cell | None]]
_Cells = Mapping[str, Cell]


def table(nodes: Sequence[Node], now: float) -> Iterator[Row]:
    """The rows: what the figure is, and what it is at each node.

    :param now: seconds since the epoch.
    """
    yield "state", [Cell(node.state, node.is_down) for node in nodes]
    for section in _SECTIONS:
        told = [section(node.reading, now) if node.reading else {} for node in nodes]
        for label in dict.fromkeys(label for cells in told for label in cells):
            yield fitted(label), [cells.get(label) for cells in told]


def plain(nodes: Sequence[Node], now: float) -> Iterator[str]:
    """The table in lines of text."""
    rows: list[list[str]] = [["", *(fitted(node.name) for node in nodes)]]
    for label, cells in table(nodes, now):
        rows.append([label, *(cell.text if cell else "" for cell in cells)])
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        parts = [padded(text, columns) for text, columns in zip(row, widths, strict=True)]
        yield "  ".join(parts).rstrip()


def number(value: float | None) -> str:
    """To read at a glance: 1,234 and 5.6, no more digits than tell something."""
    if value is None:
        return _UNKNOWN
    return f"{value:,.1f}" if 0 < abs(value) < 100 and value != round(value) else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """As us, ms or s."""
    if seconds is None:
        return _UNKNOWN
    if seconds < 0.001:
        return f"{seconds * 1e6:.3g} us"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def age(seconds: float) -> str:
    """In the largest unit of which there are two at least."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _a_second(value: float | None) -> str:
    return f"{number(value)}/s"


def _requests(node: Reading, now: float) -> _Cells:
    errors = error_rate(node)
    failed, share = errors or (None, 0.0)
    rates = node.rates_by(DURATION, route_and_class) or {}
    busy = sorted((one for one in rates.items() if one[1] > 0), key=lambda one: -one[1])
    cells = {
        "requests": Cell(_a_second(node.rate(DURATION))),
        "latency p50": Cell(duration(node.quantile(DURATION, 0.5))),
        "latency p99": Cell(duration(node.quantile(DURATION, 0.99))),
        "errors": Cell(f"{_a_second(failed)} ({share:.2%})" if errors else _UNKNOWN, bool(failed)),
    }
    for name, rate in busy[:_MOST_ROWS]:
        cells[f"  {name}"] = Cell(_a_second(rate))
    if rest := busy[_MOST_ROWS:]:
        cells["  others"] = Cell(_a_second(sum(rate for _, rate in rest)))
    return cells


def _work(node: Reading, now: float) -> _Cells:
    limits = _some_rates(node, LIMITS, "limit")
    late = node.quantile(LAG, 0.99)
    return {
        "limits hit": Cell(limits, limits not in ("none", _UNKNOWN)),
        "look-ups": Cell(_some_rates(node, LOOKUPS, "outcome")),
        "connections": Cell(
            f"{number(node.last.one(CONNECTIONS.name))} ({_a_second(node.rate(OPENED))} new)"
        ),
        "requests in flight": Cell(number(node.last.one(ACTIVE.name) or 0.0)),
        "bytes in, out": Cell(f"{_a_second(node.rate(RECEIVED))}, {_a_second(node.rate(SENT))}"),
        "loop lag p99": Cell(duration(late), late is not None and late > _LATE_SECONDS),
    }


def _fleet(node: Reading, now: float) -> _Cells:
    workers = node.last.sums(WORKERS.name, "state")
    ready, wanted = workers.pop("ready", 0.0), workers.pop("configured", 0.0)
    others = "".join(f", {number(one)} {state}" for state, one in workers.items() if one)
    accepted = node.last.one(RELOAD_OK.name)
    refusals = _totals(node, REFUSALS, "reason")
    cells = {
        "workers ready": Cell(f"{number(ready)} of {number(wanted)}{others}", ready < wanted),
        "restarts": Cell(_totals(node, RESTARTS, "reason"), bool(node.rate(RESTARTS))),
        "reloads": Cell(_totals(node, RELOADS, "outcome")),
        "refusals": Cell(refusals, accepted == 0),
    }
    if accepted is not None:
        cells["last reload"] = Cell("done" if accepted else "changed nothing", not accepted)
    return cells


def _data(node: Reading, now: float) -> _Cells:
    # Enough of it to see whether nodes have the same.
    identities = ", ".join(one[:16] for one in node.last.sums(f"{SNAPSHOT.name}_info", "identity"))
    loaded = node.last.one(LOADED.name)
    cells = {"snapshot": Cell(identities or _UNKNOWN)}
    if loaded is not None:
        cells["  loaded"] = Cell(f"{age(now - loaded)} ago")
    for source, date in list(node.last.sums(SOURCE_DATE.name, "source").items())[:_MOST_ROWS]:
        cells[f"  {source}"] = Cell(f"{age(now - date)} old")
    return cells


def _upstreams(node: Reading, now: float) -> _Cells:
    states: dict[str, list[tuple[str, float]]] = {}
    for labels, workers in node.last.of(BREAKERS.name).items():
        told = dict(labels)
        one = told.get("state", ""), workers
        states.setdefault(told.get("upstream", ""), []).append(one)
    cells = {}
    for upstream, known in sorted(states.items())[:_MOST_ROWS]:
        text = _listed(f"{number(workers)} {state}" for state, workers in sorted(known) if workers)
        is_bad = any(workers and state != "closed" for state, workers in known)
        cells[f"breaker {upstream}"] = Cell(text, is_bad)
    if node.last.of(f"{CACHE.name}_total"):
        cells["cache"] = Cell(_some_rates(node, CACHE, "outcome"))
    if node.last.of(f"{FALLBACK.name}_total"):
        cells["remote sources"] = Cell(_some_rates(node, FALLBACK, "outcome"))
    return cells


def _log(node: Reading, now: float) -> _Cells:
    return {"log lines dropped": Cell(_totals(node, DROPPED, "log"), bool(node.rate(DROPPED)))}


_SECTIONS: Sequence[Callable[[Reading, float], _Cells]] = (
    _requests, _work, _fleet, _data, _upstreams, _log,
)  # fmt: skip


def state_of(node: Reading, now: float) -> str:
    """That it answers: since when, and which version."""
    since = node.last.one(STARTED.name)
    version = ", ".join(node.last.sums(f"{BUILD.name}_info", "version"))
    return (
        f"up {age(now - since) if since is not None else ''} {version and f'({version})'}".strip()
    )


def _some_rates(node: Reading, metric: Metric, label: str) -> str:
    """Those that aren't 0, the highest first."""
    rates = node.rates(metric, label)
    if rates is None:
        return _UNKNOWN
    some = sorted((one for one in rates.items() if one[1] > 0), key=lambda one: -one[1])
    return _listed(f"{name} {_a_second(rate)}" for name, rate in some)


def _totals(node: Reading, metric: Metric, label: str) -> str:
    """How many there were since the daemon started, by the label."""
    totals = node.last.sums(f"{metric.name}_total", label)
    return _listed(f"{number(value)} {name}".strip() for name, value in totals.items() if value)


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts) or "none"

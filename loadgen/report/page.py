"""Results as one HTML page that needs nothing else, and fits a phone."""

import math
from collections.abc import Sequence
from html import escape

from loadgen.report.charts import Line, legend, lines
from loadgen.report.result import Moment, Result
from loadgen.report.text import duration, size

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 1rem;
  overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
svg { width: 100%; height: auto; display: block; font-size: 13px; }
svg text { fill: currentColor; } svg .grid { stroke: currentColor; opacity: .15; }
svg polyline { fill: none; stroke-width: 2; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: right; padding: .15rem .3rem; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
.figures { display: flex; flex-wrap: wrap; gap: .6rem 1.6rem; padding: 0; list-style: none; }
.figures b { display: block; font-size: 1.3rem; }
.note { border-left: 4px solid #c2562d; padding: .3rem .8rem; }
.legend span { margin-right: 1rem; } .legend i { display: inline-block; width: .8rem;
  height: .8rem; margin-right: .3rem; }
"""

# More points than a phone has pixels are no use.
_MOST_POINTS = 600


def page(title: str, body: str) -> str:
    """A whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    head, *rest = rows
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rest
    )
    return f"<table><tr>{cells}</tr>{body}</table>"


def figures(of: Sequence[tuple[str, str]]) -> str:
    """What is looked at first."""
    items = "".join(f"<li>{escape(name)}<b>{escape(value)}</b></li>" for name, value in of)
    return f'<ul class="figures">{items}</ul>'


def as_html(result: Result) -> str:
    """The page of a run."""
    plan, latency = result.plan, result.latency
    loop = "closed loop" if plan.rate is None else f"{plan.rate:,g} requests/s wanted"
    parts = [
        f"<p>{escape(plan.target.url)}: {plan.connections:,} connections, {plan.processes} "
        f"processes, {result.seconds:.1f} s, {loop}</p>",
        figures(
            [
                ("requests/s", f"{result.rate:,.0f}"),
                ("p50", duration(latency.percentiles[50])),
                ("p99", duration(latency.percentiles[99])),
                ("failed", f"{result.failed:,}"),
                ("mismatches", f"{result.mismatches:,}" if plan.expect else "not checked"),
            ]
        ),
        *(f'<p class="note">{escape(warning)}</p>' for warning in result.warnings),
        "<h2>Latency distribution</h2>",
        _distribution(result),
    ]
    moments = result.moments[:: math.ceil(len(result.moments) / _MOST_POINTS) or 1]
    if moments:
        parts += _over_time(moments)
    parts.append("<h2>Counts</h2>")
    parts.append(table(_counts(result)))
    if result.samples:
        rows = [["address", "expected", "status", "got"]]
        rows += (
            [str(sample[name]) for name in ("address", "expected", "status", "got")]
            for sample in result.samples
        )
        parts += ["<h2>Mismatches, the first of them</h2>", table(rows)]
    return page("ipquery-load", "\n".join(parts))


# The usual axis of HdrHistogram's plots: each step a tenth of what was left.
_SHARES = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)


def _distribution(result: Result) -> str:
    if not result.answered:
        return "<p>No answers.</p>"
    # The last step of which there is at least one answer
    last = max(share for share in _SHARES if result.answered * (100 - share) >= 100)
    nines = -math.log10(1 - last / 100)
    shares = [100 * (1 - 10 ** (-nines * place / 60)) for place in range(61)]
    values = result.histogram.get_percentile_to_value_dict(shares)
    points = [(-math.log10(1 - share / 100), values[share] / 1e6) for share in shares]
    marks = [(-math.log10(1 - share / 100), f"{share:g}%") for share in _SHARES if share <= last]
    chart = lines([Line("latency", points)], marks, duration, "Latency by percentile")
    rows = [["percentile", "latency"]]
    rows += (
        [f"{share:g} %", duration(value)] for share, value in result.latency.percentiles.items()
    )
    rows.append(["max", duration(result.latency.most)])
    return chart + table(rows)


def _over_time(moments: Sequence[Moment]) -> list[str]:
    end = moments[-1].begin + moments[-1].seconds
    marks = [(end * part / 4, f"{end * part / 4:.3g} s") for part in range(5)]

    def rate(name: str, of: str) -> Line:
        points = [(one.begin + one.seconds / 2, getattr(one, of) / one.seconds) for one in moments]
        return Line(name, points)

    def values(name: str, of: str) -> Line:
        return Line(name, [(one.begin + one.seconds / 2, getattr(one, of)) for one in moments])

    rates = [rate("answered", "answered"), rate("sent", "sent")]
    latencies = [values("p50", "p50"), values("p99", "p99"), values("max", "most")]
    return [
        "<h2>Rate over time, requests/s</h2>",
        lines(rates, marks, title="Rate over time"),
        f'<p class="legend">{legend([one.name for one in rates])}</p>',
        "<h2>Latency over time</h2>",
        lines(latencies, marks, duration, "Latency over time"),
        f'<p class="legend">{legend([one.name for one in latencies])}</p>',
        "<h2>Errors over time, failed requests/s</h2>",
        lines([rate("failed", "failed")], marks, title="Errors over time"),
    ]


def _counts(result: Result) -> list[list[str]]:
    rows = [
        ["what", "count"],
        ["sent", f"{result.sent:,}"],
        ["answered", f"{result.answered:,}"],
        ["failed", f"{result.failed:,}"],
        ["in flight at the end", f"{result.in_flight:,}"],
        ["due, but not sent", f"{result.unsent:,}"],
        ["connections not made", f"{result.failed_connects:,}"],
        ["read", size(result.bytes_read)],
        ["answers checked", f"{result.checked:,}"],
        ["mismatches", f"{result.mismatches:,}"],
    ]
    rows += ([f"status {status}", f"{n:,}"] for status, n in sorted(result.statuses.items()))
    rows += ([f"failed: {reason}", f"{n:,}"] for reason, n in result.reasons.items())
    return rows

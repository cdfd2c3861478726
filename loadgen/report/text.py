"""A result as text, after wrk's manner."""

from collections.abc import Iterator

from loadgen.report.result import Result


def duration(seconds: float) -> str:
    """A time in the unit that suits it: ``1.23ms``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.2f}{unit}"
    return f"{seconds * 1e6:.0f}us"


def size(number: float) -> str:
    """A number of bytes, as wrk has it: ``12.34MB``."""
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1024 or unit == "GB":
            break
        number /= 1024
    return f"{number:.2f}{unit}"


_BLOCKS = " ▏▎▍▌▋▊▉█"


def bar(share: float, width: int = 40) -> str:
    """A bar that is so much of a width."""
    eighths = round(max(0.0, min(share, 1.0)) * width * 8)
    full, part = divmod(eighths, 8)
    return "█" * full + (_BLOCKS[part] if part else "")


def as_text(result: Result) -> str:
    """The result, for a terminal."""
    return "\n".join(_lines(result))


def _lines(result: Result) -> Iterator[str]:
    plan, latency = result.plan, result.latency
    loop = "closed loop" if plan.rate is None else f"{plan.rate:,g} requests/s wanted"
    yield f"Running {plan.seconds:g}s test @ {plan.target.url}"
    yield f"  {plan.processes} processes and {plan.connections} connections, {loop}"
    yield (
        f"  Latency   avg {duration(latency.mean)}   stdev {duration(latency.deviation)}   "
        f"max {duration(latency.most)}"
        + ("   counted from when a request was due" if plan.rate is not None else "")
    )
    yield "  Latency Distribution"
    for share, seconds in latency.percentiles.items():
        yield f"  {f'{share:g}%':>7}  {duration(seconds):>9}"
    yield f"  {result.answered:,} requests in {result.seconds:.2f}s, {size(result.bytes_read)} read"
    yield (
        f"  sent {result.sent:,} = answered {result.answered:,} + failed {result.failed:,} "
        f"+ in flight at the end {result.in_flight:,}"
    )
    if result.statuses:
        statuses = ", ".join(f"{status}: {n:,}" for status, n in sorted(result.statuses.items()))
        yield f"  Statuses other than 200: {statuses}"
    for reason, count in result.reasons.items():
        yield f"  Failed: {count:,} x {reason}"
    if result.failed_connects:
        yield f"  Connections that could not be made: {result.failed_connects:,}"
    if plan.expect is not None:
        yield f"  Checked {result.checked:,} answers: {result.mismatches:,} mismatches"
        for sample in result.samples:
            yield (
                f"    {sample['address']}: expected {sample['expected']}, "
                f"got {sample['status']} {sample['got']}"
            )
    yield f"Requests/sec: {result.rate:>12.2f}"
    yield f"Transfer/sec: {size(result.bytes_read / result.seconds):>12}"
    for warning in result.warnings:
        yield f"NOTE: {warning}"

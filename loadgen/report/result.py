"""What a run has found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from loadgen.report.latencies import Summary, histogram, percentiles, record, summarise
from loadgen.send.messages import Done, Interval
from loadgen.send.plan import Plan

# A process that ran, or waited for a core, for this share of the time was at its limit: it
# sent when it could, and not when it should.
_BUSY = 0.95
# The generator was the limit of an open loop if its own lateness has a p99 above this.
_LATE_SECONDS = 0.005
# An open loop has had its rate if this share of what was due was sent.
_SENT = 0.98
# Seconds for which requests may be without an answer at the end and not be mentioned: they
# were only just sent.
_UNNOTICED = 0.1


@attrs.frozen
class Moment:
    """An interval of a run."""

    begin: float
    """Seconds since the run began."""
    seconds: float
    sent: int
    answered: int
    failed: int
    p50: float
    p99: float
    most: float


@attrs.frozen
class Result:
    """A run. Times in seconds."""

    plan: Plan
    seconds: float
    sent: int
    answered: int
    failures: Mapping[str, int]
    reasons: Mapping[str, int]
    statuses: Mapping[int, int]
    """Answers, and refusals, by status, other than 200."""
    in_flight: int
    unsent: int
    oldest: float
    connections: int
    failed_connects: int
    bytes_read: int
    mismatches: int
    samples: Sequence[Mapping[str, Any]]
    latency: Summary
    histogram: Any
    moments: Sequence[Moment]
    busy: Sequence[float]
    """Of each process, the share of the time that it ran or waited for a core."""
    late: Summary
    """How late the generator was, in an open loop."""

    @property
    def failed(self) -> int:
        """Requests without a proper answer."""
        return sum(self.failures.values())

    @property
    def checked(self) -> int:
        """Answers compared with the snapshot."""
        return self.answered if self.plan.expect is not None else 0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds

    @property
    def generator_limit(self) -> str | None:
        """Why the generator, not the server, held this result down; ``None`` if it didn't."""
        tired = [share for share in self.busy if share >= _BUSY]
        if self.plan.rate is not None:
            late = self.late.percentiles[99]
            if late > _LATE_SECONDS:
                return f"it sent up to {late * 1e3:,.1f} ms late (p99) by its own fault"
            if not self.unsent:
                return None
        if tired:
            return (
                f"{len(tired)} of its {len(self.busy)} processes had no time left "
                f"({max(tired):.0%} of a core wanted)"
            )
        return None

    @property
    def warnings(self) -> list[str]:
        """What the reader of the figures must know."""
        said = []
        limit = self.generator_limit
        if limit:
            said.append(
                f"The generator was the bottleneck, not the server: {limit}. "
                "Give it more processes (-t) on cores that the server doesn't use."
            )
        if self.unsent:
            said.append(
                f"{self.unsent:,} requests were due and could not be sent, as all "
                f"{self.plan.connections:,} connections waited for answers: this server, on so "
                "many connections, does not keep up with the rate."
            )
        if self.plan.rate is not None and self.oldest > max(self.latency.most, _UNNOTICED):
            said.append(
                f"What was unanswered at the end had waited for up to {self.oldest:.1f} s, "
                "which the latencies don't show."
            )
        if self.connections < self.plan.connections:
            said.append(
                f"Only {self.connections:,} of {self.plan.connections:,} connections could be "
                "made at the beginning."
            )
        return said

    @property
    def keeps_up(self) -> bool:
        """Whether an open loop has had its rate, and a good answer for everything."""
        due = self.sent + self.unsent
        return not self.failed and not self.mismatches and self.sent >= _SENT * due

    def as_json(self) -> dict[str, Any]:
        """The result, for JSON."""
        plan = attrs.asdict(self.plan)
        del plan["target"], plan["number"]
        return {
            "url": self.plan.target.url,
            "plan": plan,
            "seconds": self.seconds,
            "requests": self.sent,
            "answered": self.answered,
            "failed": self.failed,
            "in_flight": self.in_flight,
            "unsent": self.unsent,
            "requests_per_second": self.rate,
            "bytes_per_second": self.bytes_read / self.seconds,
            "latency_seconds": self.latency.as_json(),
            "failures": dict(self.failures),
            "reasons": dict(self.reasons),
            "statuses": {"200": self._found, **{str(k): v for k, v in self.statuses.items()}},
            "failed_connects": self.failed_connects,
            "checked": self.checked,
            "mismatches": self.mismatches,
            "mismatch_samples": list(self.samples),
            "oldest_unanswered_seconds": self.oldest,
            "generator": {
                "busy": list(self.busy),
                "late_seconds": self.late.as_json(),
                "is_bottleneck": self.generator_limit is not None,
            },
            "warnings": self.warnings,
            "intervals": [attrs.asdict(moment) for moment in self.moments],
            "hdrhistogram": self.histogram.encode().decode(),
        }

    @property
    def _found(self) -> int:
        refused = self.failures.get("status", 0)
        return self.answered + refused - sum(self.statuses.values())


def combine(
    plan: Plan,
    connections: int,
    length: float,
    intervals: Sequence[Sequence[Interval]],
    done: Sequence[Done],
) -> Result:
    """One result from what the processes have said.

    :param connections: how many were made at the beginning.
    :param length: seconds of an interval.
    :param intervals: of each process.
    """
    whole, late = histogram(), histogram()
    for one in done:
        record(late, one.late)
    seconds = max(one.seconds for one in done)
    moments = []
    for number in range(max(len(each) for each in intervals)):
        parts = [each[number] for each in intervals if number < len(each)]
        moment = _moment(number * length, min(length, seconds - number * length), parts, whole)
        if moment is not None:
            moments.append(moment)
    return Result(
        plan=plan,
        seconds=seconds,
        sent=sum(one.sent for one in done),
        answered=sum(one.answered for one in done),
        failures=_total(one.failures for one in done),
        reasons=_total(one.reasons for one in done),
        statuses={int(status): n for status, n in _total(one.statuses for one in done).items()},
        in_flight=sum(one.in_flight for one in done),
        unsent=sum(one.unsent for one in done),
        oldest=max(one.oldest for one in done),
        connections=connections,
        failed_connects=sum(one.failed_connects for one in done),
        bytes_read=sum(one.bytes_read for one in done),
        mismatches=sum(one.mismatches for one in done),
        samples=[sample for one in done for sample in one.samples][:10],
        latency=summarise(whole),
        histogram=whole,
        moments=moments,
        busy=[one.busy + one.waited for one in done],
        late=summarise(late),
    )


def _moment(begin: float, seconds: float, parts: Sequence[Interval], whole: Any) -> Moment | None:
    here: Counter[int] = Counter()
    for part in parts:
        record(whole, part.slots)
        here.update(dict(part.slots))
    # A run ends a moment after its last interval. What is left is too short for a rate.
    if seconds < 0.01:
        return None
    p50, p99, most = percentiles(here.items(), (50, 99, 100))
    return Moment(
        begin,
        seconds,
        sum(part.sent for part in parts),
        sum(part.answered for part in parts),
        sum(part.failed for part in parts),
        p50,
        p99,
        most,
    )


def _total(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total.most_common())

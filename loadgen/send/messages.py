"""What a run and its worker processes say to each other, as lines over pipes."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ipquery.messages import Codec

READ_FROM, WRITE_TO = 3, 4
"""Descriptors of a worker: for what it is told, and for what it has to say."""

Slots = Sequence[tuple[int, int]]
"""Slots and counts of latencies, see :mod:`loadgen.send.counts`."""


# To a worker


@attrs.frozen
class Prepare:
    """Make the connections of a plan, see :class:`loadgen.send.plan.Plan`."""

    plan: str
    interval: float
    """Seconds between two reports."""


@attrs.frozen
class Begin:
    """Ask from a time of the monotonic clock on, in nanoseconds."""

    at: int


@attrs.frozen
class Stop:
    """Stop before the time is up."""


# From a worker


@attrs.frozen
class Refused:
    """The plan can't be done."""

    reason: str


@attrs.frozen
class Connected:
    """As many connections are made as could be."""

    usable: int
    failed: int
    reason: str


@attrs.frozen
class Interval:
    """What happened since the last report."""

    number: int
    sent: int
    answered: int
    failed: int
    slots: Slots


@attrs.frozen
class Done:
    """All that happened in the run; latencies are told by intervals."""

    seconds: float
    sent: int
    answered: int
    failures: Mapping[str, int]
    reasons: Mapping[str, int]
    statuses: Mapping[str, int]
    in_flight: int
    unsent: int
    """Requests that were due, and still waited for a free connection when the time was up."""
    oldest: float
    """Seconds since the oldest request without an answer was due, or 0."""
    failed_connects: int
    bytes_read: int
    mismatches: int
    samples: Sequence[Mapping[str, Any]]
    busy: float
    """Share of the time that the process ran on a core."""
    waited: float
    """Share of the time that it was ready to run, but waited for a core."""
    late: Slots
    """How late the process itself was, each time that requests were due."""


CODEC = Codec(Prepare, Begin, Stop, Refused, Connected, Interval, Done)

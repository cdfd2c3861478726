"""Whether an autoscaler keeps up with a load that grows.

Second by second: the load, in what pods can do at most, and the pods that answer. What comes beyond
them waits, and who would wait for more than a second has failed: so nginx has it
(proxy_read_timeout).
"""

import math
from collections import deque

import attrs

from loadgen.measure.scale.inputs import Autoscaler, Growth

_STEP = 1.0
_PATIENCE = 1.0
_AFTERWARDS = 600.0


@attrs.frozen
class Kept:
    """How it went, from when the load began to grow until ten minutes after it had grown."""

    utilisation: float
    """The highest, of the pods that answered; at most 1."""
    busy_seconds: float
    """Time in which they were at 1."""
    failed: float
    """Share of the requests that would have waited for more than a second."""
    pods: int
    """In the end."""


def wanted(scaler: Autoscaler, pods: int, utilisation: float) -> int:
    """How many pods there are to be: the rule of the HorizontalPodAutoscaler."""
    ratio = utilisation / scaler.target
    count = pods if abs(ratio - 1) <= scaler.tolerance else math.ceil(pods * ratio - 1e-9)
    # Its default for growing: twice as many, or four more, whatever is more, each time.
    return max(scaler.least, min(count, scaler.most, max(2 * pods, pods + 4)))


def keep_up(scaler: Autoscaler, growth: Growth) -> Kept:
    """Let the load grow."""
    pods = planned = scaler.pods
    coming: deque[tuple[float, int]] = deque()
    used: list[float] = []
    load, backlog, highest, busy = pods * scaler.target, 0.0, 0.0, 0.0
    asked = failed = 0.0
    steps = round((growth.over_seconds + _AFTERWARDS) / _STEP)
    for number in range(steps):
        now = number * _STEP
        while coming and coming[0][0] <= now:
            pods = coming.popleft()[1]
        grown = min(1.0, now / growth.over_seconds) if growth.over_seconds else 1.0
        load = scaler.pods * scaler.target * (1 + (growth.times - 1) * grown)
        utilisation = min(1.0, (load * _STEP + backlog) / (pods * _STEP))
        backlog = max(0.0, backlog + (load - pods) * _STEP)
        lost = max(0.0, backlog - _PATIENCE * pods)
        backlog -= lost
        asked, failed = asked + load * _STEP, failed + lost
        highest, busy = max(highest, utilisation), busy + _STEP * (utilisation == 1.0)
        used.append(utilisation * pods)
        if now and now % scaler.every == 0:
            # The mean of the last seconds that it knows of. Pods that it knows nothing of yet count
            # as idle, so that it doesn't ask twice for the same ones.
            end = max(1, len(used) - round((scaler.behind - scaler.every) / _STEP))
            known = used[max(0, end - round(scaler.every / _STEP)) : end]
            count = wanted(scaler, planned, sum(known) / len(known) / planned)
            if count > planned:
                planned = count
                coming.append((now + scaler.ready, count))
    return Kept(highest, busy, failed / asked, planned)

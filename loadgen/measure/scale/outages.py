"""What callers see when nodes are lost: who fails, and who waits.

Requests come at random moments. Whatever stands in front deals them out to the nodes that it takes
for alive. It notices after a while that a node is gone, each host of it for itself; who is sent to
such a node until then fails, or, where the front asks another node, waits.
"""

import attrs
import numpy as np
from numpy.typing import NDArray

from loadgen.measure.scale.drawing import Chance, Floats, between, exponential, one_of
from loadgen.measure.scale.inputs import Front

# Times that each outage happens, and how many are looked at of the requests that come then.
EVENTS, COUNT = 100, 4000


@attrs.frozen
class Outage:
    """Some nodes lost at the same time."""

    nodes: int
    lost: int
    silent: bool
    """Whether they say nothing, as a host without power; else connections to them are refused."""
    back: tuple[float, ...] = ()
    """Seconds after which they are back, one of these; none if they stay away."""


@attrs.frozen
class Outcome:
    """Shares of all requests in the time looked at."""

    failed: float
    waited: float
    """Answered, but by another node after the first had said nothing."""
    longest: float
    """Seconds that the unluckiest of those who were answered waited for silent nodes."""


def simulate(
    chance: Chance,
    outage: Outage,
    front: Front,
    rate: float,
    seconds: float,
    events: int = EVENTS,
    count: int = COUNT,
) -> Outcome:
    """What becomes of the requests in the first ``seconds`` after nodes were lost, in the mean.

    :param rate: requests a second, of all callers.
    """
    found = [_once(chance, outage, front, rate, seconds, count) for _ in range(events)]
    return Outcome(
        failed=sum(one.failed for one in found) / events,
        waited=sum(one.waited for one in found) / events,
        longest=max(one.longest for one in found),
    )


def _once(
    chance: Chance, outage: Outage, front: Front, rate: float, seconds: float, count: int
) -> Outcome:
    left_alone, back = _noticed(chance, outage, front, rate)
    asked = between(chance, (0, seconds), count)
    hosts = (chance.random(count) * front.hosts).astype(np.int64)
    now, waited = asked.copy(), np.full(count, np.nan)
    tried = np.zeros((count, outage.nodes), bool)
    pending = np.arange(count)
    for _ in range(front.tries):
        nodes = _choose(chance, tried, left_alone, hosts, now, pending)
        # Who is left with no node to ask has failed.
        pending, nodes = pending[nodes >= 0], nodes[nodes >= 0]
        tried[pending, nodes] = True
        dead = (nodes < outage.lost) & (now[pending] < back[nodes])
        answered, pending = pending[~dead], pending[dead]
        waited[answered] = now[answered] - asked[answered]
        now[pending] += front.silence if outage.silent else 0
        pending = pending[now[pending] - asked[pending] < front.gives_up]
    probes = _probes(outage, front, left_alone, back, seconds) / (rate * seconds)
    return Outcome(
        failed=float(np.mean(np.isnan(waited))),
        waited=float(np.mean(waited > 0)) + probes,
        longest=float(np.nanmax(waited, initial=0)),
    )


def _noticed(chance: Chance, outage: Outage, front: Front, rate: float) -> tuple[Floats, Floats]:
    """When each host of the front leaves each node alone, and when each node is back."""
    lost, shape = outage.lost, (front.hosts, outage.lost)
    noticed = np.full((front.hosts, outage.nodes), np.inf)
    if front.failures:
        # By requests that failed: so many of its own, one after the other.
        apart = front.hosts * outage.nodes / rate
        spent = sum(exponential(chance, apart, shape) for _ in range(front.failures))
        noticed[:, :lost] = spent + (front.silence if outage.silent else 0)
    else:
        by_node = between(chance, front.silent if outage.silent else front.refused, lost)
        noticed[:, :lost] = by_node + between(chance, (0, front.lingers), shape)
    back = np.full(outage.nodes, np.inf)
    if outage.back:
        back[:lost] = one_of(chance, outage.back, lost)
    return noticed, back


def _choose(
    chance: Chance,
    tried: NDArray[np.bool_],
    left_alone: Floats,
    hosts: NDArray[np.int64],
    now: Floats,
    of: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Any node for each request that wasn't tried and isn't left alone; -1 for none."""
    keys = chance.random((len(of), tried.shape[1]))
    barred = tried[of] | (left_alone[hosts[of]] <= now[of, None])
    keys[barred] = -1
    nodes: NDArray[np.int64] = keys.argmax(axis=1)
    nodes[barred.all(axis=1)] = -1
    return nodes


def _probes(
    outage: Outage, front: Front, left_alone: Floats, back: Floats, seconds: float
) -> float:
    """Requests by which a front that learns from them finds out whether a node is back."""
    if not (front.failures and outage.silent):
        return 0
    until = np.minimum(back[: outage.lost], seconds)
    spans = np.maximum(until - left_alone[:, : outage.lost], 0)
    return float(np.sum(spans // (front.left_alone + front.silence)))

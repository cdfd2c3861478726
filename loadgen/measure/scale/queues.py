"""How long requests wait for a worker.

Each worker has a socket of its own, and the kernel deals connections out to them: so a node is not
one queue before many workers but as many queues as it has workers. One of them is simulated,
exactly, by Lindley's recursion (1952): who comes waits for what whoever came before waited and
took, less the time between the two.
"""

import math
from collections.abc import Sequence

import attrs
import numpy as np

from loadgen.measure.scale.drawing import Chance, Floats, exponential, one_of

# Enough for a p99 that is the same to two digits for another seed, up to nine tenths of a core.
COUNT = 2_000_000


def waits(service: Floats, gaps: Floats) -> Floats:
    """How long each request waits until the worker begins with it, in seconds.

    :param service: how long the worker takes for each.
    :param gaps: how long after the one before each comes; that of the first counts for nothing.
    """
    steps = np.concatenate(([0.0], service[:-1] - gaps[1:]))
    walked = np.cumsum(steps)
    found: Floats = walked - np.minimum.accumulate(walked)
    return found


@attrs.frozen
class Waiting:
    """What callers of a worker see, in seconds, the worker's own time included."""

    mean: float
    p50: float
    p99: float


def waiting(
    chance: Chance, service: Sequence[float], utilisation: float, count: int = COUNT
) -> Waiting:
    """Ask a worker at random moments, as many independent callers do.

    :param service: what requests take, each as likely.
    :param utilisation: the share of the worker's time that they take, below 1.
    """
    taken = one_of(chance, service, count)
    gaps = exponential(chance, math.fsum(service) / len(service) / utilisation, count)
    seen = waits(taken, gaps) + taken
    p50, p99 = np.percentile(seen, (50, 99))
    return Waiting(float(np.mean(seen)), float(p50), float(p99))

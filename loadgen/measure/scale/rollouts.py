"""What a bad snapshot does, by how it gets to the nodes.

Every node asks for a new snapshot now and then, each at its own moment. Where nobody notices that
it is bad, all have it after one such interval. What counts is wrong answers: the share of wrong
ones that a bad snapshot gives, times the time for which nodes gave them.
"""

import attrs
import numpy as np

from loadgen.measure.scale.drawing import Chance, Floats, between, exponential
from loadgen.measure.scale.inputs import Rollout

COUNT = 20_000
DAY = 86_400.0


@attrs.frozen
class Harm:
    """Wrong answers, as shares of a day's, over many roll-outs."""

    mean: float
    p95: float
    reached: float
    """How often it got to all nodes."""
    lasted: float
    """Mean time from the first wrong answer to the last, in seconds."""


def _harm(rollout: Rollout, node_seconds: Floats, lasted: Floats, reached: float) -> Harm:
    wrong = rollout.wrong * node_seconds / rollout.nodes / DAY
    return Harm(
        float(np.mean(wrong)), float(np.percentile(wrong, 95)), reached, float(np.mean(lasted))
    )


def _taken(chance: Chance, rollout: Rollout, count: int) -> Floats:
    """When each node takes what is offered from time 0 on."""
    shape = (count, rollout.nodes)
    late = between(chance, (0, rollout.jitter), shape)
    return between(chance, (0, rollout.every), shape) + late


def everywhere(chance: Chance, rollout: Rollout, count: int = COUNT) -> Harm:
    """All nodes take it as soon as they ask, until callers notice, and take the old one back so."""
    has, has_not = _taken(chance, rollout, count), _taken(chance, rollout, count)
    noticed = has.max(axis=1) + exponential(chance, rollout.noticed, count) + rollout.decided
    gone = noticed[:, None] + has_not
    return _harm(rollout, (gone - has).sum(axis=1), gone.max(axis=1) - has.min(axis=1), 1.0)


def canary(chance: Chance, rollout: Rollout, count: int = COUNT) -> Harm:
    """Some nodes have it first, and are watched; if nobody finds anything, all others follow."""
    found = chance.random(count) < rollout.found
    # Found while it is watched, at any moment; a canary is rolled back by whoever watches it.
    until = between(chance, (0, rollout.watched), count) + rollout.decided
    alone = rollout.canaries * until
    has, has_not = _taken(chance, rollout, count), _taken(chance, rollout, count)
    has += rollout.watched
    has[:, : rollout.canaries] = 0
    noticed = has.max(axis=1) + exponential(chance, rollout.noticed, count) + rollout.decided
    gone = noticed[:, None] + has_not
    node_seconds = np.where(found, alone, (gone - has).sum(axis=1))
    lasted = np.where(found, until, gone.max(axis=1))
    return _harm(rollout, node_seconds, lasted, float(np.mean(~found)))

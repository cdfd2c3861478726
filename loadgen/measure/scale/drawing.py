"""Numbers by chance, the same for the same seed.

All come from :meth:`numpy.random.Generator.random` by arithmetic: numpy keeps that as it is, while
what its other distributions draw may change from one version to the next (NEP 19).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Chance = np.random.Generator

Shape = int | tuple[int, ...]


def chance_of(seed: int, *which: int) -> Chance:
    """Chance of its own for each ``which``, so that no table depends on those before it."""
    return np.random.Generator(np.random.PCG64([seed, *which]))


def between(chance: Chance, bounds: tuple[float, float], shape: Shape) -> Floats:
    """Evenly spread between two bounds."""
    low, high = bounds
    return low + (high - low) * chance.random(shape)


def exponential(chance: Chance, mean: float, shape: Shape) -> Floats:
    """Times between what happens independently, ``mean`` apart."""
    return -mean * np.log1p(-chance.random(shape))


def one_of(chance: Chance, measured: Sequence[float], shape: Shape) -> Floats:
    """One of what was measured, each as likely."""
    places = (chance.random(shape) * len(measured)).astype(np.int64)
    drawn: Floats = np.asarray(measured, np.float64)[places]
    return drawn

"""Distances on the earth."""

import numpy as np
from numpy.typing import NDArray

from ipquery.data.ranges import Column

_EARTH = 6371.0088
"""Mean radius of the earth in kilometres (IUGG)."""


def kilometres(
    latitude: Column, longitude: Column, other_latitude: Column, other_longitude: Column
) -> NDArray[np.float64]:
    """Great-circle distances between points given in degrees, by the haversine formula."""
    north, other_north = np.radians(latitude), np.radians(other_latitude)
    east = np.radians(other_longitude - longitude)
    half = (
        np.sin((other_north - north) / 2) ** 2
        + np.cos(north) * np.cos(other_north) * np.sin(east / 2) ** 2
    )
    # Rounding may carry antipodes beyond 1.
    apart: NDArray[np.float64] = 2 * _EARTH * np.arcsin(np.sqrt(np.minimum(half, 1)))
    return apart

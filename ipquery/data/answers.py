"""Answers: what a snapshot is written from.

An answer is a pair of a place and an owner. DB-IP's 425,234 places and
ip2region's owners make 1,187,758 different pairs: each half is kept and
serialised once, and they are joined when somebody asks.

Both halves are named tuples, not attrs classes: half a million frozen ones take a second
longer to make and to number.
"""

from collections.abc import Sequence
from typing import NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data.ranges import Column

NOTHING = 0
"""The number of the place, or owner, that isn't known."""

NO_SOURCE = -1
"""Where a field comes from if no source says it."""


class Place(NamedTuple):
    """Where an address is; the fields are those of :class:`~ipquery.data.record.Record`.

    ``country_from``, ``province_from`` and ``city_from`` are numbers of sources, from 0
    in the order in which the build names them, or :data:`NO_SOURCE`. The country's
    source gave the continent, too; the province's the ISO 3166-2 code; the city's
    all that is finer: district, postal code, coordinates, radius and time zone.
    """

    country: str | None = None
    country_code: str | None = None
    province: str | None = None
    province_code: str | None = None
    city: str | None = None
    city_code: str | None = None
    continent_code: str | None = None
    subdivision_code: str | None = None
    district: str | None = None
    postal_code: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    accuracy_radius: int | None = None
    time_zone: str | None = None
    country_from: int = NO_SOURCE
    province_from: int = NO_SOURCE
    city_from: int = NO_SOURCE


class Owner(NamedTuple):
    """Whose an address is. ``asn_from`` is the source of the AS organisation, too."""

    org: str | None = None
    isp: str | None = None
    asn: int | None = None
    as_org: str | None = None
    org_from: int = NO_SOURCE
    isp_from: int = NO_SOURCE
    asn_from: int = NO_SOURCE


@attrs.frozen(eq=False)
class AnswerSteps:
    """A whole address space of one IP version, cut where the answer changes.

    ``start[0]`` is the first address of the space, see
    :data:`ipquery.data.ranges.KEY` for the type; an answer holds up to the next
    start. ``place`` and ``owner`` count from 1 in the lists of :class:`Answers`;
    :data:`NOTHING` in both means that no source has a record.
    """

    version: int
    start: Column
    place: NDArray[np.uint32]
    owner: NDArray[np.uint32]


@attrs.frozen(eq=False)
class Answers:
    """Everything that a snapshot can answer. Places and owners are different from each other."""

    places: Sequence[Place]
    owners: Sequence[Owner]
    v4: AnswerSteps
    v6: AnswerSteps

"""How much a blend knows: what ``ipquery info`` tells of it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ipquery.data.answers import NOTHING, Answers, AnswerSteps, Owner, Place
from ipquery.data.ranges import sorted_unique
from ipquery.data.sizes import Mask, Sizes

_PLACE_LEVELS: dict[str, Callable[[Place], bool]] = {
    "country": lambda place: place.country is not None or place.country_code is not None,
    "province": lambda place: place.province is not None,
    "city": lambda place: place.city is not None,
    "coordinates": lambda place: place.latitude is not None,
}
_OWNER_LEVELS: dict[str, Callable[[Owner], bool]] = {
    "provider": lambda owner: owner.org is not None or owner.isp is not None,
    "asn": lambda owner: owner.asn is not None,
}


def coverage(answers: Answers) -> dict[str, Any]:
    """Counts of ranges and addresses: of all that is answered, and of each level.

    ``codes`` tells how many ranges name a country, or in China a province and a city,
    and have its code.
    """
    versions = {"ipv4": answers.v4, "ipv6": answers.v6}
    known = {name: _known(steps) for name, steps in versions.items()}
    sizes = {name: Sizes.of_steps(steps.version, steps.start) for name, steps in versions.items()}
    levels: dict[str, Any] = {}
    for level, place_test in _PLACE_LEVELS.items():
        has_place = _flags(answers.places, place_test)
        levels[level] = {
            name: _counts(sizes[name], has_place[steps.place]) for name, steps in versions.items()
        }
    for level, owner_test in _OWNER_LEVELS.items():
        has_owner = _flags(answers.owners, owner_test)
        levels[level] = {
            name: _counts(sizes[name], has_owner[steps.owner]) for name, steps in versions.items()
        }
    return {
        "answers": _different(answers),
        "places": len(answers.places),
        "owners": len(answers.owners),
        "ranges": {name: int(mask.sum()) for name, mask in known.items()},
        "addresses": {name: sizes[name].total(mask) for name, mask in known.items()},
        "levels": levels,
        "codes": _codes(answers, known),
    }


def _known(steps: AnswerSteps) -> Mask:
    known: Mask = (steps.place != NOTHING) | (steps.owner != NOTHING)
    return known


def _flags(values: Sequence[Any], test: Callable[[Any], bool]) -> Mask:
    """Whether each place, or owner, passes a test, by its number."""
    return np.array([False, *map(test, values)])


def _counts(sizes: Sizes, mask: Mask) -> dict[str, int]:
    return {"ranges": int(mask.sum()), "addresses": sizes.total(mask)}


def _different(answers: Answers) -> int:
    """How many different answers there are."""
    pairs = np.concatenate(
        [
            steps.place.astype(np.uint64) << np.uint64(32) | steps.owner
            for steps in (answers.v4, answers.v6)
        ]
    )
    return int((sorted_unique(pairs) != 0).sum())


def _has(places: Sequence[Place], field: str) -> Mask:
    return np.array([False, *(getattr(place, field) is not None for place in places)])


def _codes(answers: Answers, known: dict[str, Mask]) -> dict[str, dict[str, int]]:
    count = len(answers.places) + 1
    ranges = np.bincount(answers.v4.place[known["ipv4"]], minlength=count) + np.bincount(
        answers.v6.place[known["ipv6"]], minlength=count
    )
    chinese = _flags(answers.places, lambda place: place.country_code == "CN")
    shares = {}
    for field in ("country", "province", "city"):
        asked = np.ones(count, bool) if field == "country" else chinese
        named = asked & _has(answers.places, field)
        coded = named & _has(answers.places, f"{field}_code")
        shares[field] = {
            "ranges": int(ranges[asked].sum()),
            "named": int(ranges[named].sum()),
            "coded": int(ranges[coded].sum()),
        }
    return shares

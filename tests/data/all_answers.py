"""Answers of every kind for snapshots, as hypothesis draws them."""

import numpy as np
from hypothesis import strategies as st

from ipquery.data.answers import NO_SOURCE, Answers, AnswerSteps, Owner, Place
from ipquery.data.ranges import KEY, to_key
from tests.data.tables import LAST

SOURCES = ("ip2region", 'a "quoted" \\ name', "资料")

_texts = (
    st.none()
    | st.sampled_from(("中国", "a", '"', "\\", "\n", 'é,"', "城市"))
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)

_degrees = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.just(0.1 + 0.2)

_sources = st.integers(NO_SOURCE, len(SOURCES) - 1)

_TEXTS_OF_PLACE = (
    "country", "country_code", "province", "province_code", "city", "city_code",
    "continent_code", "subdivision_code", "district", "postal_code", "time_zone",
)  # fmt: skip

places = st.builds(
    Place,
    **dict.fromkeys(_TEXTS_OF_PLACE, _texts),
    latitude=_degrees,
    longitude=_degrees,
    accuracy_radius=st.none() | st.integers(0, 20_000),
    **dict.fromkeys(("country_from", "province_from", "city_from"), _sources),
)

owners = st.builds(
    Owner,
    org=_texts,
    isp=_texts,
    asn=st.none() | st.integers(0, 2**32 - 1),
    as_org=_texts,
    **dict.fromkeys(("org_from", "isp_from", "asn_from"), _sources),
)


@st.composite
def _steps(draw: st.DrawFn, version: int, places: int, owners: int) -> AnswerSteps:
    near = st.integers(0, LAST[version]) | st.builds(
        # Where the index and the halves of numbers change
        lambda high, shift, by: min((high << shift) + by, LAST[version]),
        st.integers(0, 2**16 - 1),
        st.sampled_from((0, 8, 16) if version == 4 else (0, 64, 112)),
        st.integers(0, 2),
    )
    starts = sorted({0, *draw(st.lists(near, max_size=12))})
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, places), st.integers(0, owners)),
            min_size=len(starts),
            max_size=len(starts),
        )
    )
    place, owner = np.array(pairs, np.uint32).T
    start = np.array([to_key(version, number) for number in starts], KEY[version])
    return AnswerSteps(version, start, place, owner)


@st.composite
def all_answers(draw: st.DrawFn) -> Answers:
    some = draw(st.lists(places, max_size=4, unique=True))
    others = draw(st.lists(owners, max_size=4, unique=True))
    v4, v6 = (draw(_steps(version, len(some), len(others))) for version in (4, 6))
    return Answers(some, others, v4, v6)

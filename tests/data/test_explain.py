"""Explanations are the blend's own decisions."""

from hypothesis import given
from hypothesis import strategies as st

from ipquery.address import to_text
from ipquery.data.blend import explain as explaining
from ipquery.data.blend.blend import blend
from ipquery.data.blend.explain import LEVELS, explain
from ipquery.data.blend.policy import METHODS, Policy
from ipquery.data.record import Record
from tests.data.blending import Lookup, everywhere, prepared
from tests.data.test_blend import CHINESE, ENGLISH, World, worlds


@given(worlds(), st.sampled_from(METHODS))
def test_what_is_explained_is_what_is_answered(world: World, method: str) -> None:
    ready = prepared(world.given, Policy(method))
    lookup = Lookup(blend(ready))
    for version, number in world.addresses():
        explanation = explain(ready, to_text(version, number))
        place, owner = lookup.at(version, number)
        assert (explanation.place, explanation.owner) == (place, owner)
        for level in LEVELS:
            source = getattr(place, f"{level}_from", getattr(owner, f"{level}_from", None))
            chosen = [
                k
                for k, one in enumerate(explanation.heard)
                if one.outcome[level] == explaining.CHOSEN
            ]
            assert chosen == ([] if source == -1 else [source])


def test_what_became_of_what_each_says() -> None:
    english = everywhere(ENGLISH, "english")
    american = everywhere(Record(country="US", province="California", isp="-"), "american")
    heard = explain(prepared([everywhere(CHINESE, "chinese"), english, american]), "1.2.3.4").heard
    assert [one.source for one in heard] == ["chinese", "english", "american"]
    assert [one.record for one in heard] == [CHINESE, ENGLISH, american.records[0]]
    assert [one.outcome["country"] for one in heard] == [
        explaining.CHOSEN,
        explaining.AGREES,
        explaining.OTHER_COUNTRY,
    ]
    assert [one.outcome["province"] for one in heard] == [
        explaining.CHOSEN,
        explaining.AGREES,
        explaining.OTHER_COUNTRY,
    ]
    assert [one.outcome["city"] for one in heard] == [
        explaining.AGREES,
        explaining.CHOSEN,
        explaining.NOTHING_SAID,
    ]
    assert [one.outcome["isp"] for one in heard] == [
        explaining.CHOSEN,
        explaining.NOTHING_SAID,
        explaining.SET_ASIDE,
    ]


def test_what_another_province_says_is_set_aside() -> None:
    elsewhere = everywhere(Record(country="中国", province="山西", city="太原"))
    heard = explain(prepared([everywhere(CHINESE), elsewhere]), "::ffff:1.2.3.4").heard
    assert heard[1].outcome["province"] == explaining.OTHER_PROVINCE
    assert heard[1].outcome["city"] == explaining.OTHER_PROVINCE


def test_under_first_the_others_are_not_asked() -> None:
    both = [everywhere(CHINESE), everywhere(ENGLISH)]
    explanation = explain(prepared(both, Policy("first")), "1.2.3.4")
    assert explanation.heard[1].outcome["country"] == explaining.NOT_FIRST
    assert explanation.owner.asn is None

"""Explanations are the blend's own decisions."""

from hypothesis import given
from hypothesis import strategies as st

from ipquery.address import to_text
from ipquery.data.answers import NO_SOURCE, Owner, Place
from ipquery.data.blend import explain as explaining
from ipquery.data.blend.blend import blend
from ipquery.data.blend.explain import Explanation, explain, to_document
from ipquery.data.blend.policy import FORMS as HK_MO_TW
from ipquery.data.blend.policy import LANGUAGES, METHODS, Policy
from ipquery.data.record import FIELDS_OF, Record
from tests.data.blending import Given, Lookup, everywhere, given_of, prepared, source
from tests.data.tables import addresses_of_interest
from tests.data.worlds import CHINESE, ENGLISH, FORMS, World, worlds


@given(worlds(), st.sampled_from(METHODS))
def test_what_is_explained_is_what_is_answered(world: World, method: str) -> None:
    ready = prepared(world.given, Policy(method))
    lookup = Lookup(blend(ready))
    for version, number in world.addresses():
        _check(explain(ready, to_text(version, number)), *lookup.at(version, number))


def _check(explanation: Explanation, place: Place, owner: Owner) -> None:
    """It explains this answer, and names for each level the source that the answer names."""
    assert (explanation.place, explanation.owner) == (place, owner)
    for level in FIELDS_OF:
        source = getattr(place, f"{level}_from", getattr(owner, f"{level}_from", None))
        chosen = [
            k for k, one in enumerate(explanation.heard) if one.outcome[level] == explaining.CHOSEN
        ]
        assert chosen == ([] if source == NO_SOURCE else [source])


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


@given(
    given_of(FORMS, "one"),
    given_of(FORMS, "two"),
    st.builds(Policy, st.sampled_from(METHODS), st.sampled_from((None, *LANGUAGES)),
              st.sampled_from((None, *HK_MO_TW))),
)  # fmt: skip
def test_what_has_many_forms_is_explained_as_it_is_answered(
    one: Given, other: Given, policy: Policy
) -> None:
    ready = prepared([one, other], policy)
    lookup = Lookup(blend(ready))
    for version in (4, 6):
        for number in addresses_of_interest(version, one.rows[version], other.rows[version]):
            if version == 6 and number >> 32 == 0xFFFF:
                continue  # an IPv4 address, in text
            _check(explain(ready, to_text(version, number)), *lookup.at(version, number))


def test_a_document_holds_what_each_says_and_what_was_chosen() -> None:
    ready = prepared([everywhere(CHINESE, "chinese"), everywhere(ENGLISH, "english")])
    document = to_document(ready, "1.2.3.4", explain(ready, "1.2.3.4"))
    assert document["ip"] == "1.2.3.4"
    assert document["levels"]["city"] == {
        "answer": {
            "city": "Shangqiu",
            "city_code": "411400",
            "latitude": 34.45,
            "longitude": 115.65,
            "time_zone": "Asia/Shanghai",
        },
        "from": "english",
        "said": [
            {"source": "chinese", "says": {"city": "商丘市"}, "outcome": explaining.AGREES},
            {
                "source": "english",
                "says": {
                    "city": "Shangqiu",
                    "latitude": 34.45,
                    "longitude": 115.65,
                    "time_zone": "Asia/Shanghai",
                },
                "outcome": explaining.CHOSEN,
            },
        ],
    }
    assert document["levels"]["org"] == {
        "answer": {},
        "from": None,
        "said": [
            {"source": name, "says": {}, "outcome": explaining.NOTHING_SAID}
            for name in ("chinese", "english")
        ],
    }


def test_a_source_without_a_record_says_nothing() -> None:
    nearby = Given(source("nearby"), [ENGLISH], {4: [(0, 5, 0)]})
    heard = explain(prepared([everywhere(CHINESE), nearby]), "0.0.0.6").heard[1]
    assert heard.record is None
    assert set(heard.outcome.values()) == {explaining.NOTHING_SAID}
    assert explain(prepared([everywhere(CHINESE), nearby]), "0.0.0.5").heard[1].record == ENGLISH


def test_two_that_name_no_city_do_not_agree_on_one() -> None:
    placed = [
        everywhere(Record(country_code="US", province="Ohio", latitude=40.0, longitude=longitude))
        for longitude in (-82.0, -83.0)
    ]
    heard = explain(prepared(placed), "1.2.3.4").heard
    assert [one.outcome["city"] for one in heard] == [explaining.CHOSEN, explaining.NOT_CHOSEN]

"""Objects: what /v1/ip says, in every language, selection and form."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed

from ipquery import Snapshot, open_snapshot
from ipquery.address import parse, to_text
from ipquery.data.answers import Answers
from ipquery.data.record import FIELDS, Record
from ipquery.data.snapshot.objects import Often
from ipquery.data.snapshot.spoken import names_by_code
from ipquery.serve.api.negotiation import Media, choose, is_unchanged
from ipquery.serve.api.problems import Problem
from ipquery.serve.api.selection import MEMBERS, NESTED, SOURCED, Selection, parse_selection
from ipquery.serve.api.settings import ApiSettings
from ipquery.serve.api.v1 import V1
from ipquery.serve.http.fast import Find
from ipquery.serve.http.reply import after_date
from ipquery.serve.http.settings import ClientSettings
from ipquery.serve.lookup.resolver import Cached, Opinion, Resolver
from ipquery.special import is_special
from tests.data.all_answers import all_answers
from tests.data.builder import write, write_snapshot
from tests.data.tables import RECORDS, addresses_of_interest
from tests.serve.http.connection import Connection, Response, Server, get
from tests.serve.sample import PLACES, sample


@pytest.fixture(params=[True, False], ids=["fast", "routes"])
def express(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def connection(express: bool) -> Connection:
    return Server(express=express).connect()


def _object(db: Snapshot, ip: str) -> dict[str, Any]:
    """What is said of an address, by way of :meth:`Snapshot.match`.

    One with a special purpose is nowhere, whatever a database says.
    """
    match = db.match(ip)
    is_public = match.kind == "public"
    record = (match.record if is_public else None) or Record()
    return {
        "ip": match.ip,
        "kind": match.kind,
        "network": match.network,
        "range": {"first": match.first, "last": match.last},
        **{name: getattr(record, name) for name in FIELDS},
        "sources": dict(match.sources) if is_public else {},
        "snapshot": db.identity,
    }


def _object_finder(db: Snapshot, finds_unknown: bool = True) -> Find:
    v1 = V1(db)
    return v1.finder(v1.rendition(Selection(), Media.JSON), finds_unknown)


# The object


@given(all_answers(), st.booleans())
def test_an_object_says_what_match_does(answers: Answers, finds_unknown: bool) -> None:
    path = write(Path(f"/dev/shm/ipquery-v1-{os.getpid()}.ipq"), answers, ["a", "b", "c"])
    try:
        with open_snapshot(path) as db:
            find = _object_finder(db, finds_unknown)
            for version in (4, 6):
                rows = [(first, last, 0) for first, last, _ in db.ranges(version)]
                for number in addresses_of_interest(version, rows):
                    text = to_text(version, number)
                    known = db.answer_number(*parse(text))
                    for _ in range(2):  # the second time it is kept
                        found = find(text.encode())
                        if not (known or finds_unknown or is_special(*parse(text))):
                            assert found is None
                            continue
                        assert found is not None
                        given = json.loads(found)
                        assert given == _object(db, text)
                        assert list(given) == list(MEMBERS)
                        assert list(given["sources"]) == list(_object(db, text)["sources"])
    finally:
        path.unlink()


@given(st.binary(max_size=20) | st.sampled_from((b"1.2.3", b"01.2.3.4", b"1.2.3.4\0", b"::g")))
def test_what_is_no_address_is_not_found(text: bytes) -> None:
    find = _object_finder(sample())
    try:
        parse(text.decode())
    except ValueError:
        assert find(text) is None


def test_objects_kept_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipquery.serve.api.v1._KEPT_BYTES", 1)
    find = _object_finder(sample())
    for ip in ["1.2.3.4", "1.0.0.0", "9.9.9.9", "1.9.9.9", "2000::1"] * 3:
        found = find(ip.encode())
        assert found is not None
        assert json.loads(found) == _object(sample(), ip)


_ASKED_OFTEN = (
    "1.2.3.4", "1.2.3.5", "1.0.0.0", "9.9.9.9", "10.1.2.3", "255.255.255.255",
    "2000::1", "2000:0::1", "::ffff:1.2.3.4", "fe80::1",
)  # fmt: skip


@given(
    st.lists(st.sampled_from(MEMBERS), max_size=5, unique=True),
    st.sampled_from((None, b"text/plain", b"text/csv")),
    st.sampled_from((b"", b"lang=en", b"lang=zh")),
    st.lists(st.sampled_from(_ASKED_OFTEN), max_size=40),
    st.sampled_from((0, 600, 2000, 1 << 20)),
)
def test_what_is_kept_of_addresses_is_what_the_routes_say(
    members: list[str], accept: bytes | None, language: bytes, ips: list[str], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ipquery.serve.api.v1._OFTEN_BYTES", most)
        v1 = V1(sample())
    fields = b"fields=" + ",".join(members).encode() if members else b""
    asked = v1.asked(
        None,
        b"&".join(filter(None, (fields, language))),
        {} if accept is None else {b"accept": accept},
    )
    prepared = v1.prepared(asked)
    assert prepared is not None
    for ip in ips:
        reply = v1.reply(ip, asked, None)
        assert reply is not None
        assert prepared.find(ip.encode()) == after_date(reply)


def test_what_is_asked_for_often_has_a_bound() -> None:
    often = Often(1000)
    store = often.store()
    most = rounds = 0
    for number in range(1000):
        if often.has_room(100):
            rounds += not store
            store[number] = b""
        most = max(most, len(store))
    assert most == 10
    # What is new gets its turn, but not at once.
    assert 1 < rounds < 1000 / 10


@pytest.mark.parametrize(
    ("asked", "ip"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("9.9.9.9", "9.9.9.9"),
        ("10.1.2.3", "10.1.2.3"),
        ("2001:470:0::0:1", "2001:470::1"),
        ("2001%3A470%3a%3A1", "2001:470::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("%3A%3Affff%3A102%3A304", "1.2.3.4"),
    ],
)
def test_every_address_has_an_object(connection: Connection, asked: str, ip: str) -> None:
    answer = connection.ask(get(f"/v1/ip/{asked}"))
    assert answer.status == 200
    assert answer.json == _object(sample(), ip)
    assert list(answer.headers)[1:] == [
        "Content-Type", "Content-Length", "ETag", "Cache-Control", "Vary",
    ]  # fmt: skip
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    assert answer.headers["Vary"] == "Accept"


@pytest.mark.parametrize("ip", ["10.1.2.3", "192.168.0.1", "fe80::1", "2001:db8::1"])
def test_an_address_with_a_special_purpose_is_nowhere(
    express: bool, tmp_path: Path, ip: str
) -> None:
    """ip2region has 内网IP for the city of private addresses."""
    path = write_snapshot(tmp_path / "some.ipq", [(0, 2**32 - 1, 1)], [(0, 2**128 - 1, 1)], RECORDS)
    with open_snapshot(path) as db:
        server = Server(express=express)
        server.v1.switch(db)
        connection = server.connect()
        for _ in range(3):
            answer = connection.ask(get(f"/v1/ip/{ip}"))
            assert answer.json == _object(db, ip)
            assert answer.json["isp"] is None
            assert answer.json["sources"] == {}
            assert connection.ask(get(f"/v1/ip/{ip}/isp")).body == b"\n"


# What is chosen of it


def test_fields_come_in_the_order_in_which_they_are_asked_for(connection: Connection) -> None:
    fields = "city,range.last,ip,sources.isp,city,country_code,range.first,sources.org"
    answer = connection.ask(get(f"/v1/ip/1.2.3.4?fields={fields}&x=1"))
    assert answer.body.decode() == (
        '{"city":"商丘市","range":{"last":"1.255.255.255","first":"1.0.0.1"},"ip":"1.2.3.4",'
        '"sources":{"isp":"one","org":null},"country_code":"CN"}'
    )


def test_the_whole_of_a_member_holds_what_is_below_it(connection: Connection) -> None:
    for fields in ("range.last,range", "range,range.last", "range"):
        answer = connection.ask(get(f"/v1/ip/1.2.3.4?fields={fields}"))
        assert answer.json == {"range": {"first": "1.0.0.1", "last": "1.255.255.255"}}


@given(
    st.lists(
        st.sampled_from([*MEMBERS, *(f"{m}.{n}" for m, names in NESTED.items() for n in names)]),
        min_size=1,
    ),
    st.sampled_from(("1.2.3.4", "9.9.9.9", "2000::1")),
    st.sampled_from(Media),
)
def test_any_fields_are_those_of_the_object(fields: list[str], ip: str, media: Media) -> None:
    accept = f"Accept: {media.range}"
    answer = Server().connect().ask(get(f"/v1/ip/{ip}?fields={','.join(fields)}", accept))
    whole = _object(sample(), ip)
    if media is Media.JSON:
        for member, value in answer.json.items():
            if isinstance(value, dict) and member not in fields:
                asked = [one for one in dict.fromkeys(fields) if one.startswith(f"{member}.")]
                assert [f"{member}.{name}" for name in value] == asked
                assert value == {name: whole[member].get(name) for name in value}
            else:
                assert value == whole[member]
        assert list(answer.json) == list(dict.fromkeys(one.partition(".")[0] for one in fields))
        return
    selection = parse_selection(f"fields={','.join(fields)}".encode())
    leaves = [
        (member, name)
        for member, below in selection.members
        for name in _names_below(member, below)
    ]
    values = [_text(whole[m] if n is None else whole[m].get(n)) for m, n in leaves]
    if media is Media.TEXT:
        assert answer.body.decode() == "".join(f"{value}\n" for value in values)
    else:
        header, row = csv.reader(io.StringIO(answer.body.decode(), newline=""))
        assert header == [m if n is None else f"{m}.{n}" for m, n in leaves]
        assert row == values
        assert answer.body.endswith(b"\r\n")


def _names_below(member: str, below: tuple[str, ...] | None) -> tuple[str | None, ...]:
    return below or NESTED.get(member) or (None,)


def _text(value: object) -> str:
    return "" if value is None else str(value).replace("\n", " ")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("1.2.3.4/country_code", "CN"),
        ("1.2.3.4/latitude", "34.4"),
        ("1.2.3.4/org", ""),
        ("9.9.9.9/city", ""),
        ("1.2.3.4/ip", "1.2.3.4"),
        ("1.2.3.4/range.first", "1.0.0.1"),
        ("1.2.3.4/range", "1.0.0.1\n1.255.255.255"),
        ("1.2.3.4/sources.asn", "other"),
        ("1.2.3.4/province?lang=en", "Henan"),
        ("1.2.3.4/city?fields=x", "商丘市"),
        ("1.2.3.4/as_org", '"Backbone", of China'),
    ],
)
def test_a_field_is_a_line_of_text(connection: Connection, path: str, text: str) -> None:
    answer = connection.ask(get(f"/v1/ip/{path}", "Accept: application/json"))
    assert answer.body.decode() == f"{text}\n"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


# In which language


@pytest.mark.parametrize(
    ("ip", "language", "names"),
    [
        ("1.2.3.4", "en", ["China", "Henan", "Shangqiu"]),
        ("1.2.3.4", "zh", ["中国", "河南省", "商丘市"]),
        ("1.0.0.0", "en", ["Japan", None, None]),
        ("9.9.9.9", "en", [None, None, None]),
    ],
)
def test_places_have_names_in_both_languages(
    connection: Connection, ip: str, language: str, names: list[str | None]
) -> None:
    answer = connection.ask(get(f"/v1/ip/{ip}?lang={language}"))
    named = dict(zip(("country", "province", "city"), names, strict=True))
    assert answer.json == _object(sample(), ip) | named
    assert answer.headers["ETag"] != connection.ask(get(f"/v1/ip/{ip}")).headers["ETag"]


def test_the_operators_own_codes_are_given_no_names() -> None:
    names = names_by_code(PLACES, own_codes=True)["en"]
    assert names == {"CN": "China", "JP": "Japan", "CN-HA": "Henan"}


# In which form


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, Media.JSON),
        ("", Media.JSON),
        (" , ", Media.JSON),
        ("*/*", Media.JSON),
        ("application/*", Media.JSON),
        ("APPLICATION/JSON", Media.JSON),
        ("application/json; charset=utf-8", Media.JSON),
        ("text/*", Media.TEXT),
        ("text/plain", Media.TEXT),
        ("text/csv", Media.CSV),
        ("text/csv, */*", Media.CSV),
        ("*/*, text/csv", Media.CSV),
        ("text/csv;q=0.9, */*;q=0.1", Media.CSV),
        ("text/csv;q=0.1, */*;q=0.9", Media.JSON),
        ("text/plain;q=0.5, text/csv;q=0.7", Media.CSV),
        ("text/plain, text/csv", Media.TEXT),
        ("text/csv;header=present", Media.CSV),
        ('text/csv;a="x,y;q=0";q=1', Media.CSV),
        ("application/json;q=0, */*", Media.TEXT),
        ("*/*;q=0, text/csv", Media.CSV),
        ("text/*;q=0.3, text/plain;q=0", Media.CSV),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Media.JSON),
        ("text/csv ; q=0.001", Media.CSV),
        ("text/csv;Q=0.5, application/json;q=0.4", Media.CSV),
        ("*/*;q=0", None),
        ("text/html", None),
        ("image/*", None),
        ("application/json;q=0.000", None),
        ("application/problem+json", None),
    ],
)
def test_the_form_that_is_liked_best(accept: str | None, media: Media | None) -> None:
    assert choose(accept) is media


@given(st.text(alphabet='text/csv*;q=01.5, "\\', max_size=40))
def test_any_accept_is_understood_somehow(accept: str) -> None:
    choose(accept)


def test_what_nobody_can_give_is_not_acceptable(connection: Connection) -> None:
    answer = connection.ask(get("/v1/ip/1.2.3.4", "Accept: image/png"))
    _check_problem(answer, 406, "not-acceptable", "application/json, text/plain, text/csv")


# Problems


def _check_problem(answer: Response, status: int, name: str, detail: str | None) -> None:
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["type"] == f"/docs#problem-{name}"
    assert answer.json["status"] == status
    assert answer.json["title"]
    if detail is None:
        assert "detail" not in answer.json
    else:
        assert detail in answer.json["detail"]


@pytest.mark.parametrize(
    ("target", "status", "name", "detail"),
    [
        ("/v1/ip/1.2.3", 400, "not-an-address", "not an IP address: '1.2.3'"),
        ("/v1/ip/x?fields=x", 400, "not-an-address", "'x'"),
        ("/v1/ip/1.2.3.4?fields=x", 400, "unknown-field", "no field 'x'; fields: ip, kind"),
        ("/v1/ip/1.2.3.4?fields=", 400, "unknown-field", "no field ''"),
        ("/v1/ip/1.2.3.4?fields=range.x", 400, "unknown-field", "no field 'range.x'"),
        ("/v1/ip/1.2.3.4?fields=city.", 400, "unknown-field", "no field 'city.'"),
        ("/v1/ip/1.2.3.4?fields=%ff", 400, "unknown-field", "no field"),
        ("/v1/ip/1.2.3.4?lang=fr", 400, "unknown-language", "lang is 'fr'; it may be en or zh"),
        ("/v1/ip/1.2.3.4/x", 404, "not-found", "no field 'x'; fields: ip, kind"),
        ("/v1/ip/1.2.3.4/country%3A", 404, "not-found", "no field 'country:'"),
        ("/v1/ip/1.2.3.4/", 404, "not-found", None),
        ("/v1/ip/", 404, "not-found", None),
        ("/v1", 404, "not-found", None),
        ("/v1/x", 404, "not-found", None),
        ("/v1/databases/", 404, "not-found", None),
    ],
)
def test_problems(
    connection: Connection, target: str, status: int, name: str, detail: str | None
) -> None:
    _check_problem(connection.ask(get(target)), status, name, detail)


@pytest.mark.parametrize("target", ["/v1/ip/1.2.3.4", "/v1/ip/1.2.3.4/city", "/v1/databases"])
def test_other_methods_are_not_allowed(connection: Connection, target: str) -> None:
    answer = connection.ask(get(target, method="DELETE"))
    _check_problem(answer, 405, "method-not-allowed", None)
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "target", ["/v1/ip/1.2.3.4%2F", "/v1/ip/1.2.3.4%2Fcity", "/v1/ip/%31.2.3.4", "/v1//ip/1.2.3.4"]
)
def test_nothing_but_colons_may_be_escaped_in_a_path(connection: Connection, target: str) -> None:
    _check_problem(connection.ask(get(target)), 404, "not-found", None)


def test_nor_in_the_part_that_tells_whose_a_path_is(connection: Connection) -> None:
    answer = connection.ask(get("/v1%2Fip/1.2.3.4"))
    assert (answer.status, answer.json) == (404, {"message": "not found"})


def test_a_fault_of_ours_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(express=False)

    def broken(*given: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(server.v1, "reply", broken)
    _check_problem(server.connect().ask(get("/v1/ip/1.2.3.4")), 500, "internal-error", None)


def test_problems_have_fixed_names() -> None:
    """Callers compare them."""
    with pytest.raises(Problem) as caught:
        parse_selection(b"fields=x")
    assert caught.value.reply().body.startswith(b'{"type":"/docs#problem-unknown-field",')


# What is had already


@pytest.mark.parametrize(
    "target",
    ["/v1/ip/1.2.3.4", "/v1/ip/9.9.9.9?fields=city", "/v1/ip/1.2.3.4/city", "/v1/databases"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}, "y"', '"a,b" ,W/{}', "*"])
def test_what_is_unchanged_is_not_sent(
    connection: Connection, target: str, method: str, form: str
) -> None:
    first = connection.ask(get(target))
    field = f"If-None-Match: {form.format(first.headers['ETag'])}"
    for _ in range(3):
        connection.send(get(target, field, method=method))
        (answer,) = connection.received(heads_only=True)
        assert (answer.status, answer.body) == (304, b"")
        assert "Content-Length" not in answer.headers
        for name in ("ETag", "Cache-Control", "Vary"):
            assert answer.headers.get(name) == first.headers.get(name)
    assert connection.ask(get(target, 'If-None-Match: "x"')).status == 200
    assert connection.ask(get(target)).status == 200


def test_what_is_no_address_is_never_unchanged(connection: Connection) -> None:
    assert connection.ask(get("/v1/ip/x", "If-None-Match: *")).status == 400


def test_etags_tell_representations_apart(connection: Connection) -> None:
    tags = [
        connection.ask(get(f"/v1/ip/1.2.3.4{rest}", f"Accept: {accept}")).headers["ETag"]
        for rest in ("", "?lang=en", "?fields=city", "?fields=city,ip", "?fields=ip,city")
        for accept in ("*/*", "text/csv", "text/plain")
    ]
    assert len({*tags}) == len(tags)
    assert all(tag.startswith(f'"{sample().identity[:32]}-') for tag in tags)


@pytest.mark.parametrize(
    ("given", "etag", "same"),
    [
        (None, '"a"', False), ("", '"a"', False), ('"a"', '"a"', True), ('W/"a"', '"a"', True),
        ("a", '"a"', False), ('"b","a"', '"a"', True), ('"ba"', '"a"', False), (" * ", '"a"', True),
        ('"*"', '"a"', False),
    ],
)  # fmt: skip
def test_the_comparison_is_weak(given: str | None, etag: str, same: bool) -> None:
    assert is_unchanged(given, etag) is same


# Who else may read it


ONE = ApiSettings(cors=("https://a.example", "http://b.example:8080"))


@pytest.mark.parametrize("target", ["/v1/ip/1.2.3.4", "/v1/ip/1.2.3.4?fields=city", "/v1/ip/x"])
def test_pages_of_known_origins_may_read(express: bool, target: str) -> None:
    connection = Server(express=express, api=ONE).connect()
    for origin, is_known in [
        ("https://a.example", True), ("http://b.example:8080", True), ("https://b.example", False),
        ("null", False), ("https://a.example", True),
    ]:  # fmt: skip
        for _ in range(3):
            answer = connection.ask(get(target, f"Origin: {origin}"))
            told = answer.headers.get("Access-Control-Allow-Origin")
            assert told == (origin if is_known else None)
            assert answer.headers["Vary"] == "Accept, Origin"
    assert "Access-Control-Allow-Origin" not in connection.ask(get(target)).headers


def test_every_page_may(express: bool) -> None:
    connection = Server(express=express, api=ApiSettings(cors=("*",))).connect()
    for headers in ([], ["Origin: https://x.example"]):
        answer = connection.ask(get("/v1/ip/1.2.3.4", *headers))
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Vary"] == "Accept"
    assert "Access-Control-Allow-Origin" not in connection.ask(get("/healthz")).headers


@pytest.mark.parametrize("target", ["/v1/ip/1.2.3.4", "/v1/ip/1.2.3.4/city", "/v1/databases"])
def test_a_preflight_is_answered(express: bool, target: str) -> None:
    asked = ("Origin: https://a.example", "Access-Control-Request-Method: GET")
    answer = Server(express=express, api=ONE).connect().ask(get(target, *asked, method="OPTIONS"))
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    off = Server(express=express).connect().ask(get(target, *asked, method="OPTIONS"))
    assert off.status == 204
    assert {**off.headers} == {"Date": off.headers["Date"], "Allow": "GET, HEAD, OPTIONS"}


# What answers come from


def test_the_databases_are_told(connection: Connection) -> None:
    answer = connection.ask(get("/v1/databases"))
    assert answer.headers["Cache-Control"] == "no-cache"
    told = answer.json
    assert told["snapshot"] == sample().identity
    assert told["loaded"] == "2023-11-14T22:13:20Z"
    assert told["sources"][0] == {
        "name": "one",
        "format": "xdb",
        "date": "2022-06-01",
        "age_days": 531,
        "licence": "Apache-2.0",
        "attribution": "one by someone",
        "ranges": {"ipv4": 2, "ipv6": 1},
        "records": 2,
    }
    assert (told["sources"][1]["date"], told["sources"][1]["age_days"]) == (None, None)
    assert told["counts"]["ranges"] == {"ipv4": 3, "ipv6": 1}
    assert told["coverage"] == {"country": {"ipv4": {"ranges": 3}, "ipv6": {"ranges": 1}}}
    assert told["updates"] == []


# Where others are asked


class Nothing:
    """A cache that keeps nothing."""

    state = "closed"

    def get(self, key: str) -> Deferred[Cached | None]:
        return succeed(None)

    def put(self, key: str, result: Cached) -> None:
        pass

    def stop(self) -> Deferred[None]:
        return succeed(None)


class Remote:
    """A remote source that knows 9.9.9.9."""

    states: list[dict[str, str]] = []  # noqa: RUF012 # as the protocol has it

    async def ask(self, ip: str) -> Opinion:
        answer = Record(country="瑞士", country_code="CH", isp="Quad9").to_answer()
        return Opinion(answer if ip == "9.9.9.9" else None, sure=True)

    def stop(self) -> Deferred[None]:
        return succeed(None)


@pytest.fixture
def asking(express: bool) -> Connection:
    resolver = Resolver(sample(), Nothing(), fallback=Remote())
    return Server(express=express, resolver=resolver).connect()


def test_others_are_asked_about_what_has_no_record(asking: Connection) -> None:
    for _ in range(3):
        answer = asking.ask(get("/v1/ip/9.9.9.9"))
        assert answer.json == {
            **_object(sample(), "9.9.9.9"),
            "country": "瑞士",
            "country_code": "CH",
            "isp": "Quad9",
            "sources": {"country": "remote", "country_code": "remote", "isp": "remote"},
        }
    assert asking.ask(get("/v1/ip/9.9.9.9/isp")).body == b"Quad9\n"
    had = f"If-None-Match: {answer.headers['ETag']}"
    assert asking.ask(get("/v1/ip/9.9.9.9", had)).status == 304
    assert asking.ask(get("/v1/ip/8.8.8.8", had)).json == _object(sample(), "8.8.8.8")
    assert asking.ask(get("/v1/ip/10.0.0.1")).json == _object(sample(), "10.0.0.1")
    assert asking.ask(get("/v1/ip/1.2.3.4")).json == _object(sample(), "1.2.3.4")
    _check_problem(asking.ask(get("/v1/ip/9.9.9")), 400, "not-an-address", "'9.9.9'")


def test_the_sources_are_of_all_fields() -> None:
    assert sorted(SOURCED) == sorted(FIELDS)


# The caller's own address


def test_my_object_is_that_of_my_address_and_for_nobody_else(connection: Connection) -> None:
    mine = connection.ask(get("/v1/me"))
    assert (mine.status, mine.json) == (200, _object(sample(), "192.0.2.7"))
    assert mine.headers["Cache-Control"] == "private, no-store"
    assert "ETag" not in mine.headers
    # There is nothing to compare with, whatever the caller has.
    assert connection.ask(get("/v1/me", "If-None-Match: *")).status == 200


def test_my_object_can_be_asked_for_in_every_way(connection: Connection) -> None:
    assert connection.ask(get("/v1/me?fields=ip,kind")).json == {
        "ip": "192.0.2.7", "kind": "documentation",
    }  # fmt: skip
    text = connection.ask(get("/v1/me?fields=ip", "Accept: text/plain"))
    assert text.body == b"192.0.2.7\n"
    assert connection.ask(get("/v1/me?fields=x")).status == 400
    assert connection.ask(get("/v1/me", "Accept: image/png")).status == 406
    assert connection.ask(get("/v1/me", method="OPTIONS")).headers["Allow"] == "GET, HEAD, OPTIONS"


def test_behind_a_trusted_proxy_my_address_is_what_it_says(express: bool) -> None:
    server = Server(express=express, client=ClientSettings(trusted_proxies=("192.0.2.0/24",)))
    told = server.connect().ask(get("/v1/me", "X-Forwarded-For: 9.9.9.9, 1.2.3.4"))
    assert told.json == _object(sample(), "1.2.3.4")
    untrusted = Server(express=express).connect()
    assert untrusted.ask(get("/v1/me", "X-Forwarded-For: 1.2.3.4")).json["ip"] == "192.0.2.7"


@pytest.mark.parametrize(
    ("peer", "ip"),
    [
        (IPv6Address("TCP", "fe80::1%eth0", 4711), "fe80::1"),
        (IPv6Address("TCP", "::ffff:1.2.3.4", 4711), "1.2.3.4"),
        (IPv6Address("TCP", "2001:470::1", 4711), "2001:470::1"),
    ],
)
def test_my_address_is_told_as_everywhere(express: bool, peer: IPv6Address, ip: str) -> None:
    answer = Server(express=express).connect(peer).ask(get("/v1/me"))
    assert answer.json == _object(sample(), ip)


def test_nobody_may_know_my_address(express: bool) -> None:
    server = Server(express=express)
    answer = server.connect(UNIXAddress("/run/caller")).ask(get("/v1/me"))
    assert (answer.status, answer.json["type"]) == (404, "/docs#problem-unknown-client")
    assert answer.headers["Content-Type"] == "application/problem+json"

"""Batches: each answer is the one that its address gets alone, however the body comes."""

import csv
import gzip
import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.data.snapshot import Snapshot
from ipquery.serve.api.batch import Batches
from ipquery.serve.api.batch_bodies import LONGEST_LINE
from ipquery.serve.api.settings import ApiSettings
from ipquery.serve.api.v1 import V1
from tests.examples import many
from tests.serve.http.connection import (
    Connection,
    Response,
    Server,
    get,
    parse_chunks,
    parse_head,
)
from tests.serve.sample import PLACES, sample, write_sample

JSON, NDJSON, TEXT, CSV = "application/json", "application/x-ndjson", "text/plain", "text/csv"
ARRAYS = "application/vnd.ipquery.arrays+json"
BODIES = (JSON, NDJSON, TEXT)
FORMS = (JSON, NDJSON, CSV, ARRAYS)

GOOD = [
    "1.0.0.0", "1.2.3.4", "1.255.255.255", "2.0.0.0", "8.8.8.8", "0.0.0.0", "10.1.2.3", "127.0.0.1",
    "192.0.2.1", "255.255.255.255", "2000::1", "2000:0:0::1", "2100::", "::1", "::ffff:1.2.3.4",
    "::ffff:8.8.8.8", "FE80::1",
]  # fmt: skip
BAD = [
    "1.2.3",
    "1.2.3.04",
    "x",
    "中国",
    "1.2.3.4/24",
    "a b",
    "'",
    "\\",
    '"',
    "x" * 70,
    "fe80::1%eth0",
]
QUERIES = [
    "", "lang=en", "fields=country_code,city", "fields=ip,country", "fields=range,sources.city",
    "fields=as_org&lang=zh", "fields=network,kind,snapshot",
]  # fmt: skip


def batch(body: bytes, kind: str, query: str = "", *headers: str) -> bytes:
    target = "/v1/batch" + (f"?{query}" if query else "")
    told = [f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return get(target, *told, method="POST") + body


def encoded(addresses: Sequence[str], kind: str) -> bytes:
    if kind == JSON:
        return json.dumps(addresses).encode()
    if kind == NDJSON:
        return b"".join(json.dumps(one).encode() + b"\n" for one in addresses)
    return "".join(one + "\n" for one in addresses).encode()


def decoded(body: bytes, form: str) -> list[Any]:
    """Entries, as texts."""
    if form in (JSON, ARRAYS):
        assert body.startswith(b"[")
        assert body.endswith(b"]\n")
        return [json.dumps(one) for one in json.loads(body)]
    if form == NDJSON:
        assert not body or body.endswith(b"\n")
        return [json.dumps(json.loads(line)) for line in body.splitlines()]
    names, *rows = csv.reader(io.StringIO(body.decode(), newline=""))
    assert names[-1] == "error"
    assert {len(row) for row in rows} <= {len(names)}
    return rows


def alone(connection: Connection, ip: str, query: str, form: str) -> Any:
    """What an address is answered with by itself."""
    if form == ARRAYS:
        response = connection.ask(get(f"/api/ip_query?ip={ip}"))
        return json.dumps(response.json) if response.status == 200 else "null"
    target = f"/v1/ip/{ip}" + (f"?{query}" if query else "")
    response = connection.ask(get(target, f"Accept: {CSV if form == CSV else JSON}"))
    assert response.status == 200
    if form != CSV:
        return json.dumps(response.json)
    _, row = csv.reader(io.StringIO(response.body.decode(), newline=""))
    return [*row, ""]


def problem(ip: str) -> dict[str, Any]:
    shown = ip if len(ip) <= 64 else ip[:61] + "..."
    return {
        "ip": shown,
        "error": {
            "type": "/docs#problem-not-an-address",
            "title": "This is not an IP address",
            "detail": f"not an IP address: {shown!a}",
        },
    }


def expected(connection: Connection, ip: str, query: str, form: str) -> Any:
    if ip in GOOD:
        return alone(connection, ip, query, form)
    if form == ARRAYS:
        return "null"
    if form != CSV:
        return json.dumps(problem(ip))
    names = connection.ask(get(f"/v1/ip/::1?{query}", f"Accept: {CSV}")).body.decode()
    shown: str = problem(ip)["ip"]
    error = problem(ip)["error"]
    columns = names.split("\r\n")[0].split(",")
    return [
        *(shown if name == "ip" else "" for name in columns),
        f"{error['title']}: {error['detail']}",
    ]


@many(2)
@given(
    st.lists(st.sampled_from(GOOD + BAD), max_size=300),
    st.sampled_from(BODIES),
    st.sampled_from(FORMS),
    st.sampled_from(QUERIES),
    st.lists(st.integers(0, 5000), max_size=6),
    st.booleans(),
    st.booleans(),
)
def test_each_is_answered_as_it_is_alone(
    addresses: list[str],
    kind: str,
    form: str,
    query: str,
    cuts: list[int],
    zipped: bool,
    early: bool,
) -> None:
    if form == ARRAYS:
        query = ""
    connection = Server().connect()
    body = encoded(addresses, kind)
    headers = [f"Accept: {form}"]
    if zipped:
        body = gzip.compress(body, 1)
        headers.append("Content-Encoding: gzip")
    stream = batch(body, kind, query, *headers)
    ends = sorted({len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    response = ask(connection, pieces, early)
    assert (response.status, response.headers["Content-Type"].partition(";")[0]) == (200, form)
    wanted = {ip: expected(connection, ip, query, form) for ip in set(addresses)}
    assert decoded(response.body, form) == [wanted[ip] for ip in addresses]


def ask(connection: Connection, pieces: Sequence[bytes], one_by_one: bool = False) -> Response:
    if not one_by_one:
        return connection.ask(*pieces)
    for piece in pieces:
        connection.send(piece)
    (response,) = connection.received()
    return response


ITEMS = st.fixed_dictionaries(
    {"ip": st.sampled_from(GOOD)},
    optional={
        "fields": st.sampled_from(["country", "ip,city", ["isp", "network"]]),
        "lang": st.sampled_from(["zh", "en"]),
        "id": st.integers(),
    },
)


@given(
    st.lists(ITEMS | st.sampled_from(GOOD), max_size=60),
    st.sampled_from([JSON, NDJSON]),
    st.sampled_from(["", "lang=en", "fields=country_code"]),
    st.integers(1, 3000),
)
def test_objects_say_what_they_want(items: list[Any], kind: str, query: str, cut: int) -> None:
    connection = Server().connect()
    stream = batch(encoded(items, kind), kind, query)
    response = connection.ask(*(stream[at : at + cut] for at in range(0, len(stream), cut)))
    wanted = []
    for item in items:
        given = item if isinstance(item, dict) else {"ip": item}
        asked = dict(pair.split("=") for pair in query.split("&") if pair)
        if "fields" in given:
            fields = given["fields"]
            asked["fields"] = fields if isinstance(fields, str) else ",".join(fields)
        if "lang" in given:
            asked["lang"] = given["lang"]
        own = "&".join(f"{name}={value}" for name, value in asked.items())
        wanted.append(alone(connection, given["ip"], own, JSON))
    assert decoded(response.body, kind) == wanted


# What is answered in place


@pytest.mark.parametrize(
    ("item", "ip", "name"),
    [
        ("5", "5", "bad-batch"),
        ("null", "null", "bad-batch"),
        ('["1.2.3.4"]', '["1.2.3.4"]', "bad-batch"),
        ("{}", "{}", "bad-batch"),
        ('{"ip":5}', '{"ip":5}', "bad-batch"),
        ('{"ip":"1.2.3.4","ip":"8.8.8.8"}', '{"ip":"1.2.3.4","ip":"8.8.8.8"}', "bad-batch"),
        ('{"ip":"1.2.3"}', "1.2.3", "not-an-address"),
        ('"\\ud800"', "\ud800", "not-an-address"),
        ('""', "", "not-an-address"),
        ('{"ip":"1.2.3.4","fields":"x"}', "1.2.3.4", "unknown-field"),
        ('{"ip":"1.2.3.4","fields":5}', "1.2.3.4", "unknown-field"),
        ('{"ip":"1.2.3.4","fields":[5]}', "1.2.3.4", "unknown-field"),
        ('{"ip":"1.2.3.4","lang":"fr"}', "1.2.3.4", "unknown-language"),
        ('{"ip":"1.2.3.4","lang":5}', "1.2.3.4", "unknown-language"),
    ],
)
@pytest.mark.parametrize("kind", [JSON, NDJSON])
def test_what_cannot_be_answered_is_told_in_its_place(
    kind: str, item: str, ip: str, name: str
) -> None:
    texts = ['"1.2.3.4"', item, '"8.8.8.8"']
    body = f"[{','.join(texts)}]" if kind == JSON else "\n".join(texts)
    response = Server().connect().ask(batch(body.encode(), kind, "fields=ip"))
    assert response.status == 200
    before, bad, after = map(json.loads, decoded(response.body, kind))
    assert (before, after) == ({"ip": "1.2.3.4"}, {"ip": "8.8.8.8"})
    assert set(bad) == {"ip", "error"}
    assert bad["ip"] == ip
    assert bad["error"]["type"] == f"/docs#problem-{name}"


@pytest.mark.parametrize(
    "line", [b"1.2.3.4", b'"1.2.3.4', b"{", b"\xff", b"[" * 3000, b'{"a":' * 600], ids=repr
)
def test_lines_that_are_not_json_fail_alone(line: bytes) -> None:
    body = b'"1.2.3.4"\n' + line + b'\n"8.8.8.8"\n'
    response = Server().connect().ask(batch(body, NDJSON, "fields=ip"))
    before, bad, after = map(json.loads, decoded(response.body, NDJSON))
    assert (before, after) == ({"ip": "1.2.3.4"}, {"ip": "8.8.8.8"})
    assert "error" in bad


@pytest.mark.parametrize("kind", [TEXT, NDJSON])
@pytest.mark.parametrize("size", [LONGEST_LINE - 1, LONGEST_LINE, 3 * LONGEST_LINE + 5])
@pytest.mark.parametrize("cut", [1 << 20, 1000])
def test_lines_that_are_too_long_fail_alone(kind: str, size: int, cut: int) -> None:
    body = encoded(["1.2.3.4"], kind) + b"x" * size + b"\n" + encoded(["8.8.8.8"], kind)
    stream = batch(body * 3, kind, "fields=ip")
    response = Server().connect().ask(*(stream[at : at + cut] for at in range(0, len(stream), cut)))
    answers = [json.loads(one) for one in decoded(response.body, NDJSON)]
    assert [set(one) for one in answers] == [{"ip"}, {"ip", "error"}, {"ip"}] * 3
    assert answers[1]["ip"] == "x" * 61 + "..."


def test_blank_lines_and_all_ends_of_lines() -> None:
    for kind, quote in ((TEXT, ""), (NDJSON, '"')):
        body = f"\n\r\n {quote}1.2.3.4{quote} \r\n\n{quote}8.8.8.8{quote}\t\n \n{quote}::1{quote}"
        response = Server().connect().ask(batch(body.encode(), kind, "fields=ip"))
        assert [json.loads(one)["ip"] for one in response.body.splitlines()] == [
            "1.2.3.4", "8.8.8.8", "::1",
        ]  # fmt: skip


def test_empty_batches() -> None:
    connection = Server().connect()
    for kind, body in ((JSON, b"[]"), (JSON, b" [ \n] "), (NDJSON, b""), (TEXT, b"\n")):
        for form in FORMS:
            response = connection.ask(
                batch(body, kind, "fields=ip" if form == CSV else "", f"Accept: {form}")
            )
            assert (response.status, decoded(response.body, form)) == (200, [])


def test_csv_says_fields_once_for_all() -> None:
    body = b'[{"ip":"1.2.3.4","fields":"city"},{"ip":"1.2.3.4","lang":"en"}]'
    response = Server().connect().ask(batch(body, JSON, "fields=country", f"Accept: {CSV}"))
    first, second = decoded(response.body, CSV)
    assert first[0] == ""
    assert "same fields" in first[1]
    assert second == ["China", ""]


# What is refused


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{}", b'"1.2.3.4"', b"1.2.3.4", b"[", b'["1.2.3.4"', b'["1.2.3.4",',
        b'["1.2.3.4",]', b'["1.2.3.4"]]', b'["1.2.3.4"] x', b'["1.2.3.4" "8.8.8.8"]', b"[,]",
        b"[1.2.3.4]", b'["a\n"]', b"[[[[[[[[]]]]]]]]", b"[" * 100_000, b'[{"a":' * 20_000,
        b'["' + b"x" * 5000 + b'"]', b"[nul]",
        b'[{"ip":"1.2.3.4"]', b"\xff\xfe[\x00]\x00", b'["\xff"]',
    ],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_a_body_that_is_no_array(body: bytes) -> None:
    server = Server()
    connection = server.connect()
    response = connection.ask(batch(body, JSON))
    assert response.status == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json["type"] == "/docs#problem-bad-batch"


@pytest.mark.parametrize("count", [3, 4, 5])
@pytest.mark.parametrize("kind", BODIES)
def test_so_many_addresses_may_be_asked(kind: str, count: int) -> None:
    server = Server(api=ApiSettings(batch_addresses=4))
    response = server.connect().ask(batch(encoded(["1.2.3.4"] * count, kind), kind))
    assert response.status == (200 if count <= 4 else 413)
    if count > 4:
        assert response.json["type"] == "/docs#problem-too-many-addresses"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", BODIES)
def test_an_answer_that_has_begun_ends_with_what_is_wrong(kind: str, form: str) -> None:
    server = Server(api=ApiSettings(batch_addresses=2000))
    connection = server.connect()
    connection.send(batch(encoded(["1.2.3.4"] * 2200, kind), kind, "", f"Accept: {form}"))
    status, _, rest = parse_head(connection.transport.sent)
    body, _, ends = parse_chunks(rest)
    assert (status, ends, connection.open) == (200, False, False)
    last = body.splitlines()[-1]
    if form == CSV:
        assert last.endswith(b",These are too many addresses for one batch: there may be 2000")
    else:
        assert json.loads(last)["error"]["type"] == "/docs#problem-too-many-addresses"
    assert body.count(b"\n") >= 1900


@pytest.mark.parametrize("kind", ["", "application/x-www-form-urlencoded", "text/html", "x"])
def test_a_body_of_another_kind(kind: str) -> None:
    connection = Server().connect()
    stream = get("/v1/batch", "Content-Length: 9", f"Content-Type: {kind}", method="POST")
    response = connection.ask(stream + b"ip=1.2.3.")
    assert (response.status, response.json["type"]) == (415, "/docs#problem-unsupported-media-type")
    assert response.headers["Accept-Post"] == "application/json, application/x-ndjson, text/plain"


def test_a_form_of_answer_that_there_is_not() -> None:
    connection = Server().connect()
    response = connection.ask(batch(b"[]", JSON, "", "Accept: text/html"))
    assert (response.status, response.json["type"]) == (406, "/docs#problem-not-acceptable")
    response = Server().connect().ask(batch(b"[]", JSON, "lang=en", f"Accept: {ARRAYS}"))
    assert response.status == 406


@pytest.mark.parametrize(
    ("query", "name"), [("fields=x", "unknown-field"), ("lang=x", "unknown-language")]
)
def test_a_query_that_cannot_be_answered(query: str, name: str) -> None:
    response = Server().connect().ask(batch(b"[]", JSON, query))
    assert (response.status, response.json["type"]) == (400, f"/docs#problem-{name}")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_other_methods(method: str) -> None:
    connection = Server().connect()
    connection.send(get("/v1/batch", method=method))
    (response,) = connection.received(heads_only=method == "HEAD")
    assert (response.status, response.headers["Allow"]) == (405, "OPTIONS, POST")
    assert connection.open


def test_what_http_refuses_is_a_problem_too() -> None:
    cases = {
        "Content-Length: 6000001": (413, "too-large"),
        "Content-Length: 5\r\nExpect: x": (417, "unknown-expectation"),
        "Content-Length: 5\r\nContent-Encoding: br": (415, "unsupported-coding"),
    }
    for lines, (status, name) in cases.items():
        stream = get("/v1/batch", f"Content-Type: {TEXT}", lines, method="POST")
        response = Server().connect().ask(stream)
        assert (response.status, response.json["status"]) == (status, status)
        assert response.json["type"] == f"/docs#problem-{name}"


# Negotiation


@pytest.mark.parametrize(
    ("kind", "accept", "form"),
    [
        (JSON, "", JSON), (NDJSON, "", NDJSON), (TEXT, "", NDJSON), (TEXT, "*/*", NDJSON),
        (JSON, "*/*", JSON), (JSON, "text/*", CSV), (JSON, "application/x-ndjson", NDJSON),
        (NDJSON, "application/json", JSON), (TEXT, "application/*", NDJSON),
        (JSON, f"{ARRAYS}, application/json;q=0.5", ARRAYS), (JSON + "; charset=utf-8", "", JSON),
        (JSON.upper(), "", JSON), (TEXT, "text/plain, text/csv;q=0.1", CSV),
    ],
)  # fmt: skip
def test_the_form_of_the_answer(kind: str, accept: str, form: str) -> None:
    headers = [f"Accept: {accept}"] if accept else []
    plain = kind.lower().partition(";")[0]
    response = Server().connect().ask(batch(encoded(["::1"], plain), kind, "", *headers))
    assert response.headers["Content-Type"].partition(";")[0] == form
    assert response.headers["Vary"] == "Accept, Accept-Encoding"


def test_pages_of_other_sites() -> None:
    connection = Server(api=ApiSettings(cors=("https://a.example",))).connect()
    response = connection.ask(batch(b"[]", JSON, "", "Origin: https://a.example"))
    assert response.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert response.headers["Vary"] == "Accept, Accept-Encoding, Origin"
    response = connection.ask(get("/v1/batch", "Origin: https://a.example", method="OPTIONS"))
    assert response.headers["Access-Control-Allow-Methods"] == "OPTIONS, POST"
    assert "Content-Type" in response.headers["Access-Control-Allow-Headers"]
    response = connection.ask(batch(b"x", JSON, "", "Origin: https://a.example"))
    assert response.status == 400
    assert response.headers["Access-Control-Allow-Origin"] == "https://a.example"


# Another snapshot


def test_a_batch_under_way_goes_over_to_another_snapshot(tmp_path: Any) -> None:
    server = Server()
    first = Snapshot(write_sample(tmp_path / "a.ipq"))
    server.v1.switch(first)
    connection = server.connect()
    head = get(
        "/v1/batch?fields=country", f"Content-Type: {TEXT}", "Content-Length: 16", method="POST"
    )
    connection.send(head + b"1.2.3.4\n")
    server.v1.switch(sample())
    first.close()
    connection.send(b"1.2.3.5\n")
    (response,) = connection.received()
    assert [json.loads(one)["country"] for one in response.body.splitlines()] == [
        PLACES[0].country
    ] * 2


def test_what_is_kept_for_many_selections_is_bounded() -> None:
    batches = Batches(V1(sample()), 10)
    server = Server(begin_exchange=batches.begin)
    connection = server.connect()
    names = list(json.loads(alone(connection, "1.2.3.4", "", JSON)))
    for one in names:
        for other in names:
            fields = f"fields={one},{other}"
            response = connection.ask(batch(b'["1.2.3.4"]', JSON, fields))
            assert response.json == [json.loads(alone(connection, "1.2.3.4", fields, JSON))]
            assert len(batches._finders) <= 64

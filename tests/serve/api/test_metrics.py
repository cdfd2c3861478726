"""What /metrics and /v1/status tell."""

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families
from twisted.internet import defer
from twisted.internet.defer import Deferred, fail

from ipquery.metrics import DURATION, METRICS, RESTARTS, SECONDS, STARTED, UPDATE_TRIED, WORKERS
from ipquery.serve.api.app import Api, route_of
from ipquery.serve.api.figures import Figures
from ipquery.serve.api.metrics import reply
from ipquery.serve.api.status import quantile
from ipquery.serve.http.counts import Entry
from ipquery.serve.totals import HandedOver, Recent, Told
from tests.serve.http.connection import Server, get
from tests.serve.http.requests import QUERY

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text"
OPEN_1_0 = f"{OPEN}; version=1.0.0; charset=utf-8"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        (PROMETHEUS, OPEN_1_0),
        (OPEN, OPEN_1_0),
        (f"{OPEN}; version=x", OPEN_1_0),
    ],
)
def test_the_form_is_chosen_by_accept(method: str, accept: str | None, form: str) -> None:
    connection = Server().connect()
    fields = [] if accept is None else [f"Accept: {accept}"]
    connection.send(get("/metrics", *fields, method=method))
    (answer,) = connection.received(heads_only=method == "HEAD")
    assert (answer.status, answer.headers["Content-Type"]) == (200, form)
    assert answer.headers["Vary"] == "Accept"
    assert answer.headers["Cache-Control"] == "no-store"


def test_it_is_what_parsers_understand() -> None:
    connection = Server().connect()
    connection.ask(QUERY)
    text = connection.ask(get("/metrics")).body.decode()
    found = {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families(text)
        for sample in family.samples
    }
    assert found["http_server_request_duration_seconds_count", "GET", "200", "/api/ip_query"] == 1
    assert found["ipquery_lookups_total", "CN", "found"] == 1
    assert found["ipquery_connections",] == 1
    opened = connection.ask(get("/metrics", "Accept: application/openmetrics-text"))
    names = {family.name for family in open_families(opened.body.decode())}
    assert DURATION.name in names
    assert opened.body.endswith(b"# EOF\n")


def test_buckets_are_cumulated_and_tell_ten_microseconds_from_ten_milliseconds() -> None:
    values = [0.0] * (len(SECONDS) + 2)
    values[SECONDS.index(0.00001)], values[SECONDS.index(0.01)] = 3, 2
    values[-2], values[-1] = 1, 0.5
    entries: list[Entry] = [(DURATION.name, ("GET", "/", "200"), values)]
    (family,) = [
        one for one in families(reply(entries, None).body.decode()) if one.name == DURATION.name
    ]
    buckets = {one.labels["le"]: one.value for one in family.samples if "le" in one.labels}
    assert (buckets["5e-06"], buckets["1e-05"], buckets["0.005"]) == (0, 3, 3)
    assert (buckets["0.01"], buckets["10.0"], buckets["+Inf"]) == (5, 5, 6)
    assert [one.value for one in family.samples if one.name.endswith("_sum")] == [0.5]


def test_names_follow_prometheus() -> None:
    """https://prometheus.io/docs/practices/naming/"""
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"(ipquery|http_server)(_[a-z]+)+", metric.name)
        assert not metric.name.endswith("_total"), "the text format adds it"
        assert not re.search("_(ms|us|milliseconds|kilobytes)", metric.name)
        assert metric.text.endswith(".")
        assert bool(metric.bounds) == (metric.kind == "histogram")


def test_what_another_version_counts_is_passed_over() -> None:
    assert b"nonsense" not in reply([("nonsense", (), 1)], None).body


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/metrics", "/metrics"),
        ("/v1/ip/1.2.3.4", "/v1/ip/{ip}"),
        ("/v1/ip/2001%3Adb8%3A%3A1/city", "/v1/ip/{ip}/{field}"),
        ("/page/page.css", "/page/{name}"),
        ("/v1/ip/", ""),
        ("/v1/ip/1/2/3", ""),
        ("/nowhere", ""),
    ],
)
def test_paths_have_few_names(path: str, route: str) -> None:
    assert route_of(path.encode()) == route


def test_every_route_has_its_name() -> None:
    for rule in Api.app.url_map.iter_rules():
        path = re.sub(r"<\w+>", "x", rule.rule)
        assert route_of(path.encode()) == re.sub(r"<(\w+)>", r"{\1}", rule.rule)


# Whom it is asked of


class Supervisor:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Told]] = []
        self.now = 0.0
        self.figures = Figures(self._ask, lambda: self.now)

    def _ask(self) -> Deferred[Told]:
        self.asked.append(Deferred())
        return self.asked[-1]


def test_all_who_ask_at_the_same_time_ask_once() -> None:
    supervisor, told, got = Supervisor(), Told([], Recent(0.0, [])), list[Told]()
    for _ in range(3):
        supervisor.figures.get().addCallback(got.append)
    supervisor.asked[0].callback(told)
    assert got == [told] * 3
    supervisor.now = 0.4
    supervisor.figures.get().addCallback(got.append)
    assert (len(got), len(supervisor.asked)) == (4, 1)
    supervisor.now = 0.6
    supervisor.figures.get()
    assert len(supervisor.asked) == 2


def test_an_error_is_not_kept() -> None:
    supervisor, got = Supervisor(), list[Any]()
    for _ in range(2):
        supervisor.figures.get().addErrback(got.append)
    supervisor.asked[0].errback(defer.TimeoutError())
    assert len(got) == 2
    supervisor.figures.get()
    assert len(supervisor.asked) == 2


@pytest.mark.parametrize("path", ["/metrics", "/v1/status"])
def test_without_a_supervisor_there_are_no_figures(path: str) -> None:
    """Those of one worker would seem to go back."""
    server = Server()
    server.figures._ask = lambda: fail(defer.TimeoutError())
    answer = server.connect().ask(get(path))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert b"the supervisor doesn't say" in answer.body


def test_databases_are_told_with_how_newer_ones_were_looked_for() -> None:
    server = Server()
    entries: list[Entry] = [
        (UPDATE_TRIED.name, ("npm-b", "failed"), 1_700_000_000),
        (UPDATE_TRIED.name, ("asn-2026", "served"), 1_700_000_060.5),
    ]
    server.totals.take("updates", HandedOver([], entries))
    answer = server.connect().ask(get("/v1/databases"))
    assert answer.json["updates"] == [
        {"recipe": "asn-2026", "tried": "2023-11-14T22:14:20Z", "outcome": "served"},
        {"recipe": "npm-b", "tried": "2023-11-14T22:13:20Z", "outcome": "failed"},
    ]
    again = get("/v1/databases", f"If-None-Match: {answer.headers['ETag']}")
    assert server.connect().ask(again).status == 304


def test_without_a_supervisor_the_rest_of_it_is_told() -> None:
    server = Server()
    server.figures._ask = lambda: fail(defer.TimeoutError())
    answer = server.connect().ask(get("/v1/databases"))
    assert (answer.status, answer.json["updates"]) == (200, None)
    assert answer.json["sources"]


# /v1/status


def _status(server: Server) -> Any:
    return server.connect().ask(get("/v1/status")).json


def test_the_status_tells_how_the_node_is_doing() -> None:
    server = Server()
    gauges: list[Entry] = [
        (WORKERS.name, ("configured",), 2),
        (WORKERS.name, ("ready",), 1),
        (STARTED.name, (), server.clock.seconds() - 90),
    ]
    server.totals.take("fleet", HandedOver([], gauges))
    for reason in ("died", "died", "stuck"):
        server.totals.add(RESTARTS, (reason,))
    server.totals.tick(0.0)
    values = [0.0] * (len(SECONDS) + 2)
    values[SECONDS.index(0.00001)], values[SECONDS.index(0.01)] = 990, 10
    server.totals.take("w", HandedOver([(DURATION.name, ("GET", "/", "200"), values)], []))
    server.totals.tick(5.0)
    assert _status(server) == {
        "snapshot": server.v1.snapshot.identity,
        "loaded": "2023-11-14T22:13:20Z",
        "uptime_seconds": 90,
        "workers": {"configured": 2, "ready": 1, "restarts": 3},
        "window_seconds": 5.0,
        "requests_per_second": 200.0,
        "latency_seconds": {"p50": 7.5e-06, "p99": 1e-05},
    }


def test_in_the_first_seconds_there_is_nothing_to_tell() -> None:
    status = _status(Server())
    assert status["requests_per_second"] is None
    assert status["latency_seconds"] == {"p50": None, "p99": None}
    assert status["uptime_seconds"] is None


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ({}, 0.5, None),
        ({0.001: 10}, 0.5, 0.00075),
        ({0.001: 10}, 1, 0.001),
        ({0.001: 98, 0.01: 2}, 0.99, 0.0075),
        ({"more": 1}, 0.5, 10.0),
    ],
)
def test_a_quantile_is_found_as_prometheus_does(
    counts: dict[Any, int], share: float, expected: float | None
) -> None:
    values = [0.0] * (len(SECONDS) + 2)
    for bound, count in counts.items():
        values[-2 if bound == "more" else SECONDS.index(bound)] = count
    assert quantile(values, share) == expected


def test_every_metric_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs/operations.md").read_text()
    for metric in METRICS:
        name = metric.name + {"counter": "_total", "info": "_info"}.get(metric.kind, "")
        assert f"| `{name}` |" in text, name
        for label in metric.labels:
            assert f"`{label}`" in text

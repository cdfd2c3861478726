"""Which routes are at the admin address, and which aren't elsewhere then."""

import json
import re

import pytest
from openapi_spec_validator import validate

from ipquery.serve.api.app import Api
from ipquery.serve.api.openapi import openapi
from ipquery.serve.api.where import Where
from tests.serve.http.connection import Connection, Server, get

FIGURES = ("/metrics", "/v1/status", "/metrics?x", "/v1/status?x")
HEALTH = ("/healthz", "/readyz", "/openapi.json")
OTHERS = ("/api/ip_query?ip=1.2.3.4", "/v1/ip/1.2.3.4", "/v1/databases", "/", "/docs", "/nothing")


@pytest.fixture
def admin() -> Connection:
    return Server(where=Where.OPERATORS).connect()


@pytest.fixture
def others() -> Connection:
    return Server(where=Where.CALLERS).connect()


def _status(connection: Connection, target: str, method: str) -> int:
    connection.send(get(target, method=method))
    (response,) = connection.received(heads_only=method == "HEAD")
    return response.status


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_at_the_admin_address_there_are_figures_and_health(admin: Connection, method: str) -> None:
    for target in FIGURES + HEALTH:
        assert _status(admin, target, method) == 200
    for target in OTHERS:
        assert _status(admin, target, method) == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_elsewhere_there_is_all_but_figures(others: Connection, method: str) -> None:
    for target in HEALTH + OTHERS[:-1]:
        assert _status(others, target, method) == 200
    for target in FIGURES:
        assert _status(others, target, method) == 404
        assert _status(others, target, "POST") == 404
        assert _status(others, target, "OPTIONS") == 404


def test_what_is_not_there_is_told_as_elsewhere(others: Connection) -> None:
    assert others.ask(get("/metrics")).message == "not found"
    assert others.ask(get("/v1/status")).json["type"] == "/docs#problem-not-found"


# What stands for the parts of a path.
_PARTS = {"ip": "1.2.3.4", "field": "country_code", "name": "page.css"}


@pytest.mark.parametrize("page", [True, False])
@pytest.mark.parametrize("where", Where)
def test_each_address_describes_what_is_there_and_nothing_else(where: Where, page: bool) -> None:
    connection = Server(where=where, page=page).connect()
    document = connection.ask(get("/openapi.json")).json
    validate(document)
    assert document == json.loads(json.dumps(openapi(page, where)))
    for rule in Api.app.url_map.iter_rules():
        path = re.sub(r"<(\w+)>", r"{\1}", rule.rule)
        described = document["paths"].get(path, {})
        target = path.format(**_PARTS)
        for method in ("GET", "HEAD", "OPTIONS"):
            # Of a batch, which can't be got, the methods are told.
            is_there = _status(connection, target, method) != 404
            assert is_there == bool(described), (method, target)
            if method in (rule.methods or ()):
                assert is_there == (method.lower() in described)
    tags = {tag["name"] for tag in document["tags"]}
    assert tags == {"v1", "node"} | (set() if where is Where.OPERATORS else {"array"})


def test_the_page_asks_for_no_figures_where_there_are_none(others: Connection) -> None:
    html = others.ask(get("/")).body.decode()
    assert "one-title" in html
    assert "node-title" not in html
    assert html.count("<section") == html.count("</section>") == 3
    assert "node-title" in Server().connect().ask(get("/")).body.decode()
    reference = others.ask(get("/docs")).body.decode()
    assert "/v1/databases" in reference
    assert "/v1/status" not in reference

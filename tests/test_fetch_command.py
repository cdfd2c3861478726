"""``ipquery fetch`` from web servers, as its users run it."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ipquery.cli import main
from tests.data.mmdb_files import mmdb
from tests.data.web_server import Server, file_answer, months, serving, text_answer

pytestmark = pytest.mark.usefixtures("builds_here")

Run = Callable[..., Result]

DATABASE = mmdb([(1 << 24, 8, 0)], [{"country_code": "CN"}], version=4)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as server:
        yield server


@pytest.fixture
def run(tmp_path: Path, server: Server) -> Run:
    environment = {
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "SSL_CERT_FILE": str(server.certificate),
        "IPQUERY_MIRROR_DBIP": server.url,
        "IPQUERY_IPINFO_TOKEN": "s3cr3t",
    }

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["fetch", *arguments], env=environment)

    return call


def test_without_a_recipe_the_recommended_ones_are_got(
    run: Run, server: Server, tmp_path: Path
) -> None:
    for product in ("city", "asn"):
        for month in months(1):
            name = f"/dbip-{product}-lite-{month}.mmdb.gz"
            server.answers[name] = file_answer(gzip.compress(DATABASE), '"1"')
    first = run()
    assert (first.exit_code, first.stdout) == (0, "default\n"), first.stderr
    assert first.stderr.splitlines() == [
        "asking localhost for dbip-city-lite.mmdb.gz",
        "reading dbip-city-lite.mmdb",
        "asking localhost for dbip-asn-lite.mmdb.gz",
        "reading dbip-asn-lite.mmdb",
    ]
    data = tmp_path / "data/ipquery"
    again = run("--to", str(data))
    assert again.exit_code == 0
    assert again.stderr.splitlines()[-1] == f"nothing newer than what is in {data}"
    paths = again.stdout.splitlines()
    assert paths[:2] == [
        str(data / f"dbip-{product}-lite/dbip-{product}-lite.mmdb") for product in ("city", "asn")
    ]
    assert paths[2].endswith("ip2region.xdb")
    listed = run("--list").stdout
    assert f"dbip-city-lite    DB-IP City Lite, {_month(server)}-01; in {data}" in listed
    assert "https://download.db-ip.com/free/: dbip-country-lite.mmdb" in listed


def _month(server: Server) -> str:
    return server.paths()[0].removeprefix("/dbip-city-lite-").removesuffix(".mmdb.gz")


def test_what_goes_wrong_is_one_line_without_secrets(run: Run, server: Server) -> None:
    failed = run()
    assert failed.exit_code == 1
    assert failed.stderr.splitlines()[-1].startswith(f"Error: {server.url}dbip-city-lite-")
    server.answers["/ipinfo_lite.mmdb/checksums"] = text_answer(403, "s3cr3t is not known")
    failed = run("--mirror", f"ipinfo-lite={server.url}", "ipinfo-lite")
    assert failed.exit_code == 1
    assert failed.stderr == (
        f"Error: {server.url}ipinfo_lite.mmdb/checksums: answered 403 (*** is not known): are the "
        "credentials right, and allow this?\n"
    )
    url = f"{server.url}geo.mmdb?token=s3cr3t"
    assert "s3cr3t" not in run(url).output
    server.answers["/geo.mmdb"] = file_answer(DATABASE)
    got = run(url)
    assert got.exit_code == 0
    assert "s3cr3t" not in got.output
    assert got.stdout.endswith("/geo.mmdb\n")
    assert "s3cr3t" not in run(url).output


@pytest.mark.parametrize(
    ("mirror", "complaint"),
    [
        ("dbip", "--mirror takes RECIPE=URL"),
        ("=https://a/", "--mirror takes RECIPE=URL"),
        ("npm=https://a/", "npm has no server of its own; known: dbip, dbip-asn-lite, "),
        ("asn-npm=https://a/", "asn-npm has no server of its own"),
    ],
)
def test_a_mirror_that_cannot_be_one(run: Run, mirror: str, complaint: str) -> None:
    refused = run("--mirror", mirror, "dbip-city-lite")
    assert refused.exit_code == 2
    assert complaint in refused.stderr

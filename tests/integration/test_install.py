"""A wheel, installed in an empty environment, outside the repository."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon
from tests.integration.source import copy_source, outside_environment
from tests.serve.http.connection import get


def _run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=outside_environment(XDG_CACHE_HOME=str(cwd / "cache")),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of commands of a new, empty environment."""
    folder = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    yield folder / "venv/bin"
    shutil.rmtree(folder)


@pytest.fixture(
    scope="module", params=["wheel", pytest.param("folder", marks=pytest.mark.soak), "editable"]
)
def installed(
    request: pytest.FixtureRequest,
    commands: Path,
    source: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of commands after one way to install; each takes the place of the one before."""
    folder = tmp_path_factory.mktemp(request.param)
    what: list[object] = [source]
    if request.param == "wheel":
        _run(commands / "pip", "wheel", "--no-deps", "-w", folder, source, cwd=folder)
        what = [next(folder.glob("*.whl"))]
    elif request.param == "editable":
        what = ["--editable", source]
    _run(commands / "pip", "install", *what, cwd=folder)
    (origin,) = commands.parent.glob("lib/*/site-packages/ipquery-*.dist-info/direct_url.json")
    assert json.loads(origin.read_text())["url"] == f"file://{what[-1]}"
    return commands


def test_it_works_outside_the_repository(
    installed: Path, tmp_path: Path, ip2region_path: Path
) -> None:
    assert "ipquery" in _run(installed / "twistd", "--help", cwd=tmp_path)
    found = _run(installed / "ipquery", "lookup", "--db", ip2region_path, "1.2.3.4", cwd=tmp_path)
    assert json.loads(found)["country_code"] == "US"
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    flags = ["--db", ip2region_path]
    with Daemon(tmp_path, *flags, environment=cache, twistd=installed / "twistd") as running:
        response = running.wait_until_up().ask(get("/api/ip_query?ip=1.2.3.4"))
        assert response.json[:2] == ["美国", "US"]
        for path in ("/", "/page/page.js", "/page/page.css", "/page/icon.svg", "/docs"):
            assert running.ask(get(path)).status == 200


def test_it_builds_with_its_own_tables(installed: Path, tmp_path: Path, dat_path: Path) -> None:
    _run(installed / "ipquery", "build", "-o", "out.ipq", dat_path, cwd=tmp_path)
    found = _run(installed / "ipquery", "lookup", "--db", "out.ipq", "123.12.23.45", cwd=tmp_path)
    assert json.loads(found)["city_code"] == "411400"


def test_without_the_default_database_it_says_how_to_get_it(
    installed: Path, tmp_path: Path
) -> None:
    with Daemon(tmp_path, "--db", "default", twistd=installed / "twistd") as running:
        assert running.process.wait(60) == 1
        last = running.log.splitlines()[-1]
        assert "the default database is not installed" in last
        assert "pip install 'ipquery[default-data]'" in last
        assert "Traceback" not in running.log


def test_without_its_extra_the_load_generator_names_it(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed / "ipquery-load", "http://127.0.0.1:1/"],
        cwd=tmp_path,
        env=outside_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "pip install 'ipquery[load]'" in line

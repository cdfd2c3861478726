"""What docs/api.md says, run as written, and /v1 over real sockets."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, exchange
from tests.integration.source import REPOSITORY
from tests.nodes.front import Nginx
from tests.nodes.node import free_ports
from tests.programs import require, require_file
from tests.serve.http.connection import get

DOCS = (REPOSITORY / "docs/api.md").read_text("utf-8")


def _section(title: str) -> str:
    return DOCS.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


# A command, and the block behind it, if one follows at once.
EXAMPLES = re.findall(r"^    ((?:printf .*)?curl .*)\n(?:\n((?:    .*\n)+))?", DOCS, re.MULTILINE)


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, default_path: Path
) -> Iterator[tuple[str, Daemon]]:
    require("curl", "curl")
    folder = tmp_path_factory.mktemp("api")
    with Daemon(folder, "--db", default_path, "-w", "1") as running:
        yield f"127.0.0.1:{running.wait_until_up().port}", running


def _named_alike(text: str) -> str:
    """With one name for every database, which also stands in an ETag."""
    return re.sub(r"[0-9a-f]{64}", "SNAPSHOT", text)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 15
    assert sum(bool(answer) for _, answer in EXAMPLES) == 13


@pytest.mark.parametrize(("command", "answer"), EXAMPLES, ids=lambda text: text[-40:].strip())
def test_an_example(daemon: tuple[str, Daemon], command: str, answer: str) -> None:
    here = command.replace("127.0.0.1:8080", daemon[0]).replace("curl", "curl -sS", 1)
    assert here.count(daemon[0]) == 1
    done = subprocess.run(here, shell=True, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    said = [_named_alike(line) for line in done.stdout.splitlines()]
    if answer:
        assert said == [_named_alike(line[4:]) for line in answer.splitlines()]
    elif "/v1/status" in command:
        assert json.loads(done.stdout)["workers"]["configured"] == 1
    else:
        told = json.loads(done.stdout)
        assert {source["name"] for source in told["sources"]} == {"DB-IP City Lite", "ip2region"}
        assert told["coverage"]["city"]["ipv4"]["addresses"] > 0


# Of each language, how a file of it is called and run; the Debian package of the program.
RUNS = {
    "python": ("example.py", [sys.executable], None),
    "js": ("example.mjs", ["node"], "nodejs"),
    "go": ("example.go", ["go", "run"], "golang-go"),
    "java": ("Example.java", ["java"], "default-jdk-headless"),
    "php": ("example.php", ["php"], "php-cli"),
}
PROGRAMS = re.findall(r"^```(\w+)\n(.*?)^```$", _section("From programs"), re.MULTILINE | re.DOTALL)


def test_there_are_programs() -> None:
    assert [language for language, _ in PROGRAMS] == ["python", *RUNS]


@pytest.mark.parametrize(("language", "program"), PROGRAMS, ids=lambda text: text[:12].strip())
def test_a_program(daemon: tuple[str, Daemon], tmp_path: Path, language: str, program: str) -> None:
    name, (runner, *flags), package = RUNS[language]
    if package:
        # Without it, java would be missing its compiler.
        require("javac" if runner == "java" else runner, package)
    assert program.count("127.0.0.1:8080") == 1
    (tmp_path / name).write_text(program.replace("127.0.0.1:8080", daemon[0]), "utf-8")
    done = subprocess.run(
        [runner, *flags, name],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},  # where go keeps what it has compiled
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "CN Shangqiu\n"), done.stderr


def test_nginx_tells_whence_a_client_comes(daemon: tuple[str, Daemon], tmp_path: Path) -> None:
    module = require_file("/usr/lib/nginx/modules/ngx_http_js_module.so", "libnginx-mod-http-js")
    (script, server) = re.findall(
        r"^```(?:js|nginx)\n(.*?)^```$", _section("In nginx"), re.MULTILINE | re.DOTALL
    )
    # The workers are another user, who can't read pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="ipquery-nginx-"))
    folder.chmod(0o755)
    front, behind = free_ports(2)
    for before, after in (
        ("/etc/nginx", str(folder)), ("9001", f"127.0.0.1:{front}"), ("9002", str(behind)),
    ):  # fmt: skip
        assert server.count(before) == 1
        server = server.replace(before, after)
    (folder / "enrich.js").write_text(script.replace("127.0.0.1:8080", daemon[0]), "utf-8")
    # A client elsewhere, and an application that says what it is told.
    (folder / "nginx.conf").write_text(
        f"load_module {module};\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        "events {}\nhttp {\naccess_log off;\nset_real_ip_from 127.0.0.1;\n"
        f"real_ip_header X-Forwarded-For;\n{server}\n"
        f"server {{ listen 127.0.0.1:{behind}; return 200 "
        '"$http_country_code $http_kind"; }\n}\n',
        "utf-8",
    )
    try:
        with Nginx(folder / "nginx.conf"):
            for client, told in (("123.12.23.45", b"CN public"), ("10.1.2.3", b" private")):
                with socket.create_connection(("127.0.0.1", front), 10) as connection:
                    said = exchange(connection, get("/", f"X-Forwarded-For: {client}"))
                assert (said.status, said.body) == (200, told)
    finally:
        shutil.rmtree(folder)


def test_every_problem_is_explained_as_the_service_explains_it() -> None:
    from ipquery.serve.api.openapi import EXPLANATIONS
    from ipquery.serve.api.problems import KINDS

    rows = re.findall(r"^\| `/docs#problem-([a-z-]+)` \| (\d+) \| (.*) \|$", DOCS, re.MULTILINE)
    assert {name: int(status) for name, status, _ in rows} == {
        name: kind.status for name, kind in KINDS.items()
    }
    assert {name: text.replace("`", "``") for name, _, text in rows} == EXPLANATIONS

"""The real daemon: what its caller and its operator see."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
import treq
from twisted.internet.defer import gatherResults

from ipquery.data.sources import FORMAT_NAMES
from tests.contract.cases import CASES, Case
from tests.data.files import xdb
from tests.integration.daemon import TWISTD, Daemon, exchange, opened_by, until
from tests.programs import require
from tests.serve.http.connection import get, post

QUERY = get("/api/ip_query?ip=1.2.3.4")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IPv4 1.0.0.0/8 in one file; the contract's cases need no more than that and 2000::/8."""
    folder = tmp_path_factory.mktemp("database")
    text = "中国|0|河南省|商丘市|联通"
    (folder / "v4.xdb").write_bytes(xdb([(0x01000000, 0x01FFFFFF, text)]))
    (folder / "v6.xdb").write_bytes(xdb([(0x20 << 120, (0x21 << 120) - 1, text)], 3, 6))
    return folder


def _databases(folder: Path) -> list[object]:
    return ["--db", folder / "v4.xdb", "--db", folder / "v6.xdb"]


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, database: Path, cached: dict[str, str]
) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    with Daemon(folder, *_databases(database), environment=cached) as running:
        yield running.wait_until_up()


# The contract, over real HTTP


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(daemon: Daemon, case: Case) -> None:
    case.verify(daemon.ask(case.request))


@pytest_twisted.ensureDeferred
async def test_an_ordinary_client(daemon: Daemon) -> None:
    url = f"http://127.0.0.1:{daemon.port}/api/ip_query"
    for response in (
        await treq.get(url, params={"ip": "1.2.3.4"}),
        await treq.post(url, json={"ip": "1.2.3.4"}),
    ):
        assert response.code == 200
        assert (await response.json())[:2] == ["中国", "CN"]
    response = await treq.get(url, params={"ip": "9.9.9.9"})
    assert response.code == 501
    assert await response.json() == {"message": "no ip info in ip db for ip: 9.9.9.9"}


@pytest_twisted.ensureDeferred
async def test_many_clients_at_once(daemon: Daemon) -> None:
    url = f"http://127.0.0.1:{daemon.port}/api/ip_query"
    asked = [treq.get(url, params={"ip": f"1.2.3.{n}"}) for n in range(200)]
    responses = await gatherResults(asked)
    assert {response.code for response in responses} == {200}


def test_curl_by_get_post_and_head(daemon: Daemon) -> None:
    program = require("curl", "curl")
    url = f"http://127.0.0.1:{daemon.port}/api/ip_query"

    def curl(*arguments: str) -> str:
        return subprocess.run(
            [program, "-s", *arguments], capture_output=True, text=True, check=True, timeout=20
        ).stdout

    assert json.loads(curl(f"{url}?ip=1.2.3.4"))[1] == "CN"
    assert json.loads(curl("-d", '{"ip": "1.2.3.4"}', url))[1] == "CN"
    assert json.loads(curl("--http2", "-d", '{"ip": "1.2.3.4"}', url))[1] == "CN"
    assert json.loads(curl("--http1.0", f"{url}?ip=1.2.3.4"))[1] == "CN"
    assert curl("-I", f"{url}?ip=1.2.3.4").startswith("HTTP/1.1 200 OK")
    assert curl("-w", "%{http_code}", f"{url}?ip=x").endswith('"}400')


def test_a_slow_header_gets_408_and_others_are_served(
    tmp_path: Path, database: Path, cached: dict[str, str]
) -> None:
    (tmp_path / "c.toml").write_text("workers = 1\n[http]\nheader_seconds = 1\n")
    flags = [*_databases(database), "--config", "c.toml"]
    with (
        Daemon(tmp_path, *flags, environment=cached) as running,
        running.wait_until_up().connect() as slow,
    ):
        slow.sendall(QUERY[:10])
        assert running.ask(QUERY).status == 200
        slow.settimeout(10)
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")


# Starting


def test_the_log_names_the_database_and_a_command_to_try(
    tmp_path: Path, ip2region_path: Path, cached: dict[str, str]
) -> None:
    require("curl", "curl")
    with Daemon(tmp_path, "--db", ip2region_path, "-w", 1, environment=cached) as running:
        log = running.wait_until_up().log
        assert re.search(
            r"database ip2region: xdb, 2022-06-22, [\d,]+ days old, 720,221 ranges, 13,804 "
            "records; licence: Apache-2.0; attribution: ip2region",
            log,
        )
        command = running.wait_for_log("try: (curl .*)")[1]
        answer = subprocess.run(command, shell=True, capture_output=True, check=True, timeout=20)
        assert json.loads(answer.stdout)[:4] == ["中国", "CN", "江苏省", "320000"]


def test_the_default_database_by_its_name(tmp_path: Path, cached: dict[str, str]) -> None:
    with Daemon(tmp_path, "--db", "default", "-w", 1, environment=cached) as running:
        response = running.wait_until_up().ask(get("/api/ip_query?ip=123.12.23.45"))
        assert response.json == ["中国", "CN", "河南省", "410000", "商丘市", "411400", "", "联通"]


def test_several_addresses_and_a_unix_socket(
    tmp_path: Path, database: Path, cached: dict[str, str]
) -> None:
    flags = ["-w", 1, "-b", "[::1]:0", "-b", f"unix:{tmp_path}/s", *_databases(database)]
    with Daemon(tmp_path, *flags, environment=cached) as running:
        log = running.wait_until_up().log
        assert running.ask(QUERY).status == 200
        v6_port = int(re.search(r"listening on \[::1\]:(\d+)", log)[1])  # type: ignore[index] # fails the test if None
        with socket.create_connection(("::1", v6_port), 10) as connection:
            assert exchange(connection, QUERY).status == 200
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"{tmp_path}/s")
            case = next(case for case in CASES if case.name == "GET IPv4")
            case.verify(exchange(connection, case.request))
        running.stop()
        assert not (tmp_path / "s").exists()


def test_flags_come_before_the_configuration(
    tmp_path: Path, database: Path, cached: dict[str, str]
) -> None:
    (tmp_path / "c.toml").write_text(
        "bind = ['127.0.0.1:1']\nworkers = 1\n[[database]]\npath = 'missing'\n"
        "[http]\nbody_bytes = 20\n"
    )
    flags = [*_databases(database), "--config", "c.toml"]
    with Daemon(tmp_path, *flags, environment=cached) as running:
        assert running.wait_until_up().ask(post(b'{"ip":"1.2.3.4"}')).status == 200
        assert running.ask(post(b'{"ip":  "1.2.3.4"   }')).status == 413


def test_as_a_daemon_with_a_pid_file_and_a_log(
    tmp_path: Path, database: Path, cached: dict[str, str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command: list[object] = [TWISTD, "--pidfile=pid", "--logfile=log", "ipquery"]
    command += ["-b", f"127.0.0.1:{port}", *_databases(database)]
    subprocess.run(
        [str(part) for part in command],
        cwd=tmp_path,
        env={**os.environ, **cached},
        check=True,
        timeout=60,
    )
    pid = int((tmp_path / "pid").read_text())
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            assert exchange(connection, QUERY).status == 200
        # The other workers may take a moment more.
        until(lambda: "try: curl" in (tmp_path / "log").read_text())
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert not (tmp_path / "pid").exists()
    assert "try: curl" in (tmp_path / "log").read_text()


# Stopping


def test_stopping_answers_what_was_begun(
    tmp_path: Path, database: Path, cached: dict[str, str]
) -> None:
    with Daemon(tmp_path, "-w", 1, *_databases(database), environment=cached) as running:
        idle, begun = running.wait_until_up().connect(), running.connect()
        exchange(idle, QUERY)
        begun.sendall(QUERY[:30])
        until(lambda: running.has_read_all)
        running.process.send_signal(signal.SIGTERM)
        assert idle.recv(10) == b"", "an idle connection is closed soon"
        response = exchange(begun, QUERY[30:])
        assert (response.status, response.headers["Connection"]) == (200, "close")
        begun.close()
        idle.close()
        # twistd ends by the signal it was stopped with, after everything else.
        assert running.stop() == -signal.SIGTERM
        assert "Server Shut Down." in running.log
        assert "Traceback" not in running.log


# Logs


def test_the_access_log_is_off_unless_asked_for(daemon: Daemon) -> None:
    daemon.ask(QUERY)
    assert "GET /api" not in daemon.log


def test_the_access_log_is_reopened_on_usr1(
    tmp_path: Path, database: Path, cached: dict[str, str]
) -> None:
    (tmp_path / "c.toml").write_text("access_log = 'access.log'\n")
    flags = [*_databases(database), "--config", "c.toml"]
    path, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    with Daemon(tmp_path, *flags, environment=cached) as running:
        running.wait_until_up().ask(QUERY)
        path.rename(rotated)
        running.process.send_signal(signal.SIGUSR1)
        until(lambda: all(str(path) in opened_by(worker) for worker in running.workers))
        running.ask(get("/healthz"))
        running.ask(b"nonsense\r\n\r\n")
    assert '"GET /api/ip_query?ip=1.2.3.4 HTTP/1.1" 200 ' in rotated.read_text()
    # In no order: two workers wrote them.
    first, second = sorted(path.read_text().splitlines(), key=lambda line: "healthz" in line)
    assert '"-" 400 ' in first
    assert '"GET /healthz HTTP/1.1" 200 ' in second


def test_the_access_log_goes_to_standard_output(
    tmp_path: Path, database: Path, cached: dict[str, str]
) -> None:
    (tmp_path / "c.toml").write_text("[access_log]\npath = '-'\n")
    flags = [*_databases(database), "--config", "c.toml"]
    with Daemon(tmp_path, *flags, environment=cached) as running:
        running.wait_until_up()
        running.process.send_signal(signal.SIGUSR1)
        running.ask(QUERY)
        running.wait_for_log(r'(?m)^127.0.0.1 - - .*"GET /api/ip_query\?ip=1.2.3.4 HTTP/1.1" 200 ')
        # A new configuration needs new workers.
        changed = "[access_log]\npath = '-'\nformat = 'json'\nsample = 2\n"
        (tmp_path / "c.toml").write_text(changed)
        old = running.workers
        running.process.send_signal(signal.SIGHUP)
        running.wait_for_log("reloaded; answering")
        # Those that were answering may let callers in until they are gone.
        until(lambda: not {*old} & {*running.workers})
        with running.connect() as connection:
            exchange(connection, get("/healthz"))
            exchange(connection, QUERY)
        said = running.wait_for_log(r'(?m)^\{"time":.*\}$')[0]
        assert json.loads(said)["request_uri"] == "/api/ip_query?ip=1.2.3.4"
        assert "healthz" not in running.log
    assert not (tmp_path / "-").exists()


# What the operator gets wrong: one line, status 1, no traceback


def _fails(
    folder: Path, *arguments: object, environment: dict[str, str], bind: str = "127.0.0.1:0"
) -> str:
    with Daemon(folder, *arguments, bind=bind, environment=environment) as running:
        assert running.process.wait(START) == 1
        assert "Traceback" not in running.log
        lines = [line for line in running.log.splitlines() if not re.match(r" *\d+%", line)]
        return lines[-1] if lines[0].startswith("Usage:") else "\n".join(lines)


START = 60


def test_no_database(tmp_path: Path, cached: dict[str, str]) -> None:
    line = _fails(tmp_path, environment=cached)
    assert re.fullmatch(r"ipquery: no database configured; name one with --db FILE .*", line)
    assert "pip install 'ipquery[default-data]'" in line


def test_what_the_check_accepts_it_starts_with(
    tmp_path: Path, database: Path, cached: dict[str, str]
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f"bind = ['127.0.0.1:0']\n[[database]]\npath = '{database}/v4.xdb'\n")

    def check() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [TWISTD.with_name("ipquery"), "check", "--config", config],
            capture_output=True,
            text=True,
            env={**os.environ, **cached},
            check=False,
        )

    accepted = check()
    assert accepted.returncode == 0, accepted.stderr
    snapshot = accepted.stdout.split()[-1]
    with Daemon(tmp_path, "--config", config, environment=cached, bind=None) as running:
        running.wait_until_up()
        assert any(path.endswith(snapshot) for path in opened_by(running.process.pid))
        assert "reading v4.xdb" not in running.log, "the check has built it"
        config.write_text(config.read_text().replace("v4", "v5"))
        refused = check()
        assert refused.returncode == 1
        running.process.send_signal(signal.SIGHUP)
        running.wait_for_log(f"reload refused.*{re.escape(refused.stdout.strip())}")


def test_an_address_in_use(daemon: Daemon, tmp_path: Path, cached: dict[str, str]) -> None:
    bind = f"127.0.0.1:{daemon.port}"
    line = _fails(tmp_path, "--db", "default", bind=bind, environment=cached)
    assert re.fullmatch(f"ipquery: {bind}: already in use; .*", line)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "c.toml: can't read this configuration: No such file or directory"),
        ("binds = []", "c.toml: unknown key binds; did you mean bind\\?"),
        ("bind = ", "c.toml: not valid TOML: .*"),
        ("access_log = '/missing/log'", "/missing/log: can't write this access log: No such .*"),
    ],
)
def test_a_bad_configuration(
    tmp_path: Path, database: Path, cached: dict[str, str], content: str | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / "c.toml").write_text(content)
    flags = [*_databases(database), "--config", "c.toml"]
    assert re.fullmatch(f"ipquery: {complaint}", _fails(tmp_path, *flags, environment=cached))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "can't read this database: No such file or directory"),
        (b"", ".*the file is empty.*"),
        (b"<html>" * 1000, ".*a web page.*"),
        (bytes(100_000), ".*zero bytes.*"),
        (xdb([(0, 5, "a|b|c|d|e")])[:-1], ".*cut short.*"),
    ],
)
def test_a_bad_database(
    tmp_path: Path, cached: dict[str, str], content: bytes | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / "bad.dat").write_bytes(content)
    line = _fails(tmp_path, "--db", "bad.dat", environment=cached)
    assert re.fullmatch(f"ipquery: bad.dat: {complaint}", line)


@pytest.mark.parametrize(
    ("flags", "shell", "why"),
    [
        (["--pidfile="], 'exec "$@"', "twistd runs in the background"),
        (["-n", "--pidfile="], 'exec "$@" >&-', "it is closed"),
    ],
)
def test_an_access_log_without_a_standard_output(
    tmp_path: Path,
    database: Path,
    cached: dict[str, str],
    flags: list[str],
    shell: str,
    why: str,
) -> None:
    (tmp_path / "c.toml").write_text("access_log = '-'\n")
    arguments = [*flags, "ipquery", "-b", "127.0.0.1:0", "--config", "c.toml"]
    done = subprocess.run(
        ["sh", "-c", shell, "sh", TWISTD, *arguments, *map(str, _databases(database))],
        cwd=tmp_path,
        env={**os.environ, **cached},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"ipquery: the access log can't go to standard output, {why}; start `twistd -n`, or give "
        "the path of a file\n"
    )


def test_bad_flags(tmp_path: Path, cached: dict[str, str]) -> None:
    for flags, complaint in (
        (
            ["-b", "nonsense"],
            "nonsense: not an address to listen on; give HOST:PORT, tls:HOST:PORT or unix:PATH; "
            "admin: may stand before it",
        ),
        (["--db", "zip:x"], f"zip:x: unknown format zip; formats: {', '.join(FORMAT_NAMES)}"),
        (["--dbs", "x"], "option --dbs not recognized"),
    ):
        assert _fails(tmp_path, *flags, environment=cached).endswith(complaint)

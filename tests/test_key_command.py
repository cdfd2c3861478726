"""``ipquery key``: what it prints, and the file that it keeps."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ipquery.cli import main
from ipquery.config import load
from ipquery.serve.guard.keys import Keys, parse_keys


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["key", *map(str, arguments)])


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "ipquery.toml"
    path.write_text('[guard]\nkeys = "keys.json"\n')
    return path


def test_a_key_is_made_listed_and_revoked(configuration: Path) -> None:
    made = run("new", "crawler", "--config", configuration)
    assert made.exit_code == 0
    key = made.stdout.strip()
    assert key.startswith("ipq_")
    assert "crawler is in" in made.stderr
    assert key not in made.stderr
    text = load(configuration).settings.guard.keys
    assert text is not None
    assert Keys(parse_keys(text)).admit({b"x-api-key": key.encode()})
    file = configuration.with_name("keys.json")
    assert run("list", "--file", file).stdout.split()[1:] == ["crawler"]
    assert run("revoke", "crawler", "--file", file).exit_code == 0
    assert run("list", "--config", configuration).stdout == ""


def test_what_is_wrong_is_one_line(configuration: Path, tmp_path: Path) -> None:
    for arguments, complaint in (
        (["revoke", "x", "--config", configuration], "can't read these API keys"),
        (["new", "a b", "--config", configuration], "is no name for a key"),
        (["list", "--config", tmp_path / "none.toml"], "can't read this configuration"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert complaint in result.stderr
        assert len(result.stderr.splitlines()) == 1
    other = tmp_path / "other.toml"
    other.write_text("[guard]\nallow = []\n")
    assert "no file of API keys is named" in run("list", "--config", other).stderr
    other.write_text("[guard]\nkey = 'x'\n")
    assert (
        "unknown key guard.key; did you mean guard.keys?" in run("list", "--config", other).stderr
    )
    for more in ([], ["--file", "x", "--config", "y"]):
        assert "name the file of keys by --file FILE or --config FILE" in run("list", *more).stderr

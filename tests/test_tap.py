"""Flags of ``twistd ipquery``, over the configuration file."""

from pathlib import Path
from typing import ClassVar

import attrs
import pytest
from twisted.python import usage

from ipquery.config import Config, ConfigError, load
from ipquery.config.model import cores
from ipquery.data.sources import Source, ip2region_source
from ipquery.net.sockets import Bind
from ipquery.serve.http.settings import AccessLogSettings
from ipquery.tap import Options, example


class Twistd(usage.Options):
    """What twistd tells of itself."""

    optFlags: ClassVar = [["nodaemon", "n", "Stay in the foreground."]]


FILE = """
bind = ["127.0.0.1:1"]
workers = 3
express = true
[[database]]
path = "db.xdb"
[http]
body_bytes = 5
[cache]
redis = "redis://file"
entries = 6
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A configuration file."""
    (tmp_path / "c.toml").write_text(FILE)
    return tmp_path / "c.toml"


def _options(*words: object) -> Options:
    options = Options()
    options.parseOptions([str(word) for word in words])
    return options


def test_without_flags_it_is_what_the_file_says(path: Path) -> None:
    assert _options("--config", path).load_config() == load(path)


def test_each_flag_comes_before_the_file_and_leaves_the_rest(path: Path) -> None:
    file = load(path)
    binds = (Bind("127.0.0.1", 2), Bind(path="s"))
    for flags, expected in (
        (["-b", "127.0.0.1:2", "--bind", "unix:s"], attrs.evolve(file, binds=binds)),
        (["-w", "2"], attrs.evolve(file, workers=2)),
        (["--workers", "auto"], attrs.evolve(file, workers=cores())),
        (
            ["--db", "xdb:a", "--db", "b.dat"],
            attrs.evolve(file, databases=(Source(Path("a"), "xdb"), Source(Path("b.dat")))),
        ),
        (["--db", "default"], attrs.evolve(file, databases=(ip2region_source(),))),
        (
            ["--no-express"],
            attrs.evolve(file, settings=attrs.evolve(file.settings, express=False)),
        ),
    ):
        assert _options("--config", path, *flags).load_config() == expected, flags


def test_redis_of_a_flag_is_kept_as_the_file_says(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "secret")
    settings = _options("--config", path, "--redis", "redis://:${PASSWORD}@flag").load_config()
    assert settings.settings.cache.redis == "redis://:secret@flag"
    assert settings.settings.cache.entries == 6


def test_flags_alone_are_enough() -> None:
    assert _options("--db", "a.xdb").load_config() == Config(databases=(Source(Path("a.xdb")),))


def test_a_reload_reads_the_file_again(path: Path) -> None:
    options = _options("--config", path, "-w", 1)
    before = options.load_config()
    path.write_text(FILE.replace("body_bytes = 5", "body_bytes = 7"))
    after = options.load_config()
    assert (before.settings.http.body_bytes, after.settings.http.body_bytes) == (5, 7)
    assert after.workers == 1
    path.write_text("nonsense")
    with pytest.raises(ConfigError, match="not valid TOML"):
        options.load_config()


def test_a_database_is_needed() -> None:
    with pytest.raises(ConfigError, match="no database configured; name one with --db FILE"):
        _options().load_config()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["-b", "80"], "80: not an address to listen on"),
        (["-w", "0"], "0: not a number of workers; give 1 or more, or auto"),
        (["--db", "zip:a"], "unknown format zip; formats: "),
        (["--redis", "http://x"], "http://x: not an address of Redis"),
        (["--redis", "redis://${NOT_SET}"], "--redis: NOT_SET isn't set in the environment"),
    ],
)
def test_a_flag_that_is_wrong_is_said_before_anything_starts(
    flags: list[str], complaint: str
) -> None:
    with pytest.raises(usage.UsageError) as caught:
        _options(*flags)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("in_background", [True, False])
def test_a_log_on_standard_output_needs_one(path: Path, in_background: bool) -> None:
    path.write_text(f"access_log = '-'\n{FILE}")
    options = _options("--config", path)
    options.parent = Twistd()
    options.parent.parseOptions([] if in_background else ["-n"])
    if in_background:
        with pytest.raises(ConfigError, match="can't go to standard output, twistd runs in the"):
            options.load_config()
    else:
        assert options.load_config().settings.access_log == AccessLogSettings("-")


@pytest.mark.parametrize(
    ("bind", "command"),
    [
        (Bind("0.0.0.0", 80), "curl 'http://127.0.0.1:80/api/ip_query?ip=114.114.114.114'"),
        (Bind("::", 80), "curl 'http://[::1]:80/api/ip_query?ip=114.114.114.114'"),
        (Bind("10.0.0.1", 80), "curl 'http://10.0.0.1:80/api/ip_query?ip=114.114.114.114'"),
        (
            Bind("0.0.0.0", 443, tls=True),
            "curl -k 'https://127.0.0.1:443/api/ip_query?ip=114.114.114.114'",
        ),
        (
            Bind(path="/run/s"),
            "curl --unix-socket /run/s 'http://localhost/api/ip_query?ip=114.114.114.114'",
        ),
    ],
)
def test_the_command_to_try_it_reaches_it(bind: Bind, command: str) -> None:
    assert example(bind) == command

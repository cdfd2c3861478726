"""The Debian package that `make deb` has built: looked through, installed, upgraded, purged."""

import gzip
import json
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipquery.cli import main
from tests.integration.source import REPOSITORY
from tests.nodes.node import free_ports

pytestmark = pytest.mark.packages

BASE = REPOSITORY / "build/packages/base"
KEPT = "# What the operator has written.\n"


def _run(*command: object) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package() -> Path:
    (built,) = (REPOSITORY / "build/deb").glob("*.deb")
    return built


def test_lintian_finds_nothing(package: Path) -> None:
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_each_override_has_its_reason() -> None:
    lines = (REPOSITORY / "conf/debian/ipquery.lintian-overrides").read_text().splitlines()
    assert lines[0].startswith("#")
    assert all(re.match("#|ipquery: ", line) for line in lines)


class Machine:
    """A Debian in a folder. It has no systemd that runs; the unit's command is run as it says."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *command: object) -> str:
        return _run("chroot", self.root, *command)

    def install(self, package: Path) -> None:
        shutil.copy(package, self.root / "new.deb")
        self.run("dpkg", "--install", "--force-confold", "/new.deb")
        (self.root / "new.deb").unlink()

    def path(self, path: str) -> Path:
        return self.root / path.removeprefix("/")

    def start(self) -> "subprocess.Popen[bytes]":
        """What the unit starts, as its user, with the folders that systemd makes for it."""
        unit = self.path("/lib/systemd/system/ipquery.service").read_text()
        command, user = (
            re.findall(f"^{key}=(.*)$", unit, re.M)[0] for key in ("ExecStart", "User")
        )
        folders = []
        for kind, parent in {
            "Cache": "/var/cache",
            "State": "/var/lib",
            "Logs": "/var/log",
        }.items():
            name = re.findall(f"^{kind}Directory=(.*)$", unit, re.M)[0]
            self.run("install", "-d", "-o", user, "-g", user, f"{parent}/{name}")
            folders.append(f"{kind.upper()}_DIRECTORY={parent}/{name}")
        with self.path("/var/log/ipquery/ipquery.log").open("wb") as log:
            within = ["chroot", f"--userspec={user}:{user}", str(self.root), "/usr/bin/env", "-i"]
            return subprocess.Popen(
                [*within, "PATH=/usr/bin:/bin", *folders, *command.split()],
                stdout=log,
                stderr=log,
            )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    root = tmp_path_factory.mktemp("machine") / "root"
    _run("cp", "-a", BASE, root)
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    yield Machine(root)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as another version, with another configuration file."""
    folder = tmp_path_factory.mktemp("newer")
    _run("dpkg-deb", "-R", package, folder / "tree")
    control = folder / "tree/DEBIAN/control"
    control.write_text(re.sub("^Version: .*$", r"\g<0>+next", control.read_text(), flags=re.M))
    with (folder / "tree/etc/ipquery/ipquery.toml").open("a") as file:
        file.write("\n# What a new version says.\n")
    _run("dpkg-deb", "-b", "-Zgzip", "-z1", folder / "tree", folder / "newer.deb")
    shutil.rmtree(folder / "tree")
    return folder / "newer.deb"


def _answers(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """It answers, without a word about what it couldn't write, and ends when it is told to."""
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        try:
            query = f"http://127.0.0.1:{port}/api/ip_query?ip=114.114.114.114"
            with urllib.request.urlopen(query, timeout=5) as response:
                assert json.load(response)[1] == "CN"
            break
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.wait(40)
    assert "plugin cache" not in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_life_of_the_package(machine: Machine, package: Path, newer: Path) -> None:
    """One after the other, as each begins with what the one before left."""
    machine.install(package)
    assert "ipquery" in machine.run("getent", "passwd", "ipquery")
    assert machine.run("ipquery", "--version").startswith("ipquery, version")
    link = machine.path("/etc/systemd/system/multi-user.target.wants/ipquery.service")
    assert link.is_symlink(), "it starts when the machine does"
    assert not machine.path("/etc/systemd/system/sockets.target.wants/ipquery.socket").is_symlink()
    for name in main.commands:
        page = machine.path(f"/usr/share/man/man1/ipquery-{name}.1.gz")
        assert f"ipquery {name}" in gzip.decompress(page.read_bytes()).decode()
    for name in ("twistd-ipquery", "ipquery-load", "ipquery-load-run"):
        assert machine.path(f"/usr/share/man/man1/{name}.1.gz").is_file()
    assert machine.run("ipquery-load", "--version").startswith("ipquery-load, version")
    for path in (
        "bash-completion/completions/ipquery",
        "zsh/vendor-completions/_ipquery",
        "fish/vendor_completions.d/ipquery.fish",
    ):
        assert "_IPQUERY_COMPLETE" in machine.path(f"/usr/share/{path}").read_text()

    (port,) = free_ports(1)
    config = machine.path("/etc/ipquery/ipquery.toml")
    shipped = config.read_text()
    assert shipped == (REPOSITORY / "conf/ipquery.toml").read_text()
    config.write_text(KEPT + shipped.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
    log = machine.path("/var/log/ipquery/ipquery.log")
    _answers(machine.start(), port, log)
    snapshots = list(machine.path("/var/cache/ipquery/snapshots").glob("*.ipq"))
    assert snapshots

    machine.install(newer)
    assert config.read_text().startswith(KEPT), "an upgrade keeps what the operator has written"
    assert "What a new version says" in config.with_name("ipquery.toml.dpkg-dist").read_text()
    assert machine.run("dpkg-query", "-W", "-f", "${Version}", "ipquery").endswith("+next")
    assert list(machine.path("/var/cache/ipquery/snapshots").glob("*.ipq")) == snapshots
    _answers(machine.start(), port, log)

    machine.run("dpkg", "--remove", "ipquery")
    assert config.exists(), "what is removed can be had again as it was"
    assert snapshots[0].exists()
    assert not machine.path("/usr/lib/ipquery").exists()

    machine.run("dpkg", "--purge", "ipquery")
    everything = _run(
        "find", machine.root, "-xdev", "-iname", "*ipquery*", "-not", "-path", "*/proc/*"
    )
    assert everything == ""
    done = subprocess.run(["chroot", machine.root, "getent", "passwd", "ipquery"], check=False)
    assert done.returncode == 2

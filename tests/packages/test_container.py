"""The image, built by buildah without a registry, and run as containers are.

There is no container runtime where the tests run. What one would do is done by hand: the
image's root is mounted read-only, with what is in its configuration for user, environment and
command, and a temporary file system wherever the image asks for a volume.
"""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.integration.daemon import exchange, receive, until
from tests.integration.source import REPOSITORY
from tests.nodes.node import free_ports
from tests.serve.http.connection import get, post

pytestmark = pytest.mark.packages

PACKAGES = REPOSITORY / "build/packages"
BUILDAH = ["buildah", f"--root={PACKAGES}/images", f"--runroot={PACKAGES}/run"]
BUILDAH += ["--storage-driver", "vfs"]
PIP_WHEEL = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir"]
ANYBODY = "54321:54321"
QUERY = get("/api/ip_query?ip=114.114.114.114")


def _buildah(*arguments: object, cwd: Path = REPOSITORY) -> str:
    done = subprocess.run(
        [*BUILDAH, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return str(done.stdout).strip()


@attrs.frozen
class Image:
    """The image, its root in a folder, and what it says of how to run it."""

    root: Path
    size: int
    config: Any

    def run(self, config: Path, user: str = ANYBODY, *command: str) -> "subprocess.Popen[bytes]":
        """A container's process, in a mount namespace of its own, which goes with it."""
        environment = self.config["Env"]
        (cache,) = self.config["Volumes"]
        mounts = f"""
            set -e
            mount --bind {self.root} {self.root}
            mount --bind {config} {self.root}/etc/ipquery/ipquery.toml
            mount -o remount,ro,bind {self.root}
            mount -t tmpfs -o mode=1777 tmpfs {self.root}{cache}
            mount -t tmpfs -o mode=1777 tmpfs {self.root}/tmp
            mount -t proc proc {self.root}/proc
            exec chroot --userspec={user} {self.root} env -i "$@"
        """
        what = command or (*self.config["Entrypoint"], *self.config["Cmd"])
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", mounts, "sh", *environment, *what],
            stdout=(config.parent / "log").open("wb"),
            stderr=subprocess.STDOUT,
        )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    policy = tmp_path_factory.mktemp("policy") / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    wheels = REPOSITORY / "build/wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    subprocess.run(
        [*PIP_WHEEL, wheels, f"{REPOSITORY}[default-data,update]"],
        check=True,
        capture_output=True,
    )
    if not _buildah("images", "--quiet", "--filter", "reference=ipquery-base"):
        base = _buildah("from", "--signature-policy", policy, "scratch")
        _buildah("add", "--quiet", base, PACKAGES / "base", "/")
        _buildah("commit", "--quiet", "--rm", "--signature-policy", policy, base, "ipquery-base")
    _buildah(
        *("build", "--isolation", "chroot", "--format", "docker", "--pull-never"),
        *("--signature-policy", policy, "--build-arg", "BASE=localhost/ipquery-base"),
        *("--file", "conf/container/Containerfile", "--tag", "ipquery:test", REPOSITORY),
    )
    about = json.loads(_buildah("inspect", "--type", "image", "localhost/ipquery:test"))
    container = _buildah("from", "--pull-never", "--signature-policy", policy, "ipquery:test")
    root = Path(_buildah("mount", container))
    total = sum(path.lstat().st_size for path in root.rglob("*") if not path.is_symlink())
    yield Image(root, total, about["Docker"]["config"])
    _buildah("umount", container)
    _buildah("rm", container)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The image's own, on a port that is free."""
    (port,) = free_ports(1)
    text = (REPOSITORY / "conf/container/ipquery.toml").read_text()
    assert '":8080"' in text
    # Others may look: it is mounted for a user who isn't us.
    tmp_path.chmod(0o755)
    path = tmp_path / "ipquery.toml"
    path.write_text(text.replace('":8080"', f'"127.0.0.1:{port}"'))
    (tmp_path / "port").write_text(str(port))
    return path


def _port(config: Path) -> int:
    return int((config.parent / "port").read_text())


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as one:
            return exchange(one, QUERY).status == 200
    except OSError:
        return False


@pytest.fixture
def running(image: Image, config: Path) -> Iterator["subprocess.Popen[bytes]"]:
    began = time.monotonic()
    process = image.run(config)
    log = config.parent / "log"
    try:
        until(lambda: process.poll() is not None or _answers(_port(config)), 60)
        assert process.poll() is None, log.read_text()
        print(f"\nstart to first answer: {time.monotonic() - began:.2f} s")
        yield process
    finally:
        process.terminate()
        process.wait(40)
    for word in ("plugin cache", "Traceback", "Read-only"):
        assert word not in log.read_text()


def test_the_image_says_how_it_is_run(image: Image) -> None:
    assert image.config["StopSignal"] == "SIGTERM"
    assert image.config["User"] not in ("", "0", "root")
    assert list(image.config["ExposedPorts"]) == ["8080/tcp"]
    assert image.config["Healthcheck"]["Test"][0] == "CMD"
    print(f"\nimage: {image.size / 1e6:.0f} MB of files")


def test_nothing_in_it_is_writable_for_anybody(image: Image) -> None:
    folders = [image.root / name for name in ("opt", "etc/ipquery", "var/lib/ipquery")]
    found = subprocess.run(
        ["find", *folders, "-perm", "/022", "-not", "-type", "l"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == ""


def test_it_answers_as_any_user_with_a_read_only_root(
    running: "subprocess.Popen[bytes]", config: Path
) -> None:
    status = Path(f"/proc/{running.pid}/status").read_text()
    assert f"Uid:\t{ANYBODY.split(':')[0]}\t" in status
    with socket.create_connection(("127.0.0.1", _port(config)), 5) as one:
        assert exchange(one, QUERY).json[1] == "CN"


def test_its_health_check_tells(image: Image, config: Path, tmp_path: Path) -> None:
    check = [
        word.replace("8080", str(_port(config))) for word in image.config["Healthcheck"]["Test"][1:]
    ]

    def healthy() -> bool:
        (tmp_path / "check").mkdir(exist_ok=True)
        shutil.copy(config, tmp_path / "check/ipquery.toml")
        return image.run(tmp_path / "check/ipquery.toml", ANYBODY, *check).wait(30) == 0

    assert not healthy()
    process = image.run(config)
    try:
        until(lambda: _answers(_port(config)), 60)
        assert healthy()
    finally:
        process.terminate()
        process.wait(40)


class Caller(threading.Thread):
    """Asks without a break on one connection, until it is told to come back elsewhere."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._connection = socket.create_connection(("127.0.0.1", port), 20)
        self.answered = 0
        self.failed: list[str] = []

    def run(self) -> None:
        try:
            while True:
                response = exchange(self._connection, QUERY)
                if response.status != 200:
                    self.failed.append(f"status {response.status}")
                self.answered += 1
                if response.headers.get("Connection") == "close":
                    return
        except (OSError, AssertionError) as error:
            self.failed.append(repr(error))
        finally:
            self._connection.close()


def test_term_loses_no_request(running: "subprocess.Popen[bytes]", config: Path) -> None:
    port = _port(config)
    callers = [Caller(port) for _ in range(16)]
    for caller in callers:
        caller.start()
    # One that is in the middle of its request when the signal comes.
    slow = post(b'{"ip": "114.114.114.114"}')
    with socket.create_connection(("127.0.0.1", port), 20) as late:
        late.sendall(slow[:-5])
        until(lambda: all(caller.answered > 50 for caller in callers))
        running.terminate()
        for caller in callers:
            caller.join(30)
            assert not caller.is_alive()
        late.sendall(slow[-5:])
        assert receive(late).status == 200
    assert running.wait(40) is not None
    assert [caller.failed for caller in callers] == [[]] * len(callers)
    print(f"\nTERM: {sum(caller.answered for caller in callers)} answered, 0 failed")


def test_without_its_volume_it_says_what_is_amiss(image: Image, config: Path) -> None:
    config.write_text(config.read_text().replace("/var/cache/ipquery/own", "/opt/own"))
    process = image.run(config)
    assert process.wait(60) == 1
    last = (config.parent / "log").read_text().splitlines()[-1]
    assert "can't make this cache folder: Read-only file system" in last

"""conf/snapshots: a node takes the snapshot that is current in object storage."""

import functools
import http.server
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from ipquery import Snapshot
from ipquery.data.build import ensure_snapshot
from ipquery.data.sources import Source
from tests.integration.daemon import Daemons, until
from tests.integration.databases import ONE, ONE_ANSWER, OTHER, QUERY, SECOND, SECOND_ANSWER
from tests.programs import IPQUERY, require

REPOSITORY = Path(__file__).parents[2]
COMMAND = REPOSITORY / "conf/snapshots/take-snapshot"


@attrs.frozen
class Storage:
    """A folder that a web server serves."""

    folder: Path
    url: str
    cache: Path

    def put(self, database: bytes) -> str:
        """Publish a snapshot of a database, and say its identity."""
        source = self.cache / "source.xdb"
        source.write_bytes(database)
        path = ensure_snapshot([Source(source)], self.cache, lambda what, done: None)
        with Snapshot(path) as opened:
            identity = opened.identity
        shutil.copyfile(path, self.folder / f"{identity}.ipq")
        (self.folder / "current").write_text(f"{identity}\n")
        return identity


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    folder, cache = tmp_path / "storage", tmp_path / "building"
    folder.mkdir()
    cache.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Storage(folder, f"http://127.0.0.1:{server.server_port}/", cache)
        server.shutdown()
        thread.join()


def _take(
    storage: Storage, file: Path, reload: str = "echo reloaded", *more: str
) -> tuple[int, str, str]:
    require("curl", "curl")
    done = subprocess.run(
        ["sh", COMMAND, storage.url, file, *more],
        env={
            **os.environ,
            "IPQUERY": str(IPQUERY),
            "RELOAD": reload,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_what_is_current_is_taken_once(storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "layout-3.ipq"
    for database in (ONE, SECOND):
        identity = storage.put(database)
        assert _take(storage, file) == (0, "reloaded\n", "")
        with Snapshot(file) as opened:
            assert opened.identity == identity
        assert file.stat().st_mode & 0o777 == 0o644
        assert _take(storage, file) == (0, "", "")


def test_a_canary_has_a_file_of_its_own(storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "layout-3.ipq"
    identity = storage.put(ONE)
    (storage.folder / "current").rename(storage.folder / "canary")
    assert "404" in _take(storage, file)[2]
    assert _take(storage, file, "true", "canary") == (0, "", "")
    with Snapshot(file) as opened:
        assert opened.identity == identity


def test_what_is_wrong_is_refused_in_a_line_and_changes_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    file = tmp_path / "here" / "layout-3.ipq"
    file.parent.mkdir()
    storage.put(ONE)
    assert _take(storage, file)[0] == 0
    before = file.read_bytes()

    def refused() -> str:
        status, shown, said = _take(storage, file)
        assert status != 0
        assert (shown, said.count("\n")) == ("", 1)
        assert [*file.parent.iterdir()] == [file]
        assert file.read_bytes() == before
        return said

    identity = storage.put(OTHER)
    published = storage.folder / f"{identity}.ipq"
    whole = bytearray(published.read_bytes())
    whole[len(whole) // 2] ^= 1
    published.write_bytes(whole)
    assert "damaged" in refused()
    # A whole one under another's name.
    published.write_bytes(before)
    assert "isn't that snapshot" in refused()
    published.unlink()
    assert "404" in refused()
    (storage.folder / "current").write_text("../secret\n")
    assert "no identity" in refused()


def test_a_node_that_takes_snapshots_so_is_guarded(
    storage: Storage, tmp_path: Path, daemons: Daemons
) -> None:
    file = tmp_path / "layout-3.ipq"
    storage.put(ONE)
    assert _take(storage, file)[0] == 0
    daemon = daemons.start(
        config=f"""
cache_dir = "{tmp_path}/cache"
workers = 1
[[database]]
path = "{file}"
[max_change]
"""
    )
    reload = f"kill -{int(signal.SIGHUP)} {daemon.process.pid}"
    assert daemon.ask(QUERY).body == ONE_ANSWER
    # All addresses in another country: more than [max_change] lets through.
    storage.put(OTHER)
    assert _take(storage, file, reload)[0] == 0
    until(lambda: "`ipquery accept`" in daemon.log)
    assert daemon.ask(QUERY).body == ONE_ANSWER
    # Another city only.
    storage.put(SECOND)
    assert _take(storage, file, reload)[0] == 0
    until(lambda: daemon.ask(QUERY).body == SECOND_ANSWER)

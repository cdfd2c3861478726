"""Taking the snapshot of another node: only a whole one, and built here where there is none."""

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipquery import DataError, Record
from ipquery.data.build import Chosen, Elsewhere, choose_snapshot
from ipquery.data.build.elsewhere import take
from ipquery.data.sources import Source
from tests.data.builder import write_snapshot
from tests.data.files import xdb

pytestmark = pytest.mark.usefixtures("builds_here")

Handle = Callable[[http.server.BaseHTTPRequestHandler], object]


@pytest.fixture
def pretend() -> Iterator[Callable[[Handle], str]]:
    """Starts servers that answer as a test says, and tells their addresses."""
    servers = []

    def start(handle: Handle) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                handle(self)

            def log_message(self, *arguments: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _say(content: bytes, length: int | None = None, status: int = 200) -> Handle:
    def handle(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        if length != -1:
            request.send_header("Content-Length", str(length or len(content)))
        request.send_header("Location", "/elsewhere")
        request.end_headers()
        request.wfile.write(content)

    return handle


class Node:
    """What takes."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self._own = folder / "own.xdb"
        self._own.write_bytes(xdb([(1 << 24, (2 << 24) - 1, "中国|0|0|0|0")]))

    def take(self, url: str, serving: Path | None = None) -> Chosen:
        """Take it, or build it."""
        return choose_snapshot(
            [Source(self._own)],
            self.cache,
            lambda what, done: None,
            elsewhere=Elsewhere(url),
            serving=serving,
        )


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def theirs(tmp_path: Path) -> bytes:
    """A snapshot of another node."""
    rows = [(1 << 24, (2 << 24) - 1, 0)]
    return write_snapshot(tmp_path / "theirs", rows, [], [Record(country="日本")]).read_bytes()


MISBEHAVING: dict[str, tuple[Handle, str]] = {
    "a page": (_say(b"<html>" * 100), "not an ipquery snapshot; make one with `ipquery build`"),
    "cut off": (_say(b"x" * 10, 1000), "cut off with 990 bytes left of 1,000"),
    "empty": (_say(b""), "no snapshot of 1 to "),
    "without length": (_say(b"x", -1), "no snapshot of 1 to "),
    "huge": (_say(b"x", 10**15), "no snapshot of 1 to "),
    "redirect": (_say(b"", status=302), "/v1/snapshot: answered with 302"),
    "off": (_say(b"", status=404), "answered with 404; is `snapshot` under [api] set there?"),
    "fault": (_say(b"", status=500), "/v1/snapshot: answered with 500"),
    "unasked": (_say(b"", status=304), "/v1/snapshot: answered with 304"),
    "no HTTP": (lambda request: request.wfile.write(b"x" * 100), "can't take the snapshot: "),
}


@pytest.mark.parametrize("what", MISBEHAVING)
def test_what_cannot_be_used_is_built_here_instead(
    node: Node, pretend: Callable[[Handle], str], what: str
) -> None:
    handle, complaint = MISBEHAVING[what]
    url = pretend(handle)
    chosen = node.take(url)
    assert chosen.note.startswith(url)
    assert complaint in chosen.note
    assert chosen.note.endswith("; building it here")
    assert "\n" not in chosen.note
    assert [path.name for path in (node.cache / "snapshots").iterdir()] == [chosen.path.name]


def test_nobody_there(node: Node) -> None:
    chosen = node.take("http://127.0.0.1:9")
    assert chosen.note == (
        "http://127.0.0.1:9/v1/snapshot: can't take the snapshot: [Errno 111] Connection refused; "
        "building it here"
    )


def test_a_whole_one_is_kept_under_its_identity(
    node: Node, pretend: Callable[[Handle], str], theirs: bytes
) -> None:
    chosen = node.take(pretend(_say(theirs)))
    assert chosen.path.read_bytes() == theirs
    assert chosen.note == ""
    assert node.take(pretend(_say(theirs))).path == chosen.path
    assert [path.name for path in (node.cache / "snapshots").iterdir()] == [chosen.path.name]


def test_of_one_that_has_changed_on_the_way_nothing_is_kept(
    node: Node, pretend: Callable[[Handle], str], theirs: bytes
) -> None:
    for place in (-1, len(theirs) // 2, 40):
        changed = bytearray(theirs)
        changed[place] ^= 1
        chosen = node.take(pretend(_say(bytes(changed))))
        assert "; building it here" in chosen.note
        assert chosen.path.read_bytes() != changed


def test_one_that_is_served_is_not_taken_again(
    node: Node, pretend: Callable[[Handle], str], theirs: bytes
) -> None:
    asked = []

    def handle(request: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(request.headers["If-None-Match"])
        _say(theirs, status=304 if asked[-1] else 200)(request)

    url = pretend(handle)
    first = node.take(url)
    again = node.take(url, first.path)
    assert (again.path, again.note) == (first.path, "")
    assert asked[0] is None
    assert asked[1][1:33] == first.path.stem


def test_one_that_takes_too_long_or_is_too_large_is_given_up(
    pretend: Callable[[Handle], str], theirs: bytes, tmp_path: Path
) -> None:
    elsewhere = Elsewhere(pretend(_say(theirs)))
    with (tmp_path / "target").open("wb") as target:
        with pytest.raises(DataError, match="not all there in time .`time_limit` under .build.."):
            take(elsewhere, target, 0, 1 << 30)
        with pytest.raises(DataError, match="no snapshot of 1 to 99 bytes"):
            take(elsewhere, target, 60, 99)

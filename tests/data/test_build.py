"""Sources to snapshot: precedence, cache, limits, and nothing half done."""

import datetime
import gzip
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from ipquery import DataError, open_snapshot
from ipquery.data.build import (
    Built,
    Job,
    Limits,
    ListPaths,
    Report,
    build,
    default_cache,
    ensure_snapshot,
    parent,
    store,
    try_reading,
)
from ipquery.data.build.parent import Temporary, run
from ipquery.data.sources import Source, ip2region_source
from ipquery.data.update.folder import default_data
from tests.data.files import Row, ipip_dat, xdb

LAST = 2**32 - 1
CHINA: Row = (0x01000000, 0x01FFFFFF, "中国|0|河南省|商丘市|联通")


def _quiet(what: str, done: float) -> None:
    pass


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str, bytes], Source]:
    def write(name: str, content: bytes) -> Source:
        path = tmp_path / name
        path.write_bytes(content)
        return Source(path)

    return write


Make = Callable[[str, bytes], Source]


@pytest.fixture
def china(make: Make) -> Source:
    return make("china.xdb", xdb([CHINA]))


def _left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.usefixtures("builds_here")
def test_the_first_source_with_a_record_answers(tmp_path: Path, make: Make, china: Source) -> None:
    # The second knows everything; the first says nothing about 1.128.0.0 on.
    empty = make("half.xdb", xdb([(0x01800000, 0x01FFFFFF, "0|0|0|0|0")]))
    whole = make("whole.dat", ipip_dat([(LAST, "IPIP.NET\t20200102\t\t")]))
    out = tmp_path / "out.ipq"
    build([empty, china, whole], out, _quiet)
    with open_snapshot(out) as db:
        for ip, country in (
            ("0.255.255.255", "IPIP.NET"),
            ("1.0.0.0", "中国"),
            ("1.128.0.0", "中国"),
            ("1.255.255.255", "中国"),
            ("2.0.0.0", "IPIP.NET"),
        ):
            found = db.find(ip)
            assert found is not None
            assert found.country == country


@pytest.mark.usefixtures("builds_here")
def test_a_record_that_says_nothing_is_no_record(tmp_path: Path, make: Make) -> None:
    out = tmp_path / "out.ipq"
    build([make("a.xdb", xdb([(0, 5, "0|0|0|0|0")]))], out, _quiet)
    with open_snapshot(out) as db:
        assert db.find("0.0.0.1") is None


@pytest.mark.usefixtures("builds_here")
def test_ipv4_and_ipv6_from_two_files(tmp_path: Path, make: Make, china: Source) -> None:
    v6 = make("v6.xdb", xdb([(1 << 120, 1 << 121, "日本|0|东京|0|软银")], 3, 6))
    out = tmp_path / "out.ipq"
    build([china, v6], out, _quiet)
    with open_snapshot(out) as db:
        v4_record, v6_record = db.find("1.2.3.4"), db.find("100::")
        assert v4_record is not None
        assert v6_record is not None
        assert (v4_record.city_code, v6_record.country_code) == ("411400", "JP")
        assert db.find("::1.2.3.4") is None


def test_it_says_what_it_does_and_what_it_took(tmp_path: Path, china: Source) -> None:
    seen: list[tuple[str, float]] = []
    built = build([china], tmp_path / "out.ipq", lambda what, done: seen.append((what, done)))
    assert seen[0] == ("reading china.xdb", 0.0)
    assert seen[-1] == ("done", 1.0)
    assert [done for _, done in seen] == sorted(done for _, done in seen)
    assert built.seconds > 0
    assert built.peak_memory > 10 << 20


@pytest.mark.usefixtures("builds_here")
def test_what_is_known_of_the_sources_is_kept(tmp_path: Path, china: Source) -> None:
    source = attrs.evolve(china, name="own", licence="CC0", attribution="us")
    out = tmp_path / "out.ipq"
    build([source], out, _quiet)
    with open_snapshot(out) as db:
        (about,) = db.about["sources"]
        assert about["name"] == "own"
        assert about["format"] == "xdb"
        assert about["date"] == "2022-06-22"
        assert (about["licence"], about["attribution"]) == ("CC0", "us")
        assert about["records"] == 1
        assert db.about["addresses"] == {"ipv4": 1 << 24, "ipv6": 0}
        assert db.about["codes"]["city"] == {"ranges": 1, "named": 1, "coded": 1}


def test_the_same_sources_build_the_same_bytes_wherever(tmp_path: Path, china: Source) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    copy = folder / "china.xdb"
    copy.write_bytes(china.path.read_bytes())
    build([china], tmp_path / "one.ipq", _quiet)
    build([Source(copy)], folder / "two.ipq", _quiet)
    assert (tmp_path / "one.ipq").read_bytes() == (folder / "two.ipq").read_bytes()


@pytest.mark.usefixtures("builds_here")
def test_an_existing_snapshot_is_replaced_at_once(tmp_path: Path, china: Source) -> None:
    out = tmp_path / "out.ipq"
    build([china], out, _quiet)
    with open_snapshot(out) as old:
        build([Source(china.path, columns=("isp", "", "org", "city", "country"))], out, _quiet)
        with open_snapshot(out) as db:
            assert old.find("1.2.3.4") != db.find("1.2.3.4")
    assert _left(tmp_path) == {"china.xdb", "out.ipq"}
    umask = os.umask(0)
    os.umask(umask)
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask


DAMAGE = {
    "missing": (None, "can't read this database: No such file"),
    "empty": (b"", "the file is empty"),
    "truncated": (xdb([CHINA])[:-1], "the file is cut short"),
    "web page": (b"<!doctype html><title>404</title>", "a web page"),
    "zeros": (bytes(600_000), "nothing but zero bytes"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_bad_file_changes_nothing(tmp_path: Path, china: Source, kind: str) -> None:
    content, complaint = DAMAGE[kind]
    out = tmp_path / "out.ipq"
    build([china], out, _quiet)
    before = out.read_bytes()
    bad = Source(tmp_path / "bad.dat")
    if content is not None:
        bad.path.write_bytes(content)
    with pytest.raises(DataError, match=complaint) as caught:
        build([china, bad], out, _quiet)
    assert str(bad.path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert out.read_bytes() == before
    assert _left(tmp_path) - {"bad.dat"} == {"china.xdb", "out.ipq"}


def test_several_files_and_archives_are_one_source(tmp_path: Path, make: Make) -> None:
    v4 = make("v4.csv.gz", gzip.compress(b"1.2.3.0,1.2.3.255,AU\n"))
    v6 = make("v6.csv", b"2a00::,2a00::ffff,NZ\n")
    both = attrs.evolve(v4, others=(v6.path,))
    cache = tmp_path / "cache"
    path = ensure_snapshot([both], cache, _quiet)
    with open_snapshot(path) as db:
        for ip, code in (("1.2.3.4", "AU"), ("2a00::1", "NZ")):
            found = db.find(ip)
            assert found is not None
            assert found.country_code == code
        (about,) = db.about["sources"]
        assert about["format"] == "csv"
        assert about["bytes"] == v4.path.stat().st_size + v6.path.stat().st_size
    assert _left(cache / "snapshots") == {path.name}
    # Each of the files decides
    v6.path.write_bytes(b"2a00::,2a00::ffff,FR\n")
    assert ensure_snapshot([both], cache, _quiet) != path


def test_nothing_unpacked_is_left_of_a_build_that_was_killed(tmp_path: Path, make: Make) -> None:
    lines = "".join(f"{number},{number},{number},x\n" for number in range(2_000_000))
    slow = make("slow.csv.gz", gzip.compress(lines.encode(), 1))
    with pytest.raises(DataError, match="not built within 1 s"):
        build([slow], tmp_path / "out.ipq", _quiet, limits=Limits(seconds=1))
    assert _left(tmp_path) == {"slow.csv.gz"}


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't read this database: Is a directory"):
        build([Source(tmp_path)], tmp_path / "out.ipq", _quiet)


def test_the_wrong_format_is_refused(tmp_path: Path, china: Source) -> None:
    with pytest.raises(DataError, match="not an ipip-dat file"):
        build([attrs.evolve(china, format="ipip-dat")], tmp_path / "out.ipq", _quiet)


@pytest.mark.usefixtures("builds_here")
def test_flipped_bits_are_refused_or_harmless(tmp_path: Path, make: Make) -> None:
    """Neither format has a checksum: a flip may go unseen, but never break the build."""
    whole = ipip_dat([(5, "甲\tb\tc"), (0x01FFFFFF, "d\te\tf"), (LAST, "IPIP.NET\t20200102\t")])
    interesting = [0, 1, 2, 3, 4, 7, 9, *range(1028, len(whole))]
    refused = 0
    for at in interesting[::4]:
        damaged = bytearray(whole)
        damaged[at] ^= 0x40
        out = tmp_path / "out.ipq"
        try:
            build([make("flipped.dat", bytes(damaged))], out, _quiet)
        except DataError as error:
            refused += 1
            assert "flipped.dat" in str(error)
            assert "please report" not in str(error)
    assert refused > 5


def test_where_it_cannot_write_is_said(tmp_path: Path, china: Source) -> None:
    with pytest.raises(DataError, match=r"missing/out\.ipq: can't write here: No such file"):
        build([china], tmp_path / "missing/out.ipq", _quiet)


def test_too_much_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"needs more than 120 MB of memory.*`memory_limit_mb` under"
    ):
        build([ip2region_source()], tmp_path / "out.ipq", _quiet, limits=Limits(memory=120 << 20))
    assert not _left(tmp_path)


def test_too_much_time_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "command", lambda module: ["sleep", "60"])
    begun = time.monotonic()
    with pytest.raises(DataError, match=r"not built within 1 s.*`time_limit` under"):
        build([ip2region_source()], tmp_path / "out.ipq", _quiet, limits=Limits(seconds=1))
    assert time.monotonic() - begun < 20
    assert not _left(tmp_path)


def test_a_killed_build_is_reported(tmp_path: Path, china: Source) -> None:
    def kill(what: str, done: float) -> None:
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        for child in children:
            if b"ipquery.data.build.child" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)

    with pytest.raises(DataError, match=r"china\.xdb: the build process was killed by SIGKILL"):
        build([china], tmp_path / "out.ipq", kill)
    assert _left(tmp_path) == {"china.xdb"}


def test_a_broken_build_shows_one_line(
    tmp_path: Path, china: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        parent, "command", lambda module: ["sh", "-c", "echo one; echo two >&2; exit 7"]
    )
    monkeypatch.setattr(parent, "_follow", lambda lines, report: {})
    with pytest.raises(DataError, match=r"the build process failed \(two\); please report this"):
        build([china], tmp_path / "out.ipq", _quiet)


def test_an_interrupted_build_leaves_nothing(tmp_path: Path, china: Source) -> None:
    def interrupt(what: str, done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build([china], tmp_path / "out.ipq", interrupt)
    assert _left(tmp_path) == {"china.xdb"}


# The cache


def _builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    made: list[Path] = []

    def counted(job: Job, report: Report, temporary: Temporary) -> Built:
        made.append(job.out)
        return run(job, report, temporary)

    monkeypatch.setattr(store, "run", counted)
    return made


@pytest.mark.usefixtures("builds_here")
def test_what_is_built_is_kept(
    tmp_path: Path, china: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _builds(monkeypatch)
    cache = tmp_path / "new/cache"
    first = ensure_snapshot([china], cache, _quiet)
    assert ensure_snapshot([china], cache, _quiet) == first
    assert made == [first]


@pytest.mark.usefixtures("builds_here")
def test_other_content_options_or_lists_are_built_anew(
    tmp_path: Path, china: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _builds(monkeypatch)
    codes = tmp_path / "countries"
    codes.write_text("中国\tCHN\n", "utf-8")
    lists = ListPaths(countries=codes)
    columns = ("isp", "", "org", "city", "country")
    paths = {
        ensure_snapshot([china], tmp_path, _quiet),
        ensure_snapshot([attrs.evolve(china, columns=columns)], tmp_path, _quiet),
        ensure_snapshot([attrs.evolve(china, licence="CC0")], tmp_path, _quiet),
        ensure_snapshot([china], tmp_path, _quiet, lists),
    }
    codes.write_text("中国\tZH\n", "utf-8")
    paths.add(ensure_snapshot([china], tmp_path, _quiet, lists))
    china.path.write_bytes(xdb([(0, 5, "中国|0|0|0|联通")]))
    paths.add(ensure_snapshot([china], tmp_path, _quiet))
    assert len(paths) == len(made) == 6


@pytest.mark.usefixtures("builds_here")
def test_the_same_content_elsewhere_is_not_built_again(
    tmp_path: Path, china: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _builds(monkeypatch)
    ensure_snapshot([china], tmp_path / "cache", _quiet)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    china.path.rename(moved / "china.xdb")
    ensure_snapshot([Source(moved / "china.xdb")], tmp_path / "cache", _quiet)
    assert len(made) == 1


@pytest.mark.usefixtures("builds_here")
def test_a_damaged_cached_snapshot_is_built_again(tmp_path: Path, china: Source) -> None:
    path = ensure_snapshot([china], tmp_path, _quiet)
    good = path.read_bytes()
    path.write_bytes(good[:-5])
    assert ensure_snapshot([china], tmp_path, _quiet) == path
    assert path.read_bytes() == good


@pytest.mark.usefixtures("builds_here")
def test_the_longest_unused_go(tmp_path: Path, make: Make) -> None:
    paths = []
    for number in range(10):
        source = make(f"{number}.xdb", xdb([(number, number, "中国|0|0|0|联通")]))
        paths.append(ensure_snapshot([source], tmp_path / "cache", _quiet))
        os.utime(paths[-1], (number, number))
    kept = {path for path in paths if path.exists()}
    assert kept == set(paths[-8:])


@pytest.mark.usefixtures("builds_here")
def test_a_snapshot_is_taken_as_it_is(tmp_path: Path, china: Source) -> None:
    out = tmp_path / "out.ipq"
    build([china], out, _quiet)
    assert ensure_snapshot([Source(out)], tmp_path / "cache", _quiet) == out
    assert not (tmp_path / "cache").exists()
    with pytest.raises(DataError, match="a snapshot can't be combined"):
        ensure_snapshot([Source(out), china], tmp_path / "cache", _quiet)


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, china: Source) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/cache: can't make this cache folder.*cache_dir"):
        ensure_snapshot([china], tmp_path / "file/cache", _quiet)


def test_the_cache_is_where_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    assert default_cache() == Path("/home/someone/.cache/ipquery")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache() == Path("/somewhere/ipquery")
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/ipquery:/other")
    assert default_cache() == Path("/var/cache/ipquery")


def test_a_user_whom_the_system_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as any user: no name, no home, and no HOME set."""
    for name in ("HOME", "CACHE_DIRECTORY", "XDG_CACHE_HOME", "STATE_DIRECTORY", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54321)
    with pytest.raises(RuntimeError):
        Path.home()
    assert default_cache() == Path("/.cache/ipquery")
    assert default_data() == Path("/.local/share/ipquery")


@pytest.mark.usefixtures("builds_here")
def test_a_source_has_the_date_it_is_given_where_the_file_tells_none(
    tmp_path: Path, make: Callable[[str, bytes], Source], china: Source
) -> None:
    given = datetime.date(2026, 6, 17)
    text = make("a.csv", b"1.0.0.0,1.0.0.255,NZ\n2.0.0.0,2.0.0.255,AU\n")
    dates = []
    for source in (text, china):
        build([attrs.evolve(source, date=given)], tmp_path / "out.ipq", _quiet)
        with open_snapshot(tmp_path / "out.ipq") as db:
            dates.append(db.about["sources"][0]["date"])
    assert dates == ["2026-06-17", "2022-06-22"]


def test_to_try_reading_writes_nothing(tmp_path: Path, china: Source) -> None:
    before = sorted(tmp_path.iterdir())
    try_reading(china, _quiet)
    china.path.write_bytes(china.path.read_bytes()[:-1])
    with pytest.raises(DataError, match="cut short"):
        try_reading(china, _quiet)
    assert sorted(tmp_path.iterdir()) == before

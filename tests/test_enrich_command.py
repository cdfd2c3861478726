"""``ipquery enrich``, as its users run it."""

import contextlib
import csv
import fcntl
import os
import pty
import random
import re
import resource
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ipquery import Snapshot
from ipquery.address import to_text
from ipquery.cli import main
from ipquery.cli.rate import line
from ipquery.cli.rows import FORMATS
from ipquery.data import build
from ipquery.data.enrich import options
from ipquery.data.sources import default_sources
from tests.data.exporting import write_sample
from tests.programs import IPQUERY

pytestmark = pytest.mark.usefixtures("builds_here")

LINE = '%s - - [29/Nov/2026:09:00:00 +0000] "GET /%d HTTP/1.1" 200 5 "-" "x"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a snapshot, geo.ipq, and a log of 2 MB, access.log."""
    write_sample(tmp_path / "geo.ipq")
    chance = random.Random(1)
    lines = (LINE % (to_text(4, chance.randrange(2**32)), k) for k in range(25_000))
    (tmp_path / "access.log").write_text("".join(lines))
    return tmp_path


def _command(*arguments: object) -> list[str]:
    return [str(IPQUERY), "enrich", "--db", "geo.ipq", *map(str, arguments)]


def _run(folder: Path, *arguments: object, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        _command(*arguments), cwd=folder, capture_output=True, check=False, **more
    )


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_log_comes_out_line_by_line(folder: Path) -> None:
    given = (folder / "access.log").read_bytes()
    for way in (["access.log"], ["-"], [], ["access.log", "-o", "out"], ["-j", 2, "access.log"]):
        done = _run(folder, "--fields", "asn", *way, input=given)
        assert (done.returncode, done.stderr) == (0, b"")
        made = (folder / "out").read_bytes() if "out" in way else done.stdout
        found = made.splitlines()
        assert len(found) == 25_000
        with Snapshot(folder / "geo.ipq") as snapshot:
            for text, before in zip(found[:2000], given.splitlines(), strict=False):
                record = snapshot.find(before.split()[0].decode())
                asn = "-" if record is None or record.asn is None else record.asn
                status = "unknown" if record is None else "ok"
                assert text == before + f' "{asn}" "{status}"'.encode()


def test_bad_addresses_are_counted_and_tell_in_the_exit_status(folder: Path) -> None:
    done = _run(folder, "--fields", "asn", input=b"ip,x\nhere,1\n1.2.3.4\n")
    assert done.returncode == 3
    assert done.stdout.splitlines()[1] == b"here,1,,bad"
    assert done.stderr == b"Note: of 2 rows, 1 without an address and 1 of another form\n"


def test_what_cannot_be_done_is_refused_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "there").write_text("before")
    for arguments, given, said in (
        (["--fields", "colour"], b"ip\n1\n", "'colour' is no field; there are country,"),
        (["none"], b"", "none: can't read it: No such file or directory"),
        (["-o", "there"], b"ip\n1\n", "there: is there already; --replace replaces it"),
        (["-o", "none/out"], b"ip\n1\n", "none/out: can't write here: No such file"),
        (["-o", "out"], b"a,b\n1,2\n", "given: no column is called 'ip'; name one"),
        (["-o", "out"], b'ip,b\n1,"2\n', "given: ends inside a quoted field"),
        (["--format", "parquet"], b"ip\n1\n", "given: no Parquet, or damaged"),
    ):
        (folder / "given").write_bytes(given)
        names = _names(folder)
        done = CliRunner().invoke(main, ["enrich", "--db", "geo.ipq", *arguments, "given"])
        (message,) = done.stderr.splitlines()
        assert (done.exit_code, message[:7]) == (1, "Error: ")
        assert said in message
        assert _names(folder) == names
    assert (folder / "there").read_text() == "before"


def test_parquet_from_a_pipe_is_refused(folder: Path) -> None:
    done = _run(folder, input=b"PAR1 and so on")
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: ")
    assert b"Parquet is read from a file, as its end tells what is in it" in done.stderr


@pytest.mark.parametrize("processes", [1, 2])
def test_a_disk_that_is_full_leaves_no_half_line(folder: Path, processes: int) -> None:
    """As far as a process can have that of its own: a limit of the size of files."""
    once = (folder / "access.log").read_bytes()
    (folder / "access.log").write_bytes(once * 4)
    limit = 10_000_000

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    names = _names(folder)
    done = _run(folder, "-j", processes, "access.log", "-o", "out", preexec_fn=limited)
    assert done.returncode == 1
    assert done.stderr == b"Error: out: can't write it: File too large\n"
    assert _names(folder) == names
    with (folder / "standard").open("wb") as out:
        out.write(b"before\n")
        out.flush()
        run = subprocess.run(
            _command("-j", processes, "access.log"),
            cwd=folder,
            stdout=out,
            stderr=subprocess.PIPE,
            preexec_fn=limited,
            check=False,
        )
    assert run.returncode == 1
    assert run.stderr == b"Error: standard output: can't write it: File too large\n"
    made = (folder / "standard").read_bytes()
    first, *lines = made.splitlines()
    assert first == b"before"
    assert made.endswith(b'"\n')
    assert lines
    given = (folder / "access.log").read_bytes().splitlines()
    assert all(text.startswith(before) for text, before in zip(lines, given, strict=False))


@contextlib.contextmanager
def _started(folder: Path, *arguments: object, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(_command(*arguments), cwd=folder, stdin=subprocess.PIPE, **more) as one:
        try:
            yield one
        finally:
            one.kill()


@pytest.mark.parametrize(
    ("processes", "number"), [(1, signal.SIGTERM), (1, signal.SIGINT), (2, signal.SIGINT)]
)
def test_whoever_interrupts_it_gets_whole_lines(
    folder: Path, processes: int, number: signal.Signals
) -> None:
    names = _names(folder)
    given = (folder / "access.log").read_bytes()
    for way in ([], ["-o", "out"]):
        with _started(
            folder,
            *("-j", processes, *way),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own, to which a terminal would send it.
            start_new_session=True,
        ) as running:
            assert running.stdin is not None
            assert running.stdout is not None
            for _ in range(2):
                running.stdin.write(given)
            running.stdin.write(given[:20])
            running.stdin.flush()
            made = b"" if way else running.stdout.readline()
            if way:
                _until(lambda: any(_size(path) for path in folder.glob(".out.*")))
            os.killpg(running.pid, number)
            made += running.stdout.read()
            assert running.stderr is not None
            assert running.stderr.read().strip() == b"Aborted!"
            assert running.wait(60) == 1
        assert _names(folder) == names
        assert made.endswith(b"\n") or (way and not made)
        assert all(text.endswith((b'k"', b'n"')) for text in made.splitlines())


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_who_reads_only_the_beginning_ends_it(folder: Path) -> None:
    done = subprocess.run(
        f"{' '.join(_command('access.log', 'access.log', 'access.log'))} | head -1",
        shell=True,
        cwd=folder,
        capture_output=True,
        check=True,
    )
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_a_terminal_is_told_how_far_it_is(folder: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    with _started(folder, "-j", 1, stdout=subprocess.DEVNULL, stderr=theirs) as running:
        os.close(theirs)
        assert running.stdin is not None
        shown = b""
        given = (folder / "access.log").read_bytes()
        deadline = time.monotonic() + 60
        while b"a second" not in shown:
            assert time.monotonic() < deadline
            running.stdin.write(given)
            if _readable(ours):
                shown += os.read(ours, 1000)
        running.stdin.close()
    os.close(ours)
    assert re.search(rb"[\d,]+ rows, [\d,]+ a second", shown)


def _readable(handle: int) -> bool:
    import select

    return bool(select.select([handle], [], [], 0)[0])


@pytest.mark.parametrize(
    ("rows", "seconds", "position", "said"),
    [
        (1_500_000, 2.0, (0, None), "1,500,000 rows, 750,000 a second"),
        (10, 2.0, (25, 100), "10 rows, 5 a second, 25%, 0:06 left"),
        (10, 3600.0, (1, 4), "10 rows, 0 a second, 25%, 3:00:00 left"),
        (0, 0.0, (0, 4), "0 rows, 0 a second"),
    ],
)
def test_how_far_it_is(
    rows: int, seconds: float, position: tuple[int, int | None], said: str
) -> None:
    assert line(rows, seconds, position) == said


def test_the_command_knows_the_formats() -> None:
    assert FORMATS == options.FORMATS


@pytest.mark.parametrize("page", ["docs/bulk.md", "docs/bulk.zh-CN.md"])
def test_the_commands_of_the_documents(
    folder: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "events.ndjson").write_text('{"client": {"ip": "1.2.3.4"}}\n')
    (folder / "visits.csv").write_text("time,visitor\n1,1.2.3.4\n")
    text = (Path(__file__).parents[1] / page).read_text("utf-8")
    commands = re.findall(r"^    ipquery (enrich .*?)(?: > .*)?$", text, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        words = next(csv.reader([command], delimiter=" ", quotechar="'"))
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.stderr


_AGENTS = ("curl/8", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)", "-")
_COUNT = 10_000_000


@pytest.mark.soak
def test_ten_million_lines_have_what_one_look_up_after_the_other_says(tmp_path: Path) -> None:
    """Of the default database, in memory that doesn't grow with the log."""
    path = build.ensure_snapshot(default_sources(), build.default_cache(), lambda *_: None)
    chance = random.Random(3)
    population = [to_text(4, chance.randrange(2**32)) for _ in range(300_000)]
    population += [
        to_text(6, chance.randrange(0x2000 << 112, 0x3000 << 112)) for _ in range(50_000)
    ]
    population += ["-", "unknown", "1.2.3.4:80"]
    lines = [
        LINE.rstrip().replace("%s", "{ip}").replace("%d", str(k)).replace("x", agent)
        for k in range(100)
        for agent in _AGENTS
    ]
    with Snapshot(path) as snapshot:
        said = {ip: _said(snapshot, ip) for ip in population}
    chosen = chance.choices(range(len(population)), k=_COUNT)
    begun = time.monotonic()
    with subprocess.Popen(
        [str(IPQUERY), "enrich", "--db", str(path), "--format", "combined"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        into = running.stdin

        def write() -> None:
            for part in range(0, _COUNT, 10_000):
                some = range(part, part + 10_000)
                text = [lines[k % 300].format(ip=population[chosen[k]]) + "\n" for k in some]
                into.write("".join(text).encode())
            into.close()

        writing = threading.Thread(target=write)
        writing.start()
        held = []
        for k, found in enumerate(running.stdout):
            ip = population[chosen[k]]
            if k % 1_000_000 == 900_000:
                held.append(sum(map(_held, _family(running.pid))) >> 10)
            assert found.decode() == f"{lines[k % 300].format(ip=ip)}{said[ip]}\n"
        writing.join()
        assert k + 1 == _COUNT
        bad = sum(population[one] in ("-", "unknown", "1.2.3.4:80") for one in chosen)
        told = running.stderr.read().decode()
        assert told == f"Note: of {_COUNT:,} rows, {bad:,} without an address\n"
        assert running.wait() == 3
    print(
        f"{_COUNT / (time.monotonic() - begun):,.0f} lines a second with their making and reading;"
    )
    print(f"all processes had {held} MB of their own, a million lines after the other")
    # What has been said is kept, up to a bound.
    assert max(held) < 2 * held[4]


def _family(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(one for child in children for one in _family(int(child)))]


def _held(process: int) -> int:
    """KB of a process's own memory."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+)", status)
    return int(found[1]) if found else 0


def _said(snapshot: Snapshot, ip: str) -> str:
    try:
        record = snapshot.find(ip)
    except ValueError:
        return ' "-"' * 5 + ' "bad"'
    if record is None:
        return ' "-"' * 5 + ' "unknown"'
    values = [getattr(record, field) for field in options.FIELDS]
    texts = ("-" if value is None else str(value).replace('"', r"\x22") for value in values)
    return "".join(f' "{text}"' for text in texts) + ' "ok"'

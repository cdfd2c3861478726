"""The ``ipquery-load`` command as its user sees it."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram

from tests.data.files import xdb
from tests.integration.daemon import Daemon
from tests.programs import require

TEXT = "中国|0|河南省|商丘市|联通"
COMMAND = Path(sys.executable).parent / "ipquery-load"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    (folder / "db.xdb").write_bytes(xdb([(0x01000000, 0xDFFFFFFF, TEXT)]))
    environment = {"XDG_CACHE_HOME": str(folder)}
    with Daemon(folder, "-w", "1", "--db", "db.xdb", environment=environment) as running:
        yield running.wait_until_up()


@pytest.fixture(scope="module")
def databases(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the daemon's database, and another that knows half of it."""
    folder = tmp_path_factory.mktemp("databases")
    for name, last in (("same", 0xDFFFFFFF), ("half", 0x7FFFFFFF)):
        (folder / name).write_bytes(xdb([(0x01000000, last, TEXT)]))
    return folder


def _load(daemon: Daemon | None, *arguments: object) -> "subprocess.CompletedProcess[str]":
    url = [f"http://127.0.0.1:{daemon.port}/"] if daemon else []
    return subprocess.run(
        [COMMAND, *url, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_what_is_asked_on_standard_output_is_all_there_is(daemon: Daemon, databases: Path) -> None:
    done = _load(
        daemon, "-c", 20, "-d", "1s", "-t", 2, "--mix", "get=3,post=1", "--json", "-",
        "--expect", databases / "same",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["requests"] == found["answered"] + found["failed"] + found["in_flight"]
    assert found["requests_per_second"] == pytest.approx(found["answered"] / found["seconds"])
    assert found["failed"] == found["mismatches"] == 0
    assert found["checked"] == found["answered"] > 100
    latency = found["latency_seconds"]
    order = ["min", "p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99", "max"]
    assert [latency[name] for name in order] == sorted(latency[name] for name in order)
    assert latency["min"] < latency["mean"] < latency["max"]
    assert found["statuses"] == {"200": found["answered"]}
    assert not found["generator"]["is_bottleneck"] or found["warnings"]
    decoded = HdrHistogram.decode(found["hdrhistogram"])
    assert decoded.get_total_count() == found["answered"]
    assert decoded.get_value_at_percentile(99) / 1e6 == pytest.approx(latency["p99"])


def test_wrong_answers_are_shown_and_fail_the_command(daemon: Daemon, databases: Path) -> None:
    done = _load(daemon, "-d", "0.5s", "--expect", databases / "half")
    assert done.returncode == 1
    match = re.search(r"Checked ([\d,]+) answers: ([\d,]+) mismatches", done.stdout)
    assert match
    checked, mismatches = (int(text.replace(",", "")) for text in match.groups())
    # 1 to 127 of 1 to 223 are the same in both
    assert 0.35 < mismatches / checked < 0.51
    assert re.search(
        r"^ +(12[89]|1[3-9]\d|2\d\d)\.[\d.]+: expected 501, got 200 ", done.stdout, re.M
    )


def test_the_text_reads_like_wrks(daemon: Daemon, tmp_path: Path) -> None:
    written = tmp_path / "result.json"
    done = _load(daemon, "-c4", "-d", "500ms", "--json", written)
    assert done.returncode == 0, done.stderr
    for pattern in (
        r"^Running 0\.5s test @ http://127\.0\.0\.1:\d+/api/ip_query$",
        r"^  1 processes and 4 connections",
        r"^ +99%  +[\d.]+(us|ms|s)$",
        r"^  [\d,]+ requests in 0\.5\ds, [\d.]+[KM]B read$",
        r"^Requests/sec: +[\d.]+$",
        r"^Transfer/sec: +[\d.]+[KM]B$",
    ):
        assert re.search(pattern, done.stdout, re.MULTILINE), done.stdout
    assert json.loads(written.read_text())["failed"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://192.0.2.1/"], "--yes-i-own 192.0.2.1"),
        (["http://127.0.0.1:1/"], "can't connect"),
        (["ftp://x/"], "give http://"),
        (["http://127.0.0.1/", "-d", "2h"], "1 to 3,600|0.01 to 3,600"),
        (["http://127.0.0.1/", "-c", "0"], "connections"),
        (["http://127.0.0.1/", "-d", "x"], "not a time"),
        (["http://127.0.0.1/", "--mix", "put=1"], "not a mix"),
        (["http://127.0.0.1/", "--cores", "9999"], "--cores"),
        (["http://127.0.0.1/", "--expect", "/missing"], "/missing"),
        (["http://127.0.0.1/", "--ca", "/missing"], "/missing"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments: list[str], said: str) -> None:
    done = _load(None, *arguments)
    assert done.returncode in (1, 2)
    assert re.search(said, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_highest_rate_that_keeps_a_p99(daemon: Daemon) -> None:
    done = _load(daemon, "-d", "300ms", "--rate", "100", "--ramp", "p99=20us", "--json", "-")
    # No server keeps that.
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["highest_rate"] is None
    assert [step["kept"] for step in found["steps"]] == [False] * len(found["steps"])


def test_an_interrupt_ends_a_run_with_what_it_has(daemon: Daemon) -> None:
    terminal, its_end = pty.openpty()
    with os.fdopen(terminal, "rb", buffering=0) as shown, os.fdopen(its_end, "wb") as stderr:
        running = subprocess.Popen(
            [COMMAND, f"http://127.0.0.1:{daemon.port}/", "-d", "50s"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        told = b""
        while not re.search(rb"[1-9]\d* answered", told):
            told += shown.read(1024)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=20)
    assert running.returncode == 0, told
    assert re.search(r"^Requests/sec: +[1-9]", out, re.MULTILINE)


# The page, in a browser


def _browser(page: Path, *flags: str) -> str:
    chromium = require("chromium", "chromium")
    return subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={page.parent / 'profile'}", *flags, page.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "HOME": str(page.parent)},
    ).stdout  # fmt: skip


def test_the_page_fits_a_phone_and_needs_nothing_else(
    daemon: Daemon, databases: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    done = _load(daemon, "-d", "1s", "--html", page, "--expect", databases / "half")
    assert done.returncode == 1, done.stderr
    text = page.read_text()
    assert not re.search(r"(src|href)=|url\(|@import|<script", text)
    # What the browser says of it, by a frame as wide as a phone.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="f" src="{page.as_uri()}" style="width:360px;height:700px;border:0"></iframe>'
        "<script>f.onload = () => { const d = f.contentDocument; document.title = JSON.stringify({"
        "wide: d.documentElement.scrollWidth, charts: d.querySelectorAll('svg').length,"
        "lines: d.querySelectorAll('polyline').length, heads: [...d.querySelectorAll('h2')]"
        ".map(h => h.textContent)}); }</script>"
    )
    shown = _browser(
        frame, "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom"
    )
    match = re.search(r"<title>(.*?)</title>", shown)
    assert match, shown
    seen = json.loads(match[1])
    assert seen["wide"] <= 360, "no scrolling to the side"
    assert seen["charts"] == 4
    assert seen["lines"] == 7
    assert any("Latency distribution" in head for head in seen["heads"])
    assert any("Errors over time" in head for head in seen["heads"])

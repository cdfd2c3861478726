"""ipquery top beside the real daemon: as a script calls it, and on a terminal."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

from tests.integration.daemon import TWISTD, Daemons
from tests.integration.load import Load

IPQUERY = str(TWISTD.parent / "ipquery")


def _read_until(terminal: int, text: bytes) -> bytes:
    """What is shown, up to that."""
    shown, ends = b"", time.monotonic() + 20
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], ends - time.monotonic())
        assert ready, shown
        shown += os.read(terminal, 65536)
    return shown


def _on_a_terminal(port: int, key: bytes, *without: str) -> tuple[int, bytes]:
    """Start it, press a key once it shows figures, and say how it ended, and with what."""
    ours, its = pty.openpty()
    code = "from ipquery.cli import main; main()"
    for module in without:
        code = f"import sys; sys.modules[{module!r}] = None; {code}"
    command = [sys.executable, "-c", code, "top", f"http://127.0.0.1:{port}"]
    environment = {**os.environ, "COLUMNS": "80", "LINES": "40", "TERM": "xterm"}
    try:
        # In a session of its own the terminal is its own, so that Ctrl-C reaches it.
        running = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command], stdin=its, stdout=its, stderr=its,
            env=environment,
        )  # fmt: skip
        shown = b""
        if key:
            shown = _read_until(ours, b"log lines dropped")
            os.write(ours, key)
        else:
            shown = _read_until(ours, b"\n")
        return running.wait(20), shown
    finally:
        os.close(its)
        os.close(ours)


def test_a_node_is_seen_under_load_and_on_a_terminal(daemons: Daemons, dat_path: Path) -> None:
    daemon = daemons.start("--db", dat_path, "-w", 1)
    with Load(daemon.port):
        done = subprocess.run(
            [IPQUERY, "top", "--once", "--interval", "2", f"http://127.0.0.1:{daemon.port}"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    rows = dict(line.strip().split("  ", 1) for line in done.stdout.splitlines()[1:])
    told = {label.strip(): text.strip() for label, text in rows.items()}
    assert told["state"].startswith("up ")
    assert float(told["requests"].removesuffix("/s").replace(",", "")) > 0
    assert float(told["/api/ip_query 2xx"].removesuffix("/s").replace(",", "")) > 0
    assert told["latency p99"].endswith("s")
    assert told["errors"] == "0/s (0.00%)"
    assert told["workers ready"] == "1 of 1"
    assert told["17monipdb.dat"].endswith(" d old")
    for key in (b"q", b"\x03"):
        status, shown = _on_a_terminal(daemon.port, key)
        assert status == 0, shown
        assert b"Traceback" not in shown
    status, shown = _on_a_terminal(daemon.port, b"", "rich")
    assert status == 1
    assert b"pip install 'ipquery[top]'" in shown

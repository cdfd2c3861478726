"""ipquery top beside the real daemon: as a script calls it, and on a terminal."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

from ipquery.serve.guard.key_file import add_key
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


def _state(*arguments: object, key: str = "", text: str | None = None) -> tuple[int, str]:
    """How it ends, and what it says of the node."""
    done = subprocess.run(
        [IPQUERY, "top", "--once", "--interval", "0.5", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False, input=text,
        env={**os.environ, "IPQUERY_KEY": key},
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()[1].split(maxsplit=1)[1].strip()


def test_it_is_told_figures_by_a_key_and_at_the_admin_address(
    daemons: Daemons, dat_path: Path, tmp_path: Path
) -> None:
    keys, key_file, config = (tmp_path / name for name in ("keys.json", "key", "ipquery.toml"))
    key = add_key(keys, "top", "2026-11-29T08:00:00Z")
    key_file.write_text(f"{key}\n")
    config.write_text(f'[guard]\nkeys = "{keys}"\n')
    arguments = ("--db", dat_path, "-w", 1, "--config", config)
    guarded = daemons.start(*arguments)
    assert _state(f"127.0.0.1:{guarded.port}") == (1, "down: 401, needs an API key")
    wrong = key[:-1] + ("x" if key[-1] != "x" else "y")
    assert _state(f"127.0.0.1:{guarded.port}", key=wrong) == (1, "down: 401, not its API key")
    for status, state in (
        _state(f"127.0.0.1:{guarded.port}", "--key-file", key_file),
        # What is named goes before what is in the environment.
        _state(f"127.0.0.1:{guarded.port}", "--key-file", key_file, key=wrong),
        _state(f"127.0.0.1:{guarded.port}", "--key-file", "-", text=key),
        _state(f"127.0.0.1:{guarded.port}", key=key),
    ):
        assert (status, state.split()[0]) == (0, "up")
    apart = daemons.start(*arguments, "-b", "admin:127.0.0.1:0")
    admin = int(apart.wait_for_log(r"listening on admin:127\.0\.0\.1:(\d+)")[1])
    assert _state(f"127.0.0.1:{apart.port}", key=key) == (1, "down: answered 404")
    status, state = _state(f"127.0.0.1:{admin}")
    assert (status, state.split()[0]) == (0, "up")

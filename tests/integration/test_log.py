"""The daemon's log as JSON lines, of the real twistd."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.data.files import xdb
from tests.integration.daemon import Daemons, until


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_json_from_the_first_on_and_text_after_a_reload(
    daemons: Daemons, tmp_path: Path
) -> None:
    (tmp_path / "db.xdb").write_bytes(xdb([(1 << 24, (2 << 24) - 1, "中国|0|河南省|商丘市|联通")]))
    config = 'workers = 1\nlog_format = "json"\n'
    # Nobody answers here: the worker, too, has something to say.
    config += f'[cache]\nredis = "unix:{tmp_path}/none"\n'
    config += '[[fallback]]\nurl = "http://127.0.0.1:9/{ip}"\nfields = { country = "country" }\n'
    daemon = daemons.start("--db", tmp_path / "db.xdb", config=config)
    daemon.wait_for_log('"process": "worker"')
    (worker,) = daemon.workers
    os.kill(worker, signal.SIGKILL)
    daemon.wait_for_log("starting another")
    lines = _lines(daemon.log)
    assert "starting up" in lines[0]["message"] or lines[0]["message"].startswith("building")
    required = {"time", "level", "message", "process", "pid", "namespace"}
    assert all(required <= set(line) for line in lines)
    (died,) = [line for line in lines if "starting another" in line["message"]]
    assert (died["level"], died["process"], died["worker"]) == ("warn", "supervisor", 1)
    said = [line for line in lines if line["process"] == "worker"]
    assert {(line["worker"], line["pid"]) for line in said} >= {(1, worker)}
    until(lambda: daemon.workers not in ([], [worker]))

    before = len(daemon.log)
    path = Path(os.readlink(f"/proc/{daemon.process.pid}/cwd")) / "c.toml"
    path.write_text(config.replace("json", "text"))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log(r"\[ipquery.fleet.reload#info\] reloaded")
    after = daemon.log[before:]
    assert "\n{" not in after.partition("[ipquery.fleet.reload#info] reloaded")[2]

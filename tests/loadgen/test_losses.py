"""Nothing is lost by reloads and replacements, even by callers that connect for each request."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.files import xdb


@pytest.mark.soak
def test_20_reloads_and_5_replacements_lose_nothing_of_one_shot_load(tmp_path: Path) -> None:
    everywhere = [
        (0x01000000, 0xDFFFFFFF, f"中国|0|河南省|商丘市|{isp}") for isp in ("联通", "电信")
    ]
    for name, one in zip(("one.xdb", "other.xdb"), everywhere, strict=True):
        (tmp_path / name).write_bytes(xdb([one]))
    command = [sys.executable, "-m", "loadgen.bench.losses", str(tmp_path / "other.xdb")]
    command += ["--first", str(tmp_path / "one.xdb"), "--rate", "1000"]
    done = subprocess.run(
        [*command, "--only", "reload", "--only", "replacement"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"^(\w+), \d+ x +([\d,]+) +(\d+) ", done.stdout, re.MULTILINE)
    assert [(name, failed) for name, _, failed in found] == [("reload", "0"), ("replacement", "0")]
    # They were asked all the time.
    assert all(int(answered.replace(",", "")) > 5000 for _, answered, _ in found)

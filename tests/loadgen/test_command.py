"""``ipquery-load`` where the extra that it needs isn't installed."""

import subprocess
import sys

import pytest

from loadgen import command


def test_a_missing_extra_is_named_in_one_line() -> None:
    # A process of its own: what was imported here before would be there.
    script = "import sys; sys.modules['hdrh'] = None; from loadgen.command import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == (
        "ipquery-load: hdrhistogram is not installed; pip install 'ipquery[load]' brings what "
        "the load generator needs"
    )


def test_what_else_is_missing_is_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "loadgen.cli", None)
    with pytest.raises(ModuleNotFoundError, match="loadgen"):
        command.main()

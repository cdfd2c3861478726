"""Damaged files of every format that the tests can write."""

import os
import subprocess
import sys

import pytest

from tests.data.mutate import run
from tests.data.samples import samples

NAMES = sorted({name for name, _ in samples(1).values()})


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_refused_or_answered(name: str) -> None:
    refused = run(name, 10, 300)
    # Some of either, or the damage would prove nothing.
    assert 30 < refused < 300


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_many_damaged_files_within_limits(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.data.mutate", name, "11", "100000"],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    print(done.stdout.strip())

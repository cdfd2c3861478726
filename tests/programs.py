"""Programs that a test runs."""

import os
import shutil

import pytest


def require(program: str, package: str) -> str:
    """Where a program is; without it a user's run skips, and CI fails.

    :param package: the Debian package to name.
    """
    path = shutil.which(program)
    if path is None:
        reason = f"{program} is missing: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path

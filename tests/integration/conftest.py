"""Daemons for tests, stopped at their end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemons


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with a cache folder that a module's tests share."""
    return {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture
def daemons(tmp_path: Path, cached: dict[str, str]) -> Iterator[Daemons]:
    """Starts daemons."""
    started = Daemons(tmp_path, cached)
    yield started
    started.stop()

"""Fixtures that several rooms share."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ipquery import Snapshot, open_snapshot
from ipquery.data.build import ensure_snapshot
from ipquery.data.sources import default_source
from ipquery.net import reactor

# pytest-twisted would install an asyncio reactor on the standard library's loop;
# it takes the one that is there.
reactor.install()

# No deadline for a single example: the machines that run this are noisy.
settings.register_profile("ipquery", deadline=None)
settings.load_profile("ipquery")


def pytest_make_parametrize_id(val: object) -> str | None:
    """A name for a test's parameter; ``None`` for pytest's own.

    pytest 8 takes all of it and puts it into the environment, where two million
    zeros leave no room to start a program.
    """
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 100 else None


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the whole run."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def default_path(cache: Path) -> Path:
    """The snapshot of the default database."""
    return ensure_snapshot([default_source()], cache, lambda what, done: None)


@pytest.fixture
def default_db(default_path: Path) -> Iterator[Snapshot]:
    """The default database, open."""
    with open_snapshot(default_path) as db:
        yield db


@pytest.fixture(scope="session")
def dat_path() -> Path:
    """17mon's file of 2015-10, as the package 17MonIP carries it."""
    files = importlib.metadata.files("17MonIP")
    assert files is not None
    return next(Path(str(file.locate())) for file in files if file.name == "17monipdb.dat")

"""Fixtures for more than one folder of tests."""

import gc
import importlib.metadata
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from ipquery import Snapshot, open_snapshot
from ipquery.data.build import ensure_snapshot, parent
from ipquery.data.build.child import _build
from ipquery.data.build.comparer import _compare
from ipquery.data.build.explainer import _answer
from ipquery.data.build.job import Report, Task
from ipquery.data.build.recogniser import _recognise
from ipquery.data.sources import default_sources, ip2region_source
from ipquery.data.update.fetch import fetch
from ipquery.data.update.recipes import DBIP_CITY_2023
from ipquery.net import reactor
from tests.data.exporting import write_sample

# pytest-twisted would install an asyncio reactor on the standard library's loop;
# it takes the one that is there.
reactor.install()

# Whoever runs the tests may have fetched databases, or not: nothing is there unless a test
# says so, and the default database is ip2region alone.
os.environ["XDG_DATA_HOME"] = str(Path(sys.prefix) / "nothing-fetched")
os.environ.pop("STATE_DIRECTORY", None)

# A shell starts what runs in its background with SIGINT ignored, and so would be all that the
# tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline for a single example: the machines that run this are noisy. Other examples are drawn
# in each run, and 25 of them keep all tests under 12 minutes; `make soak` names the other profile.
settings.register_profile("ipquery", deadline=None, max_examples=25)
settings.register_profile("soak", deadline=None, max_examples=300)
settings.load_profile("ipquery")


def pytest_collection_finish() -> None:
    """Keep what is there by now out of every collection of garbage: thousands of tests are."""
    gc.collect()
    gc.freeze()


def pytest_make_parametrize_id(val: object) -> str | None:
    """A name for a test's parameter; ``None`` for pytest's own.

    pytest 8 takes all of it and puts it into the environment, where two million
    zeros leave no room to start a program.
    """
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 100 else None


_WORK: Mapping[str, Callable[[Any, Report], Mapping[str, Any]]] = {
    "child": _build,
    "comparer": _compare,
    "explainer": _answer,
    "recogniser": _recognise,
}


@pytest.fixture
def builds_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a child would do is done in this process: what is told and said goes the same way.

    To start a child takes ten times as long as a build of a few ranges. What is about the child
    itself, its limits and how it ends, is for tests without this.
    """

    def have_done(
        module: str, task: Task, report: Report, handles: Sequence[int]
    ) -> Mapping[str, Any]:
        told = pickle.loads(pickle.dumps(task))
        said: Mapping[str, Any] = json.loads(json.dumps(_WORK[module](told, report)))
        return said

    monkeypatch.setattr(parent, "_have_done", have_done)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of both IP versions, to export or to enrich rows from. It stays as it is."""
    return write_sample(tmp_path_factory.mktemp("sample") / "sample.ipq")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the whole run."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def ip2region_path(cache: Path) -> Path:
    """The snapshot of ip2region alone."""
    return ensure_snapshot([ip2region_source()], cache, lambda what, done: None)


@pytest.fixture
def ip2region_db(ip2region_path: Path) -> Iterator[Snapshot]:
    """ip2region alone, open."""
    with open_snapshot(ip2region_path) as db:
        yield db


@pytest.fixture(scope="session")
def data() -> Path:
    """A data folder in which the default database is whole, kept beside Python."""
    folder = Path(sys.prefix) / "fetched/ipquery"
    if not DBIP_CITY_2023.is_fetched(folder):
        fetch(DBIP_CITY_2023, folder, lambda what: None)
    return folder


@pytest.fixture(scope="session")
def built() -> Path:
    """A cache folder that runs share, the parts of `make test` among them: beside Python.

    A snapshot is named after the code that builds it, so none is found that is out of date.
    """
    return Path(sys.prefix) / "built"


@pytest.fixture(scope="session")
def default_path(built: Path, data: Path) -> Path:
    """The snapshot of the whole default database. To build it takes most of a minute."""
    return ensure_snapshot(default_sources(data), built / "ipquery", lambda what, done: None)


@pytest.fixture
def whole(default_path: Path, built: Path, data: Path) -> dict[str, str]:
    """An environment in which the default database is whole, and its snapshot built."""
    return {"XDG_DATA_HOME": str(data.parent), "XDG_CACHE_HOME": str(built)}


@pytest.fixture(scope="session")
def dat_path() -> Path:
    """17mon's file of 2015-10, as the package 17MonIP carries it."""
    files = importlib.metadata.files("17MonIP")
    assert files is not None
    return next(Path(str(file.locate())) for file in files if file.name == "17monipdb.dat")

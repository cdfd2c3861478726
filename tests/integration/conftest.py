"""Daemons for tests, stopped at their end; and a browser."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser import browser
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


@pytest.fixture(scope="module")
def browser_thread() -> Iterator[Executor]:
    """The thread in which the browser is driven, and tests run that have it.

    playwright brings an event loop, and that of the tests' reactor runs in the main thread.
    """
    with ThreadPoolExecutor(1) as thread:
        yield thread


@pytest.fixture(scope="module")
def chromium(browser_thread: Executor) -> Iterator[Browser]:
    """A browser that a module's tests share; they run in its thread."""
    started = browser()
    yield browser_thread.submit(started.__enter__).result()
    browser_thread.submit(started.__exit__, None, None, None).result()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test, if it has the browser."""
    given: dict[str, Any] = pyfuncitem.funcargs
    if "browser_thread" not in given:
        return None
    arguments = {name: given[name] for name in pyfuncitem._fixtureinfo.argnames}
    given["browser_thread"].submit(pyfuncitem.obj, **arguments).result()
    return True

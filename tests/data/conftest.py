"""Fixtures for more than one module of these tests."""

from collections.abc import Iterator

import pytest

from tests.data.web_server import Server, serving


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A web server, for all tests of a module."""
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    """The web server, which knows nothing, and was asked for nothing."""
    running.answers.clear()
    running.asked.clear()
    return running

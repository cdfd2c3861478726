"""Fixtures of this folder."""

import pytest

from tests.loadgen.certificate import Certified, certify


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """A certificate for localhost."""
    return certify(tmp_path_factory.mktemp("certificate"))
